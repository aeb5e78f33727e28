import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from streams.settings import Settings

ROOMS = ["app", "streams", "agents", "tables", "web", "mocks"]


@pytest.mark.parametrize("name", ROOMS)
def test_every_top_level_name_is_ours(name: str, repository: Path) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(repository)


@pytest.mark.parametrize("name", ROOMS)
def test_importing_starts_nothing_and_connects_to_nothing(name: str, tmp_path: Path) -> None:
    watched = """
import sys
name = sys.argv[1]
def refuse(event, arguments):
    if event == "subprocess.Popen" and arguments[0] == "file":
        return  # the standard library's platform.architecture(), asked by a dependency
    if event in ("socket.connect", "subprocess.Popen", "os.fork", "sqlite3.connect"):
        raise SystemExit(f"{name} does {event} {arguments} when it is imported")
sys.addaudithook(refuse)
__import__(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", watched, name],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_readme_names_every_setting_with_its_default(repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(MESH_[A-Z_]+)` \| (.*?) \|", readme, re.MULTILINE))
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = "" if default in ("", None) else f"`{default}`"
        expected[f"MESH_{name.upper()}"] = shown
    assert {name: default.strip() for name, default in rows.items()} == expected


def test_the_example_names_every_setting_with_its_default(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (repository / ".env.example").read_text().splitlines()
    names = [line[1:].partition("=")[0] for line in lines if line.startswith("#MESH_")]
    assert names == [f"MESH_{name.upper()}" for name in Settings.model_fields]
    # Whoever uncomments all has changed nothing.
    (tmp_path / ".env").write_text("\n".join(line.removeprefix("#") for line in lines))
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert Settings() == Settings(_env_file=None)


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_has_the_two_commands_and_the_makefile_knows_them(repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    makefile = (repository / "Makefile").read_text()
    for command in re.findall(r"^make (\w+)", readme, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
    assert {"run", "test"} <= set(re.findall(r"^make (\w+)", readme, re.MULTILINE))


def test_links_inside_the_documents_lead_somewhere(repository: Path) -> None:
    for document in [*repository.glob("*.md"), repository / "streams/bridge/README.md"]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} → {target}"


def test_no_room_imports_the_app(repository: Path) -> None:
    for room in ROOMS[1:]:
        for file in (repository / room).rglob("*.py"):
            assert not re.search(r"^\s*(from|import) app\b", file.read_text(), re.MULTILINE), file


#: What would make a turn come out otherwise when it is worked on again: `streams.clock` does not.
UNREPEATABLE: dict[str, set[str] | None] = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns"},
    "random": None,
    "secrets": None,
    "uuid": None,
}


def _unrepeatable(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in UNREPEATABLE:
                if (named := UNREPEATABLE[name]) is None or attribute in named:
                    yield f"{file.name}:{node.lineno} {name}.{attribute}"
            case ast.Import(names=names):
                yield from (
                    f"{file.name}:{node.lineno} import {one.name}"
                    for one in names
                    if UNREPEATABLE.get(one.name, ()) is None
                )
            case ast.ImportFrom(module=module) if UNREPEATABLE.get(module or "", ()) is None:
                yield f"{file.name}:{node.lineno} from {module}"


def test_actors_know_no_time_and_no_chance_but_what_a_replay_can_repeat(repository: Path) -> None:
    deciding = [*(repository / "agents").glob("*.py"), repository / "tables" / "sessions.py"]
    assert [found for file in deciding for found in _unrepeatable(file)] == []
    # And the look finds what it is for.
    assert [*_unrepeatable(repository / "streams" / "clock.py")]
    assert [*_unrepeatable(repository / "streams" / "replay" / "namespace.py")]
