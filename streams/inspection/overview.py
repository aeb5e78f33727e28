"""Every topic at a glance: what it holds, how fast it grows, how far it is read, and by whom.

All figures come from the streams themselves and from what the groups have agreed on, so they are
right directly after a start. Offsets have gaps, so nothing is found by subtracting them: the
server counts the records of a partition from an offset on, and those stored in the last minute.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from nats.aio.client import Client
from pydantic import BaseModel, Field

from streams.bridge import direct
from streams.bridge.groups import Committed, GroupInfo, GroupMember, read_groups
from streams.bridge.layout import Place, escape
from streams.bridge.topics import TopicInfo, describe
from streams.post import reaching
from streams.settings import Settings
from streams.topics import topics as known_topics

RATE_SECONDS: Final = 60.0
AT_ONCE: Final = 32
"""Questions that are asked of the server at once."""


class GroupReading(BaseModel):
    """How far one group has read one partition, and which of its workers do."""

    group: str
    committed: int | None = Field(None, description="The offset to read next; None: none yet.")
    lag: int | None = Field(None, description="Records from there on; None for changelogs.")
    owner: str | None = Field(None, description="The worker that owns it; None: nobody just now.")
    standbys: list[str] = Field(
        [], description="Workers that are to take it over; of a changelog they keep a copy."
    )


class PartitionView(BaseModel):
    """One partition of a topic."""

    number: int
    messages: int = 0
    first_offset: int | None = None
    last_offset: int | None = None
    last_at: datetime | None = None
    readers: list[GroupReading] = []


class TopicView(BaseModel):
    """One topic."""

    name: str
    kind: str
    messages: int = 0
    bytes: int | None = Field(None, description="None where topics share a stream.")
    last_minute: int = Field(
        0,
        description="Records stored in the last 60 seconds. Of a compacted topic with a stream of "
        "its own also those that a later one has replaced, since the oldest that is still there; "
        "in a shared stream only those that are still there.",
    )
    lag: int | None = Field(None, description="Of the group that is furthest behind, all in all.")
    compacted: bool = False
    retention_seconds: float | None = Field(None, description="None: records stay.")
    stream: str = ""
    owner: str = Field("", description="The app that declared it.")
    partitions: list[PartitionView] = []


class MemberView(BaseModel):
    """One worker of a group."""

    name: str = Field(description="Host and port of its own pages, or its id.")
    id: str
    alive: bool
    partitions: int = Field(description="Partitions that it owns, changelogs included.")
    standbys: int = Field(description="Changelog partitions that it keeps a copy of.")


class GroupView(BaseModel):
    """One group of workers."""

    name: str
    generation: int
    rebalancing: bool
    members: list[MemberView] = []


class Overview(BaseModel):
    """All topics and groups of the mesh's prefix at one moment."""

    at: datetime
    prefix: str
    bytes: int = Field(0, description="Of all streams together.")
    topics: list[TopicView] = []
    groups: list[GroupView] = []

    def topic(self, name: str) -> TopicView | None:
        """Return one topic, None if there is none of that name."""
        return next((topic for topic in self.topics if topic.name == name), None)


