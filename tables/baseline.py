"""Making a replay the baseline: what its turns came to is what the next one is compared with.

A baseline is a recording like any other, so it can be committed beside the code that it is of.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

from streams.errors import MeshError
from streams.message import Message
from streams.replay.lines import BadLine
from streams.replay.recording import Header, writing
from streams.replay.source import Source, Turns
from tables.results import key_of
from tables.run import Run


class CannotAccept(MeshError):
    """A run is no baseline, or would cost turns that the file holds."""


async def accept(run: Run, path: Path | None = None) -> tuple[Path, int]:
    """Write what the turns of `run` came to and return where, and how many turns it holds.

    Without `path` it takes the place of the recording that was replayed; turns of that file that
    were not, or failed, stay as they are. CannotAccept says what is in the way.
    """
    about = run.about()
    if about.request is None or about.origin is None:
        raise CannotAccept("it is not known what this replay replayed")
    if about.state != "ended":
        raise CannotAccept(f"this replay is {about.state}: only one that ended is a baseline")
    if about.request.what_if is not None:
        raise CannotAccept("what would have been is no baseline")
    source = about.origin
    if path is None and source.kind != "recording":
        raise CannotAccept(
            f"the {source.kind} stay as they are: name the FILE that becomes the baseline, "
            "and replay that from then on"
        )
    target = path or source.path
    assert target is not None  # noqa: S101 - only the journal has none
    with writing(target, Header()) as writer:
        if path is None:
            async for turn in _merged(run, source):
                writer.write(turn)
        else:
            for turn in _outcomes(run):
                writer.write(turn)
    return target, writer.turns


async def _merged(run: Run, source: Source) -> AsyncIterator[Message]:
    """Yield all turns of the recording, those replayed as they came out."""
    everything = source.model_copy(update={"selection": type(source.selection)()})
    async with aclosing(aiter(Turns(everything))) as turns:
        async for turn in turns:
            if isinstance(turn, BadLine):
                raise CannotAccept(
                    f"line {turn.number} of {source.path} {turn.reason}: it would be lost. "
                    "Name another FILE, or take the line out"
                )
            found = run.find(key_of(turn))
            yield _bare(found.replayed) if found and found.replayed else turn


def _outcomes(run: Run) -> Iterator[Message]:
    """Yield the turns of a run as they came out; one that failed as it was recorded, if it was."""
    for result in run.results():
        if result.comparison.attempt > 1:
            continue
        if result.replayed is not None:
            yield _bare(result.replayed)
        elif result.recorded.trace:
            yield result.recorded


def _bare(replayed: Message) -> Message:
    """Return a turn without what says that it is a replay's: now it is what is expected."""
    return replayed.model_copy(update={"replay": None})
