"""Changelog recovery: how fast a worker with an empty store reads its table's changelog.

The changelog is filled once; then, round after round, a worker with the memory store, one with
RocksDB, and, to compare, a loop that reads the same stream with nats-py's `fetch` into a dict.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faust
import nats
from faust.types import StreamT
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from mocks.servers import NatsServer
from streams.bridge import topics
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import KEY, encode_headers, partition_for, subject
from streams.bridge.publisher import Publisher
from streams.bridge.topics import TopicInfo, TopicSpec
from tests.bench.contestant import PARTITIONS, folder, server
from tests.bench.worker import Worker

PREFIX = "recovery"
CHANGELOG = "recovery-counts-changelog"
STORES = {"memory": "memory://", "rocksdb": "rocksdb://"}
BY_HAND = "nats-py fetch"
BATCH = 1_000
PATIENCE_SECONDS = 300.0

#: Records and rounds.
LONG = (300_000, 5)
QUICK = (50_000, 1)


def name(number: int) -> str:
    """Return the key of record `number`; its value is the number."""
    return f"session-{number:07}"


# -- the worker


def make_app() -> faust.App:
    """Return an app with a table, which says when it has its partitions and when its contents."""
    app = faust.App(
        "recovery",
        broker=f"{server()}?prefix={PREFIX}",
        topic_partitions=PARTITIONS,
        web_enabled=False,
        datadir=folder(),
        store=os.environ["STORE"],
    )
    turns = app.topic("turns", value_serializer="json")
    counts = app.Table("counts", key_type=str, value_type=int, default=int)
    assigned = 0.0

    async def count(stream: StreamT[Any]) -> None:
        async for key, _ in stream.items():
            counts[key] += 1

    async def begin(*_: Any, **__: Any) -> None:
        nonlocal assigned
        assigned = time.monotonic()

    async def end() -> None:
        seconds = time.monotonic() - assigned
        records = int(os.environ["RECORDS"])
        wrong = [
            number
            for number in range(0, records, max(1, records // 100))
            if counts[name(number)] != number
        ]
        done = folder() / "recovered"
        done.with_suffix(".tmp").write_text(json.dumps({"seconds": seconds, "wrong": wrong}))
        done.with_suffix(".tmp").rename(done)

    app.agent(turns)(count)
    app.on_partitions_assigned.connect(begin, weak=False)
    counts.on_recover(end)
    return app


# -- the measuring


async def fill(client: Client, records: int) -> TopicInfo:
    """Declare the changelog as the worker would, and write every record once."""
    info = await topics.declare(
        client.jetstream(), TopicSpec(CHANGELOG, PARTITIONS, prefix=PREFIX, compacted=True)
    )
    publisher = Publisher(client)
    await publisher.start()
    for number in range(records):
        key, value = json.dumps(name(number)).encode(), str(number).encode()
        place = subject(PREFIX, CHANGELOG, partition_for(key, PARTITIONS), key)
        publisher.publish(place, value, encode_headers(key, value))
        if publisher.full:
            await publisher.room()
    await publisher.flush()
    await publisher.stop()
    return info


async def by_hand(url: str, info: TopicInfo, records: int) -> float:
    """Read the stream into a dict with nats-py alone; return the records per second."""
    client = await nats.connect(url)
    js = client.jetstream()
    begin = time.monotonic()
    subscription = await js.pull_subscribe(
        f"{PREFIX}.{CHANGELOG}.>",
        stream=info.stream,
        config=ConsumerConfig(ack_policy=AckPolicy.NONE),
    )
    table: dict[str, int] = {}
    while len(table) < records:
        for message in await subscription.fetch(BATCH, timeout=5):
            assert message.headers is not None
            table[json.loads(message.headers[KEY])] = json.loads(message.data)
    seconds = time.monotonic() - begin
    await client.close()
    return records / seconds


def by_worker(url: str, store: str, records: int) -> float:
    """Let a fresh worker recover; return the records per second."""
    with tempfile.TemporaryDirectory() as place:
        environment = {
            "SERVER": url,
            "FOLDER": place,
            "STORE": STORES[store],
            "RECORDS": str(records),
        }
        recovered = Path(place) / "recovered"
        deadline = time.monotonic() + PATIENCE_SECONDS
        with Worker(["-m", __name__], environment, Path(place) / "worker.log") as worker:
            while not recovered.exists():
                worker.check()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{store}: no recovery in {PATIENCE_SECONDS:.0f} seconds")
                time.sleep(0.05)
        found = json.loads(recovered.read_text())
    if found["wrong"]:
        raise AssertionError(f"{store}: wrong values of keys {found['wrong']}")
    return records / float(found["seconds"])


def measure(records: int, rounds: int) -> dict[str, list[float]]:
    """Return the records per second of each store and of the loop by hand, round by round."""
    rates: dict[str, list[float]] = {store: [] for store in (*STORES, BY_HAND)}
    with tempfile.TemporaryDirectory() as place, NatsServer(Path(place) / "nats") as nats_server:
        url = nats_server.url
        info = asyncio.run(_filled(url, records))
        for number in range(1, rounds + 1):
            for store in STORES:
                rates[store].append(by_worker(url, store, records))
            rates[BY_HAND].append(asyncio.run(by_hand(url, info, records)))
            shown = "  ".join(f"{of} {values[-1]:,.0f}" for of, values in rates.items())
            print(f"  round {number}  records a second: {shown}", flush=True)
    return rates


async def _filled(url: str, records: int) -> TopicInfo:
    client = await connect(parse_url(url), name="recovery")
    try:
        return await fill(client, records)
    finally:
        await client.close()


if __name__ == "__main__":
    sys.argv = ["recovery", "worker", "--without-web", "-l", "warn"]
    make_app().main()
