import asyncio
import json
from pathlib import Path

import pytest
from nats.aio.client import Client

from streams.bridge.layout import MESSAGE_ID
from streams.journal import record_id
from streams.message import BY_HAND, Message
from streams.operators.audit import Entry, entries
from streams.post import put
from streams.replay.lines import Lines
from streams.replay.recording import turns
from streams.settings import Settings
from streams.topics import JOURNAL, declare_topics
from tables.history import HistoryProjection
from tests.streams.replay.turns import finished
from tests.waiting import until
from tests.web.terminal.conftest import Prepare, Run
from web.terminal.record import record

TURNS = [finished(f"t{number}", f"s{number % 2}", minutes=number) for number in range(4)]


@pytest.fixture(autouse=True)
def journal(prepare: Prepare, settings: Settings) -> None:
    async def work(client: Client) -> None:
        await declare_topics(client.jetstream(), settings)
        for turn in TURNS:
            await put(
                client,
                settings,
                JOURNAL,
                key=turn.session_id.encode(),
                value=turn.encode(),
                message_id=record_id(turn.session_id, turn.run),
            )

    prepare(work)


@pytest.fixture
def other(settings: Settings, prepare: Prepare) -> Settings:
    """Another mesh, with an empty journal."""
    other = settings.model_copy(update={"prefix": f"{settings.prefix}x"})

    async def work(client: Client) -> None:
        await declare_topics(client.jetstream(), other)

    prepare(work)
    return other


def read(path: Path) -> list[Message]:
    found = list(turns(Lines(path)))
    assert all(isinstance(turn, Message) for turn in found)
    return [turn for turn in found if isinstance(turn, Message)]


def audited(prepare: Prepare, settings: Settings) -> list[Entry]:
    found: list[Entry] = []

    async def work(client: Client) -> None:
        found.extend(await entries(client, settings))

    prepare(work)
    return found


def stored(prepare: Prepare, settings: Settings) -> list[tuple[Message, dict[str, str]]]:
    found: list[tuple[Message, dict[str, str]]] = []

    async def work(client: Client) -> None:
        subscription = await client.jetstream().subscribe(
            f"{settings.prefix}.>",
            ordered_consumer=True,
            stream=f"{settings.prefix}--mesh=2Ejournal",
        )
        count = (await client.jetstream().stream_info(f"{settings.prefix}--mesh=2Ejournal")).state
        for _ in range(count.messages):
            message = await subscription.next_msg(timeout=30)
            found.append((Message.decode(message.data), message.headers or {}))

    prepare(work)
    return found


