"""Nothing is lost and nothing done twice, whoever is killed: workers and servers in processes."""

import asyncio
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.topics import TopicSpec, declare
from tests.waiting import until

from .conftest import WithoutJetStream, Worker, says, together
from .feed import PARTITIONS, Feed, feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


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


async def test_workers_killed_at_random_lose_nothing_and_send_nothing_twice(
    feed: Feed, start_worker: StartWorker
) -> None:
    chance = random.Random(7)
    workers = {name: start_worker(DATA=name, CONCURRENCY="2") for name in "ab"}
    await until(lambda: all("Worker ready" in one.output for one in workers.values()), "both ready")
    for _ in range(5):
        await feed.send(700)
        await asyncio.sleep(chance.uniform(0.05, 0.8))
        victim = chance.choice("ab")
        workers[victim].kill()
        workers[victim] = start_worker(DATA=victim, CONCURRENCY="2")
    await feed.check()
    await until(lambda: all("Worker ready" in one.output for one in workers.values()), "both ready")
    assert [worker.stop() for worker in workers.values()] == [0, 0]


async def test_a_server_killed_under_a_worker(
    own_server: NatsServer, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(own_server.url, prefix, guarantee) as feed:
        worker = start_worker(own_server.url, GUARANTEE=guarantee)
        await feed.send(500)
        await feed.arrived("third", 100)
        for _ in range(2):
            own_server.kill()
            own_server.start()
            await feed.send(500)
        await feed.check()
        assert worker.stop() == 0


async def test_what_an_agent_has_not_finished_when_its_worker_ends_is_done_again(
    feed: Feed, start_worker: StartWorker
) -> None:
    worker = start_worker(PAUSE="60", OPTIONS="&drain=1")
    await feed.send(40)
    await says(worker, "one begins with")
    assert worker.stop() == 0
    assert await feed.count("second") == 0
    start_worker()
    await feed.check()


async def test_what_cannot_be_done_ends_the_worker(
    client: Client, prefix: str, start_worker: StartWorker, tmp_path: Path
) -> None:
    class Limited(NatsServer):
        def config(self) -> str:
            rights = 'publish: ["$JS.API.INFO", "$JS.API.STREAM.INFO.*"]'
            return super().config() + (
                f"authorization {{ users: [ {{ user: u, password: p, permissions: {{ {rights} }} "
                "} ] }\n"
            )

    spec = TopicSpec("chain-seen-changelog", PARTITIONS, prefix=prefix, compacted=True)
    await declare(client.jetstream(), spec)
    with WithoutJetStream(tmp_path / "plain") as plain, Limited(tmp_path / "limited") as limited:
        workers = {
            start_worker(PARTITIONS="3"): "TopicMismatch",
            start_worker(GUARANTEE="exactly_once"): "cannot have transactions",
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
    await together(one, two)
    await feed.send(500)
    await feed.arrived("third", 600)
    one.kill()
    await feed.send(500)
    three = start_worker(DATA="three")
    await feed.check()
    await together(two, three)
    await feed.send(500)
    two.send(signal.SIGTERM)
    await feed.check()
    assert three.stop() == 0
    assert two.stop() == 0


async def test_a_worker_that_was_stopped_past_its_session_does_no_harm(
    nats_url: str, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(nats_url, prefix, guarantee) as feed:
        settings = {"SESSION": "3", "STANDBYS": "1", "GUARANTEE": guarantee}
        one, two = (start_worker(DATA=name, **settings) for name in ("one", "two"))
        await together(one, two)
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
