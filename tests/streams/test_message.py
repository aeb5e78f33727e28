import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streams.errors import Undecodable
from streams.message import (
    MESSAGE_CODEC,
    Exchange,
    Failure,
    Hop,
    Message,
    MessageCodec,
    RecordedHop,
    Recovery,
    Remembered,
    Replay,
    Undecoded,
)
from streams.payload import (
    Context,
    Entity,
    Guardrail,
    Intent,
    IntentName,
    Order,
    Payload,
    Plan,
    PlannedAction,
    Response,
    Sentiment,
    Utterance,
    Verdict,
)
from streams.slip import RouteSlip
from streams.topics import MAILBOXES

ids = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
moments = st.datetimes(timezones=st.just(UTC))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(texts, json_values, max_size=3)
scores = st.floats(0, 1)
actions = st.builds(
    PlannedAction, id=texts, kind=texts, order_id=st.none() | texts, arguments=documents
)
orders = st.builds(
    Order,
    id=texts,
    customer_id=texts,
    status=texts,
    placed_at=st.none() | moments,
    items=st.lists(documents, max_size=2),
    payments=st.just([]),
    fulfillments=st.just([]),
    address=documents,
)
payloads = st.builds(
    Payload,
    text=texts,
    email=st.none() | texts,
    at=moments,
    turn=st.integers(0, 10_000),
    history=st.lists(
        st.builds(Utterance, role=st.just("customer"), text=texts, at=moments), max_size=2
    ),
    awaiting=st.lists(actions, max_size=2),
    sentiment=st.none()
    | st.builds(Sentiment, label=st.just("neutral"), score=st.floats(-1, 1), emotions=st.just([])),
    intent=st.none()
    | st.builds(
        Intent,
        name=st.sampled_from(IntentName),
        confidence=scores,
        alternatives=st.just([]),
        entities=st.lists(
            st.builds(
                Entity, type=st.just("order_id"), value=texts, start=st.just(0), end=st.just(1)
            ),
            max_size=2,
        ),
    ),
    context=st.none()
    | st.builds(
        Context,
        customer=st.none(),
        orders=st.lists(orders, max_size=2),
        parcels=st.just([]),
        products=st.lists(documents, max_size=1),
        past_issues=st.just([]),
    ),
    plan=st.none() | st.builds(Plan, actions=st.lists(actions, max_size=2), confirm=st.just([])),
    execution=st.none(),
    response=st.none() | st.builds(Response, text=texts, source=st.just("model")),
    guardrail=st.none()
    | st.builds(
        Guardrail,
        passed=st.booleans(),
        verdicts=st.lists(
            st.builds(Verdict, check=texts, passed=st.booleans(), reason=texts), max_size=2
        ),
    ),
    escalation=st.none(),
)
steps = st.lists(st.sampled_from(MAILBOXES), max_size=5).map(tuple)
exchanges = st.builds(
    Exchange,
    target=st.just("orders"),
    request=documents,
    response=json_values,
    error=st.none() | texts,
    duration_ms=scores,
)
messages = st.builds(
    Message,
    id=ids,
    session_id=ids,
    slip=st.builds(RouteSlip, steps=steps, done=steps, on_error=st.sampled_from(MAILBOXES)),
    payload=payloads,
    trace=st.lists(
        st.builds(
            Hop,
            actor=texts,
            started_at=moments,
            duration_ms=scores,
            added=documents,
            exchanges=st.lists(exchanges, max_size=2),
            given=documents,
        ),
        max_size=2,
    ),
    error=st.none() | st.builds(Failure, actor=texts, kind=texts, text=texts, at=moments),
    recovery=st.builds(Recovery, attempts=st.dictionaries(texts, st.integers(0, 9), max_size=2)),
    replay=st.none()
    | st.builds(
        Replay,
        run=texts,
        hops=st.lists(
            st.builds(
                RecordedHop,
                actor=texts,
                started_at=moments,
                exchanges=st.lists(exchanges, max_size=1),
            ),
            max_size=2,
        ),
        session=st.none()
        | st.builds(Remembered, history=st.just([]), awaiting=st.lists(actions, max_size=1)),
        pace=st.just(0),
    ),
)

CODEC = MessageCodec()


@given(messages)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert Message.decode(message.encode()) == message


@given(messages)
def test_a_message_survives_the_faust_codec(message: Message) -> None:
    assert CODEC.loads(CODEC.dumps(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_are_kept_with_the_reason(data: bytes) -> None:
    loaded = CODEC.loads(data)
    assert isinstance(loaded, Undecoded)
    assert loaded.data == data
    assert loaded.reason


def a_message() -> Message:
    return Message(id="t1", session_id="s1", payload=Payload(text="hi", at=datetime.now(UTC)))


def test_another_version_is_refused_by_name() -> None:
    document = json.loads(a_message().encode()) | {"version": 2}
    with pytest.raises(Undecodable, match=r"version 1 message: version: "):
        Message.decode(json.dumps(document).encode())


@pytest.mark.parametrize("field", ["id", "session_id", "payload"])
def test_a_missing_field_is_named(field: str) -> None:
    document = json.loads(a_message().encode())
    del document[field]
    with pytest.raises(Undecodable, match=field):
        Message.decode(json.dumps(document).encode())


@pytest.mark.parametrize("bad", ["", "a b", "a.b", "a>", "a*", "../x", "ä", "x" * 65, "a\n"])
def test_ids_that_could_be_mistaken_for_subjects_or_paths_are_refused(bad: str) -> None:
    with pytest.raises(ValidationError):
        Message(id=bad, session_id="s", payload=Payload(text="hi", at=datetime.now(UTC)))
    with pytest.raises(ValidationError):
        Message(id="t", session_id=bad, payload=Payload(text="hi", at=datetime.now(UTC)))


def test_the_customers_words_cannot_be_overwritten() -> None:
    message = a_message()
    with pytest.raises(ValidationError, match="frozen"):
        message.payload.text = "something else"  # type: ignore[misc]


def test_what_a_newer_version_added_is_passed_on() -> None:
    document = json.loads(a_message().encode())
    document["payload"]["mood_ring"] = {"colour": "blue"}
    document["priority"] = 3
    passed_on = json.loads(Message.decode(json.dumps(document).encode()).encode())
    assert passed_on["payload"]["mood_ring"] == {"colour": "blue"}
    assert passed_on["priority"] == 3


def test_plain_json_from_faust_send_is_validated() -> None:
    value = json.loads(a_message().encode())
    assert CODEC.loads(CODEC.dumps(value)).id == "t1"
    with pytest.raises(ValidationError):
        CODEC.dumps({"hello": "world"})


def test_the_codec_has_a_name_that_topics_can_use() -> None:
    assert MESSAGE_CODEC == "mesh_message"
