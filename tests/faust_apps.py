"""Running a Faust app inside a test, and reading what is on a topic."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import faust
from nats.js.errors import NotFoundError

from streams.bridge import Record, decode
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import stream_name
from tests.waiting import until


@asynccontextmanager
async def running(app: faust.App) -> AsyncIterator[None]:
    """Start `app`, wait until it has its partitions and tables, and stop it afterwards."""
    await app.start()
    try:
        await until(
            lambda: app.consumer.assignment() and not app.rebalancing and not app.in_recovery,
            "the app being ready",
        )
        yield
    finally:
        await app.stop()


async def records(url: str, prefix: str, topic: str) -> list[Record]:
    """Return everything that is on a topic, in order."""
    client = await connect(parse_url(url), name="test")
    try:
        js = client.jetstream()
        stream = stream_name(prefix, topic)
        found: list[Record] = []
        try:
            state = (await js.stream_info(stream)).state
        except NotFoundError:
            return found  # nothing was sent there yet
        for sequence in range(max(1, state.first_seq), state.last_seq + 1):
            with suppress(NotFoundError):  # it was purged
                found.append(decode(await js.get_msg(stream, sequence)))
        return found
    finally:
        await client.close()


async def at_least(url: str, prefix: str, topic: str, count: int) -> list[Record]:
    """Return everything that is on a topic once that is so many records."""

    async def enough() -> list[Record]:
        found = await records(url, prefix, topic)
        return found if len(found) >= count else []

    found: list[Record] = await until(enough, f"{count} records in {topic}")
    return found
