import asyncio
import json
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from streams.journal import record_id
from streams.message import Message
from streams.post import put
from streams.replay.lines import BadLine
from streams.replay.recording import Header, writing
from streams.replay.selection import Selection
from streams.replay.source import NoSource, Source, SourceChanged, Turns, find
from streams.settings import Settings
from streams.topics import JOURNAL
from tests.streams.replay.turns import finished
from tests.streams.small_mesh import settings_apart


@pytest.fixture
def settings(nats_url: str, tmp_path: Path) -> Settings:
    return settings_apart(nats_url, tmp_path)


@pytest.fixture
async def journal(client: Client, settings: Settings) -> Client:
    """A broker whose journal has nine turns of three sessions, and something else."""
    for number in range(9):
        await store(client, settings, finished(f"t{number}", f"s{number % 3}"))
    await store(client, settings, b"rubbish")
    return client


async def store(client: Client, settings: Settings, turn: Message | bytes) -> None:
    value = turn.encode() if isinstance(turn, Message) else turn
    session = turn.session_id if isinstance(turn, Message) else "x"
    name = record_id(session, turn.id if isinstance(turn, Message) else "x")
    await put(client, settings, JOURNAL, key=session.encode(), value=value, message_id=name)


async def read(turns: Turns) -> list[Message | BadLine]:
    async with aclosing(aiter(turns)) as items:
        return [item async for item in items]


def ids(items: list[Any]) -> list[str]:
    return [item.id for item in items if isinstance(item, Message)]


def recorded(path: Path, *turns: Message) -> Path:
    with writing(path, Header()) as writer:
        for turn in turns:
            writer.write(turn)
    return path


def said(path: Path, *conversations: tuple[str, int]) -> Path:
    lines = (
        {"conversation_id": name, "turns": [{"role": "customer", "text": f"{n}"}] * n}
        for name, n in conversations
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_what_a_file_is_its_content_says(tmp_path: Path) -> None:
    turns = (finished("a"), finished("b"))
    misnamed = recorded(tmp_path / "r.txt.gz", *turns).rename(tmp_path / "conversations.jsonl")
    headless = tmp_path / "headless"
    headless.write_bytes(b"\xff broken\n" + turns[0].encode() + b"\n" + turns[1].encode())
    for path in (misnamed, headless):
        source = await find(str(path), Selection())
        assert source.kind == "recording"
        assert ids(await read(Turns(source))) == ["a", "b"]
    source = await find(str(said(tmp_path / "journal.gz", ("c", 2), ("d", 1))), Selection())
    assert source.kind == "conversations"
    assert ids(await read(Turns(source))) == ["c-1", "c-2", "d-1"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no file"),
        (b"", "neither"),
        (b"a,b\n1,2\n", "neither"),
        (b'{"x": 1}', "neither"),
        ("{}".encode("utf-16"), "UTF-8"),
    ],
)
async def test_what_holds_no_turns_is_refused(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "f"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NoSource, match=reason):
        await find(str(path), Selection())
    with pytest.raises(NoSource, match="not a file"):
        await find(str(tmp_path), Selection())


async def test_a_selection_counts_for_files_too_and_bad_lines_come_anyway(tmp_path: Path) -> None:
    path = recorded(tmp_path / "r", finished("a"), finished("b", "s2"), finished("c"))
    path.write_bytes(path.read_bytes() + b"rubbish\n")
    turns = Turns(await find(str(path), Selection(session="s1")))
    *found, bad = await read(turns)
    assert ids(found) == ["a", "c"]
    assert isinstance(bad, BadLine)
    assert (bad.number, turns.left_out) == (5, 1)
    assert turns.progress == (path.stat().st_size, path.stat().st_size, "bytes")


async def test_a_file_is_read_on_where_it_was_left(tmp_path: Path) -> None:
    path = recorded(tmp_path / "r.gz", *(finished(f"t{number}") for number in range(200)))
    source = await find(str(path), Selection())
    turns = Turns(source)
    async with aclosing(aiter(turns)) as items:
        async for item in items:
            if isinstance(item, Message) and item.id == "t99":
                break
    again = Source.model_validate_json(source.model_dump_json())
    rest = await read(Turns(again, after=turns.position))
    assert ids(rest) == [f"t{number}" for number in range(100, 200)]


