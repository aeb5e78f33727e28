"""What became of each turn of a replay, and the rows of SQLite that it is kept in."""

import sqlite3
import zlib
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, Field

from streams.errors import Undecodable
from streams.masking import mask_text
from streams.message import Message
from streams.replay.comparison import ASPECTS, Aspect, TurnComparison, Verdict

LEVEL: Final = 3  # of zlib: messages are written faster than they are made, and read one by one


@dataclass(frozen=True)
class Result:
    """What became of one attempt at one turn."""

    position: int
    """The turn's place in the source, from 0."""
    comparison: TurnComparison
    recorded: Message
    replayed: Message | None


Key = tuple[str, str, int]
"""What an attempt at a turn is known by: its session, its run (`Message.run`), which attempt."""


def key_of(recorded: Message, attempt: int = 1) -> Key:
    """Return what an attempt at this turn is known by."""
    return recorded.session_id, recorded.run, attempt


class Row(BaseModel):
    """One turn in the list of a run's turns."""

    position: int
    said: str = Field(description="What the customer wrote.")
    comparison: TurnComparison


@dataclass(frozen=True)
class Wanted:
    """Which turns of a run are looked at: those that fulfil all that is given."""

    verdict: Verdict | None = None
    changed: bool = True
    """Only those that are not the same; does not count where a verdict is given."""
    aspect: Aspect | None = None
    """Only those where this is not the same."""
    actor: str | None = None
    """Only those whose first hop that is not the same is this actor's."""
    intent: str | None = None
    session: str | None = None
    text: str | None = None
    """Only those in whose words or replies this is, in any case; personal data is not found."""

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition in SQL and its parameters."""
        parts: list[tuple[str, Any]] = []
        if self.verdict is not None:
            parts.append(("verdict = ?", self.verdict))
        elif self.changed:
            parts.append(("verdict != ?", "same"))
        for column, value in (
            ("actor", self.actor),
            ("intent", self.intent),
            ("session_id", self.session),
        ):
            if value is not None:
                parts.append((f"{column} = ?", value))
        if self.aspect is not None:
            parts.append(("instr(aspects, ?) > 0", f" {self.aspect} "))
        if self.text:
            parts.append(("instr(words, ?) > 0", self.text.casefold()))
        condition = " AND ".join(condition for condition, _ in parts) or "TRUE"
        return condition, [value for _, value in parts]


def to_row(result: Result) -> tuple[Any, ...]:
    """Return the values of a row, in the order of the columns of `turns`."""
    turn = result.comparison
    other = [aspect for aspect in ASPECTS if _differs(turn, aspect)]
    said = result.recorded.payload.text
    replies = turn.aspects.get("reply")
    # Looked for is only what everybody sees: a search must not spell out what is masked.
    words = [said, *(_texts(replies.recorded, replies.replayed) if replies else [])]
    diverging = turn.diverging if turn.changed else None
    session, run, attempt = key_of(result.recorded, turn.attempt)
    return (
        result.position,
        attempt,
        session,
        run,
        turn.verdict,
        f" {'  '.join(other)} ",  # each between blanks, to be looked for so
        turn.intent,
        diverging.actor if diverging else None,
        said,
        mask_text("\n".join(words)).casefold(),
        _packed(turn.model_dump_json().encode()),
        _packed(result.recorded.encode()),
        None if result.replayed is None else _packed(result.replayed.encode()),
    )


def _texts(*values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _differs(turn: TurnComparison, aspect: Aspect) -> bool:
    return aspect in turn.aspects and turn.aspects[aspect].verdict != "same"


def to_result(row: sqlite3.Row) -> Result:
    """Return what a row of `turns` holds; sqlite3.DatabaseError if that is damaged."""
    return Result(
        position=row["position"],
        comparison=to_comparison(row["comparison"]),
        recorded=to_message(row["recorded"]),
        replayed=None if row["replayed"] is None else to_message(row["replayed"]),
    )


def _packed(data: bytes) -> bytes:
    return zlib.compress(data, LEVEL)


def to_comparison(data: bytes) -> TurnComparison:
    """Return a packed comparison; sqlite3.DatabaseError if it is damaged."""
    return TurnComparison.model_validate_json(_unpacked(data))


def to_message(data: bytes) -> Message:
    """Return a packed message; sqlite3.DatabaseError if it is damaged."""
    try:
        return Message.decode(_unpacked(data))
    except Undecodable as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise sqlite3.DatabaseError(str(error)) from error
