"""What a replay found, in words for a terminal."""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from streams.masking import mask_text
from streams.replay.comparison import TurnComparison
from streams.replay.spread import Spread, spread
from streams.replay.summary import Summary
from streams.replay.words import changed_in_words, leading_in_words
from tables.results import Result
from tables.run import Run
from web.terminal.text import number, plain

#: Turns whose attempts are told one by one.
TOLD: Final = 10


def totals(summary: Summary) -> str:
    """Return the totals in one line."""
    parts = [f"{number(summary.turns)} {'turn' if summary.turns == 1 else 'turns'}"]
    parts += [f"{number(n)} {verdict}" for verdict, n in summary.verdicts.items() if n]
    if summary.bad_lines:
        lines = "line" if summary.bad_lines == 1 else "lines"
        parts.append(f"{number(summary.bad_lines)} {lines} without a turn")
    if summary.time_ratio is not None:
        parts.append(f"{summary.time_ratio:.2f} times the time")
    if summary.cost_ratio is not None:
        parts.append(f"{summary.cost_ratio:.2f} times the cost")
    return ", ".join(parts)


def in_words(turn: TurnComparison) -> str:
    """Return what became of a turn: its verdict, the hop that leads, what differs."""
    attempt = f" attempt {turn.attempt}" if turn.attempt > 1 else ""
    lines = [turn.reason, leading_in_words(turn), *changed_in_words(turn)]
    told = [f"  {plain(mask_text(_flat(line)))}" for line in lines if line]
    head = f"{turn.verdict}: {plain(turn.session_id)} turn {turn.turn}{attempt}"
    return "\n".join([head, *told])


def _flat(text: str) -> str:
    return " ".join(text.split())


def spreads(run: Run) -> Iterator[str]:
    """Yield how far the attempts at each turn are apart, where there were several."""
    request = run.about().request
    if request is None or request.repeat == 1:
        return
    turns = stable = 0
    for _, results in groupby(run.results(), lambda result: result.position):
        attempts = list(results)
        found = spread([attempt.replayed for attempt in attempts])
        turns += 1
        if found.stability == 1 and len(found.replies) < 2:
            stable += 1
        elif turns - stable <= TOLD:
            yield f"\n{_apart(attempts[0], found)}"
    yield f"\n{number(stable)} of {number(turns)} turns came out the same {request.repeat} times"


def _apart(first: Result, found: Spread) -> str:
    turn = first.comparison
    lines = [f"{plain(turn.session_id)} turn {turn.turn}: {found.stability:.0%} decided alike"]
    if found.failed:
        lines.append(f"{found.failed} of {found.attempts} failed")
    for name, ways in (
        ("routes", found.routes),
        ("intents", found.intents),
        ("plans", found.plans),
    ):
        if len(ways) > 1:
            lines.append(f"{len(ways)} {name}: {', '.join(f'{way.times} times' for way in ways)}")
    if len(found.replies) > 1:
        least = "" if found.lowest_score is None else f", the least alike {found.lowest_score:.2f}"
        lines.append(f"{len(found.replies)} replies{least}")
        lines += [f"{way.times} times: {mask_text(_flat(way.value))}" for way in found.replies[:3]]
    return "\n  ".join(plain(line) for line in lines)
