"""Every record of a session is found, also where only a little of each topic is looked through."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import encode_headers, partition_for, stream_name, subject
from streams.errors import GatewayUnavailable
from streams.inspection.trail import Trail, cause_of_record
from streams.slip import CONVERSATION, SENTIMENT_ANALYZER
from streams.topics import DEAD_LETTERS, JOURNAL, REPLIES, topics
from tests.faust_apps import records
from tests.streams.inspection.stage import Stage
from tests.streams.small_mesh import settings_apart
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOPS = 3  # conversation, sentiment analyzer, response aggregator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    settings = settings_apart(
        nats_url, tmp_path_factory.mktemp("stage"), partitions=1
    )  # all sessions are in each other's way
    async with Stage.set_up(settings) as stage:
        yield stage


def trail(stage: Stage, session: str, **options: Any) -> Trail:
    return Trail(stage.client, stage.settings.prefix, session, **options)


async def everything(stage: Stage, session: str) -> set[tuple[str, int]]:
    """Return the places of all records of a session, found by reading all that there is."""
    found = set()
    for topic in topics(stage.settings):
        for record in await records(stage.settings.broker_url, stage.settings.prefix, topic):
            if record.key == session.encode():
                found.add((record.topic, record.offset))
    return found


async def settled(stage: Stage, session: str, turns: int) -> None:
    """Wait until the journal has so many turns of a session: it is written after the reply."""
    looked = trail(stage, session)

    async def enough() -> bool:
        await looked.look()
        return sum(topic == JOURNAL for topic, _ in looked.found) >= turns

    await until(enough, f"{turns} turns in the journal")


async def test_all_records_of_the_session_are_found_and_nobody_elses(stage: Stage) -> None:
    other = await stage.play("somebody else")
    mine = await stage.play("hello", "flaky", "broken", "doomed")
    await settled(stage, mine, 4)
    looked = trail(stage, mine)
    assert await looked.look()
    assert set(looked.found) == await everything(stage, mine)
    assert {found.record.key for found in looked.found.values()} == {mine.encode()}
    assert other.encode() not in {found.record.key for found in looked.found.values()}
    assert all(covered.complete for covered in looked.coverage.values())
    assert any(topic == DEAD_LETTERS for topic, _ in looked.found)


async def test_what_is_older_than_what_is_looked_through_is_found_by_what_records_say(
    stage: Stage,
) -> None:
    mine = await stage.play("hello", "loop")
    await settled(stage, mine, 2)
    for _ in range(12):
        await stage.play("much else")
    looked = trail(stage, mine, most=4)
    await looked.look()
    assert set(looked.found) == await everything(stage, mine)
    assert not looked.coverage[CONVERSATION].complete
    assert looked.coverage[CONVERSATION].looked_at <= 5
    assert looked.coverage[REPLIES].complete


async def test_who_knows_where_turns_ended_finds_them_without_replies(stage: Stage) -> None:
    """Replies are kept for days, the journal for months."""
    mine = await stage.play("hello")
    await settled(stage, mine, 1)
    ends = [offset for topic, offset in await everything(stage, mine) if topic == JOURNAL]
    for _ in range(6):
        await stage.play("much else")
    prefix, key = stage.settings.prefix, mine.encode()
    await stage.client.jetstream().purge_stream(
        stream_name(prefix, REPLIES), subject=subject(prefix, REPLIES, 0, key)
    )
    lost = trail(stage, mine, most=3)
    await lost.look()
    assert lost.found == {}
    looked = trail(stage, mine, most=3, ends=[*ends, 999_999])
    await looked.look()
    assert set(looked.found) == await everything(stage, mine)


async def test_of_a_session_with_very_much_the_newest_is_taken_and_the_rest_is_said(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.inspection.trail.SESSION_MOST", 2)
    mine = await stage.play("one", "two", "three")
    await settled(stage, mine, 2)
    looked = trail(stage, mine)
    await looked.look()
    covered = looked.coverage[CONVERSATION]
    assert (covered.left_out, covered.complete) == (1, False)
    texts = {
        found.message.payload.text
        for (topic, _), found in looked.found.items()
        if topic == CONVERSATION and found.message is not None
    }
    assert texts >= {"two", "three"}


async def test_what_was_left_out_is_said(stage: Stage) -> None:
    """A turn that has no reply leaves no thread to follow back once it is old enough."""
    mine = secrets.token_hex(6)
    stage.release.clear()
    await stage.say("hold", mine)
    await stage.play("something else")
    for _ in range(8):
        await stage.play("much else")
    looked = trail(stage, mine, most=3)
    await looked.look()
    assert looked.found == {}
    covered = looked.coverage[CONVERSATION]
    assert not covered.complete
    assert covered.records > covered.looked_at
    complete = trail(stage, mine)
    await complete.look()
    assert [topic for topic, _ in complete.found] != []
    stage.release.set()
    await stage.replies(mine, 1)


async def test_a_later_look_reads_only_what_is_new(stage: Stage) -> None:
    mine = await stage.play("hello")
    await settled(stage, mine, 1)
    looked = trail(stage, mine)
    assert await looked.look()
    seen = looked.coverage[SENTIMENT_ANALYZER].looked_at
    assert not await looked.look()
    assert looked.coverage[SENTIMENT_ANALYZER].looked_at == seen
    await stage.play("and again", session=mine)
    await settled(stage, mine, 2)
    assert await looked.look()
    assert looked.coverage[SENTIMENT_ANALYZER].looked_at == seen + 1
    assert set(looked.found) == await everything(stage, mine)


async def test_the_ids_that_the_bridge_makes_name_the_record_that_caused_another(
    stage: Stage,
) -> None:
    mine = await stage.play("hello")
    looked = trail(stage, mine)
    await looked.look()
    at = {topic: found.record for (topic, _), found in looked.found.items()}
    cause = cause_of_record(at[SENTIMENT_ANALYZER])
    assert cause is not None
    assert (cause.topic, cause.offset) == (CONVERSATION, at[CONVERSATION].offset)
    assert cause_of_record(at[CONVERSATION]) is None


async def test_what_is_no_message_is_found_too(stage: Stage) -> None:
    mine = secrets.token_hex(6)
    key = mine.encode()
    place = subject(stage.settings.prefix, CONVERSATION, partition_for(key, 1))
    await stage.client.jetstream().publish(place, b"rubbish", headers=encode_headers(key, b""))
    looked = trail(stage, mine)

    async def buried() -> bool:
        await looked.look()
        return len(looked.found) == 2

    await until(buried, "its dead letter")
    assert {topic for topic, _ in looked.found} == {CONVERSATION, DEAD_LETTERS}
    assert [found.turn for found in looked.found.values()] == [None, None]


async def test_a_session_that_nobody_had_has_no_trail(stage: Stage) -> None:
    looked = trail(stage, "nobody")
    assert not await looked.look()
    assert looked.found == {}


async def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        client = await connect(parse_url(server.url), name="test")
        server.kill()
        try:
            with pytest.raises(GatewayUnavailable):
                await Trail(client, "mesh", "s1", within=1.0).look()
        finally:
            await client.close()
