"""Recorded conversations against today's code, as people and CI replay them."""

import asyncio
import gzip
import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import app
from mocks.cast import CAST
from mocks.laptop import addresses
from streams.bridge.connection import connect, parse_url
from streams.message import Message
from streams.replay.request import ReplayRequest
from tables.run import Stopped
from tables.runs import Runs
from tests.waiting import block_until
from tests.web.operators import bearer
from tests.whole_mesh import ROOT, WholeMesh, whole_mesh
from web.terminal.playing import Performance, Playing, ReplayMesh

pytestmark = pytest.mark.timeout(300)

#: What decides turns, and what it takes to run it.
CODE = ("agents", "mocks", "streams", "tables", "web", "app.py")
COPIES = 30
#: Turns of a burst, and seconds from one to the next, when many are replayed as fast as recorded.
BURST = 15
BURST_SECONDS = 1.5


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeMesh]:
    """A mesh that has talked to the five customers of the scenarios."""
    with whole_mesh(tmp_path_factory.mktemp("mesh") / "data") as running:
        done = command(running, "scenarios", "--json")
        assert done.status == 0, done.stdout + done.stderr
        yield running


@pytest.fixture(scope="module")
def recording(mesh: WholeMesh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the customers of the scenarios said and were told."""
    path = tmp_path_factory.mktemp("recordings") / "scenarios.jsonl"
    done = command(mesh, "record", "export", str(path))
    assert done.status == 0, done.stderr
    return path


@dataclass
class Done:
    """What a command printed, and its exit status."""

    status: int
    stdout: str
    stderr: str


def command(mesh: WholeMesh, *arguments: str, **environment: str) -> Done:
    """Run a command of ours in this process: to import everything anew takes seconds."""
    done = CliRunner().invoke(app.cli, arguments, env={**mesh.environment, **environment})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def command_of(code: Path, mesh: WholeMesh, *arguments: str) -> Done:
    """Run a command of other code."""
    done = subprocess.run(
        [sys.executable, str(code / "app.py"), *arguments],
        capture_output=True,
        text=True,
        env=mesh.environment,
        cwd=code,
        timeout=200,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@dataclass
class Replayed:
    """What `replay --json` told."""

    status: int
    turns: list[dict[str, Any]]
    summary: dict[str, Any]
    gate: dict[str, Any]
    run: str
    told: str

    @property
    def verdicts(self) -> dict[str, int]:
        return {name: count for name, count in self.summary["verdicts"].items() if count}


def replay(mesh: WholeMesh, *arguments: str, code: Path | None = None, **env: str) -> Replayed:
    asked = ("replay", "--json", *arguments)
    done = command(mesh, *asked, **env) if code is None else command_of(code, mesh, *asked)
    assert done.stdout, done.stderr
    *turns, last = map(json.loads, done.stdout.splitlines())
    return Replayed(
        done.status,
        [line["turn"] for line in turns],
        last["summary"],
        last["gate"],
        last["run"],
        done.stderr,
    )


def multiplied(recording: Path, into: Path, copies: int) -> int:
    """Write the recording so many times over, with ids of their own; return the turns.

    They come in bursts, which are long enough apart for the turns of one to be kept.
    """
    header, *lines = recording.read_text().splitlines()
    turns = 0
    first: datetime | None = None
    with gzip.open(into, "wt") as file:
        file.write(header + "\n")
        for copy in range(copies):
            for line in lines:
                message = Message.decode(line.encode())
                first = message.payload.at if first is None else first
                text = line.replace(message.session_id, f"{message.session_id[:40]}-{copy}")
                text = text.replace(message.id, f"{message.id}-{copy}")
                message = Message.decode(text.encode())
                at = first + timedelta(seconds=turns // BURST * BURST_SECONDS)
                payload = message.payload.model_copy(update={"at": at})
                message = message.model_copy(update={"payload": payload})
                file.write(message.encode().decode() + "\n")
                turns += 1
    return turns


def changed_code(into: Path, file: str, old: str, new: str) -> Path:
    """Return a copy of the code in which one line is another one."""
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, into / name)
    text = (into / file).read_text()
    assert old in text
    (into / file).write_text(text.replace(old, new))
    return into


async def namespaces(mesh: WholeMesh) -> set[str]:
    """Return the prefixes of all streams on the mesh's broker."""
    client = await connect(parse_url(addresses(mesh.data_dir)["nats"]), name="test")
    try:
        infos = await client.jetstream().streams_info()
        return {(info.config.name or "").removeprefix("KV_").partition("--")[0] for info in infos}
    finally:
        await client.close()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_unchanged_code_does_the_same_however_many_work_on_it(
    mesh: WholeMesh, workers: str
) -> None:
    before = asyncio.run(namespaces(mesh))
    found = replay(mesh, "journal", "--workers", workers, "--fail-on", "failed,different,reply<1")
    assert found.verdicts == {"same": 7}
    assert found.turns == []
    assert (found.status, found.gate["passed"]) == (0, True)
    assert asyncio.run(namespaces(mesh)) == before
    assert not list((mesh.data_dir / "replays").glob("*.work"))


def test_a_changed_rule_shows_the_turns_that_it_touches_and_no_others(
    mesh: WholeMesh, recording: Path, tmp_path: Path
) -> None:
    code = changed_code(
        tmp_path / "changed",
        "agents/policy.py",
        "RETURN_DAYS: Final = 30",
        "RETURN_DAYS: Final = 0",
    )
    files = ("--junit", str(tmp_path / "replay.xml"), "--markdown", str(tmp_path / "replay.md"))
    found = replay(mesh, str(recording), "--fail-on", "plan,route", *files, code=code)
    # She asked to return an order, and then said yes to what she was offered no more.
    returning = [turn for turn in found.turns if turn["intent"] == "return_request"]
    assert found.turns == returning
    assert len(found.turns) in (1, 2)
    first = min(found.turns, key=lambda turn: turn["turn"])
    assert first["verdict"] == "different"
    assert first["diverging"]["actor"] == "decision_router"
    assert first["aspects"]["intent"]["verdict"] == "same"
    assert first["aspects"]["plan"]["verdict"] == "different"
    assert (found.status, found.gate["passed"]) == (1, False)
    cases = ElementTree.parse(tmp_path / "replay.xml").getroot()
    assert cases.attrib["tests"] == "7"
    assert int(cases.attrib["failures"]) == found.gate["turns"] > 0
    assert "Not passed" in (tmp_path / "replay.md").read_text()

    # It was meant: the outcome becomes the baseline, and there is nothing left to tell.
    baseline = tmp_path / "baseline.jsonl"
    shutil.copy(recording, baseline)
    asked = ("replay", str(baseline), "--live", "response_generator", "--accept")
    accepted = command_of(code, mesh, *asked)
    assert accepted.status == 0, accepted.stderr
    assert "is the baseline now: 7 turns" in accepted.stderr
    again = replay(mesh, str(baseline), "--fail-on", "different", code=code)
    assert again.verdicts == {"same": 7}


def test_an_actor_that_asks_the_outside_changes_nothing_there(
    mesh: WholeMesh, recording: Path
) -> None:
    found = replay(mesh, str(recording), "--mode", "live", "--repeat", "2")
    assert found.summary["turns"] == 14
    assert found.summary["verdicts"]["failed"] == 0
    assert replay(mesh, "journal").summary["turns"] == 7  # nothing of it came into the real mesh


def test_a_replay_that_was_killed_goes_on_and_plays_every_turn_once(
    mesh: WholeMesh, recording: Path, tmp_path: Path
) -> None:
    turns = multiplied(recording, tmp_path / "many.jsonl.gz", COPIES)
    for number in (signal.SIGKILL, signal.SIGINT):
        # As fast as recorded it takes twenty seconds: it cannot end before it is killed.
        arguments = ["replay", "--speed", "1", str(tmp_path / "many.jsonl.gz")]
        if number == signal.SIGINT:
            arguments = ["replay", "--resume", "last"]
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=mesh.environment,
            cwd=ROOT,
        )
        with process:
            done = until_some_are_done(mesh, process, resumed=number == signal.SIGINT)
            process.send_signal(number)
            process.communicate(timeout=120)
        assert process.returncode in (-signal.SIGKILL, 130)
        assert 0 < done < turns
        listed = Runs(mesh.data_dir).listed()[0]
        assert listed.about.state == "interrupted"
    hurry(mesh)
    found = replay(mesh, "--resume", "last")
    assert found.summary["turns"] == turns
    assert found.verdicts == {"same": turns}
    # One that has ended is judged anew, without a mesh.
    again = replay(mesh, "--resume", "last", "--fail-on", "different")
    assert (again.summary, again.gate["passed"]) == (found.summary, True)
    assert "Starting" not in again.told


