"""Searching a topic: newest or oldest first, filtered, bounded, with progress, and to be stopped.

Records are read directly from the stream in batches, each asked for when the one before has been
looked at: who stops asking has stopped the scan. Streams are read forwards only, so newest first
means windows of sequences, from the end to the beginning, each read forwards and turned round.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Literal

from nats.aio.client import Client

from streams.bridge import direct
from streams.bridge.direct import Found
from streams.bridge.layout import escape, key_token
from streams.bridge.topics import TopicInfo, lookup
from streams.errors import MeshError
from streams.inspection.expression import Expression
from streams.inspection.record import RecordView, view
from streams.post import reaching

BATCH: Final = 128
BATCH_BYTES: Final = 1024 * 1024
WINDOW: Final = 128
"""Sequences of the first window; later ones grow while little is found in them."""
WINDOW_MAX: Final = 65_536
HELD: Final = 1024
"""Records of one window that are held at most."""
HELD_BYTES: Final = 8 * 1024 * 1024
PROGRESS_SECONDS: Final = 0.25
LARGE: Final = 32_768
"""Bytes from which a record is looked at in a thread, so that others get their turn meanwhile."""


class NoSuchTopic(MeshError):
    """There is no topic of that name."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"There is no topic {topic!r}.")


async def find_topic(client: Client, prefix: str, name: str) -> TopicInfo:
    """Return a topic; the mesh's own may be named without `mesh.`. NoSuchTopic if none is."""
    js = client.jetstream()
    with reaching("the topic cannot be read"):
        info = await lookup(js, prefix, name) or await lookup(js, prefix, f"mesh.{name}")
    if info is None:
        raise NoSuchTopic(name)
    return info


@dataclass(frozen=True)
class Filter:
    """Which records are wanted: all that fulfil everything that is given."""

    partition: int | None = None
    key: str | None = None
    text: str | None = None
    """What the content or a header contains, in any case."""
    expression: Expression | None = None
    """What must be true of the JSON value."""
    unmask: bool = False
    """Look at records as they are; else at what is shown of them, with personal data masked."""

    def subjects(self, info: TopicInfo) -> str:
        """Return the subjects that hold the wanted records of a topic, and perhaps others."""
        partition = "*" if self.partition is None else str(self.partition)
        base = f"{info.prefix}.{escape(info.topic)}.{partition}"
        if not info.keyed:
            return base
        return f"{base}.>" if self.key is None else f"{base}.{key_token(self.key.encode())}"

    async def look(self, found: Found) -> RecordView | None:
        """Return the record as it is shown if it is wanted, else None."""
        if self.key is not None and found.record.key != self.key.encode():
            return None
        if len(found.record.value or b"") > LARGE:
            return await asyncio.to_thread(self._look, found)
        return self._look(found)

    def _look(self, found: Found) -> RecordView | None:
        # Masking, which takes longest, adds nothing but dots to a text.
        quick = self.text and not self.unmask and "•" not in self.text
        if quick and not _contains(view(found, unmask=True), self.text or ""):
            return None
        shown = view(found, unmask=self.unmask)
        if self.text and not _contains(shown, self.text):
            return None
        if self.expression is not None and (
            shown.form != "json" or not self.expression.matches(shown.value)
        ):
            return None
        return shown


@dataclass(frozen=True)
class Query:
    """What to search, from where, and within which bounds."""

    topic: str
    filter: Filter = field(default_factory=Filter)
    newest_first: bool = True
    offset: int | None = None
    """Where to begin: oldest first the first offset that counts, newest first the last one."""
    at: float | None = None
    """When to begin, in seconds since 1970: oldest first from then on, newest first before."""
    limit: int = 100
    """Records that are found at most."""
    max_records: int = 20_000
    """Records that are looked at, at most."""
    max_bytes: int = 64 * 1024 * 1024
    max_seconds: float = 30.0


@dataclass(frozen=True)
class Progress:
    """How far a scan has come."""

    scanned: int
    total: int
    """How many there are to be looked at in all, if no bound comes first."""
    found: int
    bytes: int
    offset: int | None = None
    """The last that was looked at."""
    at: float | None = None
    """When that was stored."""


@dataclass(frozen=True)
class End:
    """Why a scan has ended, and where another would go on (`Query.offset`)."""

    reason: Literal["end", "limit", "records", "bytes", "seconds"]
    progress: Progress
    go_on: int | None = None
    """None at the end."""


async def scan(
    client: Client, prefix: str, query: Query
) -> AsyncGenerator[RecordView | Progress | End, None]:
    """Yield wanted records and, now and then, how far it has come; the last is an `End`.

    NoSuchTopic, or GatewayUnavailable if the broker does not answer.
    """
    info = await find_topic(client, prefix, query.topic)
    with reaching("the topic cannot be read"):
        async with aclosing(_Scan(client, info, query).run()) as results:
            async for each in results:
                yield each


