import contextlib
import threading
from pathlib import Path

import psutil
import pytest

from mocks.laptop import Part, Task, system
from mocks.servers import free_port


def test_what_a_part_is_told_it_does_not_look_for_in_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MESH_BROKER_URL_FILE", "/run/secrets/broker_url")
    monkeypatch.setenv("MESH_LLM_API_KEY_FILE", "/run/secrets/key")
    part = Part(Task("worker", ("http://127.0.0.1:1/",)), tmp_path, {"MESH_BROKER_URL": "nats://a"})
    told = part.environment()
    assert told["MESH_BROKER_URL"] == "nats://a"
    assert "MESH_BROKER_URL_FILE" not in told
    assert told["MESH_LLM_API_KEY_FILE"] == "/run/secrets/key"


def test_a_part_that_is_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("customers", "orders", "tracking", "llm")}
    mocks = Task(
        "mocks",
        tuple(f"http://127.0.0.1:{port}/health" for port in ports.values()),
        {f"MESH_{name.upper()}_PORT": str(port) for name, port in ports.items()},
        ("--all",),
    )
    said: list[str] = []

    def kill_the_first() -> None:
        while True:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if "mocks" in child.cmdline():
                        child.kill()
                        return

    killing = threading.Thread(target=kill_the_first, daemon=True)
    killing.start()
    with system(
        tmp_path, nats=False, redis=False, ports=(), tasks=[mocks], say=said.append
    ) as processes:
        killing.join()
        assert [process.ready() for process in processes] == [True]
    assert sum("was killed, starting it again" in text for text in said) == 1
