"""What a server has stored of a batch, found out afterwards."""

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from streams.bridge.beginning import Beginning, Search
from streams.bridge.layout import header_block
from streams.bridge.publisher import Publisher
from streams.bridge.topics import TopicInfo, TopicSpec, declare


@pytest.fixture
async def topic(client: Client, prefix: str) -> TopicInfo:
    return await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix, shared=True))


@pytest.fixture
async def publisher(client: Client) -> AsyncIterator[Publisher]:
    publisher = Publisher(client)
    await publisher.start()
    yield publisher
    await publisher.stop()


@pytest.mark.parametrize("stored", [1, 2, 7, 64])
@pytest.mark.parametrize("wanted", [0, 1, 30])
async def test_a_batch_is_found_among_others_with_what_is_stored_of_it(
    client: Client, topic: TopicInfo, publisher: Publisher, stored: int, wanted: int
) -> None:
    subject = topic.filter(0)

    async def send(name: str, count: int) -> int:
        record = (subject, b"", header_block({}))
        return await publisher.publish_batch([record] * count, name=name) - count + 1

    search = Search(client.jetstream(), topic.stream, "mine", after=topic.last_offset)
    assert await search.find(subject, stored) is None
    before = await send("other.1", 3)
    assert await search.find(subject, stored) is None
    first = await send("mine.3", stored)
    await send("mine", 2)  # another's, whose name happens to be like it
    assert await search.find(subject, stored + wanted) == Beginning(first, stored)
    assert await search.find(subject, wanted) is None, "what was found is not found again"
    again = Search(client.jetstream(), topic.stream, "other", after=topic.last_offset)
    assert await again.find(subject, 3 + wanted) == Beginning(before, 3)
