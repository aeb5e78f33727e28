"""Conversations that really ran, as people see them afterwards."""

import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from streams.bridge.layout import encode_headers, subject
from streams.inspection.assembly import Known, assemble, conversation
from streams.inspection.conversation import CUSTOMER, Conversation, Step, Turn
from streams.inspection.sequence import mermaid
from streams.inspection.trail import Trail
from streams.masking import mask
from streams.message import ByHand
from streams.post import put
from streams.slip import SENTIMENT_ANALYZER, RouteSlip
from streams.topics import DEAD_LETTERS, JOURNAL, REPLIES
from tests.streams.inspection.stage import SECRET, Stage
from tests.streams.small_mesh import settings_apart
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    settings = settings_apart(nats_url, tmp_path_factory.mktemp("stage"))
    async with Stage.set_up(settings) as stage:
        yield stage


async def seen(
    stage: Stage, session: str, when: Callable[[Conversation], bool], **options: Any
) -> tuple[Conversation, Trail]:
    """Return the conversation, and its trail, once it looks as `when` says."""
    trail = Trail(stage.client, stage.settings.prefix, session)
    return await looks(trail, when, **options), trail


async def looks(trail: Trail, when: Callable[[Conversation], bool], **options: Any) -> Conversation:
    """Return the conversation of a trail once it looks as `when` says."""

    async def fulfilled() -> bool:
        await trail.look()
        return when(conversation(trail, **options))

    await until(fulfilled, "the conversation looks so")
    await trail.look()  # one look goes through all topics at once: a cause may come after
    return conversation(trail, **options)


def closed(turns: int) -> Callable[[Conversation], bool]:
    return lambda found: [turn.journal is not None for turn in found.turns] == [True] * turns


def path(turn: Turn) -> list[tuple[str, str, str]]:
    return [(step.sender, step.actor, step.outcome) for step in turn.steps]


def only(turn: Turn, actor: str, attempt: int = 1) -> Step:
    (found,) = (s for s in turn.steps if s.actor == actor and s.attempt == attempt)
    return found


async def test_a_turn_goes_from_actor_to_actor_with_times_and_differences(stage: Stage) -> None:
    session = await stage.play("hello", "again")
    found, _ = await seen(stage, session, closed(2))
    first, second = found.turns
    assert (first.number, first.text, first.state) == (1, "hello", "answered")
    assert path(first) == [
        (CUSTOMER, "conversation", "done"),
        ("conversation", "sentiment_analyzer", "rerouted"),
        ("sentiment_analyzer", "response_aggregator", "done"),
    ]
    assert found.actors == [CUSTOMER, "conversation", "sentiment_analyzer", "response_aggregator"]
    for step in first.steps:
        assert step.sent_at is not None
        assert step.started_at is not None
        assert step.place is not None
        assert step.place.topic == f"mesh.{step.actor}"
        assert step.waiting_ms is not None
        assert step.working_ms is not None
        assert step.waiting_ms >= 0
        assert step.working_ms >= 0
    analyzed = only(first, "sentiment_analyzer")
    assert {(c.kind, c.path) for c in analyzed.difference} == {
        ("added", "sentiment"),
        ("added", "response"),
    }
    assert analyzed.route == ["response_aggregator"]
    assert analyzed.notes == ["read it twice"]
    assert [(a.text, a.sequence, a.sender) for a in first.answers] == [
        ("so: hello", 1, "response_aggregator")
    ]
    entered = {(c.kind, c.path) for c in only(second, "conversation").difference}
    assert entered == {("changed", "turn"), ("added", "history[0]"), ("added", "history[1]")}
    assert found.complete


