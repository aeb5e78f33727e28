"""Running a Faust app inside a test, and reading what is on a topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client

from streams.bridge import Record, decode
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import escape
from streams.bridge.topics import lookup
from tests.waiting import DEADLINE, until


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[Any]:
    """Run an app as a worker in this process, from ready to stopped."""
    app.finalize()
    try:
        async with asyncio.timeout(DEADLINE):
            await app.start()
            await until(lambda: app.tables.recovery.completed.is_set(), "worker ready")
        yield app
    finally:
        async with asyncio.timeout(DEADLINE):
            await app.stop()


async def read_topic(client: Client, prefix: str, topic: str) -> list[Record]:
    """Return everything that is on a topic, in order; nothing if it is not there."""
    js = client.jetstream()
    info = await lookup(js, prefix, topic)
    if info is None:
        return []
    everything = f"{prefix}.{escape(topic)}.>"
    state = (await js.stream_info(info.stream, subjects_filter=everything)).state
    count = sum((state.subjects or {}).values())
    found: list[Record] = []
    subscription = await js.subscribe(everything, ordered_consumer=True, stream=info.stream)
    try:
        while len(found) < count:
            message = await subscription.next_msg(timeout=DEADLINE)
            found.append(decode(message))
            if message.metadata.num_pending == 0:  # some have been superseded meanwhile
                break
    finally:
        await subscription.unsubscribe()
    return found


async def records(url: str, prefix: str, topic: str) -> list[Record]:
    """Return everything that is on a topic, in order, over a connection of its own."""
    client = await connect(parse_url(url), name="test")
    try:
        return await read_topic(client, prefix, topic)
    finally:
        await client.close()


async def at_least(url: str, prefix: str, topic: str, count: int) -> list[Record]:
    """Return everything that is on a topic once that is so many records."""

    async def enough() -> list[Record]:
        found = await records(url, prefix, topic)
        return found if len(found) >= count else []

    found: list[Record] = await until(enough, f"{count} records in {topic}")
    return found
