"""Runs: all replays of one data folder, one SQLite file a replay, below `data_dir/replays`."""

import os
import re
import secrets
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streams.replay.summary import Summary
from tables.run import About, Listed, Run
from tables.run_file import (
    NoSuchRun,
    RunIsWritten,
    at_once,
    check,
    files_of,
    is_locked,
    make,
    stop_file,
    take_lock,
)

FOLDER: Final = "replays"
LAST: Final = "last"
_RUN_ID: Final = re.compile(r"\d{8}T\d{9}-[0-9a-f]{8}")


def new_run_id(now: datetime | None = None) -> str:
    """Return an id for a new run. Ids are safe as names of files, and sort by time."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S%f}"[:-3] + f"-{secrets.token_hex(4)}"


class Runs:
    """All runs of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER

    def create(self, about: About) -> Run:
        """Begin a run and return it to be written; `about.run` names it, or it gets a new id."""
        about = about.model_copy(update={"run": about.run or new_run_id(about.started_at)})
        path = self._path(about.run)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(path)
        try:
            with at_once(path) as draft:
                make(draft, about.model_dump_json(), Summary().model_dump_json())
        except BaseException:
            os.close(lock)
            raise
        return Run(path, lock)

    def open(self, run: str) -> Run:
        """Return a run to be read; NoSuchRun if there is none."""
        return Run(self._existing(run))

    def resume(self, run: str) -> Run:
        """Return a run to be written on; RunIsWritten if somebody does."""
        path = self._existing(run)
        resumed = Run(path, take_lock(path))
        try:
            stop_file(path).unlink(missing_ok=True)
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
                check(path)
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

    def under_way(self, run: str) -> Path:
        """Return the file of a run that somebody writes; NoSuchRun if nobody does."""
        path = self._existing(run)
        if not is_locked(path):
            raise NoSuchRun(f"Replay {run!r} is not under way.")
        return path

    def ended(self, run: str) -> Path:
        """Return the file of a run that nobody writes; RunIsWritten if somebody does."""
        path = self._existing(run)
        if is_locked(path):
            raise RunIsWritten(f"Replay {run!r} is under way.")
        return path

    def stop(self, run: str, why: str) -> None:
        """Ask whoever writes a run to end it: that one meets Stopped with `why`."""
        stop_file(self.under_way(run)).write_text(why)

    def delete(self, run: str) -> None:
        """Delete a run; RunIsWritten while it is under way."""
        path = self._path(run)
        if not path.exists():
            raise NoSuchRun(f"There is no replay {run!r}.")
        lock = take_lock(path)
        try:
            # What a player left that was killed.
            shutil.rmtree(self.work_folder(run), ignore_errors=True)
            for name in files_of(path):
                name.unlink(missing_ok=True)
        finally:
            os.close(lock)

    def work_folder(self, run: str) -> Path:
        """Return where the mesh of a run keeps its files while it is under way."""
        return self.folder / f"{run}.work"

    def sweep(self) -> None:
        """Delete what players left here that were killed."""
        for folder in self.folder.glob("*.work"):
            if _RUN_ID.fullmatch(folder.stem) and not is_locked(self._path(folder.stem)):
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, run: str) -> Path:
        if not _RUN_ID.fullmatch(run):
            raise NoSuchRun(f"{run!r} is not the id of a replay.")
        return self.folder / f"{run}.sqlite"

    def _existing(self, run: str) -> Path:
        path = self._path(run)
        if not path.exists():
            raise NoSuchRun(f"There is no replay {run!r}.")
        check(path)
        return path
