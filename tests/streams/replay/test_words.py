from streams.replay.comparison import TurnComparison, compare
from streams.replay.words import changed_in_words, leading_in_words
from tests.streams.replay.test_comparison import DECISIONS, DETAILS, put, unanswered
from tests.streams.replay.whole_turn import a_turn, edited, place_of


def changed(name: str) -> TurnComparison:
    actor, edit, _ = (DECISIONS | DETAILS)[name]
    return compare(a_turn(), edited(a_turn(), place_of(actor), edit))


def test_of_an_aspect_only_what_differs_is_told() -> None:
    assert changed_in_words(changed("ask")) == ["plan.ask: none → Which one?"]
    assert changed_in_words(changed("ok")) == ["actions[0].ok: true → false"]
    assert changed_in_words(changed("confidence")) == ["intent: in details"]
    assert changed_in_words(compare(a_turn(), a_turn())) == []


def test_replies_are_told_in_full() -> None:
    told = changed_in_words(changed("other words"))

    assert told[0].startswith("reply different (0.")
    assert told[1].startswith("- I have refunded $19.50")
    assert told[2] == "+ Please wait a little."


def test_a_route_is_told_from_where_it_parts() -> None:
    turn = a_turn()
    del turn.trace[5:9]

    assert changed_in_words(compare(a_turn(), turn)) == [
        "route behind hop 5: execution_coordinator, response_generator, guardrail_validator, "
        "escalation_router, response_aggregator → response_aggregator"
    ]
    assert leading_in_words(compare(a_turn(), turn)) == (
        "hop 6, execution_coordinator: is not made any more"
    )


def test_what_is_not_known_of_a_turn_that_differs_is_told() -> None:
    turn = edited(a_turn(), place_of("intent_analyzer"), put("intent", "name", value="other"))
    told = changed_in_words(compare(a_turn(), unanswered(turn, "response_generator")))

    assert told == [
        "intent.name: refund_status → other",
        "not recorded: route, guardrail, escalation, outcome, reply",
    ]


def test_the_hop_that_leads_says_why() -> None:
    assert leading_in_words(changed("intent")) == "hop 3, intent_analyzer: intent.name changed"
    assert leading_in_words(compare(a_turn(), a_turn())) == ""
    missing = compare(a_turn(), unanswered(a_turn(), "response_generator"))
    assert leading_in_words(missing) == (
        "hop 7, response_generator: 1 question without a recorded answer"
    )
