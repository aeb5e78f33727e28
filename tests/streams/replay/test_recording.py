import gzip
import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.message import Message
from streams.replay.lines import BadLine, Lines
from streams.replay.recording import FORMAT, PART, CannotWrite, Header, turns, writing
from streams.version import code_version
from tests.streams.replay.turns import finished

FILES = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])

messages = st.builds(
    finished,
    turn=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    text=st.text(max_size=60),
    reply=st.none() | st.text(max_size=60),
    minutes=st.integers(0, 10_000),
)


def read(path: Path) -> list[Message | BadLine]:
    return list(turns(Lines(path)))


def write(path: Path, *wanted: Message) -> Path:
    with writing(path, Header()) as writer:
        for message in wanted:
            writer.write(message)
    return path


def bad(path: Path, *lines: bytes) -> dict[int, str]:
    path.write_bytes(b"\n".join(lines))
    return {item.number: item.reason for item in read(path) if isinstance(item, BadLine)}


@FILES
@given(wanted=st.lists(messages, max_size=5), name=st.sampled_from(["r.jsonl", "r.jsonl.gz"]))
def test_what_was_written_is_read(tmp_path: Path, wanted: list[Message], name: str) -> None:
    path = write(tmp_path / name, *wanted)
    assert read(path) == wanted
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


@FILES
@given(data=st.data())
def test_a_line_that_was_tampered_with_leaves_the_others_alone(
    tmp_path: Path, data: st.DataObject
) -> None:
    wanted = [finished(f"t{number}") for number in range(3)]
    lines = write(tmp_path / "r.jsonl", *wanted).read_bytes().splitlines()
    lines[2] = data.draw(st.binary(max_size=200).map(lambda b: b.replace(b"\n", b"")))
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines))
    found = read(tmp_path / "r.jsonl")
    assert [item for item in found if isinstance(item, Message)] == [wanted[0], wanted[2]]
    assert all(item.number == 3 for item in found if isinstance(item, BadLine))


def test_the_header_says_what_the_file_is_and_what_made_it(tmp_path: Path) -> None:
    said = json.loads(write(tmp_path / "r.jsonl").read_bytes())
    assert (said["format"], said["version"], said["code"]) == (FORMAT, 1, code_version())


def test_every_reason_names_what_is_wrong(tmp_path: Path) -> None:
    whole = finished().encode()
    deep = b'{"payload": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    other = whole.replace(b'"version":1', b'"version":9', 1)
    reasons = bad(
        tmp_path / "r",
        b'{"format": "%s", "version": 7}' % FORMAT.encode(),
        whole,
        whole[:-20],
        b"[]",
        whole.replace(b"where", b"wh\xe9re"),
        "{}".encode("utf-16"),
        deep,
        other,
        whole.replace(b'"steps":[]', b'"steps":["mesh.x"]'),
        whole.replace(b'"duration_ms":3.0', b'"duration_ms":NaN'),
        b"",
        whole,
    )
    assert list(reasons) == [1, 3, 4, 5, 6, 7, 8, 9, 10]
    assert "format version 7" in reasons[1]
    assert "EOF" in reasons[3]
    assert "UTF-8" in reasons[5]
    assert "UTF-8" in reasons[6]
    assert "version" in reasons[8]
    assert "no finished turn" in reasons[9]
    assert "where is my order" not in "".join(reasons.values())


def test_recordings_one_behind_the_other_are_a_recording(tmp_path: Path) -> None:
    one = write(tmp_path / "1.gz", finished("a")).read_bytes()
    two = write(tmp_path / "2.gz", finished("b")).read_bytes()
    (tmp_path / "both").write_bytes(one + two)
    assert read(tmp_path / "both") == [finished("a"), finished("b")]


def test_damage_in_a_packed_recording_costs_one_part(tmp_path: Path) -> None:
    wanted = [finished(f"t{number}", text=f"{number} " * (PART // 8)) for number in range(8)]
    path = write(tmp_path / "r.gz", *wanted)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    found = read(path)
    intact = [item for item in found if isinstance(item, Message)]
    assert intact[0] == wanted[0]
    assert intact[-1] == wanted[-1]
    assert any("damaged" in item.reason for item in found if isinstance(item, BadLine))


def test_a_recording_appears_whole_or_not_at_all_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("older")
    with pytest.raises(AttributeError):
        write(path, finished(), None)  # type: ignore[arg-type]
    assert path.read_text() == "older"
    write(path, finished())
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(CannotWrite, match="No such file"):
        write(tmp_path / "nowhere" / "r", finished())


def test_other_programs_can_unpack_it(tmp_path: Path) -> None:
    path = write(tmp_path / "r.gz", *(finished(f"t{number}") for number in range(50)))
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert len(lines) == 51
    assert Message.decode(lines[-1]) == finished("t49")
