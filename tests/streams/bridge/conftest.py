"""Fixtures of the bridge's tests: connections, apps that run in this process, and workers."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import faust
import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.bucket import Bucket
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import MESSAGE_ID, encode_headers, partition_for, subject
from streams.bridge.publisher import Publisher
from streams.bridge.records import Record, decode
from streams.bridge.topics import TopicSpec, declare, lookup

DEADLINE = 30.0
PARTITIONS = 4


async def until(condition: Callable[[], Any], what: str = "", deadline: float = DEADLINE) -> Any:
    """Wait until `condition()` (or what it returns, awaited) is true; return it."""
    end = time.monotonic() + deadline
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what or condition}")
        await asyncio.sleep(0.02)


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    connection = await connect(parse_url(nats_url), name="test")
    yield connection
    await connection.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server for tests that break it."""
    with NatsServer(tmp_path / "own") as server:
        yield server


@pytest.fixture
def new_app(nats_url: str, prefix: str, tmp_path: Path) -> Callable[..., Any]:
    """Make Faust apps that share a prefix on the shared server."""

    def make(name: str = "app", *, url: str = "", **settings: Any) -> faust.App:
        defaults: dict[str, Any] = {
            "broker": f"{url or nats_url}?prefix={prefix}",
            "datadir": tmp_path / f"data-{secrets.token_hex(3)}",
            "topic_partitions": 4,
            "web_enabled": False,
            "broker_commit_interval": 0.2,
            "broker_heartbeat_interval": 0.5,
            "broker_session_timeout": 10.0,
            "stream_recovery_delay": 0.0,
        }
        return faust.App(name, **(defaults | settings))

    return make


@contextlib.asynccontextmanager
async def running(app: Any) -> AsyncIterator[Any]:
    """Run an app as a worker in this process, from ready to stopped."""
    app.finalize()
    async with asyncio.timeout(DEADLINE):
        await app.start()
        await until(lambda: app.tables.recovery.completed.is_set(), "worker ready")
    try:
        yield app
    finally:
        async with asyncio.timeout(DEADLINE):
            await app.stop()


class Worker:
    """A Faust worker in a process of its own: `chain.py` or another module beside this file."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"tests.streams.bridge.{env.get('MODULE', 'chain')}"],
                env=os.environ | env,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).resolve().parents[3],
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(DEADLINE)


@pytest.fixture
def start_worker(prefix: str, nats_url: str, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start chain workers that end with the test, whatever happens."""
    workers: list[Worker] = []

    def start(url: str = "", **env: str) -> Worker:
        number = len(workers)
        settings = {
            "BROKER": f"{url or nats_url}?prefix={prefix}&drain=1{env.get('OPTIONS', '')}",
            "DATADIR": str(tmp_path / env.get("DATA", "data")),
            **env,
        }
        worker = Worker(settings, tmp_path / f"worker{number}.log")
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


class Feed:
    """Puts numbered records into the chain, and sees what comes out of it."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.publisher = Publisher(client)
        self.sent = 0

    async def start(self, **options: Any) -> None:
        """Declare the first topic, with more options of a `TopicSpec` if need be."""
        spec = TopicSpec("first", PARTITIONS, prefix=self.prefix, **options)
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
        return 0 if info is None else info.messages

    async def committed(self) -> bool:
        """Say whether the chain has committed an offset of every partition of its first topic."""
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

        await until(enough, f"{least} records in {topic}", deadline=60)

    async def values(self, topic: str) -> list[Record]:
        """Return all records that a topic holds; none if it is not there."""
        info = await lookup(self.client.jetstream(), self.prefix, topic)
        found: list[Record] = []
        if info is None:
            return found
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


@contextlib.asynccontextmanager
async def feeding(url: str, prefix: str, **options: Any) -> AsyncIterator[Feed]:
    """Feed a chain over a connection that may be interrupted."""

    async def reconnected() -> None:
        chain.publisher.send_again()

    client = await connect(parse_url(url), name="test", on_reconnect=reconnected)
    chain = Feed(client, prefix)
    try:
        await chain.start(**options)
        yield chain
    finally:
        await chain.publisher.stop()
        await client.close()


@pytest.fixture
async def feed(client: Client, prefix: str) -> AsyncIterator[Feed]:
    feed = Feed(client, prefix)
    await feed.start()
    yield feed
    await feed.publisher.stop()
