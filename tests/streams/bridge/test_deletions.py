"""Streams, the group's bucket and consumers that are deleted under a working worker."""

import asyncio
import contextlib
from collections.abc import Callable

import nats.js.errors
import pytest

from streams.bridge.layout import stream_name

from .conftest import Worker, until
from .feed import Feed, feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


async def test_consumers_deleted_under_a_worker(
    feed: Feed, prefix: str, start_worker: StartWorker
) -> None:
    js = feed.client.jetstream()
    worker = start_worker()
    await feed.send(1000)
    await feed.arrived("third", 100)
    streams = [stream_name(prefix, name) for name in ("first", "second")] + [f"KV_{prefix}-groups"]
    for _ in range(5):
        await feed.send(200)
        for stream in streams:
            for consumer in await js.consumers_info(stream):
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    await js.delete_consumer(stream, consumer.name)
    await feed.check()
    assert worker.stop() == 0


async def test_a_stream_deleted_under_a_worker_ends_it_and_the_next_begins_anew(
    nats_url: str, prefix: str, start_worker: StartWorker
) -> None:
    async def lose(what: str, stream: str, store: str = "memory://") -> None:
        own = f"{prefix}{what}"
        stream = stream.replace("prefix", own)
        options = {"OPTIONS": f"&prefix={own}", "DATA": what, "STORE": store}
        async with feeding(nats_url, own) as feed:
            worker = start_worker(**options)
            await feed.send(400)
            await feed.arrived("third", 100)
            await until(lambda: feed.committed(), "something is committed")
            await feed.client.jetstream().delete_stream(stream)
            if what in ("changelog", "store"):  # nobody reads it now: it shows when it is written
                await feed.send(100)
            assert await asyncio.to_thread(worker.process.wait, 60) != 0
            assert f"stream '{stream}' was deleted" in worker.output
            worker = start_worker(**options)
            if what == "store":
                assert await asyncio.to_thread(worker.process.wait, 60) != 0
                assert "a changelog that has lost records" in worker.output
                return
            await until(lambda: "Worker ready" in worker.output, "the next worker has begun")
            sent = feed.sent
            await feed.send(100)
            if what == "bucket":  # all is read again, and what follows from it known by its id
                await feed.check()
            wanted = [b"%d.12" % number for number in range(sent, sent + 100)]

            async def came() -> bool:
                values = [record.value for record in await feed.values("third")]
                return all(values.count(value) == 1 for value in wanted)

            await until(came, f"what is new comes through without the old {what}")
            assert worker.stop() == 0

    changelog = "prefix--chain-seen-changelog"
    async with asyncio.TaskGroup() as group:
        group.create_task(lose("input", "prefix--first"))
        group.create_task(lose("output", "prefix--third"))
        group.create_task(lose("changelog", changelog))
        group.create_task(lose("store", changelog, "rocksdb://"))
        group.create_task(lose("bucket", "KV_prefix-groups"))
