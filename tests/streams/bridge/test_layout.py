"""Names, partitions and headers survive whatever they are made of."""

import re

import pytest
from aiokafka.partitioner import murmur2 as kafka_murmur2  # type: ignore[import-untyped]
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.bridge.errors import ConfigurationError
from streams.bridge.layout import (
    KEY_TOKEN_MAX,
    Cause,
    Place,
    cause_of,
    check_prefix,
    decode_block,
    decode_headers,
    encode_headers,
    escape,
    header_block,
    key_of,
    key_of_usual,
    key_token,
    murmur2,
    parse_headers,
    parse_subject,
    partition_for,
    stream_name,
    subject,
    unescape,
)

TOKEN = re.compile(r"[A-Za-z0-9_=-]+")
names = st.text(st.characters(codec="utf-8"), min_size=1)


@given(names)
def test_any_topic_name_becomes_one_safe_token_and_back(name: str) -> None:
    assert TOKEN.fullmatch(escape(name))
    assert unescape(escape(name)) == name


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_key_tokens_are_safe_bounded_and_differ_as_keys_do(one: bytes, other: bytes) -> None:
    assert TOKEN.fullmatch(key_token(one))
    assert len(key_token(one)) <= KEY_TOKEN_MAX
    assert (key_token(one) == key_token(other)) == (one == other)
    assert key_token(one) != key_token(None)


def test_readable_keys_stay_readable() -> None:
    assert subject("mesh", "orders", 3, b"customer-7") == "mesh.orders.3.customer-7"
    assert subject("mesh", "orders.eu", 3) == "mesh.orders=2Eeu.3"


@given(names, st.integers(0, 1000), st.none() | st.binary())
def test_a_subject_tells_topic_and_partition(topic: str, number: int, key: bytes | None) -> None:
    assert parse_subject(subject("mesh", topic, number, key)) == Place(topic, number)


@given(names, names, st.integers(0, 1000), st.integers(0))
def test_an_id_that_the_producer_made_tells_what_caused_the_record(
    agent: str, topic: str, partition: int, offset: int
) -> None:
    beginning = "/".join(("app", escape(agent), escape(topic), "8174b25d", str(partition)))
    name = f"{beginning}/{offset}/{escape('some.topic')}/1"
    assert cause_of(name) == Cause(topic, partition, offset)


@given(st.none() | st.text() | st.text("/=0F1", max_size=30))
def test_any_other_id_tells_nothing_and_is_no_error(name: str | None) -> None:
    if (cause := cause_of(name)) is not None:
        assert name is not None
        assert name.count("/") == 7
        assert cause.offset >= 0


def test_ids_that_only_look_alike() -> None:
    assert cause_of("a/b/=FF/d/0/1/t/1") is None
    assert cause_of("a/b/c/d/x/1/t/1") is None
    assert cause_of("session-turn") is None


@pytest.mark.parametrize("prefix", ["", "a.b", "a--b", "a-", "-a", "a b", "a*", "ä"])
def test_a_prefix_that_could_be_mistaken_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        check_prefix(prefix)


@given(
    st.from_regex(r"\A[a-z0-9]([_-]?[a-z0-9]){0,4}\Z"),
    names,
    st.from_regex(r"\A[a-z0-9]([_-]?[a-z0-9]){0,4}\Z"),
    names,
)
def test_no_two_topics_share_a_stream(one: str, topic: str, other: str, another: str) -> None:
    assume((one, topic) != (other, another))
    assert stream_name(one, topic) != stream_name(other, another)


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # from the tests of Kafka's Java client
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF


@given(st.binary(), st.integers(1, 1000))
def test_keys_go_where_kafka_would_put_them(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (kafka_murmur2(key) & 0x7FFFFFFF) % partitions


@given(st.integers(1, 50))
def test_without_a_key_any_partition_will_do(partitions: int) -> None:
    assert 0 <= partition_for(None, partitions) < partitions


header_names = st.text(st.characters(codec="utf-8"), max_size=20)
plain_headers = st.sampled_from(["traceparent", "X-Test", "nats-msg-id", "Bridge-Key", "a b", ""])


@given(
    st.none() | st.binary(),
    st.none() | st.binary(),
    st.lists(st.tuples(header_names | plain_headers, st.binary()), max_size=5),
    st.none() | st.floats(0, 1e11),
)
def test_records_survive_the_wire(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
    timestamp: float | None,
) -> None:
    assume(all(name != "Nats-Msg-Id" for name, _ in headers))
    encoded = encode_headers(key, value, headers, timestamp)
    assert all(text.isascii() and text.isprintable() for text in encoded.values())
    block = header_block(encoded)
    content = decode_headers(parse_headers(block), value or b"")
    assert decode_block(block, value or b"") == content
    assert content == (key, value, headers, timestamp, None)


@given(
    st.none() | st.binary() | st.just(b"session-1"),
    st.none() | st.binary(),
    st.lists(st.tuples(header_names | plain_headers, st.binary()), max_size=2),
    st.none() | st.floats(0, 1e11),
    st.sampled_from(
        [{}, {"Nats-Msg-Id": "a/b: 1"}, {"Nats-Batch-Id": "x", "Nats-Batch-Sequence": "1"}]
    ),
)
def test_the_usual_headers_are_a_key_and_what_is_jetstreams(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
    timestamp: float | None,
    jetstreams: dict[str, str],
) -> None:
    assume(all(name != "Nats-Msg-Id" for name, _ in headers))
    encoded = encode_headers(key, value, headers, timestamp)
    usual = encoded.keys() == {"Bridge-Key"}
    block = header_block(encoded | jetstreams)
    assert key_of_usual(block) == (key if usual else None)
    content = decode_block(block, value or b"")
    assert content[:4] == (key, value, headers, timestamp)


pieces = st.sampled_from(
    [
        *(b"NATS/1.0\r\n", b"Bridge-Key: ", b"Bridge-Key:", b"Nats-Msg-Id: a", b"Nats-", b"X: y"),
        *(b"\r\n", b"\r", b"\n", b" ", b"k", b": ", b"\xff", b"Bridge-Null: 1"),
    ]
)


@given(st.lists(pieces, max_size=12).map(b"".join), st.booleans())
def test_keys_are_found_in_whatever_strangers_send(rest: bytes, begun: bool) -> None:
    block = b"NATS/1.0\r\nBridge-Key: " * begun + rest
    assert key_of_usual(block) in (None, decode_block(block, b"").key)
    assert key_of(block) == decode_block(block, b"").key


def test_plain_headers_stay_readable_and_the_message_id_is_the_servers() -> None:
    encoded = encode_headers(b"k", b"v", {"traceparent": b"00-1-2-01", "Nats-Msg-Id": b"mine"})
    assert encoded == {"Bridge-Key": "k", "traceparent": "00-1-2-01", "Nats-Msg-Id": "mine"}
    content = decode_headers(encoded, b"v")
    assert content.headers == [("traceparent", b"00-1-2-01")]
    assert content.message_id == "mine"


def test_foreign_records_decode() -> None:
    assert decode_headers(None, b"x") == (None, b"x", [], None, None)
    broken = {"Bridge-Headers": "!", "Bridge-Key-B64": "!", "Bridge-Timestamp": "noon", "A": "b"}
    assert decode_headers(broken, b"x") == (None, b"x", [("A", b"b")], None, None)
