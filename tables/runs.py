"""Runs: what each replay found, one SQLite file a replay, below `data_dir/replays`.

The player writes in batches, each one transaction that holds the turns, the bad lines and the
totals with them: a run that was cut off is whole up to its last batch, and goes on from there.
Pages read while it writes. Whoever writes holds a lock beside the file, so that a run whose player
died is told from one that is under way.
"""

import fcntl
import logging
import os
import re
import secrets
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from streams.errors import MeshError, Undecodable
from streams.masking import mask_text
from streams.message import Message
from streams.payload import Json
from streams.replay.comparison import ASPECTS, Aspect, TurnComparison, Verdict
from streams.replay.lines import BadLine
from streams.replay.request import ReplayRequest
from streams.replay.source import Source
from streams.replay.summary import Summary

log = logging.getLogger(__name__)

FOLDER: Final = "replays"
LAST: Final = "last"
SCHEMA_VERSION: Final = 1
BAD_LINES_KEPT: Final = 1000
PAGE: Final = 50
LEVEL: Final = 3  # of zlib: messages are written faster than they are made, and read one by one
LOCK_TRIES: Final = 20
LOCK_SECONDS: Final = 0.01
_RUN_ID: Final = re.compile(r"\d{8}T\d{9}-[0-9a-f]{8}")

_SCHEMA: Final = """
CREATE TABLE run (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), about TEXT NOT NULL,
    summary TEXT NOT NULL);
CREATE TABLE turns (
    position INTEGER NOT NULL, attempt INTEGER NOT NULL, session_id TEXT NOT NULL,
    run TEXT NOT NULL, verdict TEXT NOT NULL, aspects TEXT NOT NULL, intent TEXT,
    actor TEXT, said TEXT NOT NULL, words TEXT NOT NULL, comparison BLOB NOT NULL,
    recorded BLOB NOT NULL, replayed BLOB, PRIMARY KEY (position, attempt)
);
CREATE INDEX turns_by_key ON turns (session_id, run, attempt);
CREATE INDEX turns_changed ON turns (position, attempt) WHERE verdict != 'same';
CREATE TABLE bad_lines (number INTEGER NOT NULL, reason TEXT NOT NULL);
"""


class NoSuchRun(MeshError):
    """There is no replay of that name, or its file cannot be read."""


class RunIsWritten(MeshError):
    """Somebody writes this run: nobody else may, nor delete it."""


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


@dataclass(frozen=True)
class Result:
    """What became of one attempt at one turn."""

    position: int
    """The turn's place in the source, from 0."""
    comparison: TurnComparison
    recorded: Message
    replayed: Message | None


Key = tuple[str, str, int]
"""What an attempt at a turn is known by: its session, its run (`Message.run`), which attempt."""


def key_of(recorded: Message, attempt: int = 1) -> Key:
    """Return what an attempt at this turn is known by."""
    return recorded.session_id, recorded.run, attempt


class Row(BaseModel):
    """One turn in the list of a run's turns."""

    position: int
    said: str = Field(description="What the customer wrote.")
    comparison: TurnComparison


@dataclass(frozen=True)
class Wanted:
    """Which turns of a run are looked at: those that fulfil all that is given."""

    verdict: Verdict | None = None
    changed: bool = True
    """Only those that are not the same; does not count where a verdict is given."""
    aspect: Aspect | None = None
    """Only those where this is not the same."""
    actor: str | None = None
    """Only those whose first hop that is not the same is this actor's."""
    intent: str | None = None
    session: str | None = None
    text: str | None = None
    """Only those in whose words or replies this is, in any case; personal data is not found."""

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition in SQL and its parameters."""
        parts: list[tuple[str, Any]] = []
        if self.verdict is not None:
            parts.append(("verdict = ?", self.verdict))
        elif self.changed:
            parts.append(("verdict != ?", "same"))
        for column, value in (
            ("actor", self.actor),
            ("intent", self.intent),
            ("session_id", self.session),
        ):
            if value is not None:
                parts.append((f"{column} = ?", value))
        if self.aspect is not None:
            parts.append(("instr(aspects, ?) > 0", f" {self.aspect} "))
        if self.text:
            parts.append(("instr(words, ?) > 0", self.text.casefold()))
        condition = " AND ".join(condition for condition, _ in parts) or "TRUE"
        return condition, [value for _, value in parts]


def new_run_id(now: datetime | None = None) -> str:
    """Return an id for a new run. Ids are safe as names of files, and sort by time."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S%f}"[:-3] + f"-{secrets.token_hex(4)}"


