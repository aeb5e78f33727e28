from streams.replay.spread import spread
from tests.streams.replay.test_comparison import put
from tests.streams.replay.whole_turn import a_turn, edited, place_of

REPLY = "I have refunded $19.50 for order #W1. It will reach you within a week, ticket T-7."


def test_a_turn_that_comes_out_the_same_each_time_is_stable() -> None:
    found = spread([a_turn(), a_turn(), a_turn()])

    assert (found.attempts, found.failed, found.stability) == (3, 0, 1)
    assert [way.times for way in found.replies] == [3]
    assert found.lowest_score == 1
    assert found.intents[0].value["name"] == "refund_status"
    assert found.routes[0].value[0] == "conversation"


def test_what_came_out_otherwise_is_counted() -> None:
    generator, analyzer = place_of("response_generator"), place_of("intent_analyzer")
    other_words = edited(a_turn(), generator, put("response", "text", value=REPLY))
    other_wish = edited(other_words, analyzer, put("intent", "name", value="other"))

    found = spread([a_turn(), a_turn(), other_words, other_wish, None])

    assert (found.attempts, found.failed) == (5, 1)
    assert [way.times for way in found.intents] == [3, 1]
    assert [way.times for way in found.plans] == [4]
    assert [way.times for way in found.replies] == [2, 2]
    assert found.stability == 3 / 5
    assert found.lowest_score is not None
    assert 0.5 < found.lowest_score < 1


def test_of_attempts_that_all_failed_nothing_is_claimed() -> None:
    found = spread([None, None])

    assert (found.failed, found.stability, found.lowest_score) == (2, 0, None)