class _Scan:
    def __init__(self, client: Client, info: TopicInfo, query: Query) -> None:
        self.client = client
        self.info = info
        self.query = query
        self.subjects = query.filter.subjects(info)
        self.scanned = self.found = self.bytes = self.total = 0
        self.last: Found | None = None
        self.began = self.told = time.monotonic()

    async def run(self) -> AsyncGenerator[RecordView | Progress | End, None]:
        records = self._backwards() if self.query.newest_first else self._forwards()
        async with aclosing(records):
            async for each in records:
                if (reason := self._bound()) is not None:
                    yield End(reason, self._progress(), each.record.offset)
                    return
                self.scanned += 1
                self.bytes += len(each.record.value or b"")
                self.last = each
                shown = await self.query.filter.look(each)
                if shown is not None:
                    self.found += 1
                    yield shown
                now = time.monotonic()
                if now - self.told >= PROGRESS_SECONDS:
                    self.told = now
                    yield self._progress()
                await asyncio.sleep(0)  # whatever else this process does gets its turn
        yield End("end", self._progress())

    def _bound(self) -> Literal["limit", "records", "bytes", "seconds"] | None:
        """Return which bound is reached, if one is."""
        query = self.query
        if self.found >= query.limit:
            return "limit"
        if self.scanned >= query.max_records:
            return "records"
        if self.bytes >= query.max_bytes:
            return "bytes"
        if time.monotonic() - self.began >= query.max_seconds:
            return "seconds"
        return None

    def _progress(self) -> Progress:
        return Progress(
            self.scanned,
            self.total,
            self.found,
            self.bytes,
            self.last.record.offset if self.last else None,
            self.last.stored if self.last else None,
        )

    async def _first(self, sequence: int = 1, since: float | None = None) -> Found | None:
        return await direct.first(
            self.client, self.info.stream, self.subjects, sequence=sequence, since=since
        )

    async def _count(self, sequence: int) -> int:
        found = await self._first(sequence)
        return found.more + 1 if found else 0

    async def _forwards(self) -> AsyncGenerator[Found, None]:
        start = await self._first(self.query.offset or 1, self.query.at)
        if start is None:
            return
        if self.query.offset is not None and start.record.offset < self.query.offset:
            start = await self._first(self.query.offset)  # the time lies before the offset
            if start is None:
                return
        self.total = start.more + 1
        async for each in direct.every(
            self.client,
            self.info.stream,
            self.subjects,
            start.record.offset,
            size=BATCH,
            max_bytes=BATCH_BYTES,
        ):
            yield each

    async def _backwards(self) -> AsyncGenerator[Found, None]:
        oldest = await self._first()
        if oldest is None:
            return
        end = await self._end()
        behind = await self._count(end)
        self.total = oldest.more + 1 - behind
        width = WINDOW
        while end > oldest.record.offset:
            begin = max(end - width, 1)
            counted = await self._count(begin)
            there = max(counted - behind, 0)
            window = await self._window(begin, there) if there <= HELD else None
            if window is None:
                width = max(width // 8, 1)  # too much to hold at once
                continue
            for each in reversed(window):
                if each.record.offset < end:
                    yield each
            end, behind = begin, counted
            if there < WINDOW // 4:
                width = min(width * 4, WINDOW_MAX)

    async def _end(self) -> int:
        """Return the first sequence that a scan backwards leaves out."""
        ends = []
        if self.query.offset is not None:
            ends.append(self.query.offset + 1)
        if self.query.at is not None and (later := await self._first(since=self.query.at)):
            ends.append(later.record.offset)
        if not ends:
            newest = await direct.last(self.client, self.info.stream, self.subjects)
            ends.append(newest.record.offset + 1 if newest else 1)
        return min(ends)

    async def _window(self, begin: int, count: int) -> list[Found] | None:
        """Return so many records from `begin` on; None if they are too many bytes to hold."""
        records: list[Found] = []
        held, position = 0, begin
        while position and len(records) < count:
            batch, position = await direct.batch(
                self.client,
                self.info.stream,
                self.subjects,
                position,
                min(count - len(records), BATCH),
                max_bytes=BATCH_BYTES,
            )
            records += batch
            held += sum(len(each.record.value or b"") for each in batch)
            if held > HELD_BYTES and count > 1:
                return None
        return records


def _contains(shown: RecordView, text: str) -> bool:
    wanted = text.casefold()
    if wanted in shown.content().casefold():
        return True
    if shown.form == "json" and '"' in wanted:  # a piece of JSON, perhaps written without spaces
        compact = json.dumps(shown.value, ensure_ascii=False, separators=(",", ":"))
        if wanted in compact.casefold():
            return True
    return any(wanted in f"{name}: {value}".casefold() for name, value in shown.headers)
