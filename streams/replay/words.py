"""What differs in a turn, in words for people: the hop that leads, then what changed."""

import json
from typing import Any, Final

from streams.inspection.difference import Change, difference
from streams.replay.comparison import (
    ASPECTS,
    AspectComparison,
    HopComparison,
    TurnComparison,
)

CHANGES: Final = 4
"""Places of an aspect that are told one by one."""
LONGEST: Final = 300
"""Characters of a value that are told."""


def leading_in_words(turn: TurnComparison) -> str:
    """Return one line on the first hop that is not the same; empty if all are."""
    hop = turn.diverging
    if hop is None:
        return ""
    place = hop.replayed if hop.recorded is None else hop.recorded
    return f"hop {0 if place is None else place + 1}, {hop.actor}: {_what(hop)}"


def _what(hop: HopComparison) -> str:
    if hop.verdict == "not made":
        return "is not made any more"
    if hop.recorded is None:
        return "was not recorded"
    told: list[str] = []
    if hop.outcome != hop.outcome_now:
        told.append(f"{hop.outcome} is now {hop.outcome_now}")
    paths = [change.path for change in hop.changes]
    if paths:
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        told.append(f"{', '.join(paths[:3])}{more} changed")
    for kind in ("not recorded", "asked", "not asked"):
        many = sum(1 for question in hop.questions if question.kind == kind)
        if many:
            told.append(f"{many} question{'s' if many > 1 else ''} {_KINDS[kind]}")
    return "; ".join(told) or "what it did was not recorded"


_KINDS: Final = {
    "not recorded": "without a recorded answer",
    "asked": "asked only now",
    "not asked": "no longer asked",
}


def changed_in_words(turn: TurnComparison) -> list[str]:
    """Return a line on each aspect that is not the same, the replies last and in full."""
    lines: list[str] = []
    for aspect in ASPECTS:
        found = turn.aspects.get(aspect)
        if found is None or found.verdict in ("same", "not recorded"):
            continue
        if aspect == "reply":
            score = "" if found.score is None else f" ({found.score:.2f} alike)"
            lines.append(f"reply {found.verdict}{score}")
            lines.append(f"- {found.recorded or '(none)'}")
            lines.append(f"+ {found.replayed or '(none)'}")
        elif found.verdict == "similar":
            lines.append(f"{aspect}: in details")
        elif aspect == "route":
            lines.append(_routes(found.recorded, found.replayed))
        else:
            lines += [_change(change) for change in _most(found, aspect)]
    unknown = [name for name, found in turn.aspects.items() if found.verdict == "not recorded"]
    if unknown and turn.verdict != "not recorded":
        lines.append(f"not recorded: {', '.join(unknown)}")
    return lines


def _most(found: AspectComparison, aspect: str) -> list[Change]:
    """Return the places of an aspect that differ; all of it where there are many."""
    changes = difference(found.recorded, found.replayed, aspect)
    if len(changes) > CHANGES:
        return [Change(kind="changed", path=aspect, before=found.recorded, after=found.replayed)]
    return changes


def _change(change: Change) -> str:
    before = "nothing" if change.kind == "added" else _short(change.before)
    after = "nothing" if change.kind == "removed" else _short(change.after)
    return f"{change.path}: {before} → {after}"


def _routes(recorded: list[str], replayed: list[str]) -> str:
    """Return where two routes part, and how each goes on."""
    both = min(len(recorded), len(replayed))
    part = next((place for place in range(both) if recorded[place] != replayed[place]), both)
    before, after = (", ".join(way[part:]) or "the end" for way in (recorded, replayed))
    return f"route behind hop {part}: {before} → {after}"


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
