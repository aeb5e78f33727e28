"""Where turns come from: a recording, plain conversations in a file, or the live journal.

A `Source` says which, and can be stored: opened again it gives the same turns in the same order.
The live journal is read up to where it ended when the source was found.
"""

import asyncio
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

from nats.aio.client import Client
from pydantic import BaseModel, ConfigDict, Field

from streams.bridge import direct
from streams.bridge.direct import Found
from streams.bridge.layout import every_partition, key_of, partition_for
from streams.bridge.reader import Delivered, heads
from streams.bridge.topics import TopicInfo
from streams.errors import MeshError, Undecodable
from streams.inspection.scan import find_topic
from streams.message import Message
from streams.post import reaching
from streams.replay import plain, recording
from streams.replay.lines import BadLine, Line, Lines
from streams.replay.request import THE_JOURNAL
from streams.replay.selection import Selection
from streams.topics import JOURNAL

BATCH: Final = 64
"""Turns that are read ahead at most."""
BATCH_BYTES: Final = 1024 * 1024
"""Bytes past which nothing more is read ahead."""
LOOKED_AT: Final = 100
"""Lines at a file's beginning that may be damaged before one shows what the file is."""
CLOCKS_APART: Final = timedelta(minutes=5)
"""How far the clock of who received a turn may be before that of the broker."""

T = TypeVar("T")


class NoSource(MeshError):
    """There is nothing at this place that turns could be read from."""


class SourceChanged(MeshError):
    """A source is not what it was when it was found: it cannot be read on."""


class Source(BaseModel):
    """Where turns come from, and which of them are meant."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["recording", "conversations", "journal"]
    path: Path | None = Field(None, description="The file; None for the live journal.")
    selection: Selection = Selection()
    identity: str = Field(description="Differs when the file was changed, or the journal anew.")
    end: int = Field(description="The file's bytes; the last offset of the journal that is read.")
    began: datetime = Field(description="When conversations began of which that is not known.")

    @property
    def name(self) -> str:
        """What people call it."""
        return THE_JOURNAL if self.path is None else str(self.path)


class Progress(NamedTuple):
    """How far reading has come."""

    done: int
    total: int
    unit: Literal["bytes", "records"]


async def find(
    name: str, selection: Selection, client: Client | None = None, prefix: str = ""
) -> Source:
    """Return the source that `name` means: a file's path, or `journal`.

    What a file is, its content says. The journal needs a connection and the mesh's prefix.
    NoSource if there is nothing of that name; GatewayUnavailable if the broker does not answer.
    """
    if name != THE_JOURNAL:
        return await asyncio.to_thread(_file, Path(name), selection)
    if client is None:
        raise NoSource("the live journal needs a broker")
    info = await find_topic(client, prefix, JOURNAL)
    return Source(
        kind="journal",
        selection=selection,
        identity=info.identity,
        end=info.last_offset,
        began=datetime.now(UTC),
    )


class Turns:
    """The turns of a source, to be gone through once: `async with aclosing(aiter(turns))`."""

    def __init__(
        self, source: Source, client: Client | None = None, prefix: str = "", *, after: int = 0
    ) -> None:
        """Read the turns behind the position `after`."""
        self.source = source
        self.position = after
        """Where to read on after what came last. Some of it may come again: of a conversation
        whose turns were not all read, those at its beginning."""
        self.left_out = 0
        """Turns so far that are not meant."""
        self.progress = Progress(0, source.end, "records" if source.path is None else "bytes")
        self._client, self._prefix, self._after = client, prefix, after

    async def __aiter__(self) -> AsyncGenerator[Message | BadLine, None]:
        """Yield each turn that is meant, and each line or record that holds none.

        SourceChanged if it is not what it was; GatewayUnavailable if the broker does not answer.
        """
        batches = self._journal() if self.source.path is None else self._lines(self.source.path)
        async with aclosing(batches):
            async for batch, self.progress in batches:
                for position, item in batch:
                    if isinstance(item, BadLine) or self.source.selection.matches(item):
                        self.position = position
                        yield item
                    else:
                        self.left_out += 1
                        self.position = position

    async def _lines(self, path: Path) -> AsyncGenerator[tuple[list["_Placed"], Progress], None]:
        if await asyncio.to_thread(_identity, path) != self.source.identity:
            raise SourceChanged(f"{path} was changed since reading it began")
        lines = Lines(path)
        if self.source.kind == "recording":
            placed = _recorded(lines, self._after)
        else:
            placed = _said(lines, self.source.began, self._after)
        try:
            while batch := await _in_thread(partial(_ahead, placed, lines)):
                yield batch, Progress(lines.read, lines.size, "bytes")
        finally:
            placed.close()

    async def _journal(self) -> AsyncGenerator[tuple[list["_Placed"], Progress], None]:
        client, prefix, selection = self._client, self._prefix, self.source.selection
        if client is None:
            raise NoSource("the live journal needs a broker")
        info = await find_topic(client, prefix, JOURNAL)
        if info.identity != self.source.identity:
            raise SourceChanged("the journal is another one than when reading it began")
        subjects = every_partition(prefix, JOURNAL)
        if selection.session is not None:
            subjects = info.filter(partition_for(selection.session.encode(), info.partitions))
        with reaching("the journal cannot be read"):
            place, total = await self._beginning(client, info, subjects)
            yield [], Progress(0, total, "records")
            if place:
                records = self._records if selection.session is None else self._of_session
                async with aclosing(records(client, info, subjects, place)) as batches:
                    done = 0
                    async for found, count in batches:
                        done += count
                        batch = await _in_thread(partial(_placed, found))
                        yield batch, Progress(done, total, "records")

    async def _records(
        self, client: Client, info: TopicInfo, subjects: str, place: int
    ) -> AsyncGenerator[tuple[list[Found], int], None]:
        """Yield batches of records up to the end, and how many each time."""
        while place:
            found, place = await direct.batch(
                client, info.stream, subjects, place, BATCH, max_bytes=BATCH_BYTES
            )
            if found and found[-1].record.offset > self.source.end:
                found = [each for each in found if each.record.offset <= self.source.end]
                place = 0
            yield found, len(found)

    async def _of_session(
        self, client: Client, info: TopicInfo, subjects: str, place: int
    ) -> AsyncGenerator[tuple[list[Found], int], None]:
        """Yield the session's records up to the end, and how many were looked at by their keys."""
        key = str(self.source.selection.session).encode()
        async with aclosing(heads(client, info.stream, subjects, place)) as batches:
            async for batch in batches:
                within = [each for each in batch if each.sequence <= self.source.end]
                offsets = [each.sequence for each in within if _key(each) == key]
                found = [
                    await direct.first(client, info.stream, subjects, sequence=offset)
                    for offset in offsets
                ]
                self.left_out += len(within) - len(offsets)
                yield (
                    [each for each in found if each and each.record.offset in offsets],
                    len(within),
                )
                if len(within) < len(batch):
                    return

    async def _beginning(self, client: Client, info: TopicInfo, subjects: str) -> tuple[int, int]:
        """Return the offset to begin at, 0 if there is nothing, and how many records come."""
        first = await direct.first(client, info.stream, subjects, sequence=self._after + 1)
        if (since := self.source.selection.since) is not None:
            # A turn is stored when it has ended: no earlier than it was said.
            then = (since - CLOCKS_APART).timestamp()
            later = await direct.first(client, info.stream, subjects, since=then)
            if later is None or (first and later.record.offset > first.record.offset):
                first = later
        if first is None or first.record.offset > self.source.end:
            return 0, 0
        new = await direct.first(client, info.stream, subjects, sequence=self.source.end + 1)
        return first.record.offset, first.more + 1 - (new.more + 1 if new else 0)


