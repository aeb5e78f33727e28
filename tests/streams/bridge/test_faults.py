"""Nothing is lost and nothing done twice, whoever is killed: workers and servers in processes."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import encode_headers, partition_for, subject
from streams.bridge.publisher import Publisher
from streams.bridge.records import Record, decode
from streams.bridge.topics import TopicSpec, declare, lookup

from .conftest import Worker, until

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]
PARTITIONS = 4


class Feed:
    """Puts numbered records into the chain, and sees what comes out of it."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.publisher = Publisher(client)
        self.sent = 0

    async def start(self) -> None:
        await declare(self.client.jetstream(), TopicSpec("first", PARTITIONS, prefix=self.prefix))
        await self.publisher.start()

    async def send(self, count: int) -> None:
        for number in range(self.sent, self.sent + count):
            key, value = b"key%d" % (number % 40), b"%d." % number
            where = subject(self.prefix, "first", partition_for(key, PARTITIONS))
            self.publisher.publish(where, value, encode_headers(key, value))
        self.sent += count
        await self.publisher.flush()

    async def count(self, topic: str) -> int:
        info = await lookup(self.client.jetstream(), self.prefix, topic)
        return 0 if info is None else info.messages

    async def arrived(self, topic: str, least: int) -> None:
        """Wait until a topic holds `least` records."""

        async def enough() -> bool:
            return await self.count(topic) >= least

        await until(enough, f"{least} records in {topic}", deadline=60)

    async def values(self, topic: str) -> list[Record]:
        """Return all records that a topic holds."""
        info = await lookup(self.client.jetstream(), self.prefix, topic)
        assert info is not None
        found: list[Record] = []
        subscription = await self.client.jetstream().subscribe(
            f"{self.prefix}.{topic}.>", ordered_consumer=True, stream=info.stream
        )
        while len(found) < info.messages:
            found.append(decode(await subscription.next_msg(timeout=10)))
        await subscription.unsubscribe()
        return found

    async def check(self) -> None:
        """Everything sent has come through, each record once in every topic and in the table."""
        await self.arrived("third", self.sent)
        await self.arrived("chain-seen-changelog", self.sent)
        wanted = {b"%d." % number for number in range(self.sent)}
        for topic, suffix in (("second", b"1"), ("third", b"12")):
            values = [record.value for record in await self.values(topic)]
            assert sorted(values, key=str) == sorted((v + suffix for v in wanted), key=str), topic
        keys = {record.key for record in await self.values("chain-seen-changelog")}
        assert keys == {value + b"1" for value in wanted}


@pytest.fixture
async def feed(client: Client, prefix: str) -> AsyncIterator[Feed]:
    feed = Feed(client, prefix)
    await feed.start()
    yield feed
    await feed.publisher.stop()


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
async def test_a_worker_killed_with_work_in_flight(
    feed: Feed, start_worker: StartWorker, store: str
) -> None:
    # A session far longer than the test waits: the dead must be found out before it ends.
    settings = {"STORE": store, "SESSION": "60", "CONCURRENCY": "2"}
    worker = start_worker(**settings)
    for round_ in range(1, 3):
        await feed.send(1000)
        await feed.arrived("third", round_ * 1000 - 700)
        worker.kill()
        worker = start_worker(**settings)
    await feed.check()
    assert worker.stop() == 0


async def test_a_server_killed_under_a_worker(
    own_server: NatsServer, prefix: str, start_worker: StartWorker
) -> None:
    async def reconnected() -> None:
        chain.publisher.send_again()

    client = await connect(parse_url(own_server.url), name="test", on_reconnect=reconnected)
    chain = Feed(client, prefix)
    await chain.start()
    worker = start_worker(own_server.url)
    await chain.send(500)
    await chain.arrived("third", 100)
    for _ in range(2):
        own_server.kill()
        own_server.start()
        await chain.send(500)
    await chain.check()
    assert worker.stop() == 0
    await chain.publisher.stop()
    await client.close()


async def test_what_an_agent_has_not_finished_when_its_worker_ends_is_done_again(
    feed: Feed, start_worker: StartWorker
) -> None:
    worker = start_worker(PAUSE="60")
    await until(lambda: "Worker ready" in worker.output, "worker ready")
    await feed.send(40)
    await asyncio.sleep(0.5)
    assert worker.stop() == 0
    assert await feed.count("second") == 0
    start_worker()
    await feed.check()


async def test_what_cannot_be_done_ends_the_worker(
    client: Client, prefix: str, start_worker: StartWorker, tmp_path: Path
) -> None:
    class Plain(NatsServer):
        def config(self) -> str:
            return f"host: 127.0.0.1\nport: {self.port}\n"

        def ready(self) -> bool:
            return self.log.exists() and b"Server is ready" in self.log.read_bytes()

    class Limited(NatsServer):
        def config(self) -> str:
            rights = 'publish: ["$JS.API.INFO", "$JS.API.STREAM.INFO.*"]'
            return super().config() + (
                f"authorization {{ users: [ {{ user: u, password: p, permissions: {{ {rights} }} "
                "} ] }\n"
            )

    spec = TopicSpec("chain-seen-changelog", PARTITIONS, prefix=prefix, compacted=True)
    await declare(client.jetstream(), spec)
    with Plain(tmp_path / "plain") as plain, Limited(tmp_path / "limited") as limited:
        workers = {
            start_worker(PARTITIONS="3"): "TopicMismatch",
            start_worker(GUARANTEE="exactly_once"): "exactly_once",
            start_worker(THREADED="1"): "producer_threaded",
            start_worker(plain.url): "JetStreamUnavailable",
            start_worker(limited.url): "AccessDenied",
            start_worker(limited.url.replace("://", "://u:p@")): "AccessDenied",
        }
        for worker, complaint in workers.items():
            assert await asyncio.to_thread(worker.process.wait, 60) != 0, complaint
            assert complaint in worker.output


async def test_workers_share_the_work_and_take_over_from_the_dead(
    feed: Feed, start_worker: StartWorker
) -> None:
    one = start_worker(DATA="one")
    await feed.send(500)
    await feed.arrived("third", 100)
    two = start_worker(DATA="two")
    await until(lambda: "generation 2" in two.output, "the second worker joins")
    await feed.send(500)
    await feed.arrived("third", 600)
    one.kill()
    await feed.send(500)
    three = start_worker(DATA="three")
    await feed.check()
    await until(lambda: "generation 4" in three.output, "the third worker joins")
    await feed.send(500)
    two.send(signal.SIGTERM)
    await feed.check()
    assert three.stop() == 0
    assert two.stop() == 0


async def test_a_worker_that_was_stopped_past_its_session_does_no_harm(
    feed: Feed, start_worker: StartWorker
) -> None:
    one = start_worker(DATA="one", SESSION="3", STANDBYS="1")
    two = start_worker(DATA="two", SESSION="3", STANDBYS="1")
    await until(lambda: "generation 2" in one.output + two.output, "both have joined")
    await feed.send(1000)
    await feed.arrived("third", 100)
    one.send(signal.SIGSTOP)
    await feed.send(500)
    await feed.arrived("third", 1500)  # only once the other has taken over everything
    one.send(signal.SIGCONT)
    await feed.send(500)
    await feed.check()
    await until(lambda: "giving up all partitions" in one.output, "it notices")
    assert one.stop() == 0
    assert two.stop() == 0
