import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.replay.lines import CHUNK, LONGEST, BadLine, Line, Lines

FILES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lines(path: Path, content: bytes) -> list[Line | BadLine]:
    path.write_bytes(content)
    return list(Lines(path))


def said(found: list[Line | BadLine]) -> list[bytes]:
    return [line.data for line in found if isinstance(line, Line)]


def parts(*texts: bytes) -> bytes:
    return b"".join(gzip.compress(text, mtime=0) for text in texts)


@FILES
@given(
    wanted=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").rstrip(b"\r"))),
    packed=st.booleans(),
    cut=st.integers(0, 5),
)
def test_lines_come_as_they_were_packed_or_not(
    tmp_path: Path, wanted: list[bytes], packed: bool, cut: int
) -> None:
    wanted = [b"-" + line for line in wanted]  # not by chance the beginning of a packed file
    text = b"".join(line + b"\n" for line in wanted)
    content = parts(text[:cut], text[cut:]) if packed else text
    found = lines(tmp_path / "f", content)
    assert found == [Line(number, line) for number, line in enumerate(wanted, 1)]


@FILES
@given(content=st.binary(max_size=300) | st.binary(max_size=300).map(lambda b: b"\x1f\x8b\x08" + b))
def test_whatever_a_file_holds_its_lines_are_counted_without_a_gap(
    tmp_path: Path, content: bytes
) -> None:
    numbers = [line.number for line in lines(tmp_path / "f", content)]
    assert numbers == list(range(1, len(numbers) + 1))


@FILES
@given(data=st.data())
def test_damage_costs_a_part_and_nothing_behind_it(tmp_path: Path, data: st.DataObject) -> None:
    bodies = [
        b"".join(f"part {part} line {line} {line**7}\n".encode() for line in range(40))
        for part in range(3)
    ]
    packed = [gzip.compress(body, mtime=0) for body in bodies]
    place = data.draw(st.integers(10, len(packed[1]) - 1))
    bad = bytearray(packed[1])
    bad[place] ^= data.draw(st.integers(1, 255))
    found = lines(tmp_path / "f", packed[0] + bytes(bad) + packed[2])
    there = said(found)
    assert there[:40] == bodies[0].splitlines()
    assert there[-40:] == bodies[2].splitlines()
    assert any(isinstance(line, BadLine) and "damaged" in line.reason for line in found)


@FILES
@given(data=st.data())
def test_of_a_file_that_was_cut_off_comes_what_is_there_and_that_it_was(
    tmp_path: Path, data: st.DataObject
) -> None:
    body = b"".join(f"{line} {line**9}\n".encode() for line in range(200))
    packed = gzip.compress(body, mtime=0)
    cut = data.draw(st.integers(3, len(packed) - 1))
    *found, last = lines(tmp_path / "f", packed[:cut])
    assert said(found) == body.splitlines()[: len(found)]
    assert isinstance(last, BadLine)
    assert last.reason == "the packed file ends too early"
    if cut > len(packed) - 8:
        assert len(found) == 200


def test_bytes_that_are_no_part_behind_a_packed_file_are_told(tmp_path: Path) -> None:
    found = lines(tmp_path / "f", parts(b"a\n") + b"\0" * 700 + b"rubbish" + parts(b"b\n"))
    assert said(found) == [b"a", b"b"]
    assert [line.number for line in found if isinstance(line, BadLine)] == [2]


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_that_is_too_long_is_told_and_takes_no_room(tmp_path: Path, packed: bool) -> None:
    file = tmp_path / "f"
    text = b"first\n" + b"x" * (4 * LONGEST) + b"\nlast\n"
    file.write_bytes(gzip.compress(text, 1) if packed else text)
    del text
    tracemalloc.start()
    try:
        first, bad, last = Lines(file)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (first, last) == (Line(1, b"first"), Line(3, b"last"))
    assert bad == BadLine(2, f"has {4 * LONGEST:,} bytes, more than {LONGEST:,}")
    assert most < 2 * LONGEST


def test_marks_at_the_beginning_and_ends_of_other_systems_are_no_part_of_a_line(
    tmp_path: Path,
) -> None:
    assert said(lines(tmp_path / "f", b"\xef\xbb\xbfa\r\n\r\nb")) == [b"a", b"", b"b"]


def test_it_says_how_much_of_the_file_was_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x\n" * CHUNK)
    half = Lines(path)
    next(iter(half))
    assert 0 < half.read < half.size == 2 * CHUNK
    whole = Lines(path)
    list(whole)
    assert (whole.read, whole.taken) == (whole.size, whole.size)
