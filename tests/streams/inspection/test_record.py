import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.bridge import Record
from streams.bridge.direct import Found
from streams.inspection.expression import Expression
from streams.inspection.record import PREVIEW, view


def found(value: bytes | None, **other: object) -> Found:
    record = Record("t", 1, 7, b"s1", value, (("Origin", b"a/1/2"),), timestamp=1000.0)
    for name, content in other.items():
        record = Record(**{**{f: getattr(record, f) for f in record.__slots__}, name: content})
    return Found(record, 1000.0, 0)


def test_json_is_shown_as_json_and_masked() -> None:
    shown = view(found(b'{"email": "ann@example.com", "id": "t1"}'))
    assert (shown.form, shown.value) == ("json", {"email": "a•••@example.com", "id": "t1"})
    assert (shown.topic, shown.partition, shown.offset, shown.key) == ("t", 1, 7, "s1")
    assert shown.headers == [("Origin", "a/1/2")]
    assert (shown.raw, shown.masked, shown.sent_at) == (None, True, None)
    assert "ann@" not in shown.model_dump_json()


def test_unmasked_comes_with_the_raw_bytes() -> None:
    data = b'{"email": "ann@example.com"}'
    shown = view(found(data), unmask=True)
    assert shown.value == {"email": "ann@example.com"}
    assert base64.b64decode(shown.raw or "") == data
    assert not shown.masked


@pytest.mark.parametrize("data", [b"\xff\xfe ann@example.com", b"ann@example.com", b"[" * 100_000])
def test_bytes_that_are_no_json(data: bytes) -> None:
    masked = view(found(data))
    assert (masked.form, masked.raw) == ("bytes", None)
    assert "ann@" not in (masked.text or "")
    shown = view(found(data), unmask=True)
    assert base64.b64decode(shown.raw or "") == data


@pytest.mark.parametrize(
    "data", [b"NaN", b'{"x": -Infinity}', b'{"x": "\\ud800"}', b"[" * 500 + b"]" * 500]
)
def test_what_other_programs_would_not_read_as_json_is_text(data: bytes) -> None:
    for unmask in (False, True):
        shown = view(found(data), unmask=unmask)
        assert shown.form == "bytes"
        json.loads(shown.model_dump_json())
    assert shown.text == data.decode()


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(json.dumps),
    st.booleans(),
)
def test_any_record_can_be_shown(data: bytes | str, unmask: bool) -> None:
    value = data if isinstance(data, bytes) else data.encode()
    shown = view(found(value, key=value, headers=(("a", value),)), unmask=unmask)
    again = json.loads(shown.model_dump_json(), parse_constant=pytest.fail)
    assert again["size"] == len(value)
    json.dumps(shown.row(), ensure_ascii=False).encode()


def test_a_tombstone() -> None:
    shown = view(found(None))
    assert (shown.form, shown.value, shown.text, shown.size) == ("null", None, None, 0)


def test_keys_and_headers_are_masked_too() -> None:
    shown = view(found(b"1", key=b"ann@example.com", headers=(("For", b"ann@example.com"),)))
    assert (shown.key, shown.headers) == ("a•••@example.com", [("For", "a•••@example.com")])


def test_the_sender_s_own_time_is_told() -> None:
    shown = view(found(b"1", timestamp=500.0))
    assert shown.sent_at is not None
    assert shown.sent_at.timestamp() == 500.0


def test_a_row_has_a_preview_and_chosen_fields_masked() -> None:
    value = {"a": {"b": [1, 2]}, "email": "ann@example.com", "long": "x" * 1000}
    row = view(found(json.dumps(value).encode())).row(
        [Expression("a.b"), Expression("email"), Expression("nothing"), Expression("long")]
    )
    assert row["columns"][:3] == ["[1, 2]", "a•••@example.com", ""]
    assert len(row["columns"][3]) == PREVIEW + 1
    assert len(row["preview"]) == PREVIEW + 1
    assert "value" not in row
