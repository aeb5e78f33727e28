"""The trail of a session: every record with its key, found without reading whole topics.

A session's records are all in one partition of each topic. Replies carry the session in their
subject, so JetStream finds them by itself. Of the other topics the newest records are looked
through by their headers alone, so many of each at most. What is older is found by what the
records say of each other: a reply's time leads to the journal (who has a history may know the
place), the journal's hops to the last mailbox, and the id of each record names the one that it was
sent because of.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from streams.bridge import direct
from streams.bridge.layout import (
    KEY,
    MESSAGE_ID,
    Cause,
    cause_of,
    key_token,
    partition_for,
)
from streams.bridge.reader import Delivered, heads
from streams.bridge.records import Record
from streams.bridge.topics import TopicInfo, describe
from streams.dead_letters import ORIGIN
from streams.errors import Undecodable
from streams.inspection.broker import Client
from streams.journal import record_id
from streams.message import Message
from streams.post import reaching
from streams.reply import Reply
from streams.slip import CONVERSATION
from streams.topics import AUDIT, DEAD_LETTERS, JOURNAL, MAILBOXES, REPLIES

T = TypeVar("T")

MOST: Final = 5_000
"""Records of each topic that are looked through from the newest on, unless told otherwise; and
as many at most around a time that something older is known to have happened at."""
SESSION_MOST: Final = 60
"""Records of the session that are taken from one topic at once, the newest ones."""
TURNS: Final = 30
"""Turns older than what was looked through that are followed back, from the newest on."""
WITHIN: Final = 30.0
"""Seconds that one look may take."""
SKEW: Final = 5.0
"""Seconds that the clocks of workers and broker may differ, or a record may take to be stored."""
_AT_ONCE: Final = 8
_BATCH: Final = 256

Position = tuple[str, int]  # topic, offset


class Coverage(BaseModel):
    """How much of a topic was looked through."""

    topic: str
    partition: int
    records: int
    """Records that the partition held at the first look."""
    looked_at: int
    """Of these, how many were looked through, from the newest on."""
    complete: bool
    """Whether nothing of the session can have been missed."""
    left_out: int = 0
    """Records of the session that were seen and not taken: it has too many."""


@dataclass(frozen=True)
class Found:
    """A record of the session, with the turn or the reply that it holds, if it holds one."""

    record: Record
    message: Message | None = None
    reply: Reply | None = None

    @property
    def turn(self) -> str | None:
        """The id of the turn that the record belongs to, None if it does not say."""
        if self.message is not None:
            return self.message.id
        return None if self.reply is None else self.reply.message_id


class Trail:
    """The records of one session, as far as they were found.

    Every `look` goes on where the one before ended, so following a session that is under way
    costs no more than what is new in its partitions.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        session_id: str,
        *,
        most: int = MOST,
        ends: Iterable[int] = (),
        within: float = WITHIN,
    ) -> None:
        self.session_id = session_id
        self.found: dict[Position, Found] = {}
        self.coverage: dict[str, Coverage] = {}
        self._client = client
        self._prefix = prefix
        self._key = session_id.encode()
        self._within = within
        self._mark = f"{KEY}: {session_id}\r\n".encode()
        self._most = most
        self._ends = list(ends)
        """Offsets in the journal that are known to be of this session."""
        self._next: dict[str, int] = {}
        self._topics: dict[str, TopicInfo] = {}
        self._gone: set[Position] = set()
        self._followed: set[str] = set()
        self._sought: set[str] = set()
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def look(self) -> bool:
        """Look at everything that is new, and say whether there was anything of the session.

        GatewayUnavailable if the broker cannot answer; another look may then succeed.
        """
        known = len(self.found)
        with reaching("the conversation cannot be read"):
            async with asyncio.timeout(self._within):
                listed = await describe(self._client.jetstream(), self._prefix)
                # What is compacted holds tables; a table's last state is no message. What the
                # audit holds is about the session, not of it.
                self._topics = {
                    topic.topic: topic
                    for topic in listed
                    if not topic.compacted and topic.topic != AUDIT
                }
                await self._each(self._look_through, self._topics.values())
                if self._ends and (journal := self._topics.get(JOURNAL)) is not None:
                    ends, self._ends = self._ends, []
                    await self._take(journal, ends[-TURNS:])
                await self._follow_replies()
                await self._follow_ends()
                await self._follow_causes()
        return len(self.found) != known

    async def _each(self, work: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
        """Do the same with all items, with a few of them at once."""

        async def do(item: T) -> None:
            async with self._gate:
                await work(item)

        await asyncio.gather(*(do(item) for item in items))

    def _partition(self, topic: TopicInfo) -> int:
        return partition_for(self._key, topic.partitions)

    async def _look_through(self, topic: TopicInfo) -> None:
        if topic.key_in_subject:
            await self._read_subject(topic)
            return
        start = self._next.get(topic.topic)
        if start is not None and start > topic.last_offset:
            return
        if start is None:
            start = await self._begin(topic)
        found: list[int] = []
        looked = 0
        async with aclosing(self._headers(topic, start, topic.last_offset)) as records:
            async for record in records:
                looked += 1
                if self._mark in record.header:
                    found.append(record.sequence)
        self._next[topic.topic] = topic.last_offset + 1
        coverage = self.coverage[topic.topic]
        coverage.looked_at += looked
        coverage.complete = coverage.complete or looked >= coverage.records
        if len(found) > SESSION_MOST:
            coverage.left_out += len(found) - SESSION_MOST
            coverage.complete = False
        await self._take(topic, found[-SESSION_MOST:])

    async def _begin(self, topic: TopicInfo) -> int:
        """Return where to begin to look, and note how much that leaves out."""
        place = topic.filter(partition := self._partition(topic))
        oldest = await direct.first(self._client, topic.stream, place)
        count = oldest.more + 1 if oldest else 0
        start = first = topic.first_offset
        if count > self._most:
            # Partitions grow alike, more or less: the newest so many of ours are in this stretch.
            stretch = (topic.last_offset - first + 1) * self._most // count
            start = max(first, topic.last_offset - stretch + 1)
        self.coverage[topic.topic] = Coverage(
            topic=topic.topic,
            partition=partition,
            records=count,
            looked_at=0,
            complete=start == first,
        )
        return start

    async def _headers(
        self, topic: TopicInfo, start: int, last: int
    ) -> AsyncGenerator[Delivered, None]:
        """Yield the records of the session's partition from `start` to `last`, without values."""
        place = topic.filter(self._partition(topic))
        async with aclosing(heads(self._client, topic.stream, place, start)) as batches:
            async for batch in batches:
                for record in batch:
                    if record.sequence > last:
                        return
                    yield record

    async def _read_subject(self, topic: TopicInfo) -> None:
        partition = self._partition(topic)
        place = f"{topic.filter(partition).removesuffix('>')}{key_token(self._key)}"
        coverage = self.coverage.setdefault(
            topic.topic,
            Coverage(
                topic=topic.topic,
                partition=partition,
                records=0,
                looked_at=0,
                complete=True,
            ),
        )
        position = self._next.get(topic.topic, 1)
        while position:
            batch, position = await direct.batch(
                self._client, topic.stream, place, position, _BATCH
            )
            for found in batch:
                self._add(found.record)
                self._next[topic.topic] = found.record.offset + 1
            coverage.records += len(batch)
            coverage.looked_at += len(batch)

    async def _take(self, topic: TopicInfo, offsets: Iterable[int]) -> None:
        """Read records whole."""
        wanted = [offset for offset in offsets if (topic.topic, offset) not in self.found]
        place = topic.filter(self._partition(topic))
        for found in await asyncio.gather(
            *(direct.first(self._client, topic.stream, place, sequence=one) for one in wanted)
        ):
            # What is gone makes way for its successor, which is another's or known anyway.
            if found is not None:
                self._add(found.record)

    def _add(self, record: Record) -> None:
        if record.key == self._key:
            self.found[record.topic, record.offset] = _found(record)

    async def _follow_causes(self) -> None:
        """Read the records that those found were sent because of, and so on to the beginnings."""
        while (
            causes := {
                (cause.topic, cause.offset)
                for found in self.found.values()
                if (cause := cause_of_record(found.record)) is not None
                and (cause.topic, cause.offset) not in self.found
            }
            - self._gone
        ):
            self._gone |= causes  # what is not there now will not be there later
            by_topic: dict[str, list[int]] = {}
            for topic, offset in causes:
                by_topic.setdefault(topic, []).append(offset)
            for topic, offsets in by_topic.items():
                if (info := self._topics.get(topic)) is not None:
                    await self._take(info, offsets)

    async def _follow_replies(self) -> None:
        """Find the journal's record of the newest turns that have a reply."""
        journal = self._topics.get(JOURNAL)
        if journal is None or self._seen_whole(journal):
            return
        ended = {found.message.run for found in self._on(JOURNAL) if found.message is not None}
        replies = [
            (found.reply.run or found.reply.message_id, found.record.timestamp)
            for found in self._on(REPLIES)
            if found.reply is not None
        ]
        # A turn comes into the journal after its reply: for a while it is worth another look.
        lately = time.time() - 2 * SKEW
        missing = [
            (run, at)
            for run, at in sorted(replies, key=lambda reply: reply[1])[-TURNS:]
            if run not in ended and (run not in self._sought or at > lately)
        ]

        async def follow(reply: tuple[str, float]) -> None:
            run, at = reply
            self._sought.add(run)
            name = f"{MESSAGE_ID}: {record_id(self.session_id, run)}\r\n".encode()
            await self._take(journal, await self._between(journal, at - SKEW, at + SKEW, name))

        await self._each(follow, missing)

    async def _follow_ends(self) -> None:
        """Find the last mailbox, and the first, of the newest turns that have ended."""
        ended = [found.message for found in self._on(JOURNAL) if found.message is not None]
        ended.sort(key=lambda message: message.payload.at)
        left = [message for message in ended[-TURNS:] if message.run not in self._followed]
        await self._each(self._follow_end, left)

    async def _follow_end(self, message: Message) -> None:
        self._followed.add(message.run)
        sent_at = message.payload.at.timestamp()
        await self._find(CONVERSATION, sent_at - SKEW, sent_at + SKEW)
        if message.slip.done and len(message.trace) > 1:
            before, last = message.trace[-2:]
            since, until = before.started_at.timestamp(), last.started_at.timestamp()
            await self._find(message.slip.done[-1], since - SKEW, until + SKEW)

    def _on(self, topic: str) -> list[Found]:
        return [found for (name, _), found in self.found.items() if name == topic]

    async def _find(self, name: str, since: float, until: float) -> None:
        topic = self._topics.get(name)
        if topic is not None and not self._seen_whole(topic):
            await self._take(topic, await self._between(topic, since, until, self._mark))

    def _seen_whole(self, topic: TopicInfo) -> bool:
        coverage = self.coverage.get(topic.topic)
        return coverage is not None and coverage.complete

    async def _between(
        self, topic: TopicInfo, since: float, until: float, mark: bytes
    ) -> list[int]:
        """Return the offsets of the session's partition, stored in that time, that bear `mark`."""
        place = topic.filter(self._partition(topic))
        first = await direct.first(self._client, topic.stream, place, since=since)
        found: list[int] = []
        if first is None:
            return found
        looked = 0
        start = first.record.offset
        async with aclosing(self._headers(topic, start, topic.last_offset)) as records:
            async for record in records:
                looked += 1
                if record.time > until or looked > MOST:
                    break
                if mark in record.header:
                    found.append(record.sequence)
        return found[-SESSION_MOST:]


def cause_of_record(record: Record) -> Cause | None:
    """Return the record that `record` was sent because of, as far as it says so."""
    for name, value in record.headers:
        if name == ORIGIN:
            topic, _, place = value.decode("utf-8", "replace").partition("/")
            partition, _, offset = place.partition("/")
            if partition.isdecimal() and offset.isdecimal():
                return Cause(topic, int(partition), int(offset))
    return cause_of(record.message_id)


def _found(record: Record) -> Found:
    value = record.value or b""
    with suppress(Undecodable, ValidationError):
        if record.topic == REPLIES:
            return Found(record, reply=Reply.model_validate_json(value))
        if record.topic in (*MAILBOXES, JOURNAL, DEAD_LETTERS):
            return Found(record, message=Message.decode(value))
    return Found(record)
