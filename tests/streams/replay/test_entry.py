from datetime import UTC, datetime, timedelta

from streams import slip
from streams.message import ByHand, Hop, Message
from streams.payload import Payload, Response, Sentiment, Utterance
from streams.replay.entry import begun_at, brought, entered, payload_before
from streams.slip import NEW_TURN, RouteSlip

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SLOW = Sentiment(label="negative", score=-0.5)
MILD = Sentiment(label="neutral", score=0)


def hop(actor: str, minute: int, **fields: object) -> Hop:
    return Hop.model_validate(
        {"actor": actor, "started_at": AT + timedelta(minutes=minute), **fields}
    )


def finished() -> Message:
    """A turn after its hops, as the journal keeps it."""
    said = Utterance(role="bot", text="hello", at=AT)
    return Message(
        id="t1",
        session_id="s1",
        slip=RouteSlip(steps=(), done=(slip.CONVERSATION, slip.SENTIMENT_ANALYZER)),
        payload=Payload(
            text="where?",
            email="a@example.com",
            at=AT,
            turn=2,
            history=[said],
            sentiment=MILD,
            response=Response(text="There.", source="model"),
        ),
        trace=[
            hop("conversation", 0, added={"turn": 2, "history": [said.model_dump(mode="json")]}),
            hop("sentiment_analyzer", 1, added={"sentiment": SLOW.model_dump(mode="json")}),
            hop(
                "response_generator",
                2,
                added={
                    "sentiment": MILD.model_dump(mode="json"),
                    "response": {"text": "There.", "source": "model"},
                },
            ),
        ],
    )


def test_a_turn_that_begins_as_all_do_brings_nothing() -> None:
    fresh = Message(id="t", session_id="s", payload=Payload(text="x", email="a@b.c", at=AT))
    assert brought(fresh) == {}


def test_a_turn_that_begins_elsewhere_brings_its_slip_and_its_slots() -> None:
    message = Message(
        id="t",
        session_id="s",
        slip=RouteSlip(steps=(slip.RESPONSE_GENERATOR, slip.RESPONSE_AGGREGATOR)),
        payload=Payload(text="x", at=AT, sentiment=SLOW),
    )
    given = brought(message)
    assert given["steps"] == [slip.RESPONSE_GENERATOR, slip.RESPONSE_AGGREGATOR]
    assert list(given["slots"]) == ["sentiment"]
    message.trace.append(hop("response_generator", 0, given=given))
    again = entered(message)
    assert again.slip.steps == (slip.RESPONSE_GENERATOR, slip.RESPONSE_AGGREGATOR)
    assert again.payload.sentiment == SLOW
    assert again.trace == []
    assert brought(message) == {}  # the next hop finds it in the trace


def test_a_redriven_turn_begins_once_more() -> None:
    message = finished()
    message.by_hand.append(
        ByHand(kind="redriven", operator="o", at=AT + timedelta(minutes=5), letter=7)
    )
    message.slip = RouteSlip(steps=(slip.CONVERSATION, slip.RESPONSE_GENERATOR))
    given = brought(message)
    assert given["steps"] == [slip.CONVERSATION, slip.RESPONSE_GENERATOR]
    assert given["slots"]["sentiment"]["label"] == "neutral"
    message.trace.append(hop("conversation", 6, given=given))
    assert begun_at(message) == 3
    assert payload_before(message, 3).sentiment == MILD
    assert brought(message) == {}


def test_the_turn_as_it_entered_knows_nothing_yet() -> None:
    again = entered(finished())
    assert again.slip == RouteSlip(steps=NEW_TURN)
    assert again.payload == Payload(text="where?", email="a@example.com", at=AT)
    assert (again.trace, again.id, again.session_id) == ([], "t1", "s1")


def test_every_hops_input_and_output_can_be_read_back() -> None:
    message = finished()
    assert payload_before(message, 0) == entered(message).payload
    assert payload_before(message, 1).turn == 2
    assert payload_before(message, 1).sentiment is None
    assert payload_before(message, 2).sentiment == SLOW
    assert payload_before(message, 3) == message.payload