class Runs:
    """All runs of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER

    def create(self, about: About) -> "Run":
        """Begin a run and return it to be written; `about.run` names it, or it gets a new id."""
        about = about.model_copy(update={"run": about.run or new_run_id(about.started_at)})
        path = self._path(about.run)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(path)
        try:
            with _at_once(path) as draft:
                _make(draft, about)
        except BaseException:
            os.close(lock)
            raise
        return Run(path, lock)

    def open(self, run: str) -> "Run":
        """Return a run to be read; NoSuchRun if there is none."""
        return Run(self._existing(run))

    def resume(self, run: str) -> "Run":
        """Return a run to be written on; RunIsWritten if somebody does."""
        path = self._existing(run)
        resumed = Run(path, _lock(path))
        try:
            _stop_file(path).unlink(missing_ok=True)
            resumed.say(state="running", ended_at=None, problem="")
        except BaseException:
            resumed.close()
            raise
        return resumed

    def listed(self) -> list[Listed]:
        """Return all runs, the newest first. What lies there and is no run is passed over."""
        found: list[Listed] = []
        for path in sorted(self.folder.glob("*.sqlite"), reverse=True):
            if not _RUN_ID.fullmatch(path.stem):
                continue
            with suppress(NoSuchRun):
                _check(path)
                found.append(Run(path).listed())
        return found

    def newest(self) -> str:
        """Return the id of the newest run; NoSuchRun if there is none."""
        for path in sorted(self.folder.glob("*.sqlite"), reverse=True):
            if _RUN_ID.fullmatch(path.stem):
                return path.stem
        raise NoSuchRun("There is no replay yet.")

    def named(self, name: str) -> str:
        """Return the id of a run as people name it: `last` is the newest."""
        return self.newest() if name == LAST else name

    def stop(self, run: str, why: str) -> None:
        """Ask whoever writes a run to end it: that one meets Stopped with `why`."""
        path = self._existing(run)
        if not _is_locked(path):
            raise NoSuchRun(f"Replay {run!r} is not under way.")
        _stop_file(path).write_text(why)

    def delete(self, run: str) -> None:
        """Delete a run; RunIsWritten while it is under way."""
        path = self._path(run)
        if not path.exists():
            raise NoSuchRun(f"There is no replay {run!r}.")
        lock = _lock(path)
        try:
            # What a player left that was killed.
            shutil.rmtree(self.work_folder(run), ignore_errors=True)
            for name in _files(path):
                name.unlink(missing_ok=True)
        finally:
            os.close(lock)

    def work_folder(self, run: str) -> Path:
        """Return where the mesh of a run keeps its files while it is under way."""
        return self.folder / f"{run}.work"

    def sweep(self) -> None:
        """Delete what players left here that were killed."""
        for folder in self.folder.glob("*.work"):
            if _RUN_ID.fullmatch(folder.stem) and not _is_locked(self._path(folder.stem)):
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, run: str) -> Path:
        if not _RUN_ID.fullmatch(run):
            raise NoSuchRun(f"{run!r} is not the id of a replay.")
        return self.folder / f"{run}.sqlite"

    def _existing(self, run: str) -> Path:
        path = self._path(run)
        if not path.exists():
            raise NoSuchRun(f"There is no replay {run!r}.")
        _check(path)
        return path


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
                if db.execute(_INSERT, _row(result)).rowcount:
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
            raise Stopped(_stop_file(self.path).read_text())

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
        for path in _files(self.path):
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
                    comparison=_comparison(row["comparison"]),
                )
                for row in found
            ]

    def turn(self, position: int, attempt: int = 1) -> Result | None:
        """Return one attempt at one turn whole; None if it is not there."""
        with self._reading() as db:
            row = db.execute(
                "SELECT * FROM turns WHERE position = ? AND attempt = ?", (position, attempt)
            ).fetchone()
            return None if row is None else _result(row)

    def find(self, key: Key) -> Result | None:
        """Return the same attempt at the same turn, wherever in this run it stands."""
        with self._reading() as db:
            row = db.execute(f"SELECT * {_BY_KEY}", key).fetchone()
            return None if row is None else _result(row)

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
            return [_result(row) for row in found]

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
                yield _result(row)
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
        if about.state == "running" and self._held is None and not _is_locked(self.path):
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
            with closing(_connection(self.path)) as db:
                yield db
        except (sqlite3.Error, ValidationError, TypeError) as error:
            raise NoSuchRun(f"The file of replay {self.name!r} cannot be read: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._held is None:
            raise RunIsWritten(f"Replay {self.name!r} was opened to be read.")
        if self._db is None:
            self._db = _connection(self.path)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


_BY_KEY: Final = "FROM turns WHERE session_id = ? AND run = ? AND attempt = ?"
_INSERT: Final = "INSERT OR IGNORE INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _row(result: Result) -> tuple[Any, ...]:
    turn = result.comparison
    other = [aspect for aspect in ASPECTS if _differs(turn, aspect)]
    said = result.recorded.payload.text
    replies = turn.aspects.get("reply")
    # Looked for is only what everybody sees: a search must not spell out what is masked.
    words = [said, *(_texts(replies.recorded, replies.replayed) if replies else [])]
    diverging = turn.diverging if turn.changed else None
    session, run, attempt = key_of(result.recorded, turn.attempt)
    return (
        result.position,
        attempt,
        session,
        run,
        turn.verdict,
        f" {'  '.join(other)} ",  # each between blanks, to be looked for so
        turn.intent,
        diverging.actor if diverging else None,
        said,
        mask_text("\n".join(words)).casefold(),
        _packed(turn.model_dump_json().encode()),
        _packed(result.recorded.encode()),
        None if result.replayed is None else _packed(result.replayed.encode()),
    )


def _texts(*values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _differs(turn: TurnComparison, aspect: Aspect) -> bool:
    return aspect in turn.aspects and turn.aspects[aspect].verdict != "same"


def _result(row: sqlite3.Row) -> Result:
    return Result(
        position=row["position"],
        comparison=_comparison(row["comparison"]),
        recorded=_message(row["recorded"]),
        replayed=None if row["replayed"] is None else _message(row["replayed"]),
    )


def _packed(data: bytes) -> bytes:
    return zlib.compress(data, LEVEL)


def _comparison(data: bytes) -> TurnComparison:
    return TurnComparison.model_validate_json(_unpacked(data))


def _message(data: bytes) -> Message:
    try:
        return Message.decode(_unpacked(data))
    except Undecodable as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise sqlite3.DatabaseError(str(error)) from error


# Files


def _connection(path: Path) -> sqlite3.Connection:
    # Opened as a URI: a run that was deleted meanwhile must not be made anew by who reads it.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _make(path: Path, about: About) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(_connection(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(
            "INSERT INTO run VALUES (1, ?, ?)",
            (about.model_dump_json(), Summary().model_dump_json()),
        )
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


@contextmanager
def _at_once(path: Path) -> Iterator[Path]:
    """Let a file be made beside its place, and put it there when it is whole."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield draft
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            raise RunIsWritten(f"There is a replay {path.stem!r} already.") from None
    finally:
        for name in _files(draft):
            name.unlink(missing_ok=True)


