"""The file of one replay: an SQLite database, a lock beside it, and the wish that it should end.

Pages read while it is written. Whoever writes holds the lock, so that a run whose player died is
told from one that is under way.
"""

import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from streams.errors import MeshError

SCHEMA_VERSION: Final = 1
LOCK_TRIES: Final = 20
LOCK_SECONDS: Final = 0.01

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


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to the database of a run."""
    # Opened as a URI: a run that was deleted meanwhile must not be made anew by who reads it.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def make(path: Path, about: str, summary: str) -> None:
    """Make the database of a run, of which these are the first words and totals, as JSON."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO run VALUES (1, ?, ?)", (about, summary))
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


@contextmanager
def at_once(path: Path) -> Iterator[Path]:
    """Let a file be made beside its place, and put it there when it is whole."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield draft
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            raise RunIsWritten(f"There is a replay {path.stem!r} already.") from None
    finally:
        for name in files_of(draft):
            name.unlink(missing_ok=True)


def check(path: Path) -> None:
    """Raise NoSuchRun if the file is no run's, or one of another version."""
    try:
        with closing(connect(path)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise NoSuchRun(f"The file of replay {path.stem!r} cannot be read: {error}") from error
    if version != SCHEMA_VERSION:
        raise NoSuchRun(
            f"Replay {path.stem!r} was written by another version, of format {version}; "
            f"this reads {SCHEMA_VERSION}."
        )


def files_of(path: Path) -> list[Path]:
    """Return all files of a run: what SQLite keeps beside the database, and the lock last."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".stop", ".lock")]


def stop_file(path: Path) -> Path:
    """Return the file that says why a run is to end; only its writer changes the run itself."""
    return path.with_name(f"{path.name}.stop")


def take_lock(path: Path) -> int:
    """Return the lock of a run, taken; RunIsWritten if somebody holds it.

    It is a file of its own: to close the database's file would let go of SQLite's locks on it.
    """
    for _ in range(LOCK_TRIES):
        lock = os.open(files_of(path)[-1], os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Else it was deleted with its run meanwhile: the one that is there now counts.
            if os.path.samestat(os.fstat(lock), os.stat(files_of(path)[-1])):
                return lock
        except OSError:
            time.sleep(LOCK_SECONDS)  # perhaps a reader, who looks whether somebody writes
        os.close(lock)
    raise RunIsWritten(f"Replay {path.stem!r} is under way.")


def is_locked(path: Path) -> bool:
    """Say whether somebody writes a run."""
    try:
        lock = os.open(files_of(path)[-1], os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
