"""A server that stands still: workers wait, and go on when it does."""

import asyncio
from collections.abc import Callable

import pytest

from mocks.servers import NatsServer

from .conftest import Worker, says, together
from .feed import feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


async def test_a_server_that_stands_still_for_longer_than_the_session(
    own_server: NatsServer, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(own_server.url, prefix, guarantee) as feed:
        settings = {"SESSION": "3", "GUARANTEE": guarantee}
        workers = [start_worker(own_server.url, DATA=name, **settings) for name in ("a", "b")]
        await together(*workers)
        await feed.send(2000)
        await feed.arrived("third", 200)
        own_server.pause()
        for worker in workers:
            await says(worker, "giving up all partitions")
        await asyncio.sleep(1)  # a lease lapses for its owner before the server forgets it
        own_server.resume()
        await feed.send(500)
        await feed.check()
        for worker in workers:
            assert worker.stop() == 0
