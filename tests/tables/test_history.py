import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import encode_headers, partition_for, subject
from streams.bridge.topics import TopicSpec, declare
from streams.errors import Undecodable
from streams.message import Hop, Message
from streams.payload import (
    ActionResult,
    Escalation,
    Execution,
    Intent,
    IntentName,
    Payload,
    Response,
    Sentiment,
)
from streams.settings import Settings
from streams.topics import JOURNAL
from tables.history import FILE, History, HistoryProjection, journal_offsets
from tests.waiting import until

NOW = datetime(2026, 3, 4, 5, tzinfo=UTC)


def turn(number: int, session: str = "s1", **slots: Any) -> Message:
    payload = Payload(text=f"text {number}", email="Ann@Example.com", at=NOW, turn=number, **slots)
    hop = Hop(actor="conversation", started_at=NOW, duration_ms=2)
    return Message(id=f"t{number}", session_id=session, payload=payload, trace=[hop])


def rich() -> Message:
    done = ActionResult(
        action_id="t1-1",
        kind="cancel_order",
        ok=True,
        order_id="#W1",
        detail={"refund": 3},
        idempotency_key="t1-1",
    )
    return turn(
        1,
        intent=Intent(name=IntentName.CANCEL_ORDER, confidence=0.9),
        sentiment=Sentiment(label="negative", score=-0.5, urgency="high"),
        execution=Execution(results=[done]),
        response=Response(text="It is cancelled.", source="template"),
        escalation=Escalation(kind="handover", reason="asked for", ticket="I-1", summary="Ann…"),
    )


def test_a_turn_is_found_again_with_all_that_happened_in_it(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    history.apply("j", [(7, rich())])
    found = history.conversation("s1")
    assert found is not None
    assert (found["email"], found["state"], found["turns"][0]["text"]) == (
        "ann@example.com",
        "escalated",
        "text 1",
    )
    (only,) = found["turns"]
    assert (only["intent"], only["sentiment"], only["urgency"]) == (
        "cancel_order",
        "negative",
        "high",
    )
    assert only["route"] == ["conversation"]
    assert only["actions"][0]["detail"] == {"refund": 3}
    assert only["actions"][0]["ok"] is True
    assert only["escalation"]["ticket"] == "I-1"
    assert history.position("j") == 7
    assert [c["session_id"] for c in history.conversations("ANN@example.com")] == ["s1"]
    assert history.conversation("unknown") is None


def test_what_is_applied_twice_is_there_once(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    turns = [(1, turn(1)), (2, turn(2))]
    history.apply("j", turns)
    history.apply("j", turns)
    History(tmp_path / "h.sqlite").apply("j", [(2, turn(2)), (5, turn(3))])
    found = history.conversation("s1")
    assert found is not None
    assert [t["message_id"] for t in found["turns"]] == ["t1", "t2", "t3"]
    assert history.position("j") == 5


def test_a_record_that_is_no_message_is_stepped_over(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    history.apply("j", [(1, Undecodable("broken")), (2, turn(2))])
    assert history.position("j") == 2
    assert history.conversation("s1") is not None


def test_a_failing_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    broken: Any = object()
    try:
        history.apply("j", [(1, turn(1)), (2, broken)])
    except AttributeError:
        pass
    else:
        raise AssertionError("the batch was accepted")
    assert history.position("j") == 0
    assert history.conversation("s1") is None


def test_a_journal_that_was_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    history.apply("first life", [(9, turn(1))])
    assert history.position("second life") == 0
    history.apply("second life", [(1, turn(2))])
    found = history.conversation("s1")
    assert found is not None
    assert len(found["turns"]) == 2


def test_another_schemas_file_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    History(path).apply("j", [(9, turn(1))])
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert History(path).position("j") == 0


def test_the_customers_words_are_data_not_sql(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    nasty = turn(1)
    nasty.payload = Payload(text="'; DROP TABLE turns; --", email="x'--", at=NOW)
    history.apply("j", [(1, nasty)])
    found = history.conversation("s1")
    assert found is not None
    assert found["turns"][0]["text"] == "'; DROP TABLE turns; --"
    assert history.conversations("x'--")


async def follow(settings: Settings, turns: int) -> None:
    projection = HistoryProjection(settings)
    async with projection:

        def shown() -> bool:
            found = projection.history.conversation("s1")
            return found is not None and len(found["turns"]) == turns

        await until(shown, f"the history showing {turns} turns")


async def test_history_follows_the_journal_and_is_rebuilt_from_it(
    nats_url: str, prefix: str, tmp_path: Path
) -> None:
    settings = Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path)
    client = await connect(parse_url(nats_url), name="test")
    js = client.jetstream()

    async def finish(number: int) -> None:
        message = turn(number)
        key = message.session_id.encode()
        place = subject(prefix, JOURNAL, partition_for(key, 3))
        await js.publish(place, message.encode(), headers=encode_headers(key, b""))

    await declare(js, TopicSpec(JOURNAL, 3, prefix=prefix))
    await finish(1)
    await follow(settings, 1)
    await finish(2)
    await finish(3)
    await follow(settings, 3)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"history.sqlite{suffix}").unlink(missing_ok=True)
    await follow(settings, 3)
    await client.close()


def test_where_a_sessions_turns_ended_is_a_hint_from_the_history(tmp_path: Path) -> None:
    assert journal_offsets(tmp_path, "s1") == []
    assert not (tmp_path / FILE).exists(), "whoever only asks makes no file"
    history = History(tmp_path / FILE)
    history.apply("j", [(4, turn(1)), (7, turn(2)), (9, turn(1, "other"))])
    history.apply("j", [(11, turn(3))])
    assert journal_offsets(tmp_path, "s1") == [4, 7, 11]
    (tmp_path / FILE).write_bytes(b"this is no database, and it is long enough to be looked at" * 9)
    assert journal_offsets(tmp_path, "s1") == []


def test_a_turn_that_was_redriven_and_ended_better_leaves_no_escalation(tmp_path: Path) -> None:
    history = History(tmp_path / "h.sqlite")
    apology = Escalation(kind="fallback", reason="broken")
    history.apply("j", [(1, turn(1, escalation=apology)), (2, turn(1))])
    found = history.conversation("s1")
    assert found is not None
    (only,) = found["turns"]
    assert only["escalation"] is None
