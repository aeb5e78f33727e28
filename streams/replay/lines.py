"""The lines of a file that anybody may have made: packed or not, damaged or not, in little memory.

What cannot be read is told as a line that is bad, with the reason, and the rest goes on. After
damage in a packed file that is with the next intact part, if it has one: `streams.replay.recording`
packs in parts so that it has.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

LONGEST: Final = 16 * 1024 * 1024
"""Bytes that a line may have; no broker takes a record of that size."""
CHUNK: Final = 64 * 1024
MAGIC: Final = b"\x1f\x8b\x08"
"""What a part of a gzip file begins with."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class BadLine:
    """A line of a file, or a record of the journal, that holds no turn."""

    number: int
    """The line's number, from 1; the record's offset in the journal."""
    reason: str


class Line(NamedTuple):
    """One line, without its end."""

    number: int
    data: bytes


class Lines:
    """The lines of one file, to be gone through once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.read = 0
        """Bytes of the file that were read so far."""
        self.taken = 0
        """Bytes of text that they held, unpacked."""
        self.number = 0
        """Of the last line."""

    def __iter__(self) -> Iterator[Line | BadLine]:
        """Yield every line, also the empty ones, so that numbers are those of an editor."""
        with self.path.open("rb") as file:
            yield from self._split(self._pieces(file))

    def _pieces(self, file: BinaryIO) -> Iterator[bytes | str]:
        chunks = self._chunks(file)
        first = next(chunks, b"")
        if first.startswith(MAGIC[:2]):
            yield from _unpack(_chain(first, chunks))
        else:
            yield first.removeprefix(_BOM)
            yield from chunks

    def _chunks(self, file: BinaryIO) -> Iterator[bytes]:
        while chunk := file.read(CHUNK):
            self.read += len(chunk)
            yield chunk

    def _split(self, pieces: Iterator[bytes | str]) -> Iterator[Line | BadLine]:
        """Cut pieces into lines; a piece that is a text says what is damaged here."""
        begun: list[bytes] = []
        length = 0
        for piece in pieces:
            if isinstance(piece, str):
                begun, length = [], 0
                self.number += 1
                yield BadLine(self.number, piece)
                continue
            self.taken += len(piece)
            *ended, rest = piece.split(b"\n")
            for end in ended:
                yield self._line(begun, length, end)
                begun, length = [], 0
            length += len(rest)
            # Of a line that is too long only its length is kept.
            begun = [] if length > LONGEST else [*begun, rest] if rest else begun
        if length:
            yield self._line(begun, length, b"")

    def _line(self, begun: list[bytes], length: int, end: bytes) -> Line | BadLine:
        self.number += 1
        length += len(end)
        if length > LONGEST:
            return BadLine(self.number, f"has {length:,} bytes, more than {LONGEST:,}")
        return Line(self.number, b"".join([*begun, end]).removesuffix(b"\r"))


def _chain(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _unpack(chunks: Iterator[bytes]) -> Iterator[bytes | str]:
    """Yield what gzip has packed, and a text where that is damaged."""
    machine: zlib._Decompress | None = zlib.decompressobj(_GZIP)
    begun = full = False
    rest = b""
    for chunk in chunks:
        rest += chunk
        while rest or full:
            if machine is None:  # behind damage: on with the next part
                at = rest.find(MAGIC)
                if at < 0:
                    rest = rest[1 - len(MAGIC) :]
                    break
                rest, machine = rest[at:], zlib.decompressobj(_GZIP)
            before = machine.copy()
            begun = True
            try:
                data = machine.decompress(rest, CHUNK)
            except zlib.error as error:
                yield from _until_damaged(before, rest)
                yield f"the packed file is damaged here: {_in_words(error)}"
                machine, rest, full = None, rest[1:], False
                continue
            if data:
                yield data
            # With as much as was asked for, there may be more without another byte.
            full, rest = len(data) == CHUNK, machine.unconsumed_tail
            if machine.eof:
                # Some programs fill up with zeros behind the end.
                rest = machine.unused_data.lstrip(b"\0")
                machine, begun, full = zlib.decompressobj(_GZIP), False, False
    if machine is not None and begun:
        yield machine.flush()
        yield "the packed file ends too early"


def _until_damaged(machine: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    """Yield what comes before the damage: a failed call gives nothing at all."""
    try:
        for place in range(len(data)):
            yield machine.decompress(data[place : place + 1])
    except zlib.error:
        return


def _in_words(error: zlib.error) -> str:
    """Return what zlib says, without its number."""
    return str(error).rpartition(": ")[2]
