"""Following a topic: what is stored from now on, as much of it as people can look at.

The stream is asked twice a second what is new. What is more than a handful, because much
is stored or because whoever looks is slow, is counted and passed over, unread: so following costs
the broker the same, however much goes through, and never holds anybody up.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client

from streams.bridge import direct
from streams.bridge.direct import Found
from streams.bridge.topics import TopicInfo
from streams.inspection.record import RecordView
from streams.inspection.scan import Filter, find_topic
from streams.post import reaching

LOOK_SECONDS: Final = 0.5
AT_ONCE: Final = 20
"""Records that are read at a look; of more the newest."""
BYTES_AT_ONCE: Final = 1024 * 1024


@dataclass(frozen=True)
class News:
    """What has come since the last look."""

    records: list[RecordView]
    """Those that are wanted, oldest first."""
    dropped: int
    """How many were passed over unread, whether wanted or not."""
    seen: int
    """How many were read."""


async def tail(
    client: Client, prefix: str, topic: str, wanted: Filter
) -> AsyncGenerator[News, None]:
    """Yield what is new in a topic, twice a second and for ever, also when it is nothing.

    NoSuchTopic, or GatewayUnavailable if the broker does not answer.
    """
    info = await find_topic(client, prefix, topic)
    with reaching("the topic cannot be followed"):
        follower = _Follower(client, info, wanted.subjects(info))
        await follower.start()
        yield News([], 0, 0)
        while True:
            found, dropped = await follower.look()
            records = []
            for each in found:
                if (shown := await wanted.look(each)) is not None:
                    records.append(shown)
                await asyncio.sleep(0)  # whatever else this process does gets its turn
            yield News(records, dropped, len(found))
            await asyncio.sleep(LOOK_SECONDS)


class _Follower:
    def __init__(self, client: Client, info: TopicInfo, subjects: str) -> None:
        self.client = client
        self.stream = info.stream
        self.subjects = subjects
        self.position = 1
        # Since records were first passed over: from where on, how many were read, how many told.
        self._anchor = 1
        self._read = 0
        self._told = 0

    async def start(self) -> None:
        """Begin behind what is there."""
        newest = await direct.last(self.client, self.stream, self.subjects)
        self.position = self._anchor = newest.record.offset + 1 if newest else 1

    async def look(self) -> tuple[list[Found], int]:
        """Return what is new, and how many records were passed over."""
        upcoming = await self._from(self.position)
        found: list[Found] = []
        if upcoming is not None:
            begin = upcoming.record.offset
            if upcoming.more + 1 > AT_ONCE:
                begin = await self._near_the_end(begin, upcoming.more + 1)
            found, _ = await direct.batch(
                self.client, self.stream, self.subjects, begin, AT_ONCE, max_bytes=BYTES_AT_ONCE
            )
            passed = self._anchor < self.position or begin > upcoming.record.offset
            self.position = found[-1].record.offset + 1 if found else begin
            self._read += len(found)
            if not passed:
                self._settle()
        return found, await self._dropped() if self._anchor < self.position else 0

    async def _dropped(self) -> int:
        """Return how many more were passed over than was told so far.

        The two counts are of two moments: what is stored between them makes the result too small
        for now, never too large, and is told at the next look.
        """
        since = await self._count(self._anchor)
        waiting = await self._count(self.position)
        more = max(since - waiting - self._read - self._told, 0)
        self._told += more
        if not waiting:
            self._settle()
        return more

    def _settle(self) -> None:
        self._anchor, self._read, self._told = self.position, 0, 0

    async def _near_the_end(self, begin: int, left: int) -> int:
        """Return an offset with not many more than `AT_ONCE` records from there on."""
        while left > AT_ONCE:
            newest = await direct.last(self.client, self.stream, self.subjects)
            end = newest.record.offset if newest else begin
            # Offsets have gaps: guess in proportion, and count what that comes to.
            guess = end - (end - begin) * AT_ONCE // left
            if guess <= begin:
                guess = end - AT_ONCE + 1
            upcoming = await self._from(guess) if guess > begin else None
            if upcoming is None:
                break
            begin, left = upcoming.record.offset, upcoming.more + 1
        return begin

    async def _from(self, sequence: int) -> Found | None:
        return await direct.first(self.client, self.stream, self.subjects, sequence=sequence)

    async def _count(self, sequence: int) -> int:
        found = await self._from(sequence)
        return found.more + 1 if found else 0
