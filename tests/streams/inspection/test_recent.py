from datetime import UTC, datetime

import pytest
from nats.aio.client import Client

from streams.bridge.layout import encode_headers, partition_for, subject
from streams.inspection.recent import recent
from streams.reply import Reply, State
from streams.settings import Settings
from streams.slip import CONVERSATION
from streams.topics import REPLIES, declare_topics


@pytest.fixture
async def declared(client: Client, settings: Settings) -> Settings:
    await declare_topics(client.jetstream(), settings)
    return settings


async def write(client: Client, settings: Settings, session: str) -> None:
    """Store a message of a customer; only its key is looked at."""
    key = session.encode()
    place = subject(settings.prefix, CONVERSATION, partition_for(key, settings.partitions))
    await client.jetstream().publish(place, b"{}", headers=encode_headers(key, b"{}"))


async def answer(
    client: Client, settings: Settings, session: str, number: int, state: State
) -> None:
    key = session.encode()
    place = subject(settings.prefix, REPLIES, partition_for(key, settings.partitions), key)
    reply = Reply(
        session_id=session,
        message_id=f"t{number}",
        sequence=number,
        at=datetime.now(UTC),
        response="so it is",
        state=state,
        intent="other",
    )
    value = reply.model_dump_json().encode()
    await client.jetstream().publish(place, value, headers=encode_headers(key, value))


async def test_the_newest_come_first_with_what_became_of_them(
    client: Client, declared: Settings
) -> None:
    await write(client, declared, "old")
    await answer(client, declared, "old", 1, "answered")
    await write(client, declared, "asks-again")
    await answer(client, declared, "asks-again", 1, "failed")
    await write(client, declared, "asks-again")
    await write(client, declared, "new")
    found = await recent(client, declared.prefix)
    assert [(one.session_id, one.state, one.replies, one.answered) for one in found] == [
        ("new", None, 0, False),
        ("asks-again", "failed", 1, False),
        ("old", "answered", 1, True),
    ]
    assert [one.intent for one in found] == [None, "other", "other"]


async def test_so_many_and_no_more(client: Client, declared: Settings) -> None:
    for number in range(5):
        await write(client, declared, f"s{number}")
    found = await recent(client, declared.prefix, most=2)
    assert [one.session_id for one in found] == ["s4", "s3"]


async def test_there_are_none_before_the_topics_are_there(
    client: Client, settings: Settings
) -> None:
    assert await recent(client, settings.prefix) == []


async def test_nobody_has_written_yet(client: Client, declared: Settings) -> None:
    assert await recent(client, declared.prefix) == []
