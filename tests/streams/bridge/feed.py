"""Numbered records for the chain of `chain.py`, and a look at what became of them."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from nats.aio.client import Client

from streams.bridge.bucket import Bucket, SharedBucket
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import (
    MESSAGE_ID,
    encode_headers,
    offsets_base,
    partition_for,
    shared_stream,
    subject,
)
from streams.bridge.publisher import Publisher
from streams.bridge.records import Record
from streams.bridge.topics import TopicSpec, declare, describe, lookup
from tests.faust_apps import read_topic
from tests.waiting import until

PARTITIONS = 4


class Feed:
    """Puts numbered records into the chain, and sees what comes out of it."""

    def __init__(self, client: Client, prefix: str, *, exact: bool = False) -> None:
        self.client = client
        self.prefix = prefix
        self.exact = exact
        """Whether the chain processes exactly once: its topics share a stream, its counts count."""
        self.publisher = Publisher(client)
        self.sent = 0

    async def start(self, **options: Any) -> None:
        """Declare the first topic, with more options of a `TopicSpec` if need be."""
        spec = TopicSpec("first", PARTITIONS, prefix=self.prefix, shared=self.exact, **options)
        await declare(self.client.jetstream(), spec)
        await self.publisher.start()

    async def send(self, count: int) -> None:
        for number in range(self.sent, self.sent + count):
            key, value = b"key%d" % (number % 40), b"%d." % number
            where = subject(self.prefix, "first", partition_for(key, PARTITIONS))
            headers = encode_headers(key, value) | {MESSAGE_ID: f"fed-{number}"}
            self.publisher.publish(where, value, headers)
        self.sent += count
        await self.publisher.flush()

    async def count(self, topic: str) -> int:
        info = await lookup(self.client.jetstream(), self.prefix, topic)
        if info is None or not info.shared:
            return 0 if info is None else info.messages
        topics = await describe(self.client.jetstream(), self.prefix)
        return sum(info.messages for info in topics if info.topic == topic)

    async def committed(self) -> bool:
        """Say whether the chain has committed an offset of every partition of its first topic."""
        if self.exact:
            stream, base = shared_stream(self.prefix), offsets_base(self.prefix)
            bucket: Bucket = SharedBucket(self.client, stream, base)
        else:
            bucket = Bucket(self.client, f"{self.prefix}-groups")
        keys = [f"offset.chain.first.{number}" for number in range(PARTITIONS)]
        entries = [await bucket.get(key) for key in keys]
        return all(
            entry is not None and entry.value and json.loads(entry.value)["offset"]
            for entry in entries
        )

    async def arrived(self, topic: str, least: int) -> None:
        """Wait until a topic holds `least` records."""

        async def enough() -> bool:
            return await self.count(topic) >= least

        await until(enough, f"{least} records in {topic}")

    async def values(self, topic: str) -> list[Record]:
        """Return all records that a topic holds; none if it is not there."""
        return await read_topic(self.client, self.prefix, topic)

    async def check(self) -> None:
        """Everything sent has come through, each record once in every topic and in the table."""
        await self.arrived("third", self.sent)
        await self.arrived("counted", self.sent)
        await self.arrived("chain-seen-changelog", self.sent)
        wanted = {b"%d." % number for number in range(self.sent)}
        for topic, suffix in (("second", b"1"), ("third", b"12")):
            values = [record.value for record in await self.values(topic)]
            assert sorted(values, key=str) == sorted((v + suffix for v in wanted), key=str), topic
        counted = [
            (record.value or b"").partition(b":")[0] for record in await self.values("counted")
        ]
        assert sorted(counted) == sorted(value + b"12" for value in wanted)
        keys = {record.key for record in await self.values("chain-seen-changelog")}
        assert keys == {value + b"1" for value in wanted}
        if self.exact:
            await self._check_counts()

    async def _check_counts(self) -> None:
        """Every record has been counted, for its key, exactly once and in order."""
        counts: dict[bytes | None, list[int]] = {}
        values: list[bytes] = []
        for record in await self.values("counted"):
            value, _, count = (record.value or b"").partition(b":")
            values.append(value)
            counts.setdefault(record.key, []).append(int(count))
        assert sorted(values) == sorted(b"%d.12" % number for number in range(self.sent))
        for key, numbers in counts.items():
            assert numbers == list(range(1, len(numbers) + 1)), (key, numbers)


@contextlib.asynccontextmanager
async def feeding(
    url: str, prefix: str, guarantee: str = "at_least_once", **options: Any
) -> AsyncIterator[Feed]:
    """Feed a chain over a connection that may be interrupted."""

    async def reconnected() -> None:
        chain.publisher.send_again()

    client = await connect(parse_url(url), name="test", on_reconnect=reconnected)
    chain = Feed(client, prefix, exact=guarantee == "exactly_once")
    try:
        await chain.start(**options)
        yield chain
    finally:
        await chain.publisher.stop()
        await client.close()