_Placed = tuple[int, Message | BadLine]


def _file(path: Path, selection: Selection) -> Source:
    if not path.exists():
        raise NoSource(f"there is no file {str(path)!r}; `{THE_JOURNAL}` is the live journal")
    if not path.is_file():
        raise NoSource(f"{str(path)!r} is not a file")
    try:
        kind = _kind(path)
        return Source(
            kind=kind,
            path=path.absolute(),
            selection=selection,
            identity=_identity(path),
            end=path.stat().st_size,
            began=datetime.fromtimestamp(int(path.stat().st_mtime), UTC),
        )
    except OSError as error:
        raise NoSource(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _kind(path: Path) -> Literal["recording", "conversations"]:
    for line in islice(Lines(path), LOOKED_AT):
        if isinstance(line, Line):
            if recording.is_header(line.data) or recording.is_turn(line.data):
                return "recording"
            if plain.is_conversation(line.data):
                return "conversations"
    with path.open("rb") as file:
        if file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE):
            raise NoSource(f"{str(path)!r} is UTF-16, as some shells write it: UTF-8 is needed")
    raise NoSource(
        f"{str(path)!r} is neither a recording nor conversations: lines in JSON with `turns`, "
        "each with `role` and `text`"
    )


def _identity(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        raise SourceChanged(f"{path} is gone: {error.strerror or error}") from error
    return f"{found.st_size}-{found.st_mtime_ns}"


def _recorded(lines: Lines, after: int) -> Generator[_Placed, None, None]:
    behind = (line for line in lines if line.number > after)
    for item in recording.turns(behind):
        yield lines.number, item


def _said(lines: Lines, began: datetime, after: int) -> Generator[_Placed, None, None]:
    for found in plain.conversations(lines, began):
        number = lines.number
        if number <= after:
            continue
        if isinstance(found, BadLine):
            yield number, found
            continue
        *others, last = found
        yield from ((number - 1, message) for message in others)
        yield number, last


def _placed(found: list[Found]) -> list[_Placed]:
    return [(each.record.offset, _record(each)) for each in found]


def _key(record: Delivered) -> bytes | None:
    return key_of(record.header)


def _record(found: Found) -> Message | BadLine:
    try:
        return Message.decode(found.record.value or b"")
    except Undecodable as error:
        return BadLine(found.record.offset, str(error))


def _ahead(placed: Iterator[_Placed], lines: Lines) -> list[_Placed]:
    """Return the next turns; none at the end."""
    batch: list[_Placed] = []
    taken = lines.taken
    for each in placed:
        batch.append(each)
        if len(batch) >= BATCH or lines.taken - taken > BATCH_BYTES:
            break
    return batch


async def _in_thread(work: Callable[[], T]) -> T:
    """Return what `work` does in a thread; who is cancelled meanwhile waits until it has ended."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
