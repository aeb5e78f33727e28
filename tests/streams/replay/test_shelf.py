import os
from pathlib import Path

from streams.replay.shelf import recordings


def test_recordings_are_listed_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for age, name in enumerate(("new.jsonl", "old.jsonl.gz", "notes.txt", ".draft.jsonl")):
        (folder / name).write_text("x" * (age + 1))
        os.utime(folder / name, (1_000_000 - age, 1_000_000 - age))
    (folder / "a folder.jsonl").mkdir()
    (tmp_path / "outside.jsonl").write_text("x")

    found = recordings(tmp_path)

    assert [(one.name, one.size) for one in found] == [("new.jsonl", 1), ("old.jsonl.gz", 2)]
    assert found[0].path == folder / "new.jsonl"


def test_without_the_folder_there_are_none(tmp_path: Path) -> None:
    assert recordings(tmp_path) == []