async def test_tries_are_counted_and_their_delay_is_told_from_waiting(stage: Stage) -> None:
    session = await stage.play("flaky")
    found, _ = await seen(stage, session, closed(1))
    (turn,) = found.turns
    assert path(turn)[1:4] == [
        ("conversation", "sentiment_analyzer", "retry"),
        ("sentiment_analyzer", "sentiment_analyzer", "retry"),
        ("sentiment_analyzer", "sentiment_analyzer", "rerouted"),
    ]
    tries = turn.steps[1:4]
    assert [step.attempt for step in tries] == [1, 2, 3]
    assert tries[0].notes == ["try 1 failed: the shop sleeps"]
    assert [step.delayed_ms > 0 for step in tries] == [False, True, True]
    assert all(step.delayed_ms <= (step.waiting_ms or 0) for step in tries)
    assert tries[0].difference == []


async def test_a_failure_shows_its_reason_and_where_it_led(stage: Stage) -> None:
    session = await stage.play("broken")
    found, _ = await seen(stage, session, closed(1))
    (turn,) = found.turns
    failed = only(turn, "sentiment_analyzer")
    assert failed.outcome == "failed"
    assert failed.reason == f"ValueError: no way, {SECRET}"
    assert failed.route == ["escalation_router"]
    assert turn.steps[2].sender == "sentiment_analyzer"
    assert turn.steps[2].actor == "escalation_router"


async def test_a_guardrail_that_refuses_is_seen_and_the_loop_it_causes(stage: Stage) -> None:
    session = await stage.play("loop")
    found, _ = await seen(stage, session, closed(1))
    (turn,) = found.turns
    judged = [step for step in turn.steps if step.actor == "guardrail_validator"]
    assert [step.guardrail for step in judged] == ["refused", "passed"]
    assert [step.actor for step in turn.steps].count("response_generator") == 2
    rewritten = [step for step in turn.steps if step.actor == "response_generator"][1]
    assert {(c.kind, c.path) for c in rewritten.difference} == {
        ("changed", "response.text"),
        ("changed", "response.attempt"),
    }


async def test_a_dead_letter_is_shown_where_it_died_beside_the_honest_reply(stage: Stage) -> None:
    session = await stage.play("doomed")
    found, _ = await seen(stage, session, closed(1))
    (turn,) = found.turns
    assert turn.state == "failed"
    (burial,) = turn.burials
    assert burial.actor == "escalation_router"
    assert "the last resort is gone too" in burial.reason
    assert [step.actor for step in turn.steps][-2:] == ["escalation_router", "response_aggregator"]
    assert turn.steps[-2].outcome == "failed"


async def test_a_turn_under_way_and_the_one_that_waits_for_it(stage: Stage) -> None:
    session = secrets.token_hex(6)
    stage.release.clear()
    await stage.say("hold", session)
    await stage.say("behind", session)

    def both(found: Conversation) -> bool:
        return [turn.state for turn in found.turns] == ["under way", "waiting"] and any(
            step.actor == "sentiment_analyzer" for step in found.turns[0].steps
        )

    found, trail = await seen(stage, session, both)
    held, waiting = found.turns
    assert path(held)[-1] == ("conversation", "sentiment_analyzer", "open")
    assert held.ahead == [
        "sentiment_analyzer",
        "intent_analyzer",
        "context_retriever",
        "decision_router",
    ]
    assert found.actors[-1] == "decision_router"
    assert path(waiting) == [(CUSTOMER, "conversation", "waits")]
    stage.release.set()
    await stage.replies(session, 2)
    found = await looks(trail, closed(2))
    assert [turn.state for turn in found.turns] == ["answered", "answered"]
    assert path(found.turns[1])[:2] == [
        (CUSTOMER, "conversation", "waits"),
        ("response_aggregator", "conversation", "done"),
    ]
    assert (found.turns[1].steps[0].waiting_ms or 0) > 0


