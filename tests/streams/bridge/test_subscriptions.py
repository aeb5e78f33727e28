"""What an agent can read besides topics by name, while workers come and go."""
# Apps are made by a fixture without a type, as tests look into them.
# mypy: disable-error-code="untyped-decorator"

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from faust.types import StreamT
from nats.aio.client import Client

from streams.bridge.errors import TopicMismatch
from streams.bridge.publisher import Publisher
from streams.bridge.topics import TopicSpec, declare
from tests.faust_apps import running
from tests.waiting import until

NewApp = Callable[..., Any]


async def test_a_pattern_stands_for_all_topics_that_match_it(
    new_app: NewApp, client: Client, prefix: str
) -> None:
    got: Counter[tuple[str, bytes]] = Counter()
    publisher = Publisher(client)
    await publisher.start()

    async def send(topic: str, partitions: int) -> None:
        await declare(client.jetstream(), TopicSpec(topic, partitions, prefix=prefix))
        for number in range(partitions):
            publisher.publish(f"{prefix}.{topic}.{number}", b"%d" % number, {})
        await publisher.flush()

    def make() -> Any:
        app = new_app(consumer_metadata_max_age_ms=300)
        app.Table("orders-seen", partitions=4)  # its changelog is not meant by the pattern

        @app.agent(app.topic(pattern="orders-.*|app-.*", value_serializer="raw"))
        async def agent(stream: StreamT[Any]) -> None:
            async for event in stream.events():
                got[event.message.topic, event.value] += 1

        return app

    one, two = make(), make()
    await send("orders-a", 3)
    await send("other", 3)
    async with running(one):
        await until(lambda: len(got) == 3, "what was there before")
        await send("orders-b", 2)
        await until(lambda: len(got) == 5, "a topic that came later")
        async with running(two):
            await until(lambda: len(one.consumer.assignment()) < 9, "shared out")
            await send("orders-a", 3)
            await send("orders-c", 4)
            await until(lambda: len(got) == 9, "both follow")
        await send("orders-c", 4)
        await until(lambda: sum(got.values()) == 3 + 2 + 3 + 4 + 4)
    assert {topic for topic, _ in got} == {"orders-a", "orders-b", "orders-c"}
    await publisher.stop()


async def test_isolated_partitions_have_an_actor_each_wherever_they_are(new_app: NewApp) -> None:
    got: list[tuple[int, int, Any]] = []

    def make() -> Any:
        app = new_app()
        topic = app.topic("in", key_type=str, value_type=int, partitions=4)

        @app.agent(topic, isolated_partitions=True)
        async def agent(stream: StreamT[Any]) -> None:
            async for event in stream.events():
                got.append((event.value, event.message.partition, asyncio.current_task()))

        return app, topic

    async def check(*apps: Any) -> None:
        got.clear()

        def mine(app: Any) -> int:
            return sum(tp.topic == "in" for tp in app.consumer.assignment())

        await until(lambda: all(mine(app) == 4 // len(apps) for app in apps), "shared out")
        for number in range(40):
            await topic.send(key=str(number), value=number)
        await until(lambda: len(got) == 40, "all worked on")
        assert sorted(value for value, _, _ in got) == list(range(40))
        actors: dict[int, set[Any]] = {}
        for _, partition, task in got:
            actors.setdefault(partition, set()).add(task)
        assert len(actors) == 4
        assert len(set.union(*actors.values())) == 4

    (one, topic), (two, _) = make(), make()
    async with running(one):
        await check(one)
        async with running(two):
            await check(one, two)
        await check(one)


async def test_workers_that_know_a_topic_differently_are_told(new_app: NewApp) -> None:
    app = new_app()

    @app.agent(app.topic("in", partitions=4))
    async def agent(stream: StreamT[Any]) -> None:
        async for _ in stream:
            pass

    async with running(app):
        mine = app.consumer.metadata()
        shares = app.consumer.assign({"a": mine, "b": mine})
        assert set(shares) == {"a", "b"}
        with pytest.raises(TopicMismatch, match="'in'"):
            app.consumer.assign({"a": mine, "b": mine.replace(b'"in": 4', b'"in": 8')})