def _check(path: Path) -> None:
    try:
        with closing(_connection(path)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise NoSuchRun(f"The file of replay {path.stem!r} cannot be read: {error}") from error
    if version != SCHEMA_VERSION:
        raise NoSuchRun(
            f"Replay {path.stem!r} was written by another version, of format {version}; "
            f"this reads {SCHEMA_VERSION}."
        )


def _files(path: Path) -> list[Path]:
    """Return all files of a run: what SQLite keeps beside the database, and the lock last."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".stop", ".lock")]


def _stop_file(path: Path) -> Path:
    """Return the file that says why a run is to end; only its writer changes the run itself."""
    return path.with_name(f"{path.name}.stop")


def _lock(path: Path) -> int:
    """Return the lock of a run, taken; RunIsWritten if somebody holds it.

    It is a file of its own: to close the database's file would let go of SQLite's locks on it.
    """
    for _ in range(LOCK_TRIES):
        lock = os.open(_files(path)[-1], os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Else it was deleted with its run meanwhile: the one that is there now counts.
            if os.path.samestat(os.fstat(lock), os.stat(_files(path)[-1])):
                return lock
        except OSError:
            time.sleep(LOCK_SECONDS)  # perhaps a reader, who looks whether somebody writes
        os.close(lock)
    raise RunIsWritten(f"Replay {path.stem!r} is under way.")


def _is_locked(path: Path) -> bool:
    try:
        lock = os.open(_files(path)[-1], os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
