"""Slow agents and fast senders: memory stays bounded, nothing fails, nothing is lost."""
# Faust's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import pytest
from faust.types import StreamT
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.conductor import QUEUE_BYTES
from streams.bridge.layout import encode_headers, stream_name, subject
from streams.bridge.publisher import BYTES, Publisher
from streams.bridge.reader import BATCH_BYTES
from streams.bridge.topics import TopicSpec, declare
from tests.faust_apps import running
from tests.waiting import until

from .conftest import Worker
from .feed import PARTITIONS, Feed, feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]
SLACK = 16 * 1024 * 1024
IN_FLIGHT = 6 * BYTES
"""A record in flight is held by Faust, by the publisher, and by the socket."""


class Memory:
    """The memory that a process holds, watched while it works."""

    def __init__(self, worker: Worker) -> None:
        self.process = psutil.Process(worker.process.pid)
        self.before = self.now()
        self.most = self.before
        self.watching = asyncio.create_task(self._watch())

    def now(self) -> int:
        return int(self.process.memory_info().rss)

    async def _watch(self) -> None:
        while True:
            self.most = max(self.most, self.now())
            await asyncio.sleep(0.02)

    async def growth(self) -> int:
        """Stop watching; return by how many bytes the process grew at most."""
        self.watching.cancel()
        await asyncio.wait([self.watching])
        return self.most - self.before


async def put(client: Client, prefix: str, topic: str, count: int, size: int) -> None:
    """Fill a topic, evenly."""
    await declare(client.jetstream(), TopicSpec(topic, PARTITIONS, prefix=prefix))
    publisher = Publisher(client)
    await publisher.start()
    for number in range(count):
        await publisher.room()
        where = subject(prefix, topic, number % PARTITIONS)
        value = b"%d " % number + bytes(size)
        publisher.publish(where, value, encode_headers(b"%d" % (number % PARTITIONS), value))
    await publisher.flush()
    await publisher.stop()


async def is_read(client: Client, prefix: str, topic: str) -> bool:
    """Say whether records of every partition have been delivered to somebody."""
    readers = await client.jetstream().consumers_info(stream_name(prefix, topic))
    delivered = [reader for reader in readers if reader.delivered and reader.delivered.consumer_seq]
    return len(delivered) >= PARTITIONS


@pytest.mark.parametrize(("count", "size"), [(20_000, 10_000), (400, 500_000)])
async def test_a_slow_agent_with_200_mb_before_it(
    client: Client, prefix: str, start_worker: StartWorker, count: int, size: int
) -> None:
    worker = start_worker(module="flood", COUNT="0")
    await until(lambda: "Worker ready" in worker.output, "worker ready")
    memory = Memory(worker)
    await put(client, prefix, "backlog", count, size)
    await until(partial(is_read, client, prefix, "backlog"), "all partitions are being read")
    await asyncio.sleep(2)
    assert await memory.growth() < QUEUE_BYTES + PARTITIONS * 5 * BATCH_BYTES + SLACK
    assert worker.stop() == 0


async def test_sending_faster_than_the_server_takes(
    own_server: NatsServer, prefix: str, start_worker: StartWorker
) -> None:
    async with feeding(own_server.url, prefix) as feed:
        worker = start_worker(own_server.url, module="flood")
        await until(lambda: "Worker ready" in worker.output, "worker ready")
        memory = Memory(worker)
        for _ in range(8):
            own_server.pause()
            await asyncio.sleep(0.5)
            own_server.resume()
            await asyncio.sleep(0.2)
        own_server.pause()
        await asyncio.sleep(6)
        own_server.resume()

        async def done() -> bool:
            return await feed.count("drops") >= 20_000

        await until(done, "20,000 records are stored")
        assert await memory.growth() < IN_FLIGHT
        numbers = [int(r.value.split()[0]) for r in await feed.values("drops") if r.value]
        assert numbers == list(range(20_000))
        assert worker.stop() == 0


async def test_agents_that_do_not_wait_are_slowed_too(
    own_server: NatsServer, prefix: str, start_worker: StartWorker
) -> None:
    async with feeding(own_server.url, prefix) as feed:
        worker = start_worker(own_server.url, module="flood", COUNT="0", SIZE="10000")
        await until(lambda: "Worker ready" in worker.output, "worker ready")
        memory = Memory(worker)
        sending = asyncio.create_task(put(feed.client, prefix, "seeds", 400, 10))
        await feed.arrived("drops", 100)
        own_server.pause()
        await asyncio.sleep(3)
        own_server.resume()
        await sending

        async def done() -> bool:
            return await feed.count("drops") >= 20_000

        await until(done, "20,000 records are stored")
        assert await memory.growth() < IN_FLIGHT
        assert worker.stop() == 0


async def test_stopping_does_not_wait_for_a_server_that_reads_nothing(
    own_server: NatsServer, prefix: str, start_worker: StartWorker
) -> None:
    async with feeding(own_server.url, prefix) as feed:
        worker = start_worker(own_server.url, module="flood", COUNT="1000000", OPTIONS="&drain=1")
        await feed.arrived("drops", 100)
        own_server.pause()
        await asyncio.sleep(1)
        worker.process.terminate()
        assert await asyncio.to_thread(worker.process.wait, 60) != 0, "something was lost"
        assert "records could not be stored before the end" in worker.output
        own_server.resume()


async def test_nothing_overtakes_what_waits_for_room(
    new_app: Callable[..., Any], feed: Feed
) -> None:
    app = new_app(producer_partitioner=lambda key, partitions, available: 0)
    seeds = app.topic("seeds", value_type=int)
    drops = app.topic("drops", key_serializer="raw", value_serializer="raw")
    last = app.Table("last", key_type=str, value_type=int)

    @app.agent(seeds)
    async def send(stream: StreamT[Any]) -> None:
        async for seed in stream:
            for number in range(seed * 100, seed * 100 + 100):
                drops.send_soon(key=b"k", value=b"%d" % (2 * number))
                last["k"] = number
                if number % 3 == 0:
                    await asyncio.sleep(0)
                if number % 7 == 0:
                    await drops.send(key=b"k", value=b"%d" % (2 * number + 1))

    async with running(app):
        app.producer.link.publisher.limit = 3
        for seed in range(10):
            await seeds.send(key="k", value=seed)
        await until(lambda: app.consumer._n_acked == 10)
        await app.producer.flush()
    numbers = [int(record.value or b"") for record in await feed.values("drops")]
    assert len(numbers) == 1000 + 143
    assert numbers == sorted(numbers)
    changes = await feed.values("app-last-changelog")
    assert [record.value for record in changes] == [b"999"]
