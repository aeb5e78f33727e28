from datetime import timedelta

import pytest

from streams import slip
from streams.message import ByHand, Exchange, Message, Replay
from streams.payload import Response
from streams.replay.entry import brought
from streams.replay.request import WhatIf
from streams.replay.rerun import NoSuchHop, following, rerun
from streams.slip import NEW_TURN, RouteSlip
from tests.streams.replay.test_entry import AT, finished, hop

REPLAY = Replay(run="r")
ASKED = Exchange(target="llm", request={"q": 1}, response={"text": "a"}, duration_ms=3)


def what_if(place: int, steps: list[str] | None = None, **slots: object) -> WhatIf:
    return WhatIf.model_validate(
        {"session_id": "s1", "message_id": "t1", "hop": place, "slots": slots, "steps": steps}
    )


def test_a_recorded_turn_begins_at_the_door_with_its_answers() -> None:
    message = finished()
    message.trace[1].exchanges.append(ASKED)
    again = rerun(message, REPLAY)
    assert again.slip == RouteSlip(steps=NEW_TURN)
    assert again.payload.sentiment is None
    assert again.replay is not None
    assert [each.actor for each in again.replay.hops] == [each.actor for each in message.trace]
    assert again.replay.hops[1].exchanges == [ASKED]
    assert again.replay.session is not None
    assert (again.replay.session.turn, again.replay.session.refused) == (2, None)
    # What is used up in the replay must not be missed in the recording.
    again.replay.hops[1].exchanges.clear()
    assert message.trace[1].exchanges == [ASKED]


def test_a_turn_that_was_never_worked_on_goes_on_in_its_session() -> None:
    plain = finished().model_copy(update={"trace": []})
    again = rerun(plain, REPLAY)
    assert again.slip == RouteSlip(steps=NEW_TURN)
    assert again.payload.response is None
    assert again.payload.turn == 0
    assert again.replay is not None
    assert again.replay.session is None


def test_a_door_that_stayed_closed_stays_closed() -> None:
    message = finished()
    message.trace = [
        hop("conversation", 0, outcome="failed", error="TooManyWaiting: 20 messages wait")
    ]
    again = rerun(message, REPLAY)
    assert again.replay is not None
    assert again.replay.session is not None
    assert again.replay.session.refused == "20 messages wait"


def test_a_redriven_turn_begins_where_it_was_redriven() -> None:
    message = finished()
    at = AT + timedelta(minutes=5)
    message.by_hand.append(ByHand(kind="redriven", operator="o", at=at, letter=7))
    message.slip = RouteSlip(steps=(slip.CONVERSATION, slip.RESPONSE_GENERATOR))
    message.trace.append(hop("conversation", 6, given=brought(message)))
    message.trace.append(hop("response_generator", 7, added={"response": None}))
    again = rerun(message, REPLAY)
    assert [each.actor for each in again.trace] == [
        "conversation",
        "sentiment_analyzer",
        "response_generator",
    ]
    assert again.slip.steps == (slip.CONVERSATION, slip.RESPONSE_GENERATOR)
    assert again.run == message.run
    assert again.payload.response is not None


def test_an_edited_output_is_what_the_next_actors_find() -> None:
    words = {"text": "Here.", "source": "human"}
    again = rerun(finished(), REPLAY, what_if(2, [slip.GUARDRAIL_VALIDATOR], response=words))
    assert again.slip.steps == (slip.GUARDRAIL_VALIDATOR,)
    assert again.slip.done[-1] == slip.RESPONSE_GENERATOR
    assert again.payload.response == Response(text="Here.", source="human")
    assert again.payload.sentiment is not None
    # Slots that the edited hop no longer adds are as they were before it.
    assert again.payload.sentiment.label == "negative"
    assert again.trace[-1].added == {"response": words}
    assert again.trace[-1].notes == ["edited"]


def test_a_hop_that_is_not_there_cannot_be_edited() -> None:
    with pytest.raises(NoSuchHop, match="3 hops, none at place 3"):
        rerun(finished(), REPLAY, what_if(3))


def trace_of(*hops: tuple[str, str]) -> Message:
    message = finished()
    message.trace = [hop(actor, n, outcome=outcome) for n, (actor, outcome) in enumerate(hops)]
    return message


def test_what_follows_a_hop_is_read_from_the_trace_up_to_the_router() -> None:
    trace = trace_of(
        ("conversation", "done"),
        ("sentiment_analyzer", "retry"),
        ("sentiment_analyzer", "done"),
        ("decision_router", "rerouted"),
        ("response_generator", "done"),
        ("guardrail_validator", "failed"),
        ("escalation_router", "rerouted"),
        ("response_aggregator", "done"),
    ).trace
    assert following(trace, 0) == [slip.SENTIMENT_ANALYZER, slip.DECISION_ROUTER]
    assert following(trace, 4) == [slip.GUARDRAIL_VALIDATOR, slip.DECISION_ROUTER]
    assert following(trace, 6) == [slip.RESPONSE_AGGREGATOR]
    assert following(trace, 7) == []
