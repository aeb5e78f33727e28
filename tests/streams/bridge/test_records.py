"""A record decodes the same, however it was fetched."""

import pytest
from nats.aio.client import Client

from streams.bridge import Record, decode
from streams.bridge.layout import encode_headers, subject
from streams.bridge.records import parse_delivery
from streams.bridge.topics import TopicSpec, declare
from tests.waiting import DEADLINE


async def test_by_consumer_by_sequence_and_by_plain_subscription(
    client: Client, prefix: str
) -> None:
    js = client.jetstream()
    topic = await declare(js, TopicSpec("some.topic", 2, prefix=prefix))
    plain = await client.subscribe(f"{prefix}.>")
    headers = encode_headers(b"\x00k", None, [("a b", b"\r\n"), ("c", b"d")], 12.5)
    ack = await js.publish(subject(prefix, "some.topic", 1), b"", headers=headers)
    expected = Record(
        "some.topic", 1, ack.seq, b"\x00k", None, (("a b", b"\r\n"), ("c", b"d")), 12.5
    )
    consumer = await js.subscribe(f"{prefix}.>", ordered_consumer=True, stream=topic.stream)
    assert decode(await consumer.next_msg(timeout=DEADLINE)) == expected
    assert decode(await js.get_msg(topic.stream, ack.seq)) == expected
    assert decode(await plain.next_msg(timeout=DEADLINE)).offset == 0
    await consumer.unsubscribe()


async def test_the_time_of_storing_stands_in_for_the_senders(client: Client, prefix: str) -> None:
    js = client.jetstream()
    topic = await declare(js, TopicSpec("t", 1, prefix=prefix))
    await js.publish(subject(prefix, "t", 0), b"x", headers={"Nats-Msg-Id": "mine"})
    consumer = await js.subscribe(f"{prefix}.>", ordered_consumer=True, stream=topic.stream)
    delivered = decode(await consumer.next_msg(timeout=DEADLINE))
    read = decode(await js.get_msg(topic.stream, 1))
    assert delivered.timestamp == pytest.approx(read.timestamp, abs=0.001)
    assert delivered.message_id == read.message_id == "mine"
    await consumer.unsubscribe()


def test_deliveries_of_servers_with_a_domain_are_understood() -> None:
    short = parse_delivery("$JS.ACK.stream.consumer.1.7.3.1700000000000000000.5")
    long = parse_delivery("$JS.ACK.hub.hash.stream.consumer.1.7.3.1700000000000000000.5.random")
    assert short == long
    assert (short.sequence, short.number, short.pending, short.time) == (7, 3, 5, 1.7e9)
    with pytest.raises(ValueError, match="delivery"):
        parse_delivery("_INBOX.x")