def test_who_stops_a_replay_while_it_ends_leaves_nothing_behind(
    mesh: WholeMesh, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)
    before = asyncio.run(namespaces(mesh))

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None

        @contextmanager
        def launch(folder: Path, request: ReplayRequest) -> Iterator[ReplayMesh]:
            with app.replay_mesh(folder, request) as replaying:
                yield replaying
            task.cancel()  # as Ctrl-C does that comes while the workers stop

        performance = Performance(mesh.settings(), launch)
        await performance.give(ReplayRequest(source=str(recording)))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())
    assert asyncio.run(namespaces(mesh)) <= before
    assert list((mesh.data_dir / "replays").glob("*.work")) == []


def test_a_replay_is_stopped_also_while_nothing_ends(
    mesh: WholeMesh, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)
    runs = Runs(mesh.data_dir)

    def stop(playing: Playing) -> None:
        runs.stop(playing.run.name, "It was stopped by Ann.")

    slowly = ReplayRequest(source=str(recording), speed=1e-6)  # the first answer takes hours
    performance = Performance(mesh.settings(), app.replay_mesh, show=stop)
    with pytest.raises(Stopped, match="by Ann"):
        asyncio.run(performance.give(slowly))
    stopped = runs.listed()[0]
    assert (stopped.about.state, stopped.about.problem) == ("interrupted", "It was stopped by Ann.")
    assert stopped.summary.turns == 0


