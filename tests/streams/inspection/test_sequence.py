from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.inspection.conversation import Answer, Burial, Conversation, Place, Step, Turn
from streams.inspection.difference import Change
from streams.inspection.sequence import mermaid, milliseconds, summary

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLACE = Place(topic="mesh.conversation", partition=0, offset=7)


def step(sender: str, actor: str, second: int, **fields: object) -> Step:
    values = {"sent_at": NOW + timedelta(seconds=second), "outcome": "done"} | fields
    return Step.model_validate({"sender": sender, "actor": actor, "place": PLACE, **values})


def talk(text: str = "hello", **fields: object) -> Conversation:
    turn = Turn(
        message_id="t1",
        number=1,
        text=text,
        channel="http",
        at=NOW,
        state="needs_information",
        steps=[
            step("customer", "conversation", 0, waiting_ms=0.4, working_ms=1200),
            step("conversation", "analyzer", 1, outcome="retry", notes=["try 1 failed: no"]),
            step("analyzer", "analyzer", 2, attempt=2, waiting_ms=200, delayed_ms=150),
        ],
        answers=[
            Answer(
                sender="analyzer",
                at=NOW + timedelta(seconds=3),
                author="bot",
                state="needs_information",
                text=text,
                sequence=1,
            )
        ],
        burials=[
            Burial(actor="analyzer", at=NOW + timedelta(seconds=2.5), reason=text, place=PLACE)
        ],
    )
    values = {"actors": ["customer", "conversation", "analyzer"]} | fields
    return Conversation.model_validate({"session_id": "s1", "turns": [turn], **values})


def test_each_message_is_an_arrow_in_order_of_time() -> None:
    lines = [line.strip() for line in mermaid(talk()).splitlines()]
    assert lines[0] == "sequenceDiagram"
    assert lines[2:6] == [
        "actor customer",
        "participant conversation",
        "participant analyzer",
        "participant dead_letters",
    ]
    assert lines[6:] == [
        "Note over customer,analyzer: Turn 1, needs information",
        "customer->>conversation: hello",
        "Note right of conversation: waited 0.4 ms, worked 1.2 s",
        "conversation->>analyzer: offset 7",
        "Note right of analyzer: try 1 failed#58; no",
        "analyzer-->>analyzer: try 2",
        "Note right of analyzer: 150 ms of the wait on purpose, waited 200 ms",
        "analyzer-xdead_letters: hello",
        "analyzer->>customer: hello",
    ]


def test_what_was_not_looked_through_is_said() -> None:
    assert "%% Not every topic" in mermaid(talk(complete=False))
    assert "%%" not in mermaid(talk())


@given(st.text())
def test_what_people_wrote_is_never_read_as_syntax(text: str) -> None:
    written, plain = mermaid(talk(text)), mermaid(talk("x"))
    assert len(written.splitlines()) == len(plain.splitlines())
    for line, other in zip(written.splitlines(), plain.splitlines(), strict=True):
        head, _, label = line.partition(": ")
        if head == other.partition(": ")[0] and line != other:
            assert not set(label) & set('<>"%{}[]()`\\|')
            assert len(label) <= 80 * 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0.0 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (99_900, "99.9 s"),
        (150_000, "2 min"),
    ],
)
def test_times_read_well(value: float, expected: str) -> None:
    assert milliseconds(value) == expected


def test_a_summary_names_the_slots_that_changed_once_each() -> None:
    changes = [
        Change(kind="added", path=path) for path in ("history[0]", "history[1]", "plan.actions[0]")
    ]
    assert summary(step("a", "b", 0, difference=changes)) == "changed history, plan"
    assert summary(step("a", "b", 0, guardrail="refused")) == "refused the reply"
    assert summary(step("a", "b", 0, outcome="failed", reason="E: no")) == "failed: E: no"