async def test_a_turn_that_comes_again_is_not_taken_for_another(stage: Stage) -> None:
    session = await stage.play("hello")
    found, trail = await seen(stage, session, closed(1))
    message = next(f.message for f in trail.found.values() if f.message is not None)
    again = message.model_copy(deep=True)
    # Later than the server recognises it by its id: it is stored a second time.
    js, first = stage.client.jetstream(), found.turns[0].steps[0].place
    assert first is not None
    place = subject(stage.settings.prefix, first.topic, first.partition)
    await js.publish(place, again.encode(), headers=encode_headers(session.encode(), b""))
    found, _ = await seen(stage, session, lambda c: len(c.turns[0].steps) > 3)
    assert ("customer", "conversation", "repeated") in path(found.turns[0])
    assert found.turns[0].state == "answered"


async def test_what_an_operator_sent_is_marked_as_such(stage: Stage) -> None:
    session = await stage.play("doomed")
    found, trail = await seen(stage, session, closed(1))
    letter = next(f for (topic, _), f in trail.found.items() if topic == DEAD_LETTERS)
    assert letter.message is not None
    hand = ByHand(
        kind="redriven", operator="Ines", at=datetime.now(UTC), letter=letter.record.offset
    )
    mended = letter.message.model_copy(
        update={
            "by_hand": [hand],
            "slip": RouteSlip(steps=(SENTIMENT_ANALYZER,)),
            "payload": letter.message.payload.model_copy(update={"text": "mended"}),
        }
    )
    await put(
        stage.client,
        stage.settings,
        SENTIMENT_ANALYZER,
        key=session.encode(),
        value=mended.encode(),
        message_id=f"redrive-{session}",
    )
    found, _ = await seen(stage, session, lambda c: len(c.turns[0].answers) == 2)
    (turn,) = found.turns
    assert turn.state == "answered"
    marked = [step for step in turn.steps if step.by_hand is not None]
    assert [(step.sender, step.actor) for step in marked] == [("operator", "sentiment_analyzer")]
    assert marked[0].by_hand == hand
    assert turn.steps[turn.steps.index(marked[0]) + 1].sender == "sentiment_analyzer"
    assert len(turn.burials) == 1
    assert "redriven by Ines" in mermaid(found)


async def test_turns_that_are_as_they_were_are_not_put_together_again(stage: Stage) -> None:
    session = await stage.play("hello")
    _, trail = await seen(stage, session, closed(1))
    known: Known = {}
    (first,) = conversation(trail, None, known).turns
    assert conversation(trail, None, known).turns[0] is first
    await stage.play("again", session=session)
    found = await looks(trail, closed(2), known=known)
    assert found.turns[0] is first
    assert found.turns[1].state == "answered"


async def test_without_the_mailboxes_records_the_traces_tell_the_story(stage: Stage) -> None:
    session = await stage.play("hello", "loop")
    whole, trail = await seen(stage, session, closed(2))
    kept = [found for (topic, _), found in trail.found.items() if topic in (JOURNAL, REPLIES)]
    later = assemble(session, kept)
    assert [[s.actor for s in turn.steps] for turn in later.turns] == [
        [s.actor for s in turn.steps] for turn in whole.turns
    ]
    assert [[s.difference for s in turn.steps] for turn in later.turns] == [
        [s.difference for s in turn.steps] for turn in whole.turns
    ]
    assert all(step.place is None for turn in later.turns for step in turn.steps)
    assert all(step.waiting_ms is not None for step in later.turns[0].steps[1:])


async def test_personal_data_is_masked_wherever_people_wrote_it(stage: Stage) -> None:
    session = await stage.play(f"broken, {SECRET}", f"hello {SECRET}")
    plain, trail = await seen(stage, session, closed(2))
    masked = conversation(trail, mask)
    assert plain.model_dump_json().count("555-123-4567") >= 5
    assert "555-123-4567" not in masked.model_dump_json()
    assert "ann@example.com" not in masked.model_dump_json()
    assert "555-123-4567" not in mermaid(masked)
    assert masked.masked
    assert [len(turn.steps) for turn in masked.turns] == [len(turn.steps) for turn in plain.turns]