def until_some_are_done(
    mesh: WholeMesh, process: "subprocess.Popen[bytes]", *, resumed: bool
) -> int:
    """Wait until the newest replay has kept a turn in this process; return how many it has."""
    runs = Runs(mesh.data_dir)
    before = runs.listed()[0].summary.turns if resumed else 0

    def kept() -> int:
        assert process.poll() is None, process.stdout and process.stdout.read()
        newest = next(iter(runs.listed()), None)
        if newest is None or newest.about.state != "running":
            return 0
        return newest.summary.turns if newest.summary.turns > before else 0

    return int(block_until(kept, "the replay getting going"))


def hurry(mesh: WholeMesh) -> None:
    """Have the newest replay go on as fast as it goes."""
    runs = Runs(mesh.data_dir)
    with runs.resume(runs.newest()) as run:
        request = run.about().request
        assert request is not None
        run.say(request=request.model_copy(update={"speed": 0}))


def test_lines_that_hold_no_turn_are_counted_and_the_rest_goes_on(
    mesh: WholeMesh, recording: Path, tmp_path: Path
) -> None:
    lines = recording.read_text().splitlines()
    broken = tmp_path / "broken.jsonl"
    twice = lines[1]
    broken.write_text("\n".join([*lines[:3], "{oops", lines[3][:200], *lines[3:], twice]) + "\n")
    found = replay(mesh, str(broken), "--fail-on", "bad-lines")
    assert found.verdicts == {"same": 7}
    assert found.summary["bad_lines"] == 3
    told = [line["where"] for line in found.summary["first_bad_lines"]]
    assert told == ["line 4", "line 5", f"line {len(lines) + 3}"]
    assert "comes once more" in found.summary["first_bad_lines"][2]["reason"]
    assert found.status == 1


def test_an_anonymous_recording_replays_the_same(mesh: WholeMesh, tmp_path: Path) -> None:
    path = tmp_path / "anonymous.jsonl.gz"
    assert command(mesh, "record", "export", "--anonymous", str(path)).status == 0
    text = gzip.decompress(path.read_bytes()).decode().lower()
    for member in CAST.values():
        assert member.email not in text
        assert member.last_name.lower() not in text
        assert member.order_ids[0].lower() in text
    assert replay(mesh, str(path)).verdicts == {"same": 7}


def test_a_file_is_replayed_where_nothing_runs(
    mesh: WholeMesh, recording: Path, tmp_path: Path
) -> None:
    found = replay(mesh, str(recording), MESH_DATA_DIR=str(tmp_path / "elsewhere"))
    assert found.verdicts == {"same": 7}


