import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.replay.comparison import AspectComparison, Spent, TurnComparison, compare
from streams.replay.gate import BadGate, Gate
from streams.replay.lines import BadLine
from streams.replay.summary import Summary
from tests.streams.replay.test_comparison import DECISIONS, unanswered
from tests.streams.replay.whole_turn import a_turn, edited, place_of


def changed(name: str) -> TurnComparison:
    actor, edit, _ = DECISIONS[name]
    return compare(a_turn(), edited(a_turn(), place_of(actor), edit))


def test_what_is_the_same_passes_every_condition() -> None:
    gate = Gate("route,intent,sentiment,context,plan,actions,guardrail,escalation,outcome,reply")

    assert gate.judge(compare(a_turn(), a_turn())) == []


@pytest.mark.parametrize("name", [name for name, (_, _, aspect) in DECISIONS.items() if aspect])
def test_an_aspect_that_is_another_one_fails_its_condition_alone(name: str) -> None:
    aspect = DECISIONS[name][2]
    others = {a for _, _, a in DECISIONS.values() if a and a != aspect}
    if name in ("actions", "amount"):
        others.remove("actions")  # they were done with what was planned

    assert Gate(str(aspect)).judge(changed(name)) == [f"different {aspect}"]
    assert Gate(",".join(sorted(others))).judge(changed(name)) == []


def test_a_reply_may_be_less_alike_than_allowed() -> None:
    turn = changed("other words")
    score = turn.aspects["reply"].score
    assert score is not None

    assert Gate("reply<0.99").judge(turn) == [f"reply {score:.2f} alike, less than 0.99"]
    assert Gate("reply<0.05").judge(turn) == []


def test_a_reply_that_is_gone_is_not_alike() -> None:
    turn = changed("other words")
    turn.aspects["reply"] = AspectComparison(verdict="different", recorded="Hello.")

    assert Gate("reply<0.1").judge(turn) == ["no reply on one side"]


def test_what_was_not_recorded_fails_only_where_that_is_asked_for() -> None:
    turn = compare(a_turn(), unanswered(a_turn(), "intent_analyzer"))

    assert Gate("intent,route,reply,reply<0.8,different,failed").judge(turn) == []
    assert Gate("not-recorded").judge(turn) == [
        "not recorded: intent_analyzer asked what was not recorded: llm"
    ]


def test_a_turn_that_came_to_no_end_has_kept_no_aspect() -> None:
    failed = compare(a_turn(), None, failure="it hung")

    assert Gate("route,intent,reply<0.8,failed").judge(failed) == ["failed: it hung"]
    assert Gate("similar,not-recorded,time>1.5").judge(failed) == []


def test_verdicts_are_conditions_too() -> None:
    failed = compare(a_turn(), None, failure="it hung")

    assert Gate("failed").judge(failed) == ["failed: it hung"]
    assert Gate("different").judge(failed) == []
    assert Gate("different").judge(changed("intent")) == ["different"]


def test_time_and_cost_are_judged_over_the_whole() -> None:
    summary = Summary(
        turns=2,
        recorded=Spent(work_ms=100, cost_usd=1),
        replayed=Spent(work_ms=200, cost_usd=1.1),
    )

    assert Gate("time>1.5,cost>1.5").judge_all(summary) == [
        "time is 2.00 times what was recorded, more than 1.5"
    ]
    assert Gate("time>2,cost>1").judge_all(summary) == [
        "cost is 1.10 times what was recorded, more than 1"
    ]
    assert Gate("time>1.5").judge_all(Summary(turns=1)) == []


def test_bad_lines_and_an_empty_replay_do_not_pass_unseen() -> None:
    summary = Summary()
    assert Gate("intent").judge_all(summary) == ["no turn was replayed"]
    assert Gate("").judge_all(summary) == []

    summary.add(compare(a_turn(), a_turn()))
    summary.add_bad(BadLine(3, "is no JSON"))
    assert Gate("bad-lines").judge_all(summary) == ["1 bad lines"]
    assert Gate("intent").judge_all(summary) == []


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("intnt", 0, "there is no condition 'intnt'"),
        ("route, intnt", 7, "there is no condition 'intnt'"),
        ("route,,intent", 6, "missing between the commas"),
        ("route,", 6, "missing between the commas"),
        ("reply>0.8", 5, "reply takes <, not >"),
        ("reply<=0.8", 5, "reply takes <, not <="),
        ("reply<high", 6, "'high' is not a number"),
        ("reply<", 6, "a number is missing"),
        ("reply<1.2", 6, "no reply is more alike than 1"),
        ("route,reply<nan", 12, "nan is no limit"),
        ("time", 4, "time needs a limit"),
        ("time<1.5", 4, "time takes >, not <"),
        ("time>-1", 5, "-1 is no limit"),
        ("intent<0.5", 6, "intent takes no limit"),
        ("failed>3", 6, "failed takes no limit"),
    ],
)
def test_nonsense_is_told_with_its_place(text: str, position: int, said: str) -> None:
    with pytest.raises(BadGate, match=said) as found:
        Gate(text)

    assert found.value.position == position
    assert f"character {position + 1}: " in str(found.value)


@given(st.text(max_size=40))
def test_any_text_is_a_gate_or_is_refused_with_a_place_in_it(text: str) -> None:
    place: int | None = None
    written = text
    try:
        written = str(Gate(text))
    except BadGate as error:
        place = error.position
    if place is not None:
        assert 0 <= place <= len(text)
    else:
        assert str(Gate(written)) == written
