import asyncio
import time
from typing import Any

import faust
import pytest
from faust.types import StreamT
from nats.aio.client import Client

from streams.bridge.bucket import Bucket
from streams.bridge.topics import TopicSpec, declare
from streams.errors import GatewayUnavailable
from streams.inspection.overview import Observer, Overview, TopicView
from streams.settings import Settings
from streams.topics import declare_topics, topics
from tests.faust_apps import running
from tests.streams.inspection.conftest import Fill
from tests.waiting import until


async def seen(observer: Observer, condition: Any) -> Overview:
    """Look until what is seen fulfils a condition."""

    async def fulfilled() -> Overview | None:
        overview = await observer.look()
        return overview if condition(overview) else None

    found: Overview = await until(fulfilled, "the overview looks so")
    return found


def named(overview: Overview, name: str) -> TopicView:
    topic = overview.topic(name)
    assert topic is not None
    return topic


async def test_nothing_is_there_before_anybody_declared_it(
    client: Client, settings: Settings
) -> None:
    overview = await Observer(client, settings).look()
    assert (overview.topics, overview.groups, overview.bytes) == ([], [], 0)


async def test_every_topic_of_the_mesh_has_its_kind(client: Client, settings: Settings) -> None:
    await declare_topics(client.jetstream(), settings)
    await declare(
        client.jetstream(),
        TopicSpec("mesh-sessions-changelog", 2, prefix=settings.prefix, compacted=True),
    )
    await declare(client.jetstream(), TopicSpec("else", 2, prefix=settings.prefix))
    overview = await Observer(client, settings).look()
    kinds = {topic.name: topic.kind for topic in overview.topics}
    expected: dict[str, str] = {name: topic.kind for name, topic in topics(settings).items()}
    assert kinds == expected | {"mesh-sessions-changelog": "changelog", "else": "other"}


async def test_partitions_with_offsets_that_have_gaps(
    client: Client, settings: Settings, fill: Fill
) -> None:
    await declare(client.jetstream(), TopicSpec("t", 3, prefix=settings.prefix))
    observer = Observer(client, settings)
    assert named(await observer.look(), "t").messages == 0
    for partition in (0, 1, 0, 0):
        await fill("t", b"x" * 100, partition=partition)
    topic = named(await observer.look(), "t")
    ranges = [(p.number, p.messages, p.first_offset, p.last_offset) for p in topic.partitions]
    assert ranges == [(0, 3, 1, 4), (1, 1, 2, 2), (2, 0, None, None)]
    assert (topic.messages, topic.last_minute, topic.lag) == (4, 4, None)
    assert topic.bytes is not None
    assert topic.bytes > 400
    assert topic.partitions[0].last_at is not None
    assert abs(topic.partitions[0].last_at.timestamp() - time.time()) < 60
    again = named(await observer.look(), "t")
    assert again == topic


async def test_what_a_compacted_topic_has_replaced_counts_for_its_rate(
    client: Client, settings: Settings, fill: Fill
) -> None:
    spec = TopicSpec("app-t-changelog", 2, prefix=settings.prefix, compacted=True)
    await declare(client.jetstream(), spec)
    for key in (b"stays", b"a", b"b", b"a", b"b"):
        await fill("app-t-changelog", b"1", key=key)
    topic = named(await Observer(client, settings).look(), "app-t-changelog")
    assert (topic.kind, topic.messages, topic.last_minute) == ("changelog", 3, 5)


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
async def test_who_reads_what_and_how_far(
    client: Client, settings: Settings, guarantee: str
) -> None:
    """In topics with streams of their own, and where they share one."""
    app: Any = faust.App(
        "shop",
        broker=settings.faust_broker(),
        processing_guarantee=guarantee,
        topic_partitions=2,
        topic_disable_leader=True,
        web_enabled=False,
        datadir=str(settings.data_dir / "tables"),
        canonical_url="http://worker.example:6071",
        broker_commit_interval=0.1,
    )
    app.in_worker = True
    table = app.Table("seen", default=int, key_type=str, value_type=int)
    gate = asyncio.Event()
    inbox = app.topic("in", key_type=str, value_type=int)

    @app.agent(inbox)  # type: ignore[untyped-decorator]
    async def count(stream: StreamT[Any]) -> None:
        async for key, value in stream.items():
            if value == 3:
                await gate.wait()
            table[key] += 1

    observer = Observer(client, settings)
    async with running(app):
        for number in range(6):
            await (await inbox.send(key="k", value=number, partition=1))
        overview = await seen(observer, lambda o: named(o, "in").lag == 3)
        topic = named(overview, "in")
        idle, busy = topic.partitions
        assert (idle.messages, busy.messages, topic.messages) == (0, 6, 6)
        assert (idle.readers[0].lag, busy.readers[0].lag) == (0, 3)
        assert busy.readers[0].owner == "worker.example:6071"
        assert busy.readers[0].group == "shop"
        assert busy.readers[0].committed is not None
        assert busy.first_offset is not None
        assert busy.first_offset < busy.readers[0].committed
        assert topic.last_minute == 6
        assert (topic.bytes is None) == (guarantee == "exactly_once")
        assert overview.bytes > 0
        changelog = named(overview, "shop-seen-changelog")
        assert (changelog.kind, changelog.lag) == ("changelog", None)
        assert changelog.partitions[1].readers[0].owner == "worker.example:6071"
        assert changelog.partitions[1].readers[0].committed is None
        (group,) = overview.groups
        assert (group.name, group.rebalancing) == ("shop", False)
        assert [(m.name, m.partitions, m.alive) for m in group.members] == [
            ("worker.example:6071", 4, True)
        ]
        gate.set()
        await seen(observer, lambda o: named(o, "in").lag == 0)
    overview = await observer.look()
    assert named(overview, "in").partitions[1].readers[0].owner is None
    assert named(overview, "in").lag == 0


async def test_offsets_of_a_topic_that_was_deleted_count_for_nothing(
    client: Client, settings: Settings, fill: Fill
) -> None:
    js = client.jetstream()
    bucket = Bucket(client, f"{settings.prefix}-groups")
    await bucket.create(storage="memory", replicas=1)
    old = await declare(js, TopicSpec("t", 1, prefix=settings.prefix))
    await fill("t", b"1")
    await fill("t", b"2")
    document = b'{"offset": 2, "member": "m", "generation": 1, "identity": "%b"}'
    await bucket.put("offset.shop.t.0", document % old.identity.encode())
    observer = Observer(client, settings)
    assert named(await observer.look(), "t").lag == 1
    await js.delete_stream(old.stream)
    await declare(js, TopicSpec("t", 1, prefix=settings.prefix))
    for _ in range(3):
        await fill("t", b"3")
    reading = named(await observer.look(), "t").partitions[0].readers[0]
    assert (reading.committed, reading.lag) == (None, 3)


async def test_a_broker_that_is_away_is_said(client: Client, settings: Settings) -> None:
    observer = Observer(client, settings)
    await client.close()
    with pytest.raises(GatewayUnavailable):
        await observer.look()
