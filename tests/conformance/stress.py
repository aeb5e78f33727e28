"""Faust's table stress test on the bridge: two workers, one of which is killed again and again.

The leader sends numbers that go up by one in each partition; the agent compares each with what a
table remembers of its partition, so a lost update shows as a gap and a repeated one as a duplicate.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mocks.servers import NatsServer, die_with_parent

HERE: Final = Path(__file__).resolve().parent
KILLS: Final = 6
RECORDS_BETWEEN: Final = 1_500
"""Records that are processed before a worker is killed: enough for commits to have passed, so
that no repetition reaches back to where a new leader began to count anew."""
PATIENCE_SECONDS: Final = 90.0


class StressError(Exception):
    """The stress test did not get on; the text says how far it came."""


@dataclass
class Verdict:
    """What the workers of a run have said."""

    processed: int
    gaps: int
    duplicates: int
    statuses: list[int]
    """Exit statuses of the workers that were asked to end."""

    def complaints(self, guarantee: str) -> list[str]:
        """Return what must not be under a guarantee."""
        found = []
        if self.gaps:
            found.append(f"{self.gaps} gaps")
        if self.duplicates and guarantee == "exactly_once":
            found.append(f"{self.duplicates} duplicates")
        if any(self.statuses):
            found.append(f"workers ended with statuses {self.statuses}")
        return found


class Worker:
    """One worker and what it prints."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(errors="replace")

    @property
    def processed(self) -> int:
        """How many records it says it has processed."""
        numbers = re.findall(r"^.*processed (\d+) *$", self.output, re.MULTILINE)
        return int(numbers[-1]) if numbers else 0


class Run:
    """One run of the test under one guarantee."""

    def __init__(self, checkout: Path, python: Path, folder: Path, url: str) -> None:
        self.checkout = checkout
        self.python = python
        self.folder = folder
        self.url = url
        self.workers: list[Worker] = []

    def start(self, name: str, guarantee: str, store: str) -> Worker:
        """Start a worker; the data of one name is kept from one to the next."""
        data = self.folder / guarantee / name
        data.mkdir(parents=True, exist_ok=True)
        worker = Worker(
            [str(self.python), str(HERE / "stress_worker.py"), str(self.checkout / "tests")],
            {
                "STRESS_BROKER": f"{self.url}?prefix={guarantee.replace('_', '-')}",
                "STRESS_STORE": store,
                "PROCESSING_GUARANTEE": guarantee,
                "APP_DATADIR": str(data),
                "STREAM_RECOVERY_DELAY": "0",
            },
            self.folder / f"{guarantee}-{len(self.workers)}-{name}.log",
        )
        self.workers.append(worker)
        return worker

    def processed(self) -> int:
        """How many records all workers together have processed."""
        return sum(worker.processed for worker in self.workers)

    def get_on(self, active: Sequence[Worker]) -> None:
        """Wait until the active workers have processed a good deal, each of them something."""
        before = {worker.log: worker.processed for worker in active}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            gained = [worker.processed - before[worker.log] for worker in active]
            if all(gained) and sum(gained) >= RECORDS_BETWEEN:
                return
            for worker in active:
                if worker.process.poll() is not None:
                    raise StressError(f"a worker has ended by itself; see {worker.log}")
            if time.monotonic() > deadline:
                raise StressError(f"no progress after {self.processed()} records: {gained}")
            time.sleep(0.2)

    def run(self, guarantee: str, store: str) -> Verdict:
        """Kill one worker after the other, then ask both to end."""
        active = {name: self.start(name, guarantee, store) for name in ("one", "two")}
        try:
            for kill in range(KILLS):
                self.get_on(list(active.values()))
                name = ("one", "two")[kill % 2]
                active[name].process.kill()
                active[name].process.wait()
                active[name] = self.start(name, guarantee, store)
            self.get_on(list(active.values()))
            for worker in active.values():
                worker.process.terminate()
            statuses = [worker.process.wait(PATIENCE_SECONDS) for worker in active.values()]
        finally:
            for worker in self.workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                    worker.process.wait()
        said = "\n".join(worker.output for worker in self.workers)
        return Verdict(
            self.processed(),
            said.count("Sequence gap for tp"),
            said.count("Found duplicate number in"),
            statuses,
        )


def run(
    checkout: Path, folder: Path, guarantee: str, store: str, python: Path = Path(sys.executable)
) -> Verdict:
    """Run the test on a server of its own; logs and data stay in `folder`."""
    with NatsServer(folder / f"nats-{guarantee}") as server:
        return Run(checkout, python, folder, server.url).run(guarantee, store)
