"""A reader sees every record of its partition once and in order, whatever happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import BridgeError, TopicGone
from streams.bridge.layout import stream_name, subject
from streams.bridge.publisher import Publisher
from streams.bridge.reader import BATCH, BATCH_BYTES, Reader
from streams.bridge.topics import TopicInfo, TopicSpec, declare
from tests.waiting import until


class Reading:
    """A reader, and what it has read."""

    def __init__(self, client: Client, topic: TopicInfo, start: int = 1) -> None:
        self.sequences: list[int] = []
        self.arrived = asyncio.Event()
        self.reader = Reader(client, topic.stream, topic.filter(0), start, self.arrived.set)
        self.reader.open()

    def take_all(self) -> list[int]:
        while record := self.reader.take():
            self.sequences.append(record.sequence)
        return self.sequences


@pytest.fixture
async def topic(client: Client, prefix: str) -> TopicInfo:
    return await declare(client.jetstream(), TopicSpec("t", 2, prefix=prefix))


@pytest.fixture
async def publisher(client: Client) -> AsyncIterator[Publisher]:
    publisher = Publisher(client)
    await publisher.start()
    yield publisher
    await publisher.stop()


async def fill(publisher: Publisher, topic: TopicInfo, count: int) -> None:
    for number in range(count):
        publisher.publish(subject(topic.prefix, topic.topic, number % 2), b"x" * 10, {})
    await publisher.flush()


async def test_one_partition_from_any_sequence_on(
    client: Client, topic: TopicInfo, publisher: Publisher
) -> None:
    await fill(publisher, topic, 2000)
    reading = Reading(client, topic, start=500)
    await until(lambda: len(reading.take_all()) == 750)
    assert reading.sequences == list(range(501, 2001, 2))
    assert reading.reader.caught_up
    assert reading.reader.highwater == 2000
    await fill(publisher, topic, 2)
    await until(lambda: reading.take_all()[-1] == 2001)
    await reading.reader.close()


async def test_what_is_not_taken_is_not_asked_for(
    client: Client, topic: TopicInfo, publisher: Publisher
) -> None:
    await fill(publisher, topic, 4 * BATCH)
    reading = Reading(client, topic)
    await until(lambda: len(reading.reader.buffer) == BATCH)
    await asyncio.sleep(0.2)
    assert len(reading.reader.buffer) == BATCH
    await until(lambda: len(reading.take_all()) == 2 * BATCH)
    await reading.reader.close()


async def test_a_consumer_that_vanishes_is_replaced(
    client: Client, topic: TopicInfo, publisher: Publisher
) -> None:
    await fill(publisher, topic, 100)
    reading = Reading(client, topic)
    await until(lambda: len(reading.take_all()) == 50)
    js = client.jetstream()
    for consumer in await js.consumers_info(topic.stream):
        await js.delete_consumer(topic.stream, consumer.name)
    await fill(publisher, topic, 100)
    await until(lambda: len(reading.take_all()) == 100)
    assert reading.sequences == list(range(1, 201, 2))
    await reading.reader.close()

    async def forgotten() -> bool:
        return not await js.consumers_info(topic.stream)

    await until(forgotten)


async def test_large_records_pass(client: Client, prefix: str, publisher: Publisher) -> None:
    topic = await declare(client.jetstream(), TopicSpec("large", 1, prefix=prefix))
    size = client.max_payload - 100
    for _ in range(5):
        publisher.publish(subject(prefix, "large", 0), bytes(size), {})
    await publisher.flush()
    reading = Reading(client, topic)
    await until(lambda: len(reading.take_all()) == 5)
    await reading.reader.close()


async def test_large_records_are_bounded_by_their_bytes(
    client: Client, prefix: str, publisher: Publisher
) -> None:
    topic = await declare(client.jetstream(), TopicSpec("large", 1, prefix=prefix))
    sizes = [BATCH_BYTES // 4] * 40 + [2 * BATCH_BYTES] * 5 + [10] * 300
    for size in sizes:
        publisher.publish(subject(prefix, "large", 0), bytes(size), {})
    await publisher.flush()
    reading = Reading(client, topic)
    most = 0
    taken: list[int] = []
    while len(taken) < len(sizes):
        await asyncio.sleep(0.02)
        most = max(most, sum(len(record.payload) for record in reading.reader.buffer))
        if record := reading.reader.take():
            taken.append(len(record.payload))
        if len(taken) > 45:  # the small ones need no watching
            while record := reading.reader.take():
                taken.append(len(record.payload))
    assert taken == sizes
    assert most <= 5 * BATCH_BYTES
    await reading.reader.close()


async def test_a_stream_that_is_deleted_or_replaced_does_not_go_unnoticed(
    client: Client, prefix: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.bridge.reader.GONE_SECONDS", 0.5)
    js = client.jetstream()
    errors: dict[str, list[BridgeError]] = {"deleted": [], "replaced": []}
    readers = []
    for name, told in errors.items():
        topic = await declare(js, TopicSpec(name, 1, prefix=prefix))
        reader = Reader(
            *(client, topic.stream, topic.filter(0), 1, asyncio.Event().set),
            identity=topic.identity,
            on_gone=told.append,
        )
        reader.open()
        readers.append(reader)
        publisher.publish(subject(prefix, name, 0), b"", {})
    await publisher.flush()
    await until(lambda: all(reader.buffer for reader in readers))
    for name in errors:
        await js.delete_stream(stream_name(prefix, name))
    await declare(js, TopicSpec("replaced", 1, prefix=prefix))
    publisher.publish(subject(prefix, "replaced", 0), b"new", {})
    await until(lambda: all(errors.values()))
    assert all(isinstance(told[0], TopicGone) and len(told) == 1 for told in errors.values())
    assert [[record.payload for record in reader.buffer] for reader in readers] == [[b""], [b""]]
    for reader in readers:
        await reader.close()


async def test_reading_goes_on_after_a_server_was_killed(
    own_server: NatsServer, prefix: str
) -> None:
    async def reconnected() -> None:
        reading.reader.restart()
        publisher.send_again()

    client = await connect(parse_url(own_server.url), name="test", on_reconnect=reconnected)
    publisher = Publisher(client)
    await publisher.start()
    topic = await declare(client.jetstream(), TopicSpec("t", 2, prefix=prefix))
    reading = Reading(client, topic)
    await fill(publisher, topic, 1000)
    await until(lambda: len(reading.take_all()) > 100)
    own_server.kill()
    own_server.start()
    await until(lambda: client.is_connected)
    await fill(publisher, topic, 1000)
    await until(lambda: len(reading.take_all()) == 1000)
    assert reading.sequences == list(range(1, 2001, 2))
    await reading.reader.close()
    await publisher.stop()
    await client.close()


async def test_closing_ends_though_a_cancellation_was_swallowed(
    client: Client, topic: TopicInfo
) -> None:
    class Swallowing(Reader):
        async def _create(self) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await super()._create()
                await asyncio.sleep(60)

    reader = Swallowing(client, topic.stream, topic.filter(0), 1, lambda: None)
    reader.open()
    await until(lambda: reader._consumer)
    await asyncio.wait_for(reader.close(), 30)
