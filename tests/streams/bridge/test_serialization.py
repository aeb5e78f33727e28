"""Our short way between records and values gives what Faust's long one does."""

import asyncio
import datetime
import decimal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.serializers.codecs import Codec
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.bridge.inputs import Input
from streams.bridge.layout import encode_headers, header_block
from streams.bridge.reader import Delivered
from streams.bridge.serialization import decoder, dumpers

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
values = json_values | st.binary() | st.decimals(allow_nan=False) | st.datetimes() | st.uuids()
serializers = st.sampled_from([None, "json", "raw", "pickle_restricted", "binary|json"])


types = st.sampled_from([None, str, bytes, int, float])


class Order(faust.Record):
    """A model, which says in its data that it is one."""

    number: int


encoded = (
    st.none()
    | st.binary()
    | st.sampled_from([b"[1]", b'"x"', b"1e3", b"17", b"null"])
    | st.just(Order(number=3).dumps(serializer="json"))
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> faust.App:
    folder: Path = tmp_path_factory.mktemp("data")
    return faust.App("x", broker="nats://unused?prefix=x", datadir=folder, web_enabled=False)


def message(key: bytes | None, value: bytes | None) -> Input:
    block = header_block(encode_headers(key, value))
    return Input(TP("t", 0), Delivered(b"x.t.0", 1, 1.0, block, value or b""), 1)


def outcome(work: Callable[[], Any]) -> Any:
    """Return what comes of it, an error as its type and text."""
    try:
        return work()
    except Exception as error:
        return type(error), str(error)


@given(serializers, serializers, types, types, encoded, encoded)
def test_records_are_decoded_as_faust_does(
    app: faust.App,
    of_key: str | None,
    of_value: str | None,
    key_type: Any,
    value_type: Any,
    key: bytes | None,
    value: bytes | None,
) -> None:
    topic: Any = app.topic(
        *("t",),
        key_serializer=of_key,
        value_serializer=of_value,
        key_type=key_type,
        value_type=value_type,
    )
    decode = decoder(app, topic.schema)
    assert decode is not None
    record = message(key, value)

    def parts(event: Any) -> Any:
        return event.key, event.value, event.headers, event.message, type(event.value)

    assert outcome(lambda: parts(decode(record))) == outcome(
        lambda: parts(asyncio.run(topic.decode(record, propagate=True)))
    )


@given(serializers, serializers, values, values)
def test_values_become_the_bytes_that_faust_makes_of_them(
    app: faust.App, of_key: str | None, of_value: str | None, key: Any, value: Any
) -> None:
    topic: Any = app.topic("t", key_serializer=of_key, value_serializer=of_value)
    dumps = dumpers(app, topic.schema)
    assert dumps is not None
    dump_key, dump_value = dumps
    assert outcome(lambda: dump_key(key)) == outcome(lambda: topic.prepare_key(key, None)[0])
    assert outcome(lambda: dump_value(value)) == outcome(
        lambda: topic.prepare_value(value, None)[0]
    )


@pytest.mark.parametrize(
    "value",
    [
        Order(number=3),
        [Order(number=3)],
        {"when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)},
        {"price": decimal.Decimal("1.10"), "id": uuid.UUID(int=1), "set": {1}},
        {"not": object},
        float("nan"),
    ],
    ids=repr,
)
def test_what_is_not_plain_json_too(app: faust.App, value: Any) -> None:
    topic: Any = app.topic("t", value_serializer="json")
    dumps = dumpers(app, topic.schema)
    assert dumps is not None
    assert outcome(lambda: dumps[1](value)) == outcome(lambda: topic.prepare_value(value, None)[0])


def test_what_could_not_be_encoded_is_no_circle_the_next_time(app: faust.App) -> None:
    dumps = dumpers(app, app.topic("t", value_serializer="json").schema)
    assert dumps is not None
    inner: dict[str, Any] = {"not": object}
    value = {"inner": inner}
    with pytest.raises(TypeError):
        dumps[1](value)
    inner["not"] = 1
    assert dumps[1](value) == b'{"inner":{"not":1}}'
    inner["circle"] = value
    with pytest.raises(ValueError, match="Circular"):
        dumps[1](value)


def test_who_encodes_while_being_encoded_disturbs_nobody(app: faust.App) -> None:
    dumps = dumpers(app, app.topic("t", value_serializer="json").schema)
    assert dumps is not None
    dump = dumps[1]

    class Odd:
        def __json__(self) -> Any:
            with pytest.raises(TypeError):
                dump({"a": object()})
            return (dump({"b": 1}) or b"").decode()

    assert dump({"x": [Odd()]}) == b'{"x":["{\\"b\\":1}"]}'


@pytest.mark.parametrize("text", [b" [1] ", b"[1]\n", b"[1] [2]", b"", b"[1", b"{'a': 1}", b"NaN"])
def test_what_surrounds_or_breaks_json_is_as_in_faust(app: faust.App, text: bytes) -> None:
    topic: Any = app.topic("t", value_serializer="json")
    decode = decoder(app, topic.schema)
    assert decode is not None
    record = message(b"k", text)
    assert outcome(lambda: repr(decode(record).value)) == outcome(
        lambda: repr(asyncio.run(topic.decode(record, propagate=True)).value)
    )


def test_whoever_has_replaced_a_layer_gets_it(app: faust.App, tmp_path: Path) -> None:
    class Own(faust.Schema[Any, Any]):
        pass

    class OwnApp(faust.App):
        def create_event(self, *args: Any) -> Any:
            return super().create_event(*args)

    class Serializers(app.conf.Serializers):  # type: ignore[name-defined,misc]
        pass

    where: dict[str, Any] = {
        "broker": "nats://unused?prefix=x",
        "datadir": tmp_path,
        "web_enabled": False,
    }
    cases: list[Any] = [
        app.topic("t", schema=Own()),
        faust.App("z", Serializers=Serializers, **where).topic("t"),
    ]
    for topic in cases:
        assert decoder(topic.app, topic.schema) is None
        assert dumpers(topic.app, topic.schema) is None
    for topic in (app.topic("t", value_type=Order), OwnApp("y", **where).topic("t")):
        assert decoder(topic.app, topic.schema) is None


def test_a_codec_of_ones_own_is_called(app: faust.App) -> None:
    class Reversed(Codec):
        def _loads(self, s: bytes) -> Any:
            return s[::-1].decode()

        def _dumps(self, s: Any) -> bytes:
            return str(s).encode()[::-1]

    topic: Any = app.topic("t", key_serializer=Reversed(), value_serializer=Reversed())
    decode, dumps = decoder(app, topic.schema), dumpers(app, topic.schema)
    assert decode is not None
    assert dumps is not None
    event = decode(message(b"abc", b"def"))
    assert (event.key, event.value) == ("cba", "fed")
    assert [dump("abc") for dump in dumps] == [b"cba", b"cba"]


def test_errors_say_whether_it_was_the_key_or_the_value(app: faust.App) -> None:
    topic: Any = app.topic("t", key_serializer="json", value_serializer="json")
    decode = decoder(app, topic.schema)
    assert decode is not None
    with pytest.raises(KeyDecodeError):
        decode(message(b"{", b"{}"))
    with pytest.raises(ValueDecodeError):
        decode(message(b"{}", b"{"))
