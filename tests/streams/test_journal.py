import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from nats.aio.client import Client

from streams.journal import finished_turns, record_id
from streams.post import put
from streams.settings import Settings
from streams.topics import JOURNAL
from tests.streams.replay.turns import finished
from tests.streams.small_mesh import settings_apart
from tests.waiting import DEADLINE

#: Steps of the event loop between a turn's arrival and the reader's end, each tried so often.
STEPS = 12
ROUNDS = 5


@pytest.fixture
def settings(nats_url: str, tmp_path: Path) -> Settings:
    return settings_apart(nats_url, tmp_path)


async def store(client: Client, settings: Settings, name: str) -> None:
    turn = finished(name)
    name = record_id(turn.session_id, turn.run)
    key = turn.session_id.encode()
    await put(client, settings, JOURNAL, key=key, value=turn.encode(), message_id=name)


async def read(client: Client, settings: Settings, after: int, reading: asyncio.Event) -> None:
    async with aclosing(finished_turns(client, settings.prefix, after)) as found:
        async for _ in found:
            reading.set()


async def test_who_reads_ends_when_told_to_also_while_a_turn_arrives(
    client: Client, settings: Settings
) -> None:
    await store(client, settings, "first")
    for number in range(STEPS * ROUNDS):
        reading = asyncio.Event()
        reader = asyncio.create_task(read(client, settings, number, reading))
        await reading.wait()
        await store(client, settings, f"another-{number}")
        for _ in range(number % STEPS):
            await asyncio.sleep(0)
        reader.cancel()
        done, _ = await asyncio.wait([reader], timeout=DEADLINE)
        assert done, f"it read on, told to end {number % STEPS} steps later"
        assert reader.cancelled()
