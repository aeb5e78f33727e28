import asyncio
import os
from pathlib import Path

import pytest

from streams.replay.request import ReplayRequest
from tables.runs import Runs
from tests.waiting import until
from tests.whole_mesh import ROOT
from web.replay_processes import ReplayProcesses

#: What a process that replays is told, and how it ends.
LISTENING = """
import pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
folder = pathlib.Path(__file__).parent
(folder / "asked").write_text(" ".join(sys.argv[1:]) + " " + sys.stdin.read())
signal.sigwait([signal.SIGTERM])
(folder / "ended").touch()
"""


async def test_a_replay_is_a_process_that_is_told_what_to_do_and_ends_with_the_pages(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text(LISTENING)
    replays = ReplayProcesses(tmp_path / "app.py", tmp_path / "data")
    request = ReplayRequest(session="s1")
    run = await replays.start(request)
    await until((tmp_path / "asked").exists, "the process being told")
    await until(lambda: (tmp_path / "asked").read_text().endswith("}"), "it having read all")
    told = (tmp_path / "asked").read_text()
    assert told == f"replay --requested {run} {request.model_dump_json()}"
    await replays.close()
    assert (tmp_path / "ended").exists()


async def test_a_replay_that_cannot_begin_is_in_the_log_and_in_its_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("MESH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MESH_BROKER_URL", "nats://127.0.0.1:1")
    replays = ReplayProcesses(ROOT / "app.py", tmp_path)
    run = await replays.start(ReplayRequest(source=str(tmp_path / "missing.jsonl")))
    await until(lambda: run in caplog.text, "the log naming the run")
    await asyncio.sleep(0)
    await replays.close()
    assert "missing.jsonl" in (tmp_path / "logs" / f"replay-{run}.log").read_text()
    about = Runs(tmp_path).open(run).about()
    assert about.state == "interrupted"
    assert "missing.jsonl" in about.problem
