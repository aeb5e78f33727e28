"""What a whole replay came to, counted turn by turn: it takes the same memory at any length."""

from typing import Final

from pydantic import BaseModel, Field, computed_field

from streams.replay.comparison import ASPECTS, VERDICTS, Aspect, Spent, TurnComparison, Verdict
from streams.replay.lines import BadLine

FIRST: Final = 10
"""Reasons that are kept of bad lines, and of turns that failed."""
NAMES: Final = 100
"""Names counted one by one; a foreign recording may bring any number of them."""
OTHERS: Final = "(others)"

Counts = dict[Verdict, int]


def _no_counts() -> dict[Aspect, Counts]:
    return {aspect: {} for aspect in ASPECTS}


class Told(BaseModel):
    """Something that went wrong, and where."""

    where: str
    reason: str


class Summary(BaseModel):
    """The totals of a replay. With repeats, each attempt at a turn counts."""

    turns: int = 0
    verdicts: Counts = Field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    aspects: dict[Aspect, Counts] = Field(
        default_factory=_no_counts,
        description="Of the turns that ended, how each aspect fared.",
    )
    intents: dict[str, Counts] = Field({}, description="How turns fared, by what was wanted.")
    diverging: dict[str, int] = Field(
        {}, description="Of the turns that are not the same, whose hop was the first that is not."
    )
    bad_lines: int = 0
    last_bad_line: int = Field(0, description="Its number; a run that goes on knows those before.")
    first_bad_lines: list[Told] = []
    first_failures: list[Told] = []
    recorded: Spent = Field(Spent(), description="Of the turns that both sides know it of.")
    replayed: Spent = Spent()

    @computed_field(description="New time by recorded time; None if nothing is known.")  # type: ignore[prop-decorator]
    @property
    def time_ratio(self) -> float | None:
        """How many times as long the work took."""
        return _ratio(self.recorded.work_ms, self.replayed.work_ms)

    @computed_field(description="New cost by recorded cost; None if nothing is known.")  # type: ignore[prop-decorator]
    @property
    def cost_ratio(self) -> float | None:
        """How many times as much the model cost."""
        return _ratio(self.recorded.cost_usd, self.replayed.cost_usd)

    def add(self, turn: TurnComparison) -> None:
        """Count one turn."""
        self.turns += 1
        _count(self.verdicts, turn.verdict)
        for aspect, found in turn.aspects.items():
            _count(self.aspects.setdefault(aspect, {}), found.verdict)
        _count(
            self.intents.setdefault(_name(self.intents, turn.intent or "none"), {}), turn.verdict
        )
        if turn.changed and turn.diverging is not None:
            actor = _name(self.diverging, turn.diverging.actor)
            self.diverging[actor] = self.diverging.get(actor, 0) + 1
        if turn.verdict == "failed" and len(self.first_failures) < FIRST:
            where = f"{turn.session_id} {turn.message_id}"
            self.first_failures.append(Told(where=where, reason=turn.reason))
        for name in Spent.model_fields:
            old, new = getattr(turn.recorded, name), getattr(turn.replayed, name)
            if old is not None and new is not None:
                setattr(self.recorded, name, (getattr(self.recorded, name) or 0) + old)
                setattr(self.replayed, name, (getattr(self.replayed, name) or 0) + new)

    def add_bad(self, line: BadLine) -> None:
        """Count a line that could not be replayed."""
        self.bad_lines += 1
        self.last_bad_line = max(self.last_bad_line, line.number)
        if len(self.first_bad_lines) < FIRST:
            self.first_bad_lines.append(Told(where=f"line {line.number}", reason=line.reason))


def _count(counts: Counts, verdict: Verdict) -> None:
    counts[verdict] = counts.get(verdict, 0) + 1


def _name(counted: dict[str, Counts] | dict[str, int], name: str) -> str:
    return name if name in counted or len(counted) < NAMES else OTHERS


def _ratio(old: float | None, new: float | None) -> float | None:
    return None if not old or new is None else round(new / old, 4)
