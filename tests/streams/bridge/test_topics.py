"""Topics come into being once, as they were asked for."""

import asyncio
from dataclasses import replace

import pytest
from nats.aio.client import Client

from streams.bridge.errors import ConfigurationError, TopicMismatch
from streams.bridge.layout import subject
from streams.bridge.topics import TopicSpec, declare, describe, limit, lookup


async def test_declaring_is_idempotent_even_at_the_same_time(client: Client, prefix: str) -> None:
    js = client.jetstream()
    specs = [TopicSpec("orders.eu", 3, prefix=prefix, owner=f"app{number}") for number in range(8)]
    topics = await asyncio.gather(*(declare(js, spec) for spec in specs))
    assert {(topic.topic, topic.partitions, topic.stream) for topic in topics} == {
        ("orders.eu", 3, f"{prefix}--orders=2Eeu")
    }
    assert await declare(js, specs[0]) == topics[0]


async def test_describe_tells_what_there_is(client: Client, prefix: str) -> None:
    js = client.jetstream()
    await declare(js, TopicSpec("b", 2, prefix=prefix, compacted=True, owner="me"))
    await declare(js, TopicSpec("a", 1, prefix=prefix, max_age=60, storage="memory"))
    await declare(js, TopicSpec("elsewhere", 1, prefix=f"{prefix}x"))
    await js.publish(subject(prefix, "a", 0), b"hello")
    a, b = await describe(js, prefix)
    assert (a.topic, a.partitions, a.messages, a.compacted) == ("a", 1, 1, False)
    assert a.bytes > 0
    assert (b.topic, b.partitions, b.messages, b.compacted, b.owner) == ("b", 2, 0, True, "me")
    assert await lookup(js, prefix, "c") is None


async def test_another_layout_is_a_clear_error(client: Client, prefix: str) -> None:
    js = client.jetstream()
    spec = TopicSpec("orders", 3, prefix=prefix)
    await declare(js, spec)
    for wrong in (
        replace(spec, partitions=4),
        replace(spec, compacted=True),
        replace(spec, key_in_subject=True),
    ):
        with pytest.raises(TopicMismatch, match="'orders' exists with"):
            await declare(js, wrong)
    await declare(js, replace(spec, max_age=1.0, max_bytes=1000))  # limits are not compared


async def test_a_topic_gets_other_limits_and_keeps_the_rest(client: Client, prefix: str) -> None:
    js = client.jetstream()
    spec = TopicSpec("orders", 3, prefix=prefix, max_age=3600, owner="me")
    before = await declare(js, spec)
    await js.publish(subject(prefix, "orders", 0), b"x" * 500)
    assert not await limit(js, spec)
    assert await limit(js, replace(spec, max_age=60, max_bytes=2000))
    after = await declare(js, spec)
    assert (after.max_age, after.messages, after.identity) == (60, 1, before.identity)
    for _ in range(9):
        await js.publish(subject(prefix, "orders", 0), b"x" * 500)
    assert (await js.stream_info(after.stream)).state.bytes < 2000
    assert await limit(js, replace(spec, max_age=None))
    config = (await js.stream_info(after.stream)).config
    assert (config.max_age, config.max_bytes) == (0, -1)
    assert not await limit(js, replace(spec, topic="nowhere"))
    with pytest.raises(ConfigurationError):
        await limit(js, replace(spec, max_age=0.01))  # the server takes a tenth of a second


async def test_foreign_streams_are_not_taken_for_topics(client: Client, prefix: str) -> None:
    js = client.jetstream()
    await js.add_stream(name=f"{prefix}--taken", subjects=[f"{prefix}.x"])
    await js.add_stream(name=f"{prefix}other", subjects=[f"{prefix}.in-the-way.>"])
    with pytest.raises(TopicMismatch, match="not a topic"):
        await declare(js, TopicSpec("taken", 1, prefix=prefix))
    with pytest.raises(TopicMismatch, match="another stream"):
        await declare(js, TopicSpec("in-the-way", 1, prefix=prefix))


async def test_compacted_topics_keep_the_last_record_of_a_key(client: Client, prefix: str) -> None:
    js = client.jetstream()
    topic = await declare(js, TopicSpec("table", 1, prefix=prefix, compacted=True))
    for value in (b"1", b"2"):
        for key in (b"a", b"b"):
            await js.publish(subject(prefix, "table", 0, key), value)
    assert (await js.stream_info(topic.stream)).state.messages == 2


async def test_what_the_server_refuses_is_told(client: Client, prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="replicas"):
        await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix, replicas=3))
    with pytest.raises(ConfigurationError, match="partitions"):
        TopicSpec("t", 0)
    with pytest.raises(ConfigurationError, match="name"):
        TopicSpec("", 1)
