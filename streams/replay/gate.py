"""`--fail-on`: what a replay must not bring, so that a change is stopped before customers meet it.

`route,intent,reply<0.8,time>1.5` fails on a turn whose route or intent is another one, on a reply
less alike than 0.8, and on a replay that took one and a half times as long in all. A turn that
does not end any more breaks what is asked of its aspects.
"""

import re
from dataclasses import dataclass
from math import isfinite
from typing import Final

from streams.errors import MeshError
from streams.replay.comparison import ASPECTS, TurnComparison, Verdict
from streams.replay.summary import Summary

#: Conditions on the verdict of a turn, by the name that they have on a command line.
_VERDICTS: Final[dict[str, Verdict]] = {
    "failed": "failed",
    "different": "different",
    "similar": "similar",
    "not-recorded": "not recorded",
}
_TOTALS: Final = ("time", "cost")
_BAD_LINES: Final = "bad-lines"
NAMES: Final = (*ASPECTS, *_VERDICTS, _BAD_LINES, "reply<0.8", *(f"{one}>1.5" for one in _TOTALS))

_CONDITION: Final = re.compile(r"(?P<name>[^<>=]*?)\s*(?:(?P<sign>[<>=]+)\s*(?P<limit>.*))?")


class BadGate(MeshError):
    """A condition that is none; `position` is where in the text, from 0 on."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"--fail-on, character {position + 1}: {reason}")
        self.reason = reason
        self.position = position


@dataclass(frozen=True)
class Condition:
    """One thing that must not be: a name alone, or with the limit that is not to be passed."""

    name: str
    limit: float | None = None

    def __str__(self) -> str:
        if self.limit is None:
            return self.name
        return f"{self.name}{'<' if self.name == 'reply' else '>'}{self.limit:g}"

    def broken_by(self, turn: TurnComparison) -> str | None:
        """Return what is wrong with a turn; None if nothing, or if this is about the whole."""
        if self.name in _VERDICTS:
            if turn.verdict != _VERDICTS[self.name]:
                return None
            return f"{turn.verdict}{': ' if turn.reason else ''}{turn.reason}"
        aspect = next((aspect for aspect in ASPECTS if aspect == self.name), None)
        if aspect is None:
            return None
        found = turn.aspects.get(aspect)
        if found is None and turn.verdict == "failed":
            return f"failed: {turn.reason}"  # a turn that came to no end has kept nothing
        if found is None or found.verdict == "not recorded":
            return None
        if self.limit is None:
            return f"different {self.name}" if found.verdict == "different" else None
        if found.score is None:
            # One side is silent: nothing is less alike.
            return "no reply on one side" if found.verdict == "different" else None
        if found.score < self.limit:
            return f"reply {found.score:.2f} alike, less than {self.limit:g}"
        return None

    def broken_by_all(self, summary: Summary) -> str | None:
        """Return what is wrong with the whole; None if nothing, or if this is about turns."""
        if self.name == _BAD_LINES:
            return f"{summary.bad_lines} bad lines" if summary.bad_lines else None
        if self.limit is None or self.name not in _TOTALS:
            return None
        ratio = summary.time_ratio if self.name == "time" else summary.cost_ratio
        if ratio is None or ratio <= self.limit:
            return None
        return f"{self.name} is {ratio:.2f} times what was recorded, more than {self.limit:g}"


class Gate:
    """The conditions of one replay; without any, everything passes."""

    def __init__(self, text: str = "") -> None:
        """Read conditions with commas between them; BadGate says which is none, and where."""
        self.conditions = list(_read(text)) if text.strip() else []

    def __str__(self) -> str:
        return ",".join(str(condition) for condition in self.conditions)

    def judge(self, turn: TurnComparison) -> list[str]:
        """Return all that is wrong with a turn, each thing once."""
        found = (condition.broken_by(turn) for condition in self.conditions)
        return list(dict.fromkeys(reason for reason in found if reason is not None))

    def judge_all(self, summary: Summary) -> list[str]:
        """Return what is wrong with the whole. A gate that saw no turn has not been passed."""
        if not self.conditions:
            return []
        found = (condition.broken_by_all(summary) for condition in self.conditions)
        empty = ["no turn was replayed"] if summary.turns == 0 else []
        return empty + [reason for reason in found if reason is not None]


def _read(text: str) -> list[Condition]:
    conditions: list[Condition] = []
    start = 0
    for part in text.split(","):
        position = start + len(part) - len(part.lstrip())
        conditions.append(_condition(part.strip(), position))
        start += len(part) + 1
    return conditions


def _condition(part: str, position: int) -> Condition:
    if not part:
        raise BadGate("a condition is missing between the commas", position)
    found = _CONDITION.fullmatch(part)
    if found is None:  # pragma: no cover - the pattern takes any text
        raise BadGate(f"{part!r} is no condition", position)
    name, sign, limit = found["name"], found["sign"], found["limit"]
    sign_at = position + (found.start("sign") if sign else 0)
    if name not in (*ASPECTS, *_VERDICTS, *_TOTALS, _BAD_LINES):
        raise BadGate(f"there is no condition {name!r}; there are: {', '.join(NAMES)}", position)
    wanted = "<" if name == "reply" else ">" if name in _TOTALS else None
    if sign is None:
        if name in _TOTALS:
            raise BadGate(f"{name} needs a limit, such as {name}>1.5", position + len(name))
        return Condition(name)
    if wanted is None:
        raise BadGate(f"{name} takes no limit", sign_at)
    if sign != wanted:
        raise BadGate(f"{name} takes {wanted}, not {sign}", sign_at)
    return Condition(name, _limit(name, limit, position + found.start("limit")))


def _limit(name: str, text: str, position: int) -> float:
    try:
        limit = float(text)
    except ValueError:
        raise BadGate(
            f"{text!r} is not a number" if text else "a number is missing", position
        ) from None
    if not isfinite(limit) or limit < 0:
        raise BadGate(f"{text} is no limit", position)
    if name == "reply" and limit > 1:
        raise BadGate("no reply is more alike than 1", position)
    return limit
