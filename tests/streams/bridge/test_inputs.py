"""An input record is what Faust would make of it, with two fields of ours."""

from typing import Any

from faust.types import TP, ConsumerMessage, Message
from hypothesis import given
from hypothesis import strategies as st

from streams.bridge.inputs import Input
from streams.bridge.layout import encode_headers, header_block
from streams.bridge.reader import Delivered

PLACE = TP("orders", 3)


def fields(message: Message) -> dict[str, Any]:
    """Return what is set in a message, by the names of its slots."""
    names = [name for name in Message.__slots__ if name != "__weakref__"]
    return {name: getattr(message, name) for name in names if hasattr(message, name)}


@given(
    st.none() | st.binary() | st.just(b"session-1"),
    st.none() | st.binary(),
    st.sampled_from([[], [("a", b"b")], [("a", b"\xff"), ("a", b"")]]),
    st.none() | st.floats(0, 1e11),
)
def test_every_field_is_as_faust_sets_it(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes]],
    timestamp: float | None,
) -> None:
    block = header_block(encode_headers(key, value, headers, timestamp))
    ours = Input(PLACE, Delivered(b"x.orders.3", 17, 5.5, block, value or b""), 4)
    faust = ConsumerMessage(
        *PLACE,
        offset=17,
        timestamp=5.5 if timestamp is None else timestamp,
        timestamp_type=1 if timestamp is None else 0,
        headers=headers,
        key=key,
        value=value,
        checksum=None,
        tp=PLACE,
        generation_id=4,
    )
    assert fields(ours) == fields(faust)
    assert (ours.outputs, ours.sent) == (None, None)


def test_foreign_records_have_no_key_and_their_own_headers() -> None:
    ours = Input(PLACE, Delivered(b"x.orders.3", 1, 2.0, b"", b"v"), None)
    assert (ours.key, ours.value, ours.headers) == (None, b"v", [])
    ours = Input(PLACE, Delivered(b"x.orders.3", 1, 2.0, header_block({"A": "b"}), b"v"), None)
    assert (ours.key, ours.value, ours.headers) == (None, b"v", [("A", b"b")])
