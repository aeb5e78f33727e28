"""Two replays compared with each other, as a run of its own: it is looked at like any other."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from streams.replay.comparison import compare
from streams.replay.entry import entered
from tables.results import Result, key_of
from tables.run import About, Run, Stopped
from tables.runs import Runs

BATCH: Final = 20
"""Turns that are held at once."""

_T = TypeVar("_T")


def begin(runs: Runs, first: str, second: str) -> Run:
    """Return a new run for the comparison of two, to be filled; NoSuchRun if one is not there."""
    one, other = runs.open(first).about(), runs.open(second).about()
    return runs.create(
        About(
            source=f"replay {first} ({one.source}) and replay {second} ({other.source})",
            mode="compared",
            against=[first, second],
            code=other.code,
        )
    )


def fill(into: Run, runs: Runs, stop: Callable[[], bool] = lambda: False) -> None:
    """Compare what came out of the two replays turn by turn, and end the run.

    A turn that only the second has is not recorded; one that only the first has failed. Memory is
    bounded. Whatever goes wrong interrupts the run with its reason, and is raised; so does `stop`,
    which is asked now and then, as Stopped.
    """
    try:
        one, other = (runs.open(run) for run in into.about().against)
        turns, added = max(1, one.summary().turns), 0
        for batch in _batches(_results(one, other)):
            if stop():
                raise Stopped("The process was stopped.")
            added += len(batch)
            into.add(batch, done=min(1.0, added / turns))
        into.end()
    except BaseException as error:
        into.end("interrupted", str(error) or type(error).__name__)
        raise


def _results(one: Run, other: Run) -> Iterator[Result]:
    last = -1
    for result in one.results():
        last = max(last, result.position)
        key = key_of(result.recorded, result.comparison.attempt)
        yield _pair(result.position, result, other.find(key))
    for result in other.results():
        if one.find(key_of(result.recorded, result.comparison.attempt)) is None:
            last += 1
            yield _pair(last, None, result)


def _pair(position: int, first: Result | None, second: Result | None) -> Result:
    """Return what became of a turn that at least one of two replays has."""
    known = first or second
    if known is None:
        raise ValueError("a turn that neither replay has")
    # What the first replay did not come to the end with is not known, though the turn is.
    before = entered(known.recorded)
    if first is not None and first.replayed is not None:
        before = first.replayed
    after = second.replayed if second is not None else None
    reason = ""
    if second is None:
        reason = "the second replay does not have this turn"
    elif after is None:
        reason = second.comparison.reason
    comparison = compare(before, after, attempt=known.comparison.attempt, failure=reason)
    return Result(position, comparison, before, after)


def _batches(values: Iterable[_T]) -> Iterator[list[_T]]:
    remaining = iter(values)
    while batch := list(islice(remaining, BATCH)):
        yield batch
