"""The whole system on one machine: which processes there are, and keeping them alive."""

import contextlib
import fcntl
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mocks.servers import NatsServer, RedisServer, Server, ServerError, port_taken

READY_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 0.25
#: A process that ended again within so many seconds is given a pause before it is started again.
QUICK_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 2.0

ADDRESSES_FILE: Final = "servers.json"
LOCK_FILE: Final = "lock"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A process of our own: a command of `app.py`, and URLs that all answer once it is ready."""

    command: str
    ready_urls: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


class Part(Server):
    """A task's process; its log is below `<data_dir>/logs`."""

    def __init__(self, task: Task, data_dir: Path, environment: Mapping[str, str]) -> None:
        super().__init__(data_dir / "logs", urlsplit(task.ready_urls[0]).port or 0)
        self.task = task
        self.name = task.command
        self._environment = {**environment, **task.environment}

    @property
    def log(self) -> Path:
        """The file that takes what the part prints; its port tells apart those of one name."""
        return self.data_dir / f"{self.name}-{self.port}.log"

    def command(self) -> list[str]:
        """Return the command line: this interpreter, our `app.py`, the task's command."""
        app = Path(__file__).resolve().parent.parent / "app.py"
        return [sys.executable, str(app), self.task.command, *self.task.arguments]

    def environment(self) -> dict[str, str]:
        """Return our environment with the settings that all parts share, and the task's own."""
        own = self._environment
        # What we set ourselves is not to be looked for in a file as well.
        files = {f"{name}_FILE" for name in own}
        given = {name: value for name, value in os.environ.items() if name not in files}
        return {**given, **own}

    def ready(self) -> bool:
        """Say whether every URL of the task answers with a success."""
        return all(map(_answers, self.task.ready_urls))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - ours
            return bool(answer.status == 200)
    except OSError:
        return False


def addresses(data_dir: Path) -> dict[str, str]:
    """Return the URLs of the embedded servers that run on `data_dir` now: `nats`, `redis`."""
    if not _is_claimed(data_dir):
        return {}  # what the file says is of a mesh that was killed
    try:
        found: dict[str, str] = json.loads((data_dir / ADDRESSES_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found


@contextlib.contextmanager
def system(
    data_dir: Path,
    *,
    nats: bool,
    redis: bool,
    ports: Iterable[tuple[str, int]],
    tasks: Iterable[Task],
    say: Say,
) -> Iterator[list[Server]]:
    """Run the embedded servers that are wanted and the parts of the app; yield all processes.

    `ports` come with the setting that moves each, so that a taken one can be told.
    ServerError, with what to do, if anything does not come up; then nothing is left running.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_claimed(data_dir))
        check_ports(ports)
        servers: list[NatsServer | RedisServer] = []
        if nats:
            servers.append(NatsServer(data_dir / "nats"))
        if redis:
            servers.append(RedisServer(data_dir / "redis"))
        for server in servers:
            stack.enter_context(server)
            say(f"  {server.name} is up on port {server.port}")
        urls = {server.name.removesuffix("-server"): server.url for server in servers}
        file = data_dir / ADDRESSES_FILE
        file.write_text(json.dumps(urls))
        stack.callback(file.unlink, missing_ok=True)
        environment = {
            {"nats": "MESH_BROKER_URL", "redis": "MESH_REDIS_URL"}[name]: url
            for name, url in urls.items()
        }
        started = [Part(task, data_dir, environment) for task in tasks]
        for part in started:
            stack.callback(part.stop)
            part.launch()
        stack.callback(say, "stopping …")
        wait_until_ready(started, say)
        yield [*servers, *started]


def _is_claimed(data_dir: Path) -> bool:
    """Say whether a mesh runs on `data_dir`."""
    try:
        with (data_dir / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextlib.contextmanager
def _claimed(data_dir: Path) -> Iterator[None]:
    """Hold `data_dir` for ourselves; ServerError when another process holds it."""
    # What customers write is kept here: for its owner's eyes alone.
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServerError(
                f"a mesh runs on {data_dir} already: stop it, or set MESH_DATA_DIR"
            ) from None
        yield


def check_ports(ports: Iterable[tuple[str, int]]) -> None:
    """Raise ServerError that names every taken port with the setting that moves it."""
    taken = [f"port {port} is taken: set {name}" for name, port in ports if port_taken(port)]
    if taken:
        raise ServerError("\n".join(taken))


def wait_until_ready(parts: list[Part], say: Say) -> None:
    """Wait for every part, saying which are still missing; ServerError if one ends instead.

    One that was killed, by somebody or for want of memory, is started again, as later on.
    """
    waiting = list(parts)
    deadline = time.monotonic() + READY_SECONDS
    said = time.monotonic()
    while waiting:
        for part in list(waiting):
            if part.ready():
                say(f"  {part.name} is up")
                waiting.remove(part)
            elif part.killed and time.monotonic() < deadline:
                say(f"  {part.name} was killed, starting it again; see {part.log}")
                part.launch()
            elif not part.running or time.monotonic() > deadline:
                part.wait_ready(0)
        if waiting and time.monotonic() - said > 2:
            said = time.monotonic()
            say(f"  waiting for {', '.join(part.name for part in waiting)} …")
        time.sleep(0.1)


def check(processes: Iterable[Server]) -> None:
    """Raise ServerError, with its last words, if one of the processes is not there any more."""
    for process in processes:
        if not process.running:
            tail = process.log.read_text(errors="replace")[-2000:]
            raise ServerError(f"{process.name} ended by itself:\n{tail}")


def watch(processes: list[Server], say: Say) -> None:
    """Start again whatever ends, for as long as nobody interrupts us."""
    started = dict.fromkeys(map(id, processes), time.monotonic())
    while True:
        time.sleep(WATCH_SECONDS)
        for process in processes:
            if process.running:
                continue
            status = process.process.returncode if process.process else None
            say(f"{process.name} ended (status {status}), starting it again; see {process.log}")
            if time.monotonic() - started[id(process)] < QUICK_SECONDS:
                time.sleep(PAUSE_SECONDS)
            started[id(process)] = time.monotonic()
            with contextlib.suppress(ServerError):
                process.launch()
