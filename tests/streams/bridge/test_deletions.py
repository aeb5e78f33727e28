"""Streams, the group's bucket and consumers that are deleted under a working worker."""

import asyncio
import contextlib
from collections.abc import Callable

import nats.js.errors
import pytest

from streams.bridge.layout import shared_stream, stream_name
from streams.bridge.topics import lookup
from tests.waiting import until

from .conftest import Worker
from .feed import feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


async def test_consumers_deleted_under_a_worker(
    nats_url: str, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(nats_url, prefix, guarantee) as feed:
        js = feed.client.jetstream()
        worker = start_worker(GUARANTEE=guarantee)
        await feed.send(1000)
        await feed.arrived("third", 100)
        own = [stream_name(prefix, name) for name in ("first", "second")]
        streams = [shared_stream(prefix)] if feed.exact else own
        for _ in range(5):
            await feed.send(200)
            for stream in [*streams, f"KV_{prefix}-groups"]:
                for consumer in await js.consumers_info(stream):
                    with contextlib.suppress(nats.js.errors.NotFoundError):
                        await js.delete_consumer(stream, consumer.name)
        await feed.check()
        assert worker.stop() == 0


async def test_a_stream_deleted_under_a_worker_ends_it_and_the_next_begins_anew(
    nats_url: str, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async def lose(what: str, stream: str, store: str = "memory://") -> None:
        own = f"{prefix}{what}"
        stream = stream.replace("prefix", own)
        options = {"OPTIONS": f"&prefix={own}&drain=1", "DATA": what, "STORE": store}
        options["GUARANTEE"] = guarantee
        async with feeding(nats_url, own, guarantee) as feed:
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
            js = feed.client.jetstream()
            await until(lambda: lookup(js, own, "first"), "there is something to send to")
            if what == "everything":
                feed.sent = 0  # so nothing is left of what was counted
            sent = feed.sent
            await feed.send(100)
            if what in ("bucket", "everything"):  # what is read again is known by its id
                await feed.check()
            wanted = [b"%d.12" % number for number in range(sent, sent + 100)]

            async def came() -> bool:
                values = [record.value for record in await feed.values("third")]
                return all(values.count(value) == 1 for value in wanted)

            await until(came, f"what is new comes through without the old {what}")
            assert worker.stop() == 0

    changelog = "prefix--chain-seen-changelog"
    async with asyncio.TaskGroup() as group:
        group.create_task(lose("bucket", "KV_prefix-groups"))
        if guarantee == "exactly_once":
            group.create_task(lose("everything", "prefix", "rocksdb://"))
        else:
            group.create_task(lose("input", "prefix--first"))
            group.create_task(lose("output", "prefix--third"))
            group.create_task(lose("changelog", changelog))
            group.create_task(lose("store", changelog, "rocksdb://"))
