import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.message import Message
from streams.payload import Response
from streams.replay.lines import BadLine, Lines
from streams.replay.plain import conversations, safe_id

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
turns = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["customer", "agent", "action", "user"]) | json_values,
        "text": st.text(max_size=40) | json_values,
        "content": json_values,
        "at": json_values,
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "conversation_id": st.text(max_size=80) | json_values,
        "turns": st.lists(turns | json_values, max_size=6) | json_values,
        "customer": st.fixed_dictionaries({}, optional={"email": json_values}) | json_values,
        "timestamp": json_values,
    },
)


def read(path: Path, *documents: Any) -> list[list[Message] | BadLine]:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return list(conversations(Lines(path), BEGAN))


def one(path: Path, document: Any) -> list[Message]:
    (found,) = read(path, document)
    assert isinstance(found, list), found
    return found


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents)
def test_whatever_a_line_holds_it_is_turns_that_can_be_sent_or_a_reason(
    tmp_path: Path, document: Any
) -> None:
    (found,) = read(tmp_path / "c", document)
    if isinstance(found, BadLine):
        assert (found.number, bool(found.reason)) == (1, True)
        return
    assert len({message.id for message in found}) == len(found) > 0
    assert len({message.session_id for message in found}) == 1
    for message in found:
        assert Message.decode(message.encode()) == message
        assert message.trace == []
    assert read(tmp_path / "c", document) == [found]


def test_each_thing_a_customer_says_is_a_turn_with_what_was_answered(tmp_path: Path) -> None:
    said = [
        ("agent", "Hi!"),
        ("customer", "Where is it?"),
        ("action", "looked it up"),
        ("agent", "Here."),
        ("agent", "Anything else?"),
        ("customer", "No."),
        ("customer", "Wait, yes."),
    ]
    document = {
        "conversation_id": "c1",
        "customer": {"email": " ann@example.com "},
        "turns": [{"role": role, "text": text} for role, text in said],
    }
    first, second, third = one(tmp_path / "c", document)
    assert [first.id, second.id, third.id] == ["c1-1", "c1-2", "c1-3"]
    assert {message.session_id for message in (first, second, third)} == {"c1"}
    assert first.payload.response == Response(text="Here.\n\nAnything else?", source="human")
    assert second.payload.response is None
    assert first.payload.email == "ann@example.com"
    assert (first.payload.at, second.payload.at) == (BEGAN, BEGAN + timedelta(minutes=1))


def test_other_names_and_times_are_understood(tmp_path: Path) -> None:
    document = {
        "id": 7,
        "email": "bob@example.com",
        "created_at": "2026-02-03T10:00:00Z",
        "messages": [
            {"role": "User", "content": [{"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Bye", "timestamp": 1770112860},
            {"role": "user", "content": "Bye!", "timestamp": 1770112920000},
        ],
    }
    found = one(tmp_path / "c", document)
    assert [message.payload.text for message in found] == ["Hello", "Bye", "Bye!"]
    assert [message.payload.at.isoformat()[11:16] for message in found] == [
        "10:00",
        "10:01",
        "10:02",
    ]
    assert found[0].session_id == "7"
    assert found[0].payload.email == "bob@example.com"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "nested"),
        (b"7", "not a JSON object"),
        (b'{"turns": 3}', "no list"),
        (b'{"turns": [{"role": "seller", "text": "x"}]}', "its roles are: seller"),
        (b'{"turns": [{"role": "customer", "text": "\xff"}]}', "UTF-8"),
    ],
)
def test_a_line_that_is_no_conversation_is_told_and_the_rest_goes_on(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    good = b'{"conversation_id": "c", "turns": [{"role": "customer", "text": "x"}]}'
    (tmp_path / "c").write_bytes(line + b"\n\n" + good + b"\n" + good)
    bad, found, again = conversations(Lines(tmp_path / "c"), BEGAN)
    assert isinstance(bad, BadLine)
    assert reason in bad.reason
    assert isinstance(found, list)
    assert again == BadLine(4, "conversation 'c' is there already, further up")


def test_a_conversation_without_a_name_gets_one_that_stays(tmp_path: Path) -> None:
    document = {"turns": [{"role": "customer", "text": "x"}]}
    (message,) = one(tmp_path / "c", document)
    assert message.session_id == one(tmp_path / "d", document)[0].session_id
    assert message.session_id != one(tmp_path / "d", {**document, "x": 1})[0].session_id


@given(st.text(max_size=100), st.text(max_size=100))
def test_names_become_ids_that_differ_where_they_do(one: str, other: str) -> None:
    assert (safe_id(one) == safe_id(other)) == (one == other)
    Message.model_validate(
        {"id": safe_id(one), "session_id": safe_id(other), "payload": {"text": "", "at": BEGAN}}
    )
