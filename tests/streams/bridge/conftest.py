"""Fixtures of the bridge's tests: connections, apps that run in this process, and workers."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import faust
import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from tests.waiting import DEADLINE, until

from .book import Book
from .feed import Feed


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    connection = await connect(parse_url(nats_url), name="test")
    yield connection
    await connection.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server for tests that break it."""
    with NatsServer(tmp_path / "own") as server:
        yield server


class Configured(NatsServer):
    """A server with more configuration."""

    def __init__(self, data_dir: Path, more: str) -> None:
        super().__init__(data_dir)
        self.more = more

    def config(self) -> str:
        return super().config() + self.more

    def url_for(self, login: str) -> str:
        """Return the URL with a login, quoted already if need be."""
        return self.url.replace("://", f"://{login}@")


class WithoutJetStream(NatsServer):
    """A server that only passes messages on."""

    def config(self) -> str:
        return f"host: 127.0.0.1\nport: {self.port}\n"

    def ready(self) -> bool:
        return self.log.exists() and b"Server is ready" in self.log.read_bytes()


Serve = Callable[[str], Configured]


@pytest.fixture(params=["at_least_once", "exactly_once"])
def guarantee(request: pytest.FixtureRequest) -> str:
    """Faust's `processing_guarantee`: what holds for the one must hold for the other."""
    return str(request.param)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers with more configuration; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(more: str) -> Configured:
            folder = tmp_path / f"nats-{secrets.token_hex(3)}"
            return stack.enter_context(Configured(folder, more))

        yield start


@pytest.fixture
def new_app(nats_url: str, prefix: str, tmp_path: Path) -> Callable[..., Any]:
    """Make Faust apps that share a prefix on the shared server."""

    def make(name: str = "app", *, url: str = "", **settings: Any) -> faust.App:
        defaults: dict[str, Any] = {
            "broker": f"{url or nats_url}?prefix={prefix}",
            "datadir": tmp_path / f"data-{secrets.token_hex(3)}",
            "topic_partitions": 4,
            "web_enabled": False,
            "broker_commit_interval": 0.2,
            "broker_heartbeat_interval": 0.5,
            "broker_session_timeout": 10.0,
            "stream_recovery_delay": 0.0,
        }
        return faust.App(name, **(defaults | settings))

    return make


class Worker:
    """A Faust worker in a process of its own: one of the modules beside this file."""

    def __init__(self, env: dict[str, str], log: Path, module: str = "chain") -> None:
        self.log = log
        self.asked = False
        """Whether it has been asked to end."""
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command(module)],
                env=os.environ | env,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).resolve().parents[3],
            )

    def command(self, module: str) -> list[str]:
        """Return the arguments to `python -m`."""
        return [f"tests.streams.bridge.{module}"]

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.asked = self.asked or number == signal.SIGTERM

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        self.process.send_signal(signal.SIGCONT)
        if not self.asked:  # Python itself ends at once when it is asked again at its very end
            self.process.terminate()
        return self.process.wait(DEADLINE)


Start = Callable[..., Worker]


@pytest.fixture
def start_worker(prefix: str, nats_url: str, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers that end with the test, whatever happens."""
    workers: list[Worker] = []

    def start(url: str = "", *, module: str = "chain", **env: str) -> Worker:
        number = len(workers)
        settings = {
            "BROKER": f"{url or nats_url}?prefix={prefix}{env.get('OPTIONS', '')}",
            "DATADIR": str(tmp_path / env.get("DATA", "data")),
            **env,
        }
        worker = Worker(settings, tmp_path / f"worker{number}.log", module)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture
async def feed(client: Client, prefix: str) -> AsyncIterator[Feed]:
    feed = Feed(client, prefix)
    await feed.start()
    yield feed
    await feed.publisher.stop()


@pytest.fixture
async def book(client: Client, prefix: str, tmp_path: Path) -> AsyncIterator[Book]:
    """What the ledger's workers write, and work for them."""
    book = Book(client, prefix, tmp_path / "ledger")
    yield book
    await book.close()


@pytest.fixture
def start(start_worker: Callable[..., Worker], tmp_path: Path) -> Callable[..., Worker]:
    """Start a worker that writes into the ledger; by its name."""

    def start(name: str, *, url: str = "", module: str = "ledger", **env: str) -> Worker:
        settings = {"NAME": name, "DATA": name, "LEDGER": str(tmp_path / "ledger")}
        return start_worker(url, module=module, **(settings | env))

    return start


async def together(*workers: Worker) -> None:
    """Wait until all of these have taken up the same generation of their group."""

    def same() -> bool:
        said = [re.findall(r"generation (\d+)", worker.output)[-1:] for worker in workers]
        return all(said) and len({last[0] for last in said}) == 1

    await until(same, "they work in one generation")


async def says(worker: Worker, words: str) -> None:
    """Wait until a worker's output has these words in it."""
    await until(lambda: words in worker.output, f"the worker says: {words}")


async def exit_statuses(*workers: Worker) -> list[int]:
    """Ask workers to end, all at once, and return their exit statuses."""
    return list(await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in workers)))
