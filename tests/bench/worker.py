"""Worker processes under measurement."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mocks.servers import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 30.0


class WorkerEnded(RuntimeError):
    """A worker ended by itself; the text is the last that it said."""


class Worker:
    """A Python process that ends with the block in which it is used."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        profile: Path | None = None,
    ) -> None:
        profiler = [] if profile is None else ["-m", "cProfile", "-o", str(profile)]
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, *profiler, *arguments],
                env=os.environ | dict(environment),
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def check(self) -> None:
        """Raise WorkerEnded if it does not run any more."""
        if self.process.poll() is not None:
            words = self.last_words(1)
            raise WorkerEnded(words[0] if words else f"exit status {self.process.returncode}")

    def last_words(self, count: int) -> list[str]:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-count:]

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it in good order, or else at once."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note("\n".join(["The worker's last words:", *self.last_words(40)]))