def history(settings: Settings, session: str) -> list[str]:
    """Return the turns of a session as the history has them, once it has two."""

    async def main() -> list[str]:
        projection = HistoryProjection(settings)
        async with projection:

            def turns() -> list[str]:
                found = projection.history.conversation(session) or {"turns": []}
                return [turn["message_id"] for turn in found["turns"]]

            await until(lambda: len(turns()) == 2, "the history having two turns")
            return turns()

    return asyncio.run(main())


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_the_journal_is_written_to_a_file(
    run: Run, tmp_path: Path, prepare: Prepare, settings: Settings, name: str
) -> None:
    path = tmp_path / name
    result = run(record, "export", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"4 turns are written to {path}.\n"
    assert read(path) == TURNS
    (entry,) = audited(prepare, settings)
    assert (entry.action, entry.target) == ("export", "journal")
    assert entry.detail == {"file": name, "anonymous": False}


def test_an_anonymous_recording_holds_nobodys_data_and_says_so(
    run: Run, tmp_path: Path, prepare: Prepare, settings: Settings
) -> None:
    path = tmp_path / "r.jsonl"
    result = run(record, "export", "--anonymous", str(path))
    assert (result.exit_code, "4 turns" in result.stderr) == (0, True)
    text = path.read_text()
    assert "ann@" not in text
    assert json.loads(text.splitlines()[0])["anonymous"] is True
    emails = {turn.payload.email for turn in read(path)}
    assert len(emails) == 1
    (entry,) = audited(prepare, settings)
    assert entry.detail["anonymous"] is True


def test_what_is_exported_can_be_chosen_and_goes_to_stdout(
    run: Run, tmp_path: Path, prepare: Prepare, settings: Settings
) -> None:
    since = TURNS[1].payload.at.isoformat()
    chosen = ("--since", since, "--session", "s1", "--filter", "payload.email=='ann@example.com'")
    result = run(record, "export", *chosen, "-")
    assert result.exit_code == 0, result.output
    assert "2 turns are written to standard output" in result.stderr
    header, *lines = result.stdout.splitlines()
    assert json.loads(header)["format"] == "actor-mesh recording"
    assert [Message.decode(line.encode()).id for line in lines] == ["t1", "t3"]
    (entry,) = audited(prepare, settings)
    assert entry.detail["session"] == "s1"
    assert "ann@" not in entry.model_dump_json()
    none = tmp_path / "none"
    nothing = ("--intent", "exchange", "--outcome", "failed")
    assert "0 turns" in run(record, "export", *nothing, str(none)).output
    assert read(none) == []


def test_machines_are_told_what_was_exported_and_with_which_versions(
    run: Run, tmp_path: Path, prepare: Prepare, settings: Settings
) -> None:
    async def spoil(client: Client) -> None:
        await put(client, settings, JOURNAL, key=b"x", value=b"rubbish", message_id="x")

    prepare(spoil)
    result = run(record, "export", "--json", str(tmp_path / "r"))
    told = json.loads(result.stdout)
    assert (told["turns"], told["models"], told["bad"]) == (4, ["m"], 1)
    assert told["bad_lines"][0]["number"] == 5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("export", "--filter", "a.", "x"), "--filter: "),
        (("export", "--session", "no id", "x"), "--session: an id has"),
        (("export", "--json", "-"), "choose one"),
        (("export", "--since", "yesterday", "x"), "neither a time"),
        (("export", "/nowhere/x"), "cannot be written"),
        (("import", "/nowhere/x"), "does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    result = run(record, *arguments)
    assert result.exit_code != 0
    assert reason in result.stderr


def test_turns_are_brought_into_another_mesh_once(
    run: Run, tmp_path: Path, prepare: Prepare, settings: Settings, other: Settings
) -> None:
    path = tmp_path / "r.gz"
    run(record, "export", str(path))
    first = run(record, "import", str(path), mesh=other)
    assert (first.exit_code, first.stderr) == (0, "4 turns are brought in.\n")
    there = stored(prepare, other)
    assert [turn for turn, _ in there] == TURNS
    assert there[0][1][MESSAGE_ID] == record_id("s0", "t0")
    assert BY_HAND in there[0][1]
    assert history(other, "s1") == ["t1", "t3"]
    again = run(record, "import", "--json", str(path), mesh=other)
    assert json.loads(again.stdout) | {"file": ""} == {
        "file": "",
        "new": 0,
        "known": 4,
        "bad": 0,
        "bad_lines": [],
    }
    assert len(stored(prepare, other)) == 4
    assert [entry.action for entry in audited(prepare, other)] == ["import", "import"]
    assert "were there already" in run(record, "import", str(path), mesh=settings).stderr


def test_what_one_mesh_writes_another_reads_through_a_pipe(
    run: Run, prepare: Prepare, other: Settings
) -> None:
    written = run(record, "export", "--session", "s1", "-").stdout
    result = run(record, "import", "-", said=written, mesh=other)
    assert (result.exit_code, result.stderr) == (0, "2 turns are brought in.\n")
    assert [turn.id for turn, _ in stored(prepare, other)] == ["t1", "t3"]


def test_a_turn_is_recognised_long_after_the_server_has_forgotten_its_id(
    run: Run, tmp_path: Path, prepare: Prepare, settings: Settings, other: Settings
) -> None:
    path = tmp_path / "r"
    run(record, "export", str(path))

    async def forgetful(client: Client) -> None:
        js = client.jetstream()
        config = (await js.stream_info(f"{other.prefix}--mesh=2Ejournal")).config
        await js.update_stream(config.evolve(duplicate_window=0.1))

    prepare(forgetful)
    run(record, "import", str(path), mesh=other)

    async def until_forgotten(client: Client) -> None:
        js = client.jetstream()
        subject, headers = f"{other.prefix}.mesh=2Ejournal.0", {MESSAGE_ID: record_id("s0", "t0")}
        while (await js.publish(subject, TURNS[0].encode(), headers=headers)).duplicate:
            pass

    prepare(until_forgotten)
    before = len(stored(prepare, other))
    assert "0 turns are brought in, 4 were" in run(record, "import", str(path), mesh=other).stderr
    assert len(stored(prepare, other)) == before


def test_bad_lines_are_told_and_the_rest_comes(
    run: Run, tmp_path: Path, prepare: Prepare, other: Settings
) -> None:
    path = tmp_path / "r"
    huge = finished("huge", text="x" * 5_000_000)
    lines = [b"rubbish", TURNS[0].encode(), huge.encode(), *[b"{"] * 30, TURNS[1].encode()]
    path.write_bytes(b"\n".join(lines))
    result = run(record, "import", str(path), mesh=other)
    assert result.exit_code == 1
    said = result.stderr.splitlines()
    assert said[0] == "2 turns are brought in."
    assert said[1].startswith("line 1: ")
    assert said[2].startswith("line 3: has 10,")
    assert said[-1] == "… and 12 more that could not be read"
    assert [turn.id for turn, _ in stored(prepare, other)] == ["t0", "t1"]


def test_conversations_are_no_recording(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text('{"turns": [{"role": "user", "text": "hi"}]}')
    result = run(record, "import", str(path))
    assert (result.exit_code, "python app.py replay" in result.stderr) == (1, True)


def test_a_mesh_that_never_ran_has_nothing_to_export_and_takes_what_is_brought(
    run: Run, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "r"
    path.write_bytes(TURNS[0].encode())
    empty = settings.model_copy(update={"prefix": f"{settings.prefix}y"})
    none = run(record, "export", str(tmp_path / "x"), mesh=empty)
    assert (none.exit_code, "There is no topic" in none.stderr) == (1, True)
    assert run(record, "import", str(path), mesh=empty).stderr == "1 turn is brought in.\n"
