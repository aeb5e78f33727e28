"""The chain comparison: all contestants in turn, in rounds, so that noise hits them alike.

A visit to a contestant has a server and a worker of its own, fresh: one message at a time, then
a thousand under way.
"""

import asyncio
import contextlib
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from tests.bench.chain_bridge import OnTheBridge
from tests.bench.chain_faststream import OnFastStream
from tests.bench.chain_nats_py import HandWritten
from tests.bench.contestant import Contestant
from tests.bench.driver import ChainError, Driver, Load, Processes
from tests.bench.worker import Worker, WorkerEnded

CONTESTANTS: tuple[Contestant, ...] = (
    OnTheBridge("at_least_once", table=False),
    OnTheBridge("at_least_once", table=True),
    OnTheBridge("at_least_once", table=True, shared=True),
    OnTheBridge("exactly_once", table=False),
    OnTheBridge("exactly_once", table=True),
    OnFastStream(checked=True),
    OnFastStream(checked=False),
    HandWritten(named=False),
    HandWritten(named=True),
)
MANY = 1_000
START_SECONDS = 60.0


@dataclass(frozen=True)
class Length:
    """How long to measure: seconds of each visit, and how many visits."""

    alone: float
    many: float
    rounds: int


LONG = Length(alone=4.0, many=8.0, rounds=5)
QUICK = Length(alone=1.0, many=3.0, rounds=1)


@dataclass(frozen=True)
class Visit:
    """What a visit to a contestant found."""

    alone: Load
    many: Load

    def __str__(self) -> str:
        """Return the figures that matter most, on one line."""
        return (
            f"{self.alone.p50_ms:6.2f} ms alone  {self.many.per_second:7,.0f} a second  "
            f"{self.many.worker_cpu_us_per_hop:6.1f} µs a hop"
        )


class Refused(RuntimeError):
    """A worker ended before it took a message; the text is its reason."""


async def visit(contestant: Contestant, length: Length, profile: Path | None = None) -> Visit:
    """Measure a contestant once; Refused if its worker does not want to start."""
    async with running(contestant, profile) as (driver, processes):
        alone = await driver.load(1, length.alone, processes)
        many = await driver.load(MANY, length.many, processes)
        return Visit(alone, many)


@contextlib.asynccontextmanager
async def running(
    contestant: Contestant, profile: Path | None = None
) -> AsyncIterator[tuple[Driver, Processes]]:
    """Run a server, the contestant's worker, and a driver whose messages come through."""
    with tempfile.TemporaryDirectory() as name, NatsServer(Path(name) / "nats") as server:
        folder = Path(name)
        client = await connect(parse_url(server.url), name="driver")
        try:
            await contestant.prepare(client)
            environment = {
                **contestant.environment(),
                "SERVER": server.url,
                "FOLDER": str(folder / "data"),
            }
            with Worker(
                contestant.command(), environment, folder / "worker.log", profile
            ) as worker:
                assert server.process is not None
                driver = Driver(client, contestant, worker.check)
                await driver.start()
                try:
                    try:
                        await _come_through(client, contestant, driver)
                    except WorkerEnded as exc:
                        raise Refused(str(exc)) from exc
                    yield driver, Processes(worker.pid, server.process.pid)
                finally:
                    await driver.stop()
        finally:
            await client.close()


async def _come_through(client: Client, contestant: Contestant, driver: Driver) -> None:
    """Wait until the worker takes messages and the last topic can be read."""
    driver.in_flight = 1
    driver.fill()
    deadline = time.monotonic() + START_SECONDS
    reading = False
    while not driver.latencies:
        driver.check()
        if time.monotonic() > deadline:
            raise ChainError(f"{contestant.name}: nothing came through")
        if not reading and (output := await contestant.output(client)) is not None:
            driver.read(output)
            reading = True
        await asyncio.sleep(0.05)
    await driver.drain()


@dataclass
class Comparison:
    """What all rounds found, by the contestants' names."""

    visits: dict[str, list[Visit]]
    refused: dict[str, str]
    """Contestants that do not run here, and why."""
    failed: dict[str, str]
    """Contestants that did not do what they are to do."""


def measure(
    contestants: Sequence[Contestant], length: Length, profiles: Path | None = None
) -> Comparison:
    """Visit all contestants, round after round; who fails once is out."""
    found = Comparison({one.name: [] for one in contestants}, {}, {})
    for number in range(1, length.rounds + 1):
        for contestant in contestants:
            name = contestant.name
            if name not in found.visits:
                continue
            profile = None if profiles is None else profiles / f"{name}-{number}.prof"
            try:
                seen = asyncio.run(visit(contestant, length, profile))
            except Refused as exc:
                found.refused[name] = str(exc)
                del found.visits[name]
                print(f"  round {number}  {name:20} does not run", flush=True)
            except (ChainError, WorkerEnded) as exc:
                found.failed[name] = str(exc)
                del found.visits[name]
                traceback.print_exception(exc)
            else:
                found.visits[name].append(seen)
                print(f"  round {number}  {name:20} {seen}", flush=True)
    return found
