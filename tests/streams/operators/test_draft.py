import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.message import Message
from streams.operators.draft import BadDraft, is_answered, place, read_draft
from streams.payload import Payload
from streams.slip import (
    ACT_AND_ANSWER,
    CLOSE,
    DECISION_ROUTER,
    ESCALATE,
    HOP_LIMIT,
    INTENT_ANALYZER,
    NEW_TURN,
    RouteSlip,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def draft(**changed: Any) -> str:
    message = Message(
        id="t1", session_id="s1", payload=Payload(text="hello", at=datetime(2026, 1, 1, tzinfo=UTC))
    )
    document = json.loads(message.encode())
    for path, value in changed.items():
        *parents, name = path.split("__")
        inner = document
        for parent in parents:
            inner = inner[parent]
        inner[name] = value
    return json.dumps(document, indent=2)


def problems(text: str) -> list[tuple[str, str]]:
    """Return path and the text's line of every problem."""
    with pytest.raises(BadDraft) as bad:
        read_draft(text)
    lines = text.splitlines()
    return [(each.path, lines[each.line - 1].strip()) for each in bad.value.problems]


def test_a_message_is_read_as_it_is() -> None:
    assert read_draft(draft()).payload.text == "hello"
    assert read_draft(draft(slip__steps=[INTENT_ANALYZER])).slip.next() == INTENT_ANALYZER


def test_what_is_no_json_is_said_with_its_place() -> None:
    with pytest.raises(BadDraft) as bad:
        read_draft('{"id": "x",\n  "session_id" "y"}')
    (problem,) = bad.value.problems
    assert (problem.line, problem.column) == (2, 16)
    assert str(bad.value).startswith("line 2: ")


def test_every_problem_is_named_at_its_place() -> None:
    text = draft(id="not an id", payload__at="yesterday", payload__turn="x")
    assert problems(text) == [
        ("id", '"id": "not an id",'),
        ("payload.at", '"at": "yesterday",'),
        ("payload.turn", '"turn": "x",'),
    ]


def test_what_is_missing_is_said_where_it_should_be() -> None:
    document = json.loads(draft())
    del document["payload"]["text"]
    assert problems(json.dumps(document, indent=1)) == [("payload.text", '"payload": {')]


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"slip__steps": []}, "slip.steps"),
        ({"slip__steps": [INTENT_ANALYZER, "mesh.nowhere"]}, "slip.steps.1"),
        ({"slip__on_error": "mesh.journal"}, "slip.on_error"),
        ({"slip__done": [INTENT_ANALYZER] * HOP_LIMIT}, "slip.steps"),
        ({"slip__then": 1}, "slip.then"),
    ],
)
def test_a_route_that_leads_nowhere_is_a_problem(changed: dict[str, Any], path: str) -> None:
    assert [found for found, _ in problems(draft(**changed))] == [path]


@pytest.mark.parametrize("text", ["", "null", "[]", "7", '"x"', "{", "[" * 100_000, "\x00"])
def test_anything_else_is_a_problem_too(text: str) -> None:
    with pytest.raises(BadDraft):
        read_draft(text)


@given(JSON, st.sampled_from([None, 0, 3]), st.data())
def test_a_place_is_where_the_value_is(value: Any, indent: int | None, data: st.DataObject) -> None:
    path: list[int | str] = []
    inner = value
    while inner and isinstance(inner, dict | list) and data.draw(st.booleans()):
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(keys))
        path.append(key)
        inner = inner[key]
    text = json.dumps(value, indent=indent, ensure_ascii=data.draw(st.booleans()))
    line, column = place(text, path)
    rest = "\n".join(text.split("\n")[line - 1 :])[column - 1 :]
    assert json.JSONDecoder().raw_decode(rest)[0] == inner


def test_of_members_with_one_name_the_last_is_the_place() -> None:
    assert place('{"a": 1,\n"a": 2}', ["a"]) == (2, 6)


def test_a_route_is_also_counted_from_hops_already_made() -> None:
    slip = RouteSlip(steps=(INTENT_ANALYZER,), done=(INTENT_ANALYZER,) * (HOP_LIMIT - 1))
    assert read_draft(draft(slip=slip.model_dump(mode="json"))).slip == slip


@pytest.mark.parametrize(
    ("steps", "answered"),
    [
        ((), False),
        (NEW_TURN, True),
        (ACT_AND_ANSWER, True),
        (CLOSE, True),
        (ESCALATE, True),
        ((DECISION_ROUTER, INTENT_ANALYZER), False),
    ],
)
def test_a_route_is_answered_if_it_ends_where_turns_are_closed(
    steps: tuple[str, ...], answered: bool
) -> None:
    assert is_answered(RouteSlip(steps=steps)) == answered
