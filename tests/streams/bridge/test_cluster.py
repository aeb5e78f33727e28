"""Three servers, three replicas: whichever of them is killed, workers wait and go on."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from nats.aio.client import Client

from mocks.servers import ClusterNode, NatsCluster
from streams.bridge.bucket import Bucket, Conflict
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import shared_stream, stream_name
from streams.bridge.topics import TopicSpec, declare
from tests.waiting import until

from .conftest import Worker
from .feed import Feed, feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture
def cluster(servers: NatsCluster) -> NatsCluster:
    """All three servers, whatever the test before has done to them."""
    for node in servers.nodes:
        node.resume()
        if not node.running:
            node.start()
    servers.wait_healthy()
    return servers


async def leader(feed: Feed, cluster: NatsCluster, stream: str) -> ClusterNode:
    """Return the node that leads a stream."""

    async def known() -> str | None:
        info = await feed.client.jetstream().stream_info(stream)
        return info.cluster.leader if info.cluster is not None else None

    return cluster.node(await until(known, f"a leader of {stream}"))


async def test_topics_and_buckets_are_made_by_several_at_once(
    cluster: NatsCluster, prefix: str
) -> None:
    """For a moment a name is taken, and its stream not there yet."""
    clients = [await connect(parse_url(cluster.url), name="test") for _ in range(4)]

    async def make(client: Client, number: int) -> tuple[str, str]:
        spec = TopicSpec(topic=f"topic-{number}", prefix=prefix, partitions=2, replicas=3)
        made = await declare(client.jetstream(), spec)
        bucket = Bucket(client, f"{prefix}-{number}")
        await bucket.create(storage="file", replicas=3)
        return made.identity, str(bucket.identity)

    try:
        for number in range(8):
            made = await asyncio.gather(*(make(client, number) for client in clients))
            assert len(set(made)) == 1, "all speak of the same"
    finally:
        for client in clients:
            await client.close()


async def test_leaders_killed_under_load(
    cluster: NatsCluster, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(cluster.url, prefix, guarantee, replicas=3) as feed:
        settings = {"OPTIONS": "&replicas=3", "GUARANTEE": guarantee}
        workers = [start_worker(cluster.url, DATA=name, **settings) for name in ("a", "b")]
        await feed.send(1000)
        await feed.arrived("third", 100)
        records = shared_stream(prefix) if feed.exact else stream_name(prefix, "first")
        for name in (records, None):
            node = cluster.leader() if name is None else await leader(feed, cluster, name)
            assert node is not None
            node.kill()
            await feed.send(500)
            node.start()
            cluster.wait_healthy()
        await feed.check()
        for worker in workers:
            assert worker.stop() == 0


async def test_a_rolling_restart_under_load(
    cluster: NatsCluster, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(cluster.url, prefix, guarantee, replicas=3) as feed:
        settings = {"OPTIONS": "&replicas=3", "STORE": "rocksdb://", "GUARANTEE": guarantee}
        worker = start_worker(cluster.url, **settings)
        await feed.send(500)
        await feed.arrived("third", 100)

        async def restart_all() -> None:
            for node in cluster.nodes:
                await asyncio.to_thread(node.stop)
                node.launch()  # not in a thread: the server would end with it
                await asyncio.to_thread(node.wait_ready)
                await asyncio.to_thread(cluster.wait_healthy)

        restarting = asyncio.create_task(restart_all())
        while not restarting.done():
            await feed.send(20)
            await asyncio.sleep(0.1)
        await restarting
        await feed.check()
        assert worker.stop() == 0


async def test_without_a_quorum_a_worker_waits_and_so_does_one_that_starts(
    cluster: NatsCluster, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(cluster.url, prefix, guarantee, replicas=3) as feed:
        settings = {"OPTIONS": "&replicas=3", "SESSION": "3", "GUARANTEE": guarantee}
        workers = [start_worker(cluster.url, DATA="a", **settings)]
        await feed.send(500)
        await feed.arrived("third", 100)
        for node in cluster.nodes[:2]:
            node.kill()
        workers.append(start_worker(cluster.url, DATA="b", **settings))
        sending = asyncio.create_task(feed.send(500))
        await until(lambda: "without a leader" in workers[1].output, "the newcomer says it waits")
        await until(lambda: "giving up all" in workers[0].output, "the lease lapses")
        assert not sending.done()
        for node in cluster.nodes[:2]:
            node.start()
        await sending
        await feed.check()
        for worker in workers:
            assert worker.stop() == 0


async def test_one_write_to_a_key_wins_and_the_others_are_told(
    cluster: NatsCluster, prefix: str
) -> None:
    client = await connect(parse_url(cluster.url), name="test")
    bucket = Bucket(client, f"{prefix}-groups")
    await bucket.create(storage="file", replicas=3)
    for _ in range(5):
        revision = await bucket.put("key", b"")
        writes = (bucket.put("key", b"%d" % number, revision=revision) for number in range(20))
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert len([result for result in results if isinstance(result, int)]) == 1
        others = [result for result in results if not isinstance(result, int)]
        assert all(isinstance(other, Conflict | TimeoutError) for other in others)
    await client.close()
