import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from streams import clock
from streams.errors import MeshError, ModelUnavailable, NotRecorded, ShopUnavailable
from streams.message import Exchange, Hop, Message, RecordedHop, Replay
from streams.payload import Json, Payload
from streams.replay.answers import Answers, failure
from streams.trace import exchange, recording, replaying

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def told(response: object, error: str | None = None, **request: object) -> Exchange:
    return Exchange(
        target="orders", request=dict(request), response=response, error=error, duration_ms=1
    )


def turn(*hops: RecordedHop, made: tuple[str, ...] = (), live: tuple[str, ...] = ()) -> Message:
    return Message(
        id="t1",
        session_id="s1",
        payload=Payload(text="hello", at=AT),
        trace=[Hop(actor=actor, started_at=AT) for actor in made],
        replay=Replay(run="r", hops=list(hops), live=list(live)),
    )


def hop(actor: str, *exchanges: Exchange, minutes: int = 0) -> RecordedHop:
    started = AT + timedelta(minutes=minutes)
    return RecordedHop(actor=actor, started_at=started, exchanges=list(exchanges))


async def ask(message: Message, actor: str, request: Json) -> tuple[Hop, object]:
    """Ask the shop as an actor does, with the recording in its place."""
    made = Hop(actor=actor, started_at=AT)
    with recording(made, Answers.of(message, actor)):
        async with exchange("orders", request) as answer:
            if answer.wanted:
                answer.response = "from outside"
    return made, answer.response


async def test_the_recording_answers_and_the_answer_moves_into_the_trace() -> None:
    message = turn(hop("a", told("1", q=1), told("2", q=2)))
    made, response = await ask(message, "a", {"q": 2})
    assert response == "2"
    assert [(e.request, e.response) for e in made.exchanges] == [({"q": 2}, "2")]
    assert message.replay is not None
    assert [e.response for e in message.replay.hops[0].exchanges] == ["1"]


async def test_each_hop_is_told_what_its_hop_was_told() -> None:
    hops = (hop("a", told("first", q=1)), hop("b", told("b's", q=1)), hop("a", told("second", q=1)))
    assert (await ask(turn(*hops), "a", {"q": 1}))[1] == "first"
    assert (await ask(turn(*hops, made=("a",)), "a", {"q": 1}))[1] == "second"
    assert (await ask(turn(*hops), "b", {"q": 1}))[1] == "b's"


async def test_a_question_that_moved_to_another_actor_is_still_answered() -> None:
    assert (await ask(turn(hop("a", told("1", q=1))), "b", {"q": 1}))[1] == "1"


async def test_what_nobody_asked_is_not_recorded_and_never_asked_outside() -> None:
    message = turn(hop("a", told("1", q=1)))
    made = Hop(actor="a", started_at=AT)
    with recording(made, Answers.of(message, "a")), pytest.raises(NotRecorded):
        async with exchange("orders", {"q": 9}):
            pytest.fail("the outside must not be asked")
    assert [e.error for e in made.exchanges] == [
        "NotRecorded: the recording has no answer of orders to this"
    ]


async def test_a_live_actor_asks_outside_and_the_others_do_not() -> None:
    message = turn(hop("a", told("1", q=1)), hop("b", told("1", q=1)), live=("a",))
    assert (await ask(message, "a", {"q": 1}))[1] == "from outside"
    assert (await ask(message, "b", {"q": 1}))[1] == "1"
    assert (await ask(turn(live=("*",)), "b", {"q": 1}))[1] == "from outside"


async def test_a_recorded_failure_fails_again() -> None:
    message = turn(hop("a", told(None, "ShopUnavailable: orders: no answer", q=1)))
    with (
        recording(Hop(actor="a", started_at=AT), Answers.of(message, "a")),
        pytest.raises(ShopUnavailable, match=r"^orders: no answer$"),
    ):
        async with exchange("orders", {"q": 1}):
            pytest.fail("there is no answer")


async def test_an_answer_that_was_judged_wanting_is_judged_again() -> None:
    message = turn(hop("a", told("cut off", "ModelUnavailable: too long", q=1)))
    assert (await ask(message, "a", {"q": 1}))[1] == "cut off"


def test_failures_come_back_as_what_they_were() -> None:
    assert isinstance(failure("ModelUnavailable: no answer within 15 s"), ModelUnavailable)
    other = failure("RuntimeError: what")
    assert type(other) is MeshError
    assert str(other) == "RuntimeError: what"


async def test_questions_are_compared_as_the_trace_writes_them() -> None:
    written = told("1", day="2026-03-01", items=[1, 2])
    asked: Json = {"items": (1, 2), "day": AT.date()}
    assert (await ask(turn(hop("a", written)), "a", asked))[1] == "1"


async def test_the_present_is_that_of_the_recorded_hop() -> None:
    message = turn(hop("a", minutes=3), hop("a", minutes=9))
    with recording(Hop(actor="a", started_at=AT), Answers.of(message, "a")):
        assert clock.now() == AT + timedelta(minutes=3)
        assert await asyncio.create_task(_later()) == AT + timedelta(minutes=3)
        assert replaying()
    with recording(Hop(actor="b", started_at=AT), Answers.of(message, "b")):
        assert clock.now() == AT  # nobody made this hop: the time of the turn
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    assert not replaying()


async def _later() -> datetime:
    await asyncio.sleep(0)
    return clock.now()


def test_out_of_a_replay_there_are_no_answers() -> None:
    assert Answers.of(turn().model_copy(update={"replay": None}), "a") is None
