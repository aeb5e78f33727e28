"""Rebalance time: how long partitions stand still when one of two workers leaves, dies or joins.

A tick a partition is sent every ten milliseconds. The workers send each one on with their name
and generation, so it shows when every partition flows again under new ownership. All settings
are Faust's defaults.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import faust
from faust.types import StreamT
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge import topics
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import encode_headers, subject
from streams.bridge.publisher import Publisher
from streams.bridge.reader import Reader
from tests.bench.contestant import PARTITIONS, folder, server
from tests.bench.worker import Worker

PREFIX = "rebalance"
TICK_SECONDS = 0.01
STEADY_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
ROUNDS = 5


# -- the worker


def make_app() -> faust.App:
    """Return an app that sends ticks on, with who it is and under which generation."""
    app = faust.App(
        "rebalance",
        broker=f"{server()}?prefix={PREFIX}",
        topic_partitions=PARTITIONS,
        web_enabled=False,
        datadir=folder(),
    )
    ticks = app.topic("ticks", value_serializer="json")
    done = app.topic("done", value_serializer="json")
    name = os.environ["NAME"]

    async def pass_on(stream: StreamT[Any]) -> None:
        async for event in stream.events():
            mark = {
                "tick": event.value,
                "worker": name,
                "generation": event.message.generation_id,
            }
            await done.send(value=mark, partition=event.message.partition)

    app.agent(ticks)(pass_on)
    return app


# -- the measuring


@dataclass(frozen=True)
class Rebalance:
    """How long it took, in seconds."""

    all_flow: float
    """From the event until every partition has been worked on under the new generation.

    A join begins with the start of the new process, so it includes the start of Python.
    """
    silence: float
    """The longest time in which a partition was not worked on, of all partitions."""


class Ticks:
    """Sends ticks, and watches them come out."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._publisher = Publisher(client)
        self._reader: Reader | None = None
        self._task: asyncio.Task[None] | None = None
        self._sent = 0
        self._waiting: set[tuple[int, int]] = set()
        self.generation = [0] * PARTITIONS
        """The newest generation under which each partition has been worked on."""
        self.since = [0.0] * PARTITIONS
        """When that generation's first tick came out."""
        self.owner = [""] * PARTITIONS
        self.last = [0.0] * PARTITIONS
        self.silence = 0.0
        """The longest time without a tick, of any partition, since it was last set to 0."""

    async def start(self) -> None:
        """Begin to send, and to watch as soon as something comes out."""
        await self._publisher.start()
        self._task = asyncio.create_task(self._send())
        js = self._client.jetstream()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (info := await topics.lookup(js, PREFIX, "done")) is None:
            if time.monotonic() > deadline:
                raise TimeoutError("no tick came out")
            await asyncio.sleep(0.05)
        self._reader = Reader(self._client, info.stream, f"{PREFIX}.done.*", 1, self._arrived)
        self._reader.open()

    async def stop(self) -> None:
        """Send no more, wait until each tick has come out, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._reader is not None:
            await wait(lambda: not self._waiting, "all ticks to come out")
            await self._reader.close()
        await self._publisher.stop()

    async def _send(self) -> None:
        while True:
            self._sent += 1
            value = str(self._sent).encode()
            for partition in range(PARTITIONS):
                self._waiting.add((partition, self._sent))
                place = subject(PREFIX, "ticks", partition)
                self._publisher.publish(place, value, encode_headers(None, value))
            await asyncio.sleep(TICK_SECONDS)

    def _arrived(self) -> None:
        assert self._reader is not None
        now = time.monotonic()
        while (record := self._reader.take()) is not None:
            partition = int(record.subject.split(b".")[2])
            mark = json.loads(record.payload)
            self._waiting.discard((partition, mark["tick"]))
            self.silence = max(self.silence, now - self.last[partition])
            self.last[partition] = now
            if mark["generation"] > self.generation[partition]:
                self.generation[partition] = mark["generation"]
                self.since[partition] = now
            self.owner[partition] = mark["worker"]

    @property
    def settled(self) -> bool:
        """Whether all partitions flow under one generation."""
        return len(set(self.generation)) == 1 and self.generation[0] > 0

    async def steady(self, workers: int) -> None:
        """Wait until so many workers share the partitions and nothing changes."""

        def quiet() -> bool:
            now = time.monotonic()
            return (
                self.settled
                and len(set(self.owner)) == workers
                and now - max(self.since) > STEADY_SECONDS
                and now - min(self.last) < STEADY_SECONDS
                and len(self._waiting) < 10 * PARTITIONS
            )

        await wait(quiet, f"{workers} workers to share the partitions")

    async def rebalance(self, event: Callable[[], object], workers: int) -> Rebalance:
        """Make something happen; return how long it took until all partitions flow again."""
        before = self.generation[0]
        self.silence = 0.0
        begin = time.monotonic()
        event()
        await wait(
            lambda: (
                self.settled and self.generation[0] > before and len(set(self.owner)) == workers
            ),
            "all partitions to flow again",
        )
        return Rebalance(max(self.since) - begin, self.silence)


async def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; TimeoutError says what for if it takes two minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        await asyncio.sleep(0.005)


class Workers:
    """The workers that run at the moment, the oldest first; all end with the block."""

    def __init__(self, url: str, place: Path) -> None:
        self._url = url
        self._place = place
        self._count = 0
        self._all = contextlib.ExitStack()
        self.running: list[Worker] = []

    def add(self) -> None:
        """Start one more."""
        self._count += 1
        name = f"worker{self._count}"
        environment = {"SERVER": self._url, "FOLDER": str(self._place / name), "NAME": name}
        log = self._place / f"{name}.log"
        worker = self._all.enter_context(Worker(["-m", __name__], environment, log))
        self.running.append(worker)

    def leave(self) -> None:
        """Ask the oldest to end, without waiting for it."""
        self.running.pop(0).process.terminate()

    def crash(self) -> None:
        """Kill the oldest."""
        self.running.pop(0).kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._all.__exit__(kind, error, trace)


async def _rounds(url: str, place: Path, rounds: int) -> dict[str, list[Rebalance]]:
    found: dict[str, list[Rebalance]] = {"leave": [], "crash": [], "join": []}
    client = await connect(parse_url(url), name="rebalance")
    ticks = Ticks(client)
    with Workers(url, place) as workers:
        workers.add()
        workers.add()
        await ticks.start()
        for number in range(1, rounds + 1):
            for kind, event in (("leave", workers.leave), ("crash", workers.crash)):
                await ticks.steady(2)
                found[kind].append(await ticks.rebalance(event, 1))
                await ticks.steady(1)
                found["join"].append(await ticks.rebalance(workers.add, 2))
            shown = "  ".join(
                f"{kind} {seen[-1].all_flow:.2f} (silence {seen[-1].silence:.2f})"
                for kind, seen in found.items()
            )
            print(f"  round {number}  seconds: {shown}", flush=True)
        await ticks.steady(2)
        await ticks.stop()
    await client.close()
    return found


def measure(rounds: int) -> dict[str, list[Rebalance]]:
    """Return what every leave, crash and join took."""
    with tempfile.TemporaryDirectory() as place, NatsServer(Path(place) / "nats") as nats_server:
        return asyncio.run(_rounds(nats_server.url, Path(place), rounds))


if __name__ == "__main__":
    sys.argv = ["rebalance", "worker", "--without-web", "-l", "warn"]
    make_app().main()
