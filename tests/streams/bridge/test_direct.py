"""Records are found and counted where they lie."""

import time

import pytest
from nats.aio.client import Client

from streams.bridge.direct import batch, first, last
from streams.bridge.layout import encode_headers, subject
from streams.bridge.topics import TopicInfo, TopicSpec, declare


@pytest.fixture
async def topic(client: Client, prefix: str) -> TopicInfo:
    """Ten records in turn on two partitions."""
    js = client.jetstream()
    topic = await declare(js, TopicSpec("t", 2, prefix=prefix))
    for number in range(10):
        headers = encode_headers(b"key", b"", {"n": b"%d" % number})
        await js.publish(subject(prefix, "t", number % 2), b"%d" % number, headers=headers)
    return topic


async def test_the_first_and_the_last_of_a_partition(client: Client, topic: TopicInfo) -> None:
    found = await first(client, topic.stream, topic.filter(1))
    assert found is not None
    assert (found.record.offset, found.record.value, found.more) == (2, b"1", 4)
    assert (found.record.partition, found.record.key) == (1, b"key")
    assert found.record.headers == (("n", b"1"),)
    end = await last(client, topic.stream, topic.filter(0))
    assert end is not None
    assert (end.record.offset, end.record.value) == (9, b"8")


async def test_counting_from_an_offset_passes_over_other_partitions(
    client: Client, topic: TopicInfo
) -> None:
    counted = []
    for sequence in range(1, 12):
        found = await first(client, topic.stream, topic.filter(1), sequence=sequence)
        counted.append(found.more + 1 if found else 0)
    assert counted == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0]


async def test_counting_from_a_time(client: Client, topic: TopicInfo) -> None:
    everything = f"{topic.prefix}.t.>"
    found = await first(client, topic.stream, everything, since=time.time() - 60)
    assert found is not None
    assert found.more == 9
    middle = await first(client, topic.stream, everything, sequence=6)
    assert middle is not None
    found = await first(client, topic.stream, everything, since=middle.stored)
    assert found is not None
    assert found.more == 4
    assert await first(client, topic.stream, everything, since=time.time() + 60) is None


async def test_batches_lead_to_the_end(client: Client, topic: TopicInfo) -> None:
    position, read = 1, []
    while position:
        found, position = await batch(client, topic.stream, topic.filter(0), position, 2)
        read.append([each.record.offset for each in found])
    assert read == [[1, 3], [5, 7], [9]]
    assert await batch(client, topic.stream, topic.filter(0), 100, 2) == ([], 0)


async def test_a_stream_that_is_not_there_does_not_answer(client: Client, prefix: str) -> None:
    with pytest.raises(TimeoutError, match=f"{prefix}--gone"):
        await first(client, f"{prefix}--gone", f"{prefix}.gone.>")
    with pytest.raises(TimeoutError, match="not available"):
        await batch(client, f"{prefix}--gone", f"{prefix}.gone.>", 1, 10)
