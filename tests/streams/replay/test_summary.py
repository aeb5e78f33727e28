from streams.replay.comparison import Spent, compare
from streams.replay.lines import BadLine
from streams.replay.summary import FIRST, NAMES, OTHERS, Summary
from tests.streams.replay.test_comparison import DECISIONS, unanswered
from tests.streams.replay.whole_turn import a_turn, edited, place_of


def test_the_totals_are_those_of_the_turns() -> None:
    summary = Summary()
    actor, edit, _ = DECISIONS["intent"]
    summary.add(compare(a_turn(), a_turn()))
    summary.add(compare(a_turn(), edited(a_turn(), place_of(actor), edit)))
    summary.add(compare(a_turn(), unanswered(a_turn(), "response_generator")))
    summary.add(compare(a_turn(), None, failure="it hung"))

    assert summary.turns == 4
    assert summary.verdicts == {
        "same": 1,
        "similar": 0,
        "not recorded": 1,
        "different": 1,
        "failed": 1,
    }
    assert summary.aspects["intent"] == {"same": 2, "different": 1}
    assert summary.aspects["reply"] == {"same": 2, "not recorded": 1}
    assert summary.intents == {
        "refund_status": {"same": 1, "different": 1, "not recorded": 1, "failed": 1}
    }
    assert summary.diverging == {"intent_analyzer": 1, "response_generator": 1}
    assert [told.reason for told in summary.first_failures] == ["it hung"]
    assert summary.recorded == Spent(work_ms=300, cost_usd=3, tokens=15)
    assert summary.time_ratio == summary.cost_ratio == 1
    assert Summary.model_validate_json(summary.model_dump_json()) == summary


def test_it_does_not_grow_with_what_a_foreign_recording_brings() -> None:
    summary = Summary()
    for number in range(3 * NAMES):
        turn = compare(a_turn(), None)
        turn.intent = f"intent {number}"
        summary.add(turn)
        summary.add_bad(BadLine(number, "is no JSON"))

    assert len(summary.intents) == NAMES + 1
    assert summary.intents[OTHERS]["failed"] == 2 * NAMES
    assert (summary.bad_lines, len(summary.first_bad_lines)) == (3 * NAMES, FIRST)
    assert len(summary.first_failures) == FIRST
    assert summary.time_ratio is None
