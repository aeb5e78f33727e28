"""Recordings: finished turns in a file, one a line, as the journal keeps them.

The first line is a `Header`; behind it each line is a `Message` in JSON. A name that ends in `.gz`
packs the file, in parts that begin with a line: damage costs one part, not what follows it.
Recordings put together one behind the other are a recording.
"""

import gzip
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from streams.errors import MeshError, Undecodable
from streams.message import Message
from streams.replay.lines import BadLine, Line
from streams.version import code_version

FORMAT: Final = "actor-mesh recording"
FORMAT_VERSION: Final = 1
PART: Final = 1024 * 1024
"""Bytes of text from which on a part of a packed file is full."""
LEVEL: Final = 6


class CannotWrite(MeshError):
    """A recording cannot be written where it should be."""


class Header(BaseModel):
    """The first line of a recording: what the file is, and what made it."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    format: Literal["actor-mesh recording"] = FORMAT
    version: int = FORMAT_VERSION
    made_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    code: str = Field(
        default_factory=code_version,
        description="Of what wrote the file; each hop says who did it.",
    )
    anonymous: bool = Field(False, description="Whether personal data was replaced.")


def turns(lines: Iterable[Line | BadLine]) -> Iterator[Message | BadLine]:
    """Yield the turns of a recording's lines, and where a line holds none, why."""
    for line in lines:
        if isinstance(line, BadLine):
            yield line
        elif line.data.strip() and (found := _turn(line)) is not None:
            yield found


def is_header(data: bytes) -> bool:
    """Say whether a line is a recording's header, of whatever version."""
    return _header(data) is not None


def is_turn(data: bytes) -> bool:
    """Say whether a line is a finished turn, or might have been one."""
    return data.lstrip()[:1] == b"{" and all(
        f'"{name}"'.encode() in data for name in ("session_id", "payload", "slip")
    )


def _header(data: bytes) -> int | None:
    """Return the version that a header names; None if the line is no header."""
    if FORMAT.encode() not in data[:200]:
        return None
    with suppress(ValueError, RecursionError):
        said = json.loads(data)
        if isinstance(said, dict) and said.get("format") == FORMAT:
            number = said.get("version")
            return number if isinstance(number, int) else 0
    return None


def _turn(line: Line) -> Message | BadLine | None:
    """Return what a line that is not empty holds; None for a header that we know."""
    number, data = line
    if (found := _header(data)) is not None:
        if found == FORMAT_VERSION:
            return None
        return BadLine(
            number,
            f"a recording of format version {found}, and this reads {FORMAT_VERSION}; "
            "what can be read all the same comes",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return BadLine(number, f"is not UTF-8 from byte {error.start + 1} on")
    try:
        message = Message.decode(data)
        if "NaN" in text or "Infinity" in text:
            Message.decode(message.encode())  # numbers that only some JSON has: none of ours does
    except Undecodable as error:
        return BadLine(number, str(error))
    if message.slip.steps:
        return BadLine(number, f"is no finished turn: {message.slip.next()} comes next")
    return message


class Writer:
    """Writes turns to an open file."""

    def __init__(self, file: BinaryIO, *, packed: bool, header: Header) -> None:
        self._file = file
        self._packed = packed
        self._part = bytearray()
        self.turns = 0
        self._add(header.model_dump_json().encode())

    def write(self, message: Message) -> None:
        """Add one finished turn."""
        self._add(message.encode())
        self.turns += 1

    def _add(self, line: bytes) -> None:
        self._part += line
        self._part += b"\n"
        if len(self._part) >= PART or not self._packed:
            self.flush()

    def flush(self) -> None:
        """Hand what was written to the file."""
        if self._part:
            part = bytes(self._part)
            self._file.write(gzip.compress(part, LEVEL, mtime=0) if self._packed else part)
            self._part.clear()


@contextmanager
def writing(path: Path, header: Header) -> Iterator[Writer]:
    """Write a recording: it appears under its name whole, or, if something goes wrong, not at all.

    Only its owner may read it. CannotWrite if the folder does not take it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(draft, "xb", opener=_private) as file:
            writer = Writer(file, packed=path.name.endswith(".gz"), header=header)
            yield writer
            writer.flush()
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
