"""A replay as a short summary in Markdown, for the pull request that it is about.

Customers' words stand in code blocks, where nothing in them is read as markup, as a mention or as a
link; personal data in them is masked. It is short at any length of replay: a comment has a limit.
"""

import re
from collections.abc import Sequence
from typing import Final

from streams.masking import mask_text
from streams.replay.comparison import ASPECTS, VERDICTS, Spent, TurnComparison, Verdict
from streams.replay.gate import Gate
from streams.replay.summary import Summary
from streams.replay.words import changed_in_words, leading_in_words

TURNS: Final = 20
"""Turns that are shown, those that break the gate first."""
LONGEST: Final = 600
"""Characters of a line that are shown."""

_BEFORE: Final = {"failed": 0, "different": 1, "not recorded": 2, "similar": 3, "same": 4}
_TICKS: Final = re.compile("`+")


class Shown:
    """Which turns are worth showing: the worst ones, held in bounded memory."""

    def __init__(self, most: int = TURNS) -> None:
        self._most = most
        self._kept: list[tuple[int, int, TurnComparison, list[str], str]] = []
        self._seen = 0
        self.broken = 0
        """Turns that break the gate, also those that are not shown."""

    def add(self, turn: TurnComparison, broken: Sequence[str], said: str) -> None:
        """Look at a turn, what the gate has against it, and what the customer said."""
        self._seen += 1
        self.broken += bool(broken)
        if not turn.changed:
            return
        rank = _BEFORE[turn.verdict] - (10 if broken else 0)
        self._kept.append((rank, self._seen, turn, list(broken), said))
        self._kept.sort(key=lambda one: one[:2])
        del self._kept[self._most :]

    @property
    def turns(self) -> list[tuple[TurnComparison, list[str], str]]:
        """The turns to show, the worst first, in order where they are as bad."""
        return [(turn, broken, said) for _, _, turn, broken, said in self._kept]


def markdown(summary: Summary, shown: Shown, gate: Gate, broken: Sequence[str]) -> str:
    """Return the summary. `broken` is what the gate has against the whole."""
    parts = ["## Replay", _verdict(summary, shown, gate, broken), _totals(summary)]
    parts += [_aspects(summary), _leading(summary), _bad_lines(summary)]
    parts += [_turn(turn, against, said) for turn, against, said in shown.turns]
    changed = summary.turns - summary.verdicts["same"]
    if changed > len(shown.turns):
        parts.append(f"… and {changed - len(shown.turns)} more that are not the same.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(summary: Summary, shown: Shown, gate: Gate, broken: Sequence[str]) -> str:
    if summary.turns == 0:
        return "**No turn was replayed.**"
    against = [*broken, *(one for _, reasons, _ in shown.turns for one in reasons)]
    if not gate.conditions:
        same = summary.verdicts["same"]
        return f"**{same} of {summary.turns} turns came out the same.**"
    if not against:
        return f"**Passed** `{gate}`."
    reasons = "; ".join(_code(one) for one in list(dict.fromkeys(against))[:10])
    turns = f" in {shown.broken} of {summary.turns} turns" if shown.broken else ""
    return f"**Not passed** `{gate}`{turns}: {reasons}."


def _totals(summary: Summary) -> str:
    heads = [*VERDICTS, "bad lines"]
    values = [*(summary.verdicts.get(verdict, 0) for verdict in VERDICTS), summary.bad_lines]
    spent = [
        _change(summary, "work_ms", "{:,.0f} ms"),
        _change(summary, "cost_usd", "${:,.4f}"),
        _change(summary, "tokens", "{:,}"),
    ]
    table = [
        f"| turns | {' | '.join(heads)} | time | cost | tokens |",
        f"|{'---:|' * (len(heads) + 4)}",
        f"| {' | '.join(str(value) for value in [summary.turns, *values, *spent])} |",
    ]
    return "\n".join(table)


def _change(summary: Summary, name: str, form: str) -> str:
    def of(spent: Spent) -> str:
        value = getattr(spent, name)
        return "?" if value is None else form.format(value)

    return f"{of(summary.recorded)} → {of(summary.replayed)}"


def _aspects(summary: Summary) -> str:
    kinds: tuple[Verdict, ...] = ("different", "similar", "not recorded")
    counted = {aspect: summary.aspects.get(aspect, {}) for aspect in ASPECTS}
    rows = [
        f"| {aspect} | {' | '.join(str(counts.get(kind, 0)) for kind in kinds)} |"
        for aspect, counts in counted.items()
        if any(counts.get(kind) for kind in kinds)
    ]
    if not rows:
        return ""
    return "\n".join([f"| aspect | {' | '.join(kinds)} |", "|---|---:|---:|---:|", *rows])


def _leading(summary: Summary) -> str:
    if not summary.diverging:
        return ""
    ordered = sorted(summary.diverging.items(), key=lambda one: -one[1])[:10]
    told = ", ".join(f"{_code(actor)} ({times})" for actor, times in ordered)
    return f"Where it began: {told}."


def _bad_lines(summary: Summary) -> str:
    lines = [f"- {one.where}: {_code(one.reason)}" for one in summary.first_bad_lines]
    return "\n".join(["Lines that hold no turn:", "", *lines]) if lines else ""


def _turn(turn: TurnComparison, broken: Sequence[str], said: str) -> str:
    name = f"{turn.session_id} turn {turn.turn}"
    attempt = f", attempt {turn.attempt}" if turn.attempt > 1 else ""
    why = [*broken, *([turn.reason] if turn.reason and not broken else [])]
    lines = [
        f"> {said}",
        leading_in_words(turn),
        *changed_in_words(turn),
    ]
    return "\n".join(
        [
            f"### {turn.verdict.capitalize()}: {_code(name + attempt)}",
            "",
            *(["; ".join(_code(one) for one in why), ""] if why else []),
            _block([_cut(line) for line in lines if line]),
        ]
    )


def _cut(line: str) -> str:
    flat = " ".join(mask_text(line).split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


def _block(lines: list[str]) -> str:
    """Return lines as a code block, behind a fence that is longer than any in them."""
    longest = max((len(run) for line in lines for run in _TICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}diff", *lines, fence])


def _code(text: str) -> str:
    """Return a text in one line of code: escaped it could still mention people."""
    flat = _cut(text)
    ticks = "`" * (max((len(run) for run in _TICKS.findall(flat)), default=0) + 1)
    return f"{ticks} {flat} {ticks}" if "`" in flat or not flat else f"`{flat}`"
