from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.message import ByHand, Message
from streams.payload import Payload, Plan, PlannedAction
from streams.reply import Reply
from streams.slip import CONVERSATION, RouteSlip
from tables.sessions import (
    ABANDONED_AFTER,
    REMEMBERED_TURNS,
    Session,
    TooManyWaiting,
    enter,
    leave,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def turn(number: int, text: str = "hello") -> Message:
    """A turn as the conversation actor gets it: its own step is done."""
    payload = Payload(text=text, email="ann@example.com", at=NOW)
    return Message(id=f"t{number}", session_id="s", slip=RouteSlip().advance(), payload=payload)


def reply_to(message: Message, state: str = "answered") -> Reply:
    return Reply.model_validate(
        {
            "session_id": message.session_id,
            "message_id": message.id,
            "sequence": 1,
            "at": NOW,
            "response": f"answer to {message.id}",
            "state": state,
        }
    )


def open_with(*messages: Message) -> Session:
    session: Session | None = None
    for message in messages:
        session = enter(session, message, NOW, pending_turns=100).session
    assert session is not None
    return session


def close(session: Session, message: Message, state: str = "answered") -> Session:
    return leave(session, message, reply_to(message, state), NOW, history_turns=5).session


def test_the_first_turn_starts_and_is_numbered_one() -> None:
    entry = enter(None, turn(1), NOW, pending_turns=1)
    assert entry.kind == "start"
    assert entry.session.turns == 1
    assert entry.session.active is not None
    assert entry.session.active.id == "t1"


def test_the_second_turn_waits_for_the_first() -> None:
    entry = enter(open_with(turn(1)), turn(2), NOW, pending_turns=1)
    assert entry.kind == "wait"
    assert [m.id for m in entry.session.waiting] == ["t2"]


def test_too_many_waiting_is_an_error_that_says_so() -> None:
    session = open_with(turn(1), turn(2))
    with pytest.raises(TooManyWaiting, match="1 messages of this session wait"):
        enter(session, turn(3), NOW, pending_turns=1)


def test_a_turn_that_comes_twice_while_waiting_waits_once() -> None:
    session = open_with(turn(1), turn(2), turn(2))
    assert [m.id for m in session.waiting] == ["t2"]


def test_the_active_turn_coming_again_after_a_crash_starts_again_with_its_number() -> None:
    entry = enter(open_with(turn(1)), turn(1), NOW, pending_turns=1)
    assert entry.kind == "start"
    assert entry.session.turns == 1


def test_a_turn_that_was_answered_is_answered_the_same_again() -> None:
    session = close(open_with(turn(1)), turn(1))
    entry = enter(session, turn(1), NOW, pending_turns=1)
    assert entry.kind == "repeat"
    assert entry.reply is not None
    assert entry.reply.response == "answer to t1"
    assert entry.session == session


def test_closing_a_turn_hands_over_to_the_one_that_waited_longest() -> None:
    ending = leave(
        open_with(turn(1), turn(2), turn(3)), turn(1), reply_to(turn(1)), NOW, history_turns=5
    )
    assert ending.following is not None
    assert ending.following.id == "t2"
    assert ending.following.slip.next() == CONVERSATION
    assert ending.session.active is not None
    assert ending.session.active.id == "t2"
    assert [m.id for m in ending.session.waiting] == ["t3"]


def test_a_newcomer_does_not_overtake_the_turn_that_was_handed_the_session() -> None:
    session = close(open_with(turn(1), turn(2)), turn(1))
    entry = enter(session, turn(3), NOW, pending_turns=9)
    assert entry.kind == "wait"
    started = enter(entry.session, turn(2), NOW, pending_turns=9)
    assert started.kind == "start"
    assert started.session.turns == 2
    assert [m.id for m in started.session.waiting] == ["t3"]


def test_closing_again_after_a_crash_gives_the_same_reply_and_the_same_successor() -> None:
    first = leave(open_with(turn(1), turn(2)), turn(1), reply_to(turn(1)), NOW, history_turns=5)
    later = NOW + timedelta(seconds=9)
    again = leave(
        first.session,
        turn(1),
        reply_to(turn(1)).model_copy(update={"response": "other"}),
        later,
        history_turns=5,
    )
    assert again == first


def test_closing_again_once_the_successor_has_started_does_not_start_it_twice() -> None:
    session = close(open_with(turn(1), turn(2)), turn(1))
    session = enter(session, turn(2), NOW, pending_turns=9).session
    again = leave(session, turn(1), reply_to(turn(1)), NOW, history_turns=5)
    assert again.following is None
    assert again.session == session


def test_replies_count_up_without_gaps() -> None:
    session = None
    for number in range(1, 5):
        session = enter(session, turn(number), NOW, pending_turns=1).session
        ending = leave(session, turn(number), reply_to(turn(number)), NOW, history_turns=5)
        assert ending.reply.sequence == number
        session = ending.session


def test_history_keeps_the_window_and_the_words() -> None:
    session = None
    for number in range(1, 9):
        session = enter(session, turn(number, f"words {number}"), NOW, pending_turns=1).session
        session = close(session, turn(number, f"words {number}"))
    assert session is not None
    assert [line.text for line in session.history[:2]] == ["words 4", "answer to t4"]
    assert len(session.history) == 10


def test_actions_wait_for_a_yes_until_the_next_turn_ends() -> None:
    asked = turn(1)
    asked.payload.plan = Plan(confirm=[PlannedAction(id="t1-1", kind="cancel_order")])
    session = close(open_with(asked), asked, "awaiting_confirmation")
    assert [action.id for action in session.awaiting] == ["t1-1"]
    session = close(enter(session, turn(2), NOW, pending_turns=1).session, turn(2))
    assert session.awaiting == []


def test_a_turn_refused_at_the_door_is_answered_without_disturbing_the_active_one() -> None:
    session = open_with(turn(1), turn(2))
    ending = leave(session, turn(3), reply_to(turn(3), "failed"), NOW, history_turns=5)
    assert ending.following is None
    assert ending.session.active == session.active
    assert ending.session.waiting == session.waiting


def test_a_turn_that_never_came_back_does_not_block_its_session_for_ever() -> None:
    session = open_with(turn(1))
    later = NOW + ABANDONED_AFTER + timedelta(seconds=1)
    assert enter(session, turn(2), later, pending_turns=1).kind == "start"


def test_those_that_waited_for_a_lost_turn_go_before_a_newcomer() -> None:
    session = open_with(turn(1), turn(2), turn(3))
    later = NOW + ABANDONED_AFTER + timedelta(seconds=1)
    entry = enter(session, turn(4), later, pending_turns=9)
    assert entry.kind == "wait"
    assert entry.following is not None
    assert entry.following.id == "t2"
    assert entry.session.active == entry.following
    assert [m.id for m in entry.session.waiting] == ["t3", "t4"]
    started = enter(entry.session, entry.following, later, pending_turns=9)
    assert (started.kind, started.following) == ("start", None)


def test_a_turn_refused_at_the_door_leaves_what_waits_for_a_yes() -> None:
    asked = turn(1)
    asked.payload.plan = Plan(confirm=[PlannedAction(id="t1-1", kind="cancel_order")])
    session = close(open_with(asked), asked, "awaiting_confirmation")
    session = enter(session, turn(2), NOW, pending_turns=1).session
    refused = leave(session, turn(3), reply_to(turn(3), "failed"), NOW, history_turns=5)
    assert [action.id for action in refused.session.awaiting] == ["t1-1"]


def test_an_old_turn_is_forgotten_at_last() -> None:
    session = None
    for number in range(REMEMBERED_TURNS + 5):
        session = close(enter(session, turn(number), NOW, pending_turns=1).session, turn(number))
    assert session is not None
    assert len(session.done) == REMEMBERED_TURNS
    assert "t0" not in session.done


@given(st.lists(st.integers(1, 6), max_size=40))
def test_whatever_order_turns_come_in_each_is_answered_once(arrivals: list[int]) -> None:
    session: Session | None = None
    started: list[str] = []
    answered: list[str] = []
    for number in arrivals:
        entry = enter(session, turn(number), NOW, pending_turns=100)
        session = entry.session
        if entry.kind == "start" and turn(number).id not in started:
            started.append(turn(number).id)
    while session is not None and session.active is not None:
        active = session.active
        ending = leave(session, active, reply_to(active), NOW, history_turns=5)
        answered.append(active.id)
        session = ending.session
        if ending.following is not None:
            entry = enter(session, ending.following, NOW, pending_turns=100)
            assert entry.kind == "start"
            session = entry.session
    first_seen = list(dict.fromkeys(f"t{number}" for number in arrivals))
    assert answered == first_seen


def test_sessions_survive_json() -> None:
    session = close(open_with(turn(1), turn(2)), turn(1))
    assert Session.model_validate_json(session.model_dump_json()) == session


# Turns that operators bring back from the dead letters


def redriven(message: Message, letter: int = 7, attempt: int = 1) -> Message:
    hand = ByHand(kind="redriven", operator="ines", at=NOW, letter=letter, attempt=attempt)
    return message.model_copy(update={"by_hand": [*message.by_hand, hand]})


def started(session: Session) -> Message:
    assert session.active is not None
    return session.active


def test_each_redrive_is_a_run_of_its_own() -> None:
    first = redriven(turn(1))
    again, other = redriven(turn(1), attempt=2), redriven(first, letter=9)
    runs = [turn(1).run, first.run, again.run, other.run]
    assert len(set(runs)) == 4
    assert [m.former_run for m in (turn(1), first, again, other)] == [
        None,
        turn(1).run,
        turn(1).run,
        first.run,
    ]


def test_a_published_message_is_no_further_run() -> None:
    hand = ByHand(kind="published", operator="ines", at=NOW)
    made = turn(1).model_copy(update={"by_hand": [hand]})
    assert (made.run, made.former_run) == ("t1", None)
    assert redriven(made).former_run == "t1"


def test_a_redriven_turn_takes_the_place_of_the_one_that_was_buried_while_active() -> None:
    session = open_with(turn(1), turn(2))
    entry = enter(session, redriven(turn(1)), NOW, pending_turns=5)
    assert (entry.kind, entry.session.turns, started(entry.session).payload.turn) == ("start", 1, 1)
    ending = leave(
        entry.session,
        started(entry.session),
        reply_to(started(entry.session)),
        NOW,
        history_turns=5,
    )
    assert ending.following is not None
    assert ending.following.id == "t2"


def test_a_redriven_turn_that_had_an_apology_is_answered_again_and_keeps_its_number() -> None:
    session = close(open_with(turn(1)), turn(1), "failed")
    session = close(enter(session, turn(2), NOW, pending_turns=5).session, turn(2))
    numbered = turn(1).model_copy(
        update={"payload": turn(1).payload.model_copy(update={"turn": 1})}
    )
    entry = enter(session, redriven(numbered), NOW, pending_turns=5)
    assert (entry.kind, started(entry.session).payload.turn, entry.session.turns) == ("start", 1, 2)
    ending = leave(entry.session, redriven(numbered), reply_to(numbered), NOW, history_turns=5)
    assert ending.reply.sequence == 3
    assert [(line.role, line.text) for line in ending.session.history] == [
        ("customer", "hello"),
        ("bot", "answer to t1"),
        ("customer", "hello"),
        ("bot", "answer to t2"),
        ("bot", "answer to t1"),
    ]
    again = enter(ending.session, redriven(numbered), NOW, pending_turns=5)
    assert (again.kind, again.reply) == ("repeat", ending.reply)


def test_a_redriven_turn_waits_for_the_one_that_is_worked_on() -> None:
    session = close(open_with(turn(1)), turn(1), "failed")
    session = enter(session, turn(2), NOW, pending_turns=5).session
    entry = enter(session, redriven(turn(1)), NOW, pending_turns=5)
    assert entry.kind == "wait"
    again = enter(entry.session, redriven(turn(1)), NOW, pending_turns=5)
    assert (again.kind, len(again.session.waiting)) == ("wait", 1)


def test_two_redrives_of_one_letter_are_worked_on_one_after_the_other() -> None:
    session = enter(open_with(turn(1)), redriven(turn(1)), NOW, pending_turns=5).session
    assert enter(session, redriven(turn(1), attempt=2), NOW, pending_turns=5).kind == "wait"
