"""One replay: what is said of it, its turns, bad lines and totals, in a database of its own.

The player writes in batches, each one transaction that holds the turns, the bad lines and the
totals with them: a run that was cut off is whole up to its last batch, and goes on from there.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from streams.errors import MeshError
from streams.message import Message
from streams.payload import Json
from streams.replay.lines import BadLine
from streams.replay.request import ReplayRequest
from streams.replay.source import Source
from streams.replay.summary import Summary
from tables.results import (
    Key,
    Result,
    Row,
    Wanted,
    to_comparison,
    to_result,
    to_row,
)
from tables.run_file import NoSuchRun, RunIsWritten, connect, files_of, is_locked, stop_file

BAD_LINES_KEPT: Final = 1000
PAGE: Final = 50
_BY_KEY: Final = "FROM turns WHERE session_id = ? AND run = ? AND attempt = ?"
_INSERT: Final = "INSERT OR IGNORE INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Stopped(MeshError):
    """Somebody asked that a run should end."""


class About(BaseModel):
    """What a run is, beside its turns."""

    run: str = ""
    source: str = Field(description="Where the turns come from, in words.")
    origin: Source | None = Field(None, description="The same, to be opened once more.")
    request: ReplayRequest | None = None
    mode: str = "recorded"
    live: list[str] = Field([], description="The actors that asked the outside.")
    against: list[str] = Field([], description="The two replays that are compared, if it is that.")
    code: str = Field("", description="The version of the code that replayed.")
    settings: Json = {}
    done: float | None = Field(
        None, ge=0, le=1, description="The share of the source that was read, if that is known."
    )
    started_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    state: Literal["running", "ended", "interrupted"] = "running"
    problem: str = Field("", description="Why it was interrupted, if somebody knows.")


class Listed(BaseModel):
    """A run in the list of runs."""

    about: About
    summary: Summary
    size: int = Field(description="Bytes on the disk.")


class Run:
    """One run. Several may read it; one may write, and closes it in the end."""

    def __init__(self, path: Path, lock: int | None = None) -> None:
        self.path = path
        self._held = lock
        self._db: sqlite3.Connection | None = None
        """The writer's connection: readers come and go, and take one each time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The run's id."""
        return self.path.stem

    # Written by one

    def add(
        self,
        results: Iterable[Result],
        bad: Iterable[BadLine] = (),
        *,
        done: float | None = None,
    ) -> None:
        """Add turns and bad lines, and count them; what is there already is not added again.

        `done` is the share of the source that was read by then. Stopped, with all of it added, if
        somebody asked for the run's end.
        """
        with self._writing() as db:
            summary = self._summary(db)
            for result in results:
                if db.execute(_INSERT, to_row(result)).rowcount:
                    summary.add(result.comparison)
            for line in bad:
                summary.add_bad(line)
                if summary.bad_lines <= BAD_LINES_KEPT:
                    db.execute("INSERT INTO bad_lines VALUES (?, ?)", (line.number, line.reason))
            db.execute("UPDATE run SET summary = ?", (summary.model_dump_json(),))
            if done is not None:
                about = self._about(db).model_copy(update={"done": done})
                db.execute("UPDATE run SET about = ?", (about.model_dump_json(),))
        self.heed_stop()

    def heed_stop(self) -> None:
        """Raise Stopped if somebody asked for the run's end."""
        with suppress(FileNotFoundError):
            raise Stopped(stop_file(self.path).read_text())

    def say(self, **changes: Any) -> About:
        """Change what is said about the run, and return it."""
        with self._writing() as db:
            about = self._about(db).model_copy(update=changes)
            db.execute("UPDATE run SET about = ?", (about.model_dump_json(),))
        return about

    def end(self, state: Literal["ended", "interrupted"] = "ended", problem: str = "") -> About:
        """Say that it is over, and how."""
        return self.say(state=state, problem=problem, ended_at=datetime.now(UTC))

    def close(self) -> None:
        """Let others write."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._held is not None:
            os.close(self._held)
            self._held = None

    # Read by many

    def about(self) -> About:
        """Return what the run is. One that nobody writes any more is interrupted, if not ended."""
        with self._reading() as db:
            return self._about(db)

    def summary(self) -> Summary:
        """Return the totals."""
        with self._reading() as db:
            return self._summary(db)

    def listed(self) -> Listed:
        """Return all that a list of runs says of it."""
        with self._reading() as db:
            return Listed(about=self._about(db), summary=self._summary(db), size=self.size())

    def size(self) -> int:
        """Return the bytes on the disk."""
        sizes = 0
        for path in files_of(self.path):
            with suppress(FileNotFoundError):
                sizes += path.stat().st_size
        return sizes

    def count(self, wanted: Wanted) -> int:
        """Return how many turns are wanted."""
        condition, values = wanted.where()
        with self._reading() as db:
            found = db.execute(f"SELECT count(*) FROM turns WHERE {condition}", values)  # noqa: S608
            return int(found.fetchone()[0])

    def turns(
        self, wanted: Wanted, after: tuple[int, int] = (-1, 0), limit: int = PAGE
    ) -> list[Row]:
        """Return wanted turns in their order, behind a position and attempt."""
        condition, values = wanted.where()
        with self._reading() as db:
            found = db.execute(
                "SELECT position, said, comparison FROM turns"  # noqa: S608
                f" WHERE {condition} AND (position, attempt) > (?, ?)"
                " ORDER BY position, attempt LIMIT ?",
                (*values, *after, limit),
            )
            return [
                Row(
                    position=row["position"],
                    said=row["said"],
                    comparison=to_comparison(row["comparison"]),
                )
                for row in found
            ]

    def turn(self, position: int, attempt: int = 1) -> Result | None:
        """Return one attempt at one turn whole; None if it is not there."""
        with self._reading() as db:
            row = db.execute(
                "SELECT * FROM turns WHERE position = ? AND attempt = ?", (position, attempt)
            ).fetchone()
            return None if row is None else to_result(row)

    def find(self, key: Key) -> Result | None:
        """Return the same attempt at the same turn, wherever in this run it stands."""
        with self._reading() as db:
            row = db.execute(f"SELECT * {_BY_KEY}", key).fetchone()
            return None if row is None else to_result(row)

    def position(self, key: Key) -> int | None:
        """Return where an attempt at a turn stands, None if it is not there yet."""
        with self._reading() as db:
            found = db.execute(f"SELECT position {_BY_KEY}", key).fetchone()
            return None if found is None else int(found["position"])

    def every_turn(self, wanted: Wanted) -> Iterator[Row]:
        """Yield all wanted turns in their order, read page by page."""
        after = (-1, 0)
        while page := self.turns(wanted, after):
            yield from page
            after = (page[-1].position, page[-1].comparison.attempt)

    def attempts(self, position: int) -> list[Result]:
        """Return all attempts at one turn."""
        with self._reading() as db:
            found = db.execute(
                "SELECT * FROM turns WHERE position = ? ORDER BY attempt", (position,)
            )
            return [to_result(row) for row in found]

    def results(self) -> Iterator[Result]:
        """Yield everything in order, one by one: every attempt at every turn."""
        after = (-1, 0)
        while True:
            with self._reading() as db:
                found = db.execute(
                    "SELECT * FROM turns WHERE (position, attempt) > (?, ?)"
                    " ORDER BY position, attempt LIMIT ?",
                    (*after, PAGE),
                ).fetchall()
            if not found:
                return
            for row in found:
                yield to_result(row)
            after = (found[-1]["position"], found[-1]["attempt"])

    def replayed(self) -> Iterator[Message]:
        """Yield the turns as they came out the first time that each was replayed, in order.

        They are a recording. Those that failed are missing.
        """
        for result in self.results():
            if result.comparison.attempt == 1 and result.replayed is not None:
                yield result.replayed

    def bad_lines(self) -> list[BadLine]:
        """Return the bad lines, the first thousand of them at most."""
        with self._reading() as db:
            found = db.execute("SELECT number, reason FROM bad_lines ORDER BY rowid")
            return [BadLine(row["number"], row["reason"]) for row in found]

    def _about(self, db: sqlite3.Connection) -> About:
        about = About.model_validate_json(db.execute("SELECT about FROM run").fetchone()[0])
        if about.state == "running" and self._held is None and not is_locked(self.path):
            about.state = "interrupted"
            about.problem = about.problem or "The process that replayed is gone."
        return about

    @staticmethod
    def _summary(db: sqlite3.Connection) -> Summary:
        return Summary.model_validate_json(db.execute("SELECT summary FROM run").fetchone()[0])

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self.path.exists():
            raise NoSuchRun(f"There is no replay {self.name!r} any more.")
        try:
            with closing(connect(self.path)) as db:
                yield db
        except (sqlite3.Error, ValidationError, TypeError) as error:
            raise NoSuchRun(f"The file of replay {self.name!r} cannot be read: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._held is None:
            raise RunIsWritten(f"Replay {self.name!r} was opened to be read.")
        if self._db is None:
            self._db = connect(self.path)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