class Observer:
    """Looks at all topics, again and again; what has not changed it does not ask for again."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._kinds = {name: topic.kind for name, topic in known_topics(settings).items()}
        self._known: dict[str, tuple[tuple[object, ...], list[PartitionView]]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def look(self) -> Overview:
        """Return everything; GatewayUnavailable with the reason if the broker cannot tell."""
        with reaching("the topics cannot be looked at"):
            prefix = self._settings.prefix
            infos, groups = await asyncio.gather(
                describe(self._client.jetstream(), prefix), read_groups(self._client, prefix)
            )
            topics = await asyncio.gather(*(self._topic(info, groups) for info in infos))
            return Overview(
                at=datetime.now(UTC),
                prefix=prefix,
                bytes=sum({info.stream: info.bytes for info in infos}.values()),
                topics=topics,
                groups=[_group(group) for group in groups],
            )

    def kind(self, info: TopicInfo) -> str:
        """Return what a topic is kept for; tables' changelogs are known by Faust's naming."""
        if kind := self._kinds.get(info.topic):
            return kind
        if info.compacted and info.topic.endswith("-changelog"):
            return "changelog"
        return "other"

    async def _topic(self, info: TopicInfo, groups: list[GroupInfo]) -> TopicView:
        state = (info.identity, info.messages, info.first_offset, info.last_offset)
        known = self._known.get(info.topic)
        if known is not None and known[0] == state:
            ranges = known[1]
        else:
            ranges = await asyncio.gather(
                *(self._range(info, number) for number in range(info.partitions))
            )
            self._known[info.topic] = (state, ranges)
        partitions = await asyncio.gather(
            *(self._partition(info, partition, groups) for partition in ranges)
        )
        return TopicView(
            name=info.topic,
            kind=self.kind(info),
            messages=sum(partition.messages for partition in partitions),
            bytes=None if info.shared else info.bytes,
            last_minute=await self._last_minute(info),
            lag=_furthest_behind(partitions),
            compacted=info.compacted,
            retention_seconds=info.max_age,
            stream=info.stream,
            owner=info.owner,
            partitions=partitions,
        )

    async def _range(self, info: TopicInfo, number: int) -> PartitionView:
        """Return what a partition holds, without who reads it."""
        subjects = info.filter(number)
        async with self._turn:
            first = await direct.first(self._client, info.stream, subjects)
            last = await direct.last(self._client, info.stream, subjects) if first else None
        if first is None or last is None:
            return PartitionView(number=number)
        return PartitionView(
            number=number,
            messages=first.more + 1,
            first_offset=first.record.offset,
            last_offset=last.record.offset,
            last_at=datetime.fromtimestamp(last.stored, UTC),
        )

    async def _partition(
        self, info: TopicInfo, known: PartitionView, groups: Iterable[GroupInfo]
    ) -> PartitionView:
        readers = [
            reading
            for group in groups
            if (reading := await self._reading(info, known, group)) is not None
        ]
        return known.model_copy(update={"readers": readers})

    async def _reading(
        self, info: TopicInfo, partition: PartitionView, group: GroupInfo
    ) -> GroupReading | None:
        """Return how far a group is in a partition, None if it has nothing to do with it."""
        place = Place(info.topic, partition.number)
        owner = next((m for m in group.members if _holds(m.actives, place)), None)
        standbys = [worker_name(m) for m in group.members if _holds(m.standbys, place)]
        committed = group.committed.get(place)
        if committed is None and owner is None and not standbys:
            return None
        reading = GroupReading(
            group=group.name,
            owner=worker_name(owner) if owner is not None and owner.alive else None,
            standbys=standbys,
        )
        if committed is None and self.kind(info) == "changelog":
            return reading
        reading.committed = _valid(committed, info)
        reading.lag = await self._lag(info, partition, reading.committed)
        return reading

    async def _lag(self, info: TopicInfo, partition: PartitionView, committed: int | None) -> int:
        """Return how many records of a partition are still to be read."""
        if partition.first_offset is None or partition.last_offset is None:
            return 0
        if committed is None or committed <= partition.first_offset:
            return partition.messages
        if committed > partition.last_offset:
            return 0
        async with self._turn:
            found = await direct.first(
                self._client, info.stream, info.filter(partition.number), sequence=committed
            )
        return found.more + 1 if found else 0

    async def _last_minute(self, info: TopicInfo) -> int:
        async with self._turn:
            found = await direct.first(
                self._client,
                info.stream,
                f"{info.prefix}.{escape(info.topic)}.>",
                since=time.time() - RATE_SECONDS,
            )
        if found is None:
            return 0
        there = found.more + 1
        if info.compacted and not info.shared:
            return max(there, info.last_offset - found.record.offset + 1)
        return there


def worker_name(member: GroupMember) -> str:
    """Return what people call a worker: host and port of its pages, else its id."""
    return member.url.rpartition("://")[2].rstrip("/") or member.id


def _holds(partitions: object, place: Place) -> bool:
    return isinstance(partitions, dict) and place.partition in partitions.get(place.topic, ())


def _valid(committed: Committed | None, info: TopicInfo) -> int | None:
    """Return the offset, unless it was committed for an earlier topic of the same name."""
    if committed is None or committed.identity != info.identity:
        return None
    return committed.offset


def _furthest_behind(partitions: Iterable[PartitionView]) -> int | None:
    lags: dict[str, int] = {}
    for partition in partitions:
        for reading in partition.readers:
            if reading.lag is not None:
                lags[reading.group] = lags.get(reading.group, 0) + reading.lag
    return max(lags.values(), default=None)


def _group(group: GroupInfo) -> GroupView:
    return GroupView(
        name=group.name,
        generation=group.generation,
        rebalancing=group.rebalancing,
        members=[
            MemberView(
                name=worker_name(member),
                id=member.id,
                alive=member.alive,
                partitions=sum(map(len, member.actives.values())),
                standbys=sum(map(len, member.standbys.values())),
            )
            for member in group.members
        ],
    )
