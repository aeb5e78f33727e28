"""Feeds a chain and reads its end: the same for every contestant, and light on the processor."""

import asyncio
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from nats.aio.client import Client

from streams.bridge.publisher import Publisher
from streams.bridge.reader import Reader
from tests.bench.contestant import AGENTS, KEYS, Contestant, Output

STALLED_SECONDS = 30.0
TICK_SECONDS = 0.1


class ChainError(RuntimeError):
    """A chain lost a message, doubled or garbled one, or stands still."""


@dataclass(frozen=True)
class Load:
    """What a chain did under a load."""

    messages: int
    per_second: float
    p50_ms: float
    p99_ms: float
    worker_cpu_us_per_hop: float
    server_cpu_us_per_hop: float
    worker_peak_mb: float
    in_order: bool
    """Whether the messages of each key arrived in the order in which they were sent."""


class Processes:
    """The worker's and the server's process."""

    def __init__(self, worker: int, server: int) -> None:
        self.worker = psutil.Process(worker)
        self.server = psutil.Process(server)
        self.peak = 0

    def look(self) -> None:
        """Take note of the worker's memory."""
        self.peak = max(self.peak, self.worker.memory_info().rss)

    def seconds(self) -> tuple[float, float]:
        """Return the processor time of worker and server so far."""
        worker, server = self.worker.cpu_times(), self.server.cpu_times()
        return worker.user + worker.system, server.user + server.system


class Driver:
    """Keeps so many messages under way, and checks that each arrives once, whole, in order."""

    def __init__(
        self, client: Client, contestant: Contestant, check_worker: Callable[[], None]
    ) -> None:
        self.contestant = contestant
        self.in_flight = 0
        """How many messages may be under way; 0 sends no more."""
        self.latencies: list[float] = []
        self.in_order = True
        self._client = client
        self._check_worker = check_worker
        self._publisher = Publisher(client)
        self._reader: Reader | None = None
        self._sent: dict[int, float] = {}
        self._number = 0
        self._last = [-1] * KEYS
        self._error: ChainError | None = None

    async def start(self) -> None:
        """Begin to take acknowledgements."""
        await self._publisher.start()

    def read(self, output: Output) -> None:
        """Begin to read the last topic, as stored."""
        self._reader = Reader(self._client, output.stream, output.filter, 1, self._arrived)
        self._reader.open()

    async def stop(self) -> None:
        """End."""
        if self._reader is not None:
            await self._reader.close()
        await self._publisher.stop()

    def fill(self) -> None:
        """Send as many messages as are wanted."""
        while len(self._sent) < self.in_flight:
            number, self._number = self._number, self._number + 1
            subject, headers, value = self.contestant.input(number)
            self._sent[number] = time.perf_counter()
            self._publisher.publish(subject, value, headers)

    def _arrived(self) -> None:
        assert self._reader is not None
        while (record := self._reader.take()) is not None:
            value = json.loads(record.payload)
            number = value["id"]
            sent = self._sent.pop(number, None)
            if sent is None or value["hops"] != AGENTS:
                what = "a second time" if sent is None else f"after {value['hops']} hops"
                self._error = ChainError(f"message {number} arrived {what}")
                continue
            self.latencies.append(time.perf_counter() - sent)
            self.in_order &= number > self._last[number % KEYS]
            self._last[number % KEYS] = number
        self.fill()

    async def drain(self) -> None:
        """Send no more, and wait until all has arrived."""
        self.in_flight = 0
        await self._wait(lambda: not self._sent)

    async def arrivals(self, count: int) -> None:
        """Wait until so many more have arrived."""
        goal = len(self.latencies) + count
        await self._wait(lambda: len(self.latencies) >= goal)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        seen, since = -1, time.monotonic()
        while not condition():
            self.check()
            if seen != len(self.latencies):
                seen, since = len(self.latencies), time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                raise ChainError(f"{len(self._sent)} messages have not arrived")
            await asyncio.sleep(0.01)
        self.check()

    def check(self) -> None:
        """Raise what was found wrong so far, or that the worker has ended."""
        self._check_worker()
        if self._error is not None:
            raise self._error
        if self._publisher.failure is not None:
            raise self._publisher.failure

    async def load(self, in_flight: int, seconds: float, processes: Processes) -> Load:
        """Measure for so many seconds with so many messages under way, after a run-up."""
        self.in_flight = in_flight
        self.fill()
        await self.arrivals(in_flight)
        self.latencies.clear()
        self.in_order = True
        worker, server = processes.seconds()
        begin = time.perf_counter()
        end = begin + seconds
        while (now := time.perf_counter()) < end:
            self.check()
            processes.look()
            await asyncio.sleep(min(TICK_SECONDS, end - now))
        took = time.perf_counter() - begin
        worker_after, server_after = processes.seconds()
        latencies = sorted(self.latencies)
        await self.drain()
        count = len(latencies)
        if not count:
            raise ChainError(f"nothing arrived in {seconds} seconds")
        return Load(
            messages=count,
            per_second=count / took,
            p50_ms=statistics.median(latencies) * 1000,
            p99_ms=latencies[math.ceil(count * 0.99) - 1] * 1000,
            worker_cpu_us_per_hop=(worker_after - worker) / count / AGENTS * 1e6,
            server_cpu_us_per_hop=(server_after - server) / count / AGENTS * 1e6,
            worker_peak_mb=processes.peak / 1e6,
            in_order=self.in_order,
        )
