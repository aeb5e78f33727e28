"""The dead letters for people: what one says, and finding them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from nats.aio.client import Client
from pydantic import BaseModel

from streams.bridge.direct import Found, batch, first, last
from streams.bridge.layout import every_partition, stream_name
from streams.dead_letters import BURIED_AT, ORIGIN, REASON
from streams.errors import MeshError, Undecodable
from streams.message import Message
from streams.post import reaching
from streams.settings import Settings
from streams.topics import DEAD_LETTERS

PAGE: Final = 50
LOOK: Final = 5000  # letters that one search looks through at most
WINDOW: Final = 250


class NoLetter(MeshError):
    """There is no dead letter with this offset."""


@dataclass(frozen=True)
class Letter:
    """A dead letter: the record as it came, why it is here, and from where."""

    offset: int
    buried_at: datetime
    reason: str
    topic: str | None
    origin: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    message: Message | None
    problem: str = ""  # why the bytes are no message

    @property
    def target(self) -> str:
        """What the audit calls it."""
        return f"dead letter {self.offset}"

    @property
    def session_id(self) -> str | None:
        """The conversation it belongs to; None if even that cannot be told."""
        if self.message is not None:
            return self.message.session_id
        return self.key.decode(errors="replace") if self.key else None

    def text(self) -> str:
        """Return the bytes as text to edit."""
        return (self.value or b"").decode(errors="replace")


class Wanted(BaseModel):
    """Which letters to find; times are those of the burial."""

    reason: str = ""  # a part of it
    topic: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    """Letters, newest first. `before` is where to look on, None at the end."""

    letters: list[Letter]
    before: int | None
    looked: int


async def find(
    client: Client, settings: Settings, wanted: Wanted, *, before: int | None = None
) -> Page:
    """Return the newest letters that are wanted, from `before` (exclusive) on backwards.

    One call looks through `LOOK` letters at most and returns `PAGE`; GatewayUnavailable.
    """
    found: list[Letter] = []
    looked = 0
    with reaching("the dead letters cannot be read"):
        if before is None:
            newest = await last(client, *where(settings))
            before = newest.record.offset + 1 if newest else 1
        while before > 1 and looked < LOOK:
            start = max(1, before - WINDOW)
            records, _ = await batch(client, *where(settings), start, WINDOW)
            window = [record for record in records if record.record.offset < before]
            for record in reversed(window):
                looked += 1
                before = record.record.offset
                letter = letter_of(record)
                if wanted.since and letter.buried_at < wanted.since:
                    return Page(found, None, looked)
                if _matches(letter, wanted):
                    found.append(letter)
                    if len(found) == PAGE:
                        return Page(found, before if before > 1 else None, looked)
            before = start
    return Page(found, before if before > 1 else None, looked)


async def read(client: Client, settings: Settings, offset: int) -> Letter:
    """Return one letter; NoLetter, GatewayUnavailable."""
    with reaching("the dead letters cannot be read"):
        found = await first(client, *where(settings), sequence=offset)
    if found is None or found.record.offset != offset:
        raise NoLetter(f"there is no dead letter {offset}")
    return letter_of(found)


def where(settings: Settings) -> tuple[str, str]:
    """Return the stream that dead letters are in, and the filter for all of them."""
    prefix = settings.prefix
    return stream_name(prefix, DEAD_LETTERS), every_partition(prefix, DEAD_LETTERS)


def letter_of(found: Found) -> Letter:
    """Return the letter that a record of this stream is."""
    record = found.record
    headers = dict(record.headers)
    origin = headers.get(ORIGIN, b"").decode(errors="replace") or None
    message, problem = None, ""
    try:
        message = Message.decode(record.value or b"")
    except Undecodable as error:
        problem = str(error)
    return Letter(
        offset=record.offset,
        buried_at=_time(headers.get(BURIED_AT, b"")) or datetime.fromtimestamp(found.stored, UTC),
        reason=headers.get(REASON, b"").decode(errors="replace"),
        topic=origin.rsplit("/", 2)[0] if origin else None,
        origin=origin,
        key=record.key,
        value=record.value,
        headers=record.headers,
        message=message,
        problem=problem,
    )


def _time(text: bytes) -> datetime | None:
    try:
        return datetime.fromisoformat(text.decode())
    except ValueError:
        return None


def _matches(letter: Letter, wanted: Wanted) -> bool:
    return (
        wanted.reason.casefold() in letter.reason.casefold()
        and (not wanted.topic or letter.topic == wanted.topic)
        and (wanted.until is None or letter.buried_at <= wanted.until)
    )
