import re

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.replay.comparison import TurnComparison, compare
from streams.replay.gate import Gate
from streams.replay.lines import BadLine
from streams.replay.markdown import TURNS, Shown, markdown
from streams.replay.summary import Summary
from tests.streams.replay.test_comparison import DECISIONS, put
from tests.streams.replay.whole_turn import a_turn, edited, place_of


def changed(name: str) -> TurnComparison:
    actor, edit, _ = DECISIONS[name]
    return compare(a_turn(), edited(a_turn(), place_of(actor), edit))


def replied(text: str) -> TurnComparison:
    edit = put("response", "text", value=text)
    return compare(a_turn(), edited(a_turn(), place_of("response_generator"), edit))


def written(turns: list[TurnComparison], conditions: str = "", said: str = "Yes please") -> str:
    summary, shown, gate = Summary(), Shown(), Gate(conditions)
    for turn in turns:
        summary.add(turn)
        shown.add(turn, gate.judge(turn), said)
    return markdown(summary, shown, gate, gate.judge_all(summary))


def outside_code(text: str) -> str:
    """Return what is left without code blocks and code spans, read as CommonMark does."""
    text = re.sub(r"(?m)^(`{3,})diff$(?:.|\n)*?^\1$", "", text)
    return re.sub(r"(?s)(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", text)


def test_totals_come_first_and_what_breaks_the_gate_before_what_else_changed() -> None:
    told = written(
        [compare(a_turn(), a_turn()), changed("other words"), changed("intent")], "intent"
    )

    assert told.startswith("## Replay\n\n**Not passed** `intent` in 1 of 3 turns: ")
    assert "| 3 | 1 | 0 | 0 | 2 | 0 | 0 | 300 ms → 300 ms | $3.0000 → $3.0000 | 15 → 15 |" in told
    assert "| intent | 1 | 0 | 0 |" in told
    assert "Where it began: `response_generator` (1), `intent_analyzer` (1)." in told
    assert told.index("intent.name changed") < told.index("Please wait a little")
    assert "\n- I have refunded $19.50" in told
    assert "\n+ Please wait a little." in told
    assert "\n> Yes please\n" in told


def test_it_says_when_it_is_passed_or_saw_nothing() -> None:
    assert "**Passed** `route,reply<0.8`." in written(
        [compare(a_turn(), a_turn())], "route,reply<0.8"
    )
    assert "**1 of 1 turns came out the same.**" in written([compare(a_turn(), a_turn())])
    assert "**No turn was replayed.**" in written([], "route")


def test_bad_lines_are_told_with_their_reasons() -> None:
    summary = Summary()
    summary.add(compare(a_turn(), a_turn()))
    summary.add_bad(BadLine(17, "is no JSON"))

    assert "- line 17: `is no JSON`" in markdown(summary, Shown(), Gate(), [])


def test_it_is_short_however_much_changed() -> None:
    told = written([replied("x " * 10_000)] * 100)

    assert len(told) < 60_000
    assert told.count("\n### ") == TURNS
    assert f"… and {100 - TURNS} more that are not the same." in told


@settings(max_examples=150)
@given(st.text(st.sampled_from("`~<>@#*_|[]()!- \nab"), min_size=1, max_size=30))
def test_nothing_that_anybody_wrote_is_read_as_markup(odd: str) -> None:
    mark = f"{odd}\n```\n@everyone <img src=x> [link](http://x) #1 {odd}"
    turn = replied(mark)
    turn.reason = turn.session_id = mark
    turn.verdict = "failed"

    left = outside_code(written([turn], "failed", said=mark))

    assert "@everyone" not in left
    assert "<img" not in left
    assert "link](" not in left


def test_personal_data_is_masked() -> None:
    told = written(
        [replied("Sent to ada.lovelace@example.com.")], said="I am ada.lovelace@example.com"
    )

    assert "lovelace" not in told
    assert "a•••@example.com" in told
