"""A server that stands still, is full, or has lost what workers need: they go on, or say why not."""

import asyncio
from collections.abc import Callable

from pathlib import Path

import pytest

from nats.js.errors import APIError

from mocks.servers import NatsServer

from .conftest import Worker, feeding, until

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


async def test_a_server_that_stands_still_for_longer_than_the_session(
    own_server: NatsServer, prefix: str, start_worker: StartWorker
) -> None:
    async with feeding(own_server.url, prefix) as feed:
        workers = [start_worker(own_server.url, DATA=name, SESSION="3") for name in ("a", "b")]
        await feed.send(2000)
        await feed.arrived("third", 200)
        own_server.pause()
        await asyncio.sleep(6)
        own_server.resume()
        await feed.send(500)
        await feed.check()
        for worker in workers:
            assert "giving up all partitions" in worker.output
            assert worker.stop() == 0


class SmallServer(NatsServer):
    """A server that may keep 64 MB."""

    def config(self) -> str:
        return super().config().replace("jetstream {", "jetstream { max_file_store: 64MB,")


async def test_a_server_whose_store_is_full(
    prefix: str, start_worker: StartWorker, tmp_path: Path
) -> None:
    with SmallServer(tmp_path / "small") as server:
        async with feeding(server.url, prefix) as feed:
            js = feed.client.jetstream()
            await js.add_stream(name="filler", subjects=["filler"])
            worker = start_worker(server.url, SESSION="3")
            await feed.send(2000)
            await feed.arrived("third", 200)
            for size in (1_000_000, 1_000, 1):
                with pytest.raises(APIError) as error:
                    while True:
                        await js.publish("filler", bytes(size))
            print(error.value)
            await asyncio.sleep(10)
            print(worker.process.poll())
            await js.purge_stream("filler")
            await feed.send(500)
            await feed.check()
            assert worker.stop() == 0
