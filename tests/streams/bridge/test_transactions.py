"""Exactly once: outputs, changes of tables and offsets are stored together or not at all."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from nats.aio.client import Client

from .conftest import Worker, until
from .feed import Feed

StartWorker = Callable[..., Worker]


@pytest.fixture
async def shared_feed(client: Client, prefix: str) -> AsyncIterator[Feed]:
    feed = Feed(client, prefix, shared=True)
    await feed.start()
    yield feed
    await feed.publisher.stop()


@pytest.fixture
def start_exact(start_worker: StartWorker) -> StartWorker:
    """Start chain workers that process exactly once."""

    def start(url: str = "", **env: str) -> Worker:
        return start_worker(url, GUARANTEE="exactly_once", **env)

    return start


@pytest.mark.faults
@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
async def test_workers_killed_at_any_moment(
    shared_feed: Feed, start_exact: StartWorker, store: str
) -> None:
    chance = random.Random(store)
    workers = [start_exact(DATA=name, STORE=store, CONCURRENCY="2") for name in "ab"]
    await until(lambda: all("Worker ready" in worker.output for worker in workers), "both ready")
    for _ in range(4):
        await shared_feed.send(750)
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        victim = chance.randrange(2)
        workers[victim].kill()
        workers[victim] = start_exact(DATA="ab"[victim], STORE=store, CONCURRENCY="2")
    await shared_feed.check()
    await shared_feed.check_counts()
    assert [worker.stop() for worker in workers] == [0, 0]


@pytest.mark.faults
async def test_a_worker_that_was_stopped_past_its_session_stores_nothing(
    shared_feed: Feed, start_exact: StartWorker
) -> None:
    one = start_exact(DATA="one", SESSION="3")
    two = start_exact(DATA="two", SESSION="3")
    await until(lambda: "Worker ready" in one.output and "Worker ready" in two.output, "both ready")
    await shared_feed.send(1000)
    await shared_feed.arrived("third", 100)
    one.send(signal.SIGSTOP)
    await shared_feed.send(500)
    await shared_feed.arrived("third", 1500)  # only once the other has taken over everything
    one.send(signal.SIGCONT)
    await shared_feed.send(500)
    await shared_feed.check()
    await shared_feed.check_counts()
    assert one.stop() == 0
    assert two.stop() == 0
