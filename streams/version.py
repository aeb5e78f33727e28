"""Which code this is: the package's version, and a digest of the source that decides turns."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

_PACKAGE: Final = "actor-mesh"
_ROOT: Final = Path(__file__).resolve().parent.parent

#: What a turn's result may depend on: the actors with their rules and prompts, how a message
#: travels, and what a session remembers.
_DECIDING: Final = (
    "agents/*.py",
    "streams/checksum.py",
    "streams/clock.py",
    "streams/mailbox.py",
    "streams/payload.py",
    "streams/reply.py",
    "streams/slip.py",
    "streams/trace.py",
    "tables/cache.py",
    "tables/sessions.py",
)


@cache
def code_version() -> str:
    """Return the version of the code that runs, such as `0.1.0+4f1d22c09a`.

    It changes with every change to what decides a turn, released or not. What a file has become
    since the first call does not count: the process still runs what it has read.
    """
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return f"{_released()}+{digest.hexdigest()[:10]}"


def _sources() -> Iterator[Path]:
    for pattern in _DECIDING:
        yield from sorted(_ROOT.glob(pattern))


def _released() -> str:
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:  # a checkout that nobody installed
        return "0"
