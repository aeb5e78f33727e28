import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mocks.servers import NatsServer
from streams.backup import ABOUT, DATA, BackupFailed, Kept, backup, restore
from streams.bridge.connection import connect, parse_url
from streams.bridge.topics import describe
from streams.gateway import Gateway
from streams.message import Message
from streams.payload import Payload
from streams.settings import Settings
from tests.streams.small_mesh import SmallMesh, connected, settings_apart


async def keep(settings: Settings, folder: Path) -> list[Kept]:
    client = await connect(parse_url(settings.faust_broker()), name="test")
    try:
        return [kept async for kept in backup(client, settings.prefix, folder)]
    finally:
        await client.close()


async def bring_back(settings: Settings, folder: Path) -> list[Kept]:
    client = await connect(parse_url(settings.faust_broker()), name="test")
    try:
        return [kept async for kept in restore(client, settings.prefix, folder)]
    finally:
        await client.close()


def said(turn: str, text: str) -> Message:
    return Message(id=turn, session_id="s", payload=Payload(text=text, at=datetime.now(UTC)))


async def talk(gateway: Gateway, turn: str, text: str) -> str:
    """Send a turn and return its reply."""
    async with gateway.listen("s") as listener:
        await gateway.send(said(turn, text))
        async for heard in listener:
            if heard.message_id == turn and hasattr(heard, "response"):
                return str(heard.response)
    raise AssertionError("no reply")


async def test_a_mesh_goes_on_from_its_backup_on_another_server(
    nats_url: str, tmp_path: Path
) -> None:
    settings = settings_apart(nats_url, tmp_path)
    async with SmallMesh(settings).running(), connected(settings) as gateway:
        assert await talk(gateway, "m1", "red") == "|red"
        assert await talk(gateway, "m2", "blue") == "red|blue"
    kept = await keep(settings, tmp_path / "backup")
    assert kept[0].stream == f"KV_{settings.prefix}-groups"
    assert sum(one.records for one in kept) > 10

    with NatsServer(tmp_path / "other") as server:
        moved = settings.model_copy(
            update={"broker_url": server.url, "data_dir": tmp_path / "other"}
        )
        assert [one[:2] for one in await bring_back(moved, tmp_path / "backup")] == sorted(
            one[:2] for one in kept
        )
        before = await connect(parse_url(nats_url), name="test")
        after = await connect(parse_url(server.url), name="test")
        same = await describe(after.jetstream(), settings.prefix)
        assert [(t.topic, t.identity, t.last_offset) for t in same] == [
            (t.topic, t.identity, t.last_offset)
            for t in await describe(before.jetstream(), settings.prefix)
        ]
        await before.close()
        await after.close()
        # Sessions are read back, and nothing that was done is done again.
        async with SmallMesh(moved).running(), connected(moved) as gateway:
            assert await talk(gateway, "m3", "green") == "red blue|green"
            replies = await gateway.replies("s")
            assert [reply.message_id for reply in replies] == ["m1", "m2", "m3"]


async def test_what_is_larger_than_a_chunk_comes_back_whole(nats_url: str, tmp_path: Path) -> None:
    settings = settings_apart(nats_url, tmp_path)
    async with connected(settings) as gateway:
        for number in range(20):
            text = f"{number} " + "".join(chr(33 + n * n % 90) for n in range(50_000))
            await gateway.send(said(f"m{number}", text))
    await keep(settings, tmp_path / "backup")
    with NatsServer(tmp_path / "other") as server:
        moved = settings.model_copy(update={"broker_url": server.url})
        found = {one.stream: one for one in await bring_back(moved, tmp_path / "backup")}
        assert found[f"{settings.prefix}--mesh=2Econversation"].records == 20


async def test_nothing_is_written_over(nats_url: str, tmp_path: Path) -> None:
    settings = settings_apart(nats_url, tmp_path)
    with pytest.raises(BackupFailed, match="no streams below"):
        await keep(settings, tmp_path / "backup")
    async with connected(settings):
        pass
    await keep(settings, tmp_path / "backup")
    with pytest.raises(BackupFailed, match="is there already"):
        await keep(settings, tmp_path / "backup")
    with pytest.raises(BackupFailed, match="streams are there already"):
        await bring_back(settings, tmp_path / "backup")
    with pytest.raises(BackupFailed, match="holds no backup"):
        await bring_back(settings, tmp_path / "nothing")


async def test_a_backup_that_is_damaged_is_refused(nats_url: str, tmp_path: Path) -> None:
    settings = settings_apart(nats_url, tmp_path)
    async with connected(settings) as gateway:
        await gateway.send(said("m", "x"))
    folder = tmp_path / "backup"
    await keep(settings, folder)
    (first, second, *_) = sorted(folder.iterdir())
    data = (first / DATA).read_bytes()
    (first / DATA).write_bytes(data[: len(data) // 2])
    with NatsServer(tmp_path / "other") as server:
        moved = settings.model_copy(update={"broker_url": server.url})
        with pytest.raises(BackupFailed, match=re.escape(first.name)):
            await bring_back(moved, folder)
        (first / ABOUT).write_text(json.dumps({"config": {}}))
        with pytest.raises(BackupFailed, match="is no backup of a stream"):
            await bring_back(moved, folder)
    assert second.exists()
