"""Recordings that lie in the data folder, for people to choose from by name."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

FOLDER: Final = "recordings"
_ENDINGS: Final = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class OnTheShelf:
    """A file that may be replayed; what it really holds its content says."""

    name: str
    path: Path
    size: int
    """Bytes."""
    changed_at: datetime


def recordings(data_dir: Path) -> list[OnTheShelf]:
    """Return the files in `data_dir/recordings` that may be replayed, the newest first."""
    found: list[OnTheShelf] = []
    for path in (data_dir / FOLDER).glob("*"):
        if path.name.endswith(_ENDINGS) and not path.name.startswith(".") and path.is_file():
            told = path.stat()
            changed_at = datetime.fromtimestamp(told.st_mtime, UTC)
            found.append(OnTheShelf(path.name, path.absolute(), told.st_size, changed_at))
    return sorted(found, key=lambda one: (one.changed_at, one.name), reverse=True)
