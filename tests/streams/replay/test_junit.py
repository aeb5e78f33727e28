import xml.etree.ElementTree as ET
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.replay.comparison import TurnComparison, compare
from streams.replay.gate import Gate
from streams.replay.junit import JUnit
from streams.replay.lines import BadLine
from streams.replay.summary import Summary
from tests.streams.replay.test_comparison import DECISIONS, put, unanswered
from tests.streams.replay.whole_turn import a_turn, edited, place_of


def changed(name: str) -> TurnComparison:
    actor, edit, _ = DECISIONS[name]
    return compare(a_turn(), edited(a_turn(), place_of(actor), edit))


def test_each_turn_is_a_case_and_only_what_breaks_the_gate_fails(tmp_path: Path) -> None:
    path, gate, summary = tmp_path / "replay.xml", Gate("intent,failed,bad-lines"), Summary()
    turns = [
        compare(a_turn(), a_turn()),
        changed("intent"),
        changed("other words"),
        compare(a_turn(), unanswered(a_turn(), "intent_analyzer")),
        compare(a_turn(), None, failure="it hung"),
    ]
    summary.add_bad(BadLine(3, "is no JSON"))
    with JUnit(path) as file:
        for turn in turns:
            summary.add(turn)
            file.add(turn, gate.judge(turn))
        file.close(summary, gate.judge_all(summary))

    suite = ET.parse(path).getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    assert suite.get("time") == "0.400"
    cases = suite.findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [
        [],
        ["failure"],
        ["system-out"],
        ["skipped"],
        ["error"],
        ["failure"],
    ]
    assert cases[0].get("name") == "s1 turn 2 m1"
    assert cases[0].get("classname") == "replay.refund_status"
    failure = cases[1][0]
    assert failure.get("message") == "different intent"
    assert failure.text is not None
    assert failure.text.startswith("hop 3, intent_analyzer: intent.name changed")
    assert cases[2][0].text is not None
    assert "+ Please wait a little." in cases[2][0].text
    assert cases[4][0].get("message") == "failed: it hung"
    assert cases[5][0].text == "line 3: is no JSON"


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.text())
def test_it_is_well_formed_for_any_text(tmp_path: Path, reply: str, reason: str) -> None:
    path, summary = tmp_path / "any.xml", Summary()
    edit = put("response", "text", value=reply)
    turn = compare(a_turn(), edited(a_turn(), place_of("response_generator"), edit))
    turn.session_id = reason
    with JUnit(path) as file:
        file.add(turn, [reason])
        file.add(compare(a_turn(), None, failure=reason), ())
        file.close(summary, [reason])

    assert len(ET.parse(path).getroot()) == 3


def test_half_of_a_character_and_control_characters_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "odd.xml"
    with JUnit(path) as file:
        file.add(compare(a_turn(), None), ["\x00\x1b[31m \ud800 \uffff]]>"])
        file.close(Summary())

    case = ET.parse(path).getroot()[0]
    assert case[0].get("message") == "\ufffd\ufffd[31m \ufffd \ufffd]]>"


def test_it_is_whole_also_when_the_replay_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "cut.xml"
    try:
        with JUnit(path) as file:
            file.add(compare(a_turn(), a_turn()))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass

    assert ET.parse(path).getroot().get("tests") == "1"


def test_personal_data_does_not_go_into_it(tmp_path: Path) -> None:
    path = tmp_path / "private.xml"
    edit = put("response", "text", value="We wrote to ada.lovelace@example.com.")
    turn = compare(a_turn(), edited(a_turn(), place_of("response_generator"), edit))
    with JUnit(path) as file:
        file.add(turn, ["reply of ada.lovelace@example.com"])
        file.close(Summary())

    assert "ada.lovelace" not in path.read_text()
    assert "example.com" in path.read_text()
