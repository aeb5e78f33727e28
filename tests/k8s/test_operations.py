"""The operations guide: its commands are run, its tables are whole."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.k8s.manifests import K8S, ROOT
from tests.k8s.topology import running

GUIDE = (K8S / "README.md").read_text()


def commands(containing: str) -> str:
    """Return the block of commands, marked as run by a test, that has this in it."""
    blocks = re.findall(r"<!-- a test runs this -->\n```sh\n(.*?)```", GUIDE, re.S)
    (found,) = (block for block in blocks if containing in block)
    return str(found)


def shell(script: str, folder: Path, **environment: str) -> str:
    """Run a block as people would; our interpreter and program are where `folder` is not."""
    script = script.replace("python app.py", f"{sys.executable} {ROOT / 'app.py'}")
    script = script.replace("k8s/observability", str(K8S / "observability"))
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_that_a_cluster_held_comes_back_from_a_backup(tmp_path: Path) -> None:
    asked = {"message": "Where is my order #W7000201?", "email": "tobias.wren@example.com"}

    def say(port: int, **more: str) -> dict[str, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/chat",
            data=json.dumps(asked | more).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            told: dict[str, str] = json.load(answer)
        return told

    with running("local", tmp_path / "one") as before:
        worker, web = before.part("worker"), before.part("web")
        try:
            for part in (worker, web):
                part.launch()
            for part in (worker, web):
                part.wait_ready(90)
            first = say(web.port)
            assert first["state"] == "answered"
        finally:
            web.stop()
            worker.stop()
        operator = before.login("operator", "OPERATOR_PASSWORD")
        told = shell(commands("backup backups"), tmp_path, MESH_BROKER_URL=operator)
        assert "mesh--mesh=2Ejournal: 1 records" in told

    with running("local", tmp_path / "two") as after:
        worker, web = after.part("worker"), after.part("web")
        operator = after.login("operator", "OPERATOR_PASSWORD")
        told = shell(commands("restore backups"), tmp_path, MESH_BROKER_URL=operator)
        assert "All is back." in told
        assert re.search(r"^mesh\.journal +journal +1 ", told, re.M)
        try:
            for part in (worker, web):
                part.launch()
            for part in (worker, web):
                part.wait_ready(90)
            again = say(web.port, session_id=first["session_id"])
            assert (again["state"], again["session_id"]) == ("answered", first["session_id"])
            told = shell(commands("replay journal"), tmp_path, MESH_BROKER_URL=operator)
            assert told.startswith("2 turns, 2 same")
        finally:
            web.stop()
            worker.stop()


def test_rules_for_prometheus_become_those_of_its_operator(tmp_path: Path) -> None:
    shell(commands("PrometheusRule"), tmp_path)
    made = yaml.safe_load((tmp_path / "rules.yaml").read_text())
    plain = yaml.safe_load((K8S / "observability" / "alerts.yaml").read_text())
    assert (made["kind"], made["spec"]) == ("PrometheusRule", plain)


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((K8S / "observability" / "alerts.yaml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert re.findall(r"^\| `(Mesh\w+)` \|", GUIDE, re.M) == alerts


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", GUIDE):
        assert (K8S / target).exists(), target


@pytest.mark.parametrize("name", sorted(set(re.findall(r"MESH_[A-Z_]+", GUIDE))))
def test_settings_in_it_are_settings(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "README.md").read_text()


def test_what_make_does_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z0-9-]+)", GUIDE)):
        assert re.search(rf"^{target}:", makefile, re.M), target