async def test_who_is_cancelled_while_a_file_is_read_leaves_nothing_open(tmp_path: Path) -> None:
    path = recorded(tmp_path / "r", *(finished(f"t{number}") for number in range(400)))
    source = await find(str(path), Selection())
    for steps in range(12):  # wherever it is just then: in a thread, or between two
        reading = asyncio.create_task(read(Turns(source)))
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
    assert len(await read(Turns(source))) == 400


async def test_a_conversation_that_was_left_in_the_middle_comes_again_whole(
    tmp_path: Path,
) -> None:
    source = await find(str(said(tmp_path / "c", ("c", 2), ("d", 3), ("e", 1))), Selection())
    turns = Turns(source)
    async with aclosing(aiter(turns)) as items:
        async for item in items:
            if isinstance(item, Message) and item.id == "d-2":
                break
    assert ids(await read(Turns(source, after=turns.position)))[:2] == ["d-1", "d-2"]
    whole = Turns(source)
    await read(whole)
    assert await read(Turns(source, after=whole.position)) == []


async def test_a_file_that_was_changed_is_not_read_on(tmp_path: Path) -> None:
    path = recorded(tmp_path / "r", finished("a"))
    source = await find(str(path), Selection())
    recorded(path, finished("a"), finished("b"))
    with pytest.raises(SourceChanged, match="was changed"):
        await read(Turns(source))
    path.unlink()
    with pytest.raises(SourceChanged, match="gone"):
        await read(Turns(source))


async def test_the_journal_comes_up_to_where_it_ended(journal: Client, settings: Settings) -> None:
    source = await find("journal", Selection(), journal, settings.prefix)
    await store(journal, settings, finished("later"))
    turns = Turns(source, journal, settings.prefix)
    found = await read(turns)
    assert ids(found) == [f"t{number}" for number in range(9)]
    assert found[-1] == BadLine(10, "not a version 1 message: document: Invalid JSON: expected "
                                "value at line 1 column 1")  # fmt: skip
    assert turns.progress == (10, 10, "records")
    rest = Turns(source, journal, settings.prefix, after=7)
    assert ids(await read(rest)) == ["t7", "t8"]
    assert rest.progress.total == 3


async def test_of_the_journal_comes_what_is_meant(journal: Client, settings: Settings) -> None:
    async def found(**wanted: Any) -> tuple[list[str], Turns]:
        source = await find("journal", Selection(**wanted), journal, settings.prefix)
        turns = Turns(source, journal, settings.prefix)
        return ids(await read(turns)), turns

    assert (await found(session="s1"))[0] == ["t1", "t4", "t7"]
    assert (await found(filter="id == 't3'"))[0] == ["t3"]
    now = datetime.now(UTC)
    names, turns = await found(since=now.replace(year=now.year + 1))
    assert (names, turns.progress.total) == ([], 0)
    # They were stored just now, and said long ago.
    names, turns = await found(until=now)
    assert (len(names), turns.progress.total) == (9, 10)


async def test_reading_begins_where_the_time_does(client: Client, settings: Settings) -> None:
    first, second = finished("t1"), finished("t2")
    second.payload = second.payload.model_copy(update={"at": datetime.now(UTC)})
    await store(client, settings, first)
    await store(client, settings, second)
    selection = Selection(since=second.payload.at)
    source = await find("journal", selection, client, settings.prefix)
    turns = Turns(source, client, settings.prefix)
    assert ids(await read(turns)) == ["t2"]
    assert turns.left_out == 1  # clocks may differ by minutes


async def test_another_journal_is_not_read_on(journal: Client, settings: Settings) -> None:
    source = await find("journal", Selection(), journal, settings.prefix)
    gone = source.model_copy(update={"identity": "other"})
    with pytest.raises(SourceChanged, match="another one"):
        await read(Turns(gone, journal, settings.prefix))