def test_plain_conversations_are_played_live_and_compared_by_their_replies(
    mesh: WholeMesh, tmp_path: Path
) -> None:
    talk = {
        "conversation_id": "elsewhere 1",
        "customer": {"email": "tobias.wren@example.com"},
        "turns": [
            {"role": "customer", "text": "Where is my order #W7000201?"},
            {"role": "agent", "text": "It is on its way."},
            {"role": "customer", "text": "Thank you!"},
        ],
    }
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps(talk) + "\nno conversation\n")
    found = replay(mesh, str(path), "--mode", "live")
    assert found.verdicts == {"not recorded": 2}
    assert found.summary["bad_lines"] == 1
    first, second = sorted(found.turns, key=lambda turn: turn["message_id"])
    assert first["aspects"]["reply"]["recorded"] == "It is on its way."
    assert "#W7000201" in first["aspects"]["reply"]["replayed"]
    assert "reply" not in second["aspects"] or second["aspects"]["reply"]["recorded"] is None
    # The second turn knew the first: its session went on.
    run = Runs(mesh.data_dir).open(found.run)
    heard = [result.replayed.payload.history for result in run.results() if result.replayed]
    assert [len(history) for history in heard] == [0, 2]

    accepted = command(mesh, "replay", "--accept", str(tmp_path / "baseline.jsonl.gz"))
    assert accepted.status == 0, accepted.stderr
    assert replay(mesh, str(tmp_path / "baseline.jsonl.gz")).verdicts == {"same": 2}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-file.jsonl"], "no-such-file.jsonl"),
        (["journal", "--fail-on", "rout"], "there is no condition 'rout'"),
        (["journal", "--against", "nonsense"], "nonsense"),
        (["journal", "--filter", "payload.["], "filter"),
        ([], "Name a SOURCE"),
        (["--resume", "20200101T000000000-00000000"], "There is no replay"),
        (["journal", "--resume", "last", "--workers", "2"], "leave out SOURCE, --workers"),
        (["journal", "--junit", "/nowhere/replay.xml"], "'/nowhere'"),
        (["journal", "--markdown", "/nowhere/replay.md"], "'/nowhere'"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_line(
    mesh: WholeMesh, arguments: list[str], told: str
) -> None:
    done = command(mesh, "replay", *arguments)
    assert done.status in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_runs_are_listed_shown_compared_and_deleted(mesh: WholeMesh) -> None:
    first, second = replay(mesh, "journal"), replay(mesh, "journal", "--intent", "cancel_order")
    listed = command(mesh, "runs", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["about"]["run"] for line in listed[:2]] == [second.run, first.run]
    assert "7 turns, 7 same" in command(mesh, "runs", "show", first.run).stdout
    compared = command(mesh, "runs", "compare", first.run, second.run, "--json")
    summary = json.loads(compared.stdout.splitlines()[-1])["summary"]
    assert summary["verdicts"]["same"] == second.summary["turns"] > 0
    assert summary["verdicts"]["failed"] == 7 - second.summary["turns"]
    comparison = Runs(mesh.data_dir).newest()
    assert "cannot go on" in command(mesh, "replay", "--resume", comparison).stderr
    assert Runs(mesh.data_dir).open(comparison).about().state == "ended"
    assert command(mesh, "runs", "delete", first.run).status == 0
    assert "There is no replay" in command(mesh, "runs", "show", first.run).stderr


@dataclass
class Pages:
    """The operators' API of a mesh."""

    mesh: WholeMesh

    def ask(self, path: str, body: Any = None) -> Any:
        """Return what a path tells, or what comes of sending it something."""
        url = f"{self.mesh.url}/api{path}"
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(url, data, bearer(self.mesh.settings()))
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def ended(self, run: str) -> dict[str, Any]:
        """Follow a replay to its end, and return what it came to."""
        url = f"{self.mesh.url}/api/replay/{run}/live"
        asked = urllib.request.Request(url, headers=bearer(self.mesh.settings()))
        told: dict[str, Any] = {}
        with urllib.request.urlopen(asked, timeout=60) as events:
            for line in events:
                name, _, value = line.decode().strip().partition(": ")
                if (name, value) == ("event", "ended"):
                    break
                if name == "data":
                    told = json.loads(value)
        return told


def test_a_conversation_is_replayed_from_its_page_and_then_what_if(mesh: WholeMesh) -> None:
    pages = Pages(mesh)
    newest = pages.ask("/streams/conversation")["sessions"]
    session = next(one["session_id"] for one in newest if one["intent"] == "cancel_order")
    run = pages.ask("/replay", {"session": session})["run"]
    whole = pages.ended(run)
    assert whole["about"]["state"] == "ended"
    assert whole["summary"]["turns"] == whole["summary"]["verdicts"]["same"] > 0

    turn = pages.ask(f"/replay/{run}/turns/0?unmask=1")
    place = [hop["actor"] for hop in turn["was"]].index("intent_analyzer")
    slots = turn["was"][place]["added"]
    slots["intent"] |= {"name": "human_agent", "also": []}
    edit = {"hop": place, "slots": slots, "live": True}
    run = pages.ask(f"/replay/{run}/turns/0/what-if", edit)["run"]
    assert pages.ended(run)["summary"]["verdicts"]["different"] == 1
    turn = pages.ask(f"/replay/{run}/turns/0")
    assert turn["edited"] == turn["diverging"]["recorded"] == place
    assert turn["aspects"]["outcome"]["replayed"] == "escalated"
    assert turn["aspects"]["sentiment"]["verdict"] == "same"
