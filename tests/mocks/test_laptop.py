from pathlib import Path

import pytest

from mocks.laptop import Part, Task


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
