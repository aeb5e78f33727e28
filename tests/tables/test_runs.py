import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.message import ByHand, Message
from streams.replay.comparison import compare
from streams.replay.lines import BadLine
from streams.replay.request import ReplayRequest
from tables.results import Result, Wanted, key_of
from tables.run import About, Run, Stopped
from tables.run_file import NoSuchRun, RunIsWritten
from tables.runs import Runs, new_run_id
from tests.streams.replay.test_comparison import DECISIONS
from tests.streams.replay.whole_turn import AT, a_turn, edited, place_of

NAMES = ["same", "intent", "amount", "other words", "failed"]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "data")


def result(position: int, name: str, attempt: int = 1) -> Result:
    recorded = a_turn()
    recorded.id = f"m{position}"
    replayed: Message | None = recorded.model_copy(deep=True)
    if name == "failed":
        replayed = None
    elif name != "same" and replayed is not None:
        actor, edit, _ = DECISIONS[name]
        replayed = edited(replayed, place_of(actor), edit)
    comparison = compare(recorded, replayed, attempt=attempt)
    return Result(position, comparison, recorded, replayed)


@pytest.fixture
def filled(runs: Runs) -> Run:
    with runs.create(About(source="the journal")) as run:
        run.add([result(place, name) for place, name in enumerate(NAMES)], [BadLine(7, "no JSON")])
        run.end()
        return runs.open(run.name)


def names_of(run: Run, wanted: Wanted) -> list[str]:
    return [NAMES[row.position] for row in run.turns(wanted)]


def test_ids_sort_by_time_and_name_no_other_file(runs: Runs) -> None:
    now = datetime.now(UTC)
    ids = [new_run_id(now + timedelta(milliseconds=step)) for step in range(5)]

    assert ids == sorted(ids)
    for odd in ("", "..", "../../etc/passwd", ids[0] + "/x", ids[0] + "\n", "x" * 300):
        with pytest.raises(NoSuchRun):
            runs.open(odd)
        with pytest.raises(NoSuchRun):
            runs.delete(odd)
    with pytest.raises(NoSuchRun):
        runs.open(ids[0])


@given(st.text(max_size=40))
def test_no_text_but_an_id_is_one(text: str) -> None:
    with pytest.raises(NoSuchRun):
        Runs(Path("/nowhere")).open(text)


def test_a_run_says_what_it_is_and_what_it_found(runs: Runs, filled: Run) -> None:
    about = filled.about()
    assert (about.source, about.state, about.run) == ("the journal", "ended", filled.name)
    assert about.ended_at is not None
    assert filled.summary().turns == 5
    assert filled.summary().verdicts["different"] == 3
    assert filled.bad_lines() == [BadLine(7, "no JSON")]
    assert [one.about.run for one in runs.listed()] == [filled.name]
    assert runs.listed()[0].size > 0


def test_only_its_owner_reads_it(filled: Run) -> None:
    assert filled.path.stat().st_mode & 0o077 == 0
    assert filled.path.parent.stat().st_mode & 0o077 == 0


def test_only_what_changed_is_shown_unless_all_is_asked_for(filled: Run) -> None:
    assert names_of(filled, Wanted()) == NAMES[1:]
    assert names_of(filled, Wanted(changed=False)) == NAMES
    assert names_of(filled, Wanted(verdict="same")) == ["same"]
    assert names_of(filled, Wanted(verdict="failed")) == ["failed"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(aspect="intent"), ["intent"]),
        (Wanted(aspect="plan"), ["amount"]),
        (Wanted(aspect="reply"), ["other words"]),
        (Wanted(actor="decision_router"), ["amount"]),
        (Wanted(intent="refund_status"), NAMES[1:]),
        (Wanted(intent="other"), []),
        (Wanted(session="s1", text="PLEASE WAIT a little"), ["other words"]),
        (Wanted(session="s2"), []),
        (Wanted(text="%"), []),
        (Wanted(text="'; DROP TABLE turns; --"), []),
    ],
)
def test_turns_are_chosen(filled: Run, wanted: Wanted, found: list[str]) -> None:
    assert names_of(filled, wanted) == found
    assert filled.count(wanted) == len(found)


def test_turns_come_in_pages(filled: Run) -> None:
    first = filled.turns(Wanted(changed=False), limit=2)
    then = filled.turns(Wanted(changed=False), (first[-1].position, 1), limit=10)

    assert [row.position for row in first + then] == [0, 1, 2, 3, 4]
    assert first[0].said == "Yes please"


def test_one_turn_is_there_whole(filled: Run) -> None:
    assert filled.turn(1) == result(1, "intent")
    assert filled.turn(1, attempt=2) is None
    assert filled.turn(9) is None
    assert filled.find(key_of(result(1, "intent").recorded)) == result(1, "intent")
    assert filled.find(("s1", "nothing", 1)) is None


def test_a_turn_that_was_redriven_is_there_twice(runs: Runs) -> None:
    again = result(1, "same")
    by_hand = ByHand(kind="redriven", operator="Ann", at=AT, letter=3)
    again.recorded.by_hand.append(by_hand)
    with runs.create(About(source="x")) as run:
        run.add([result(1, "same"), replace(again, position=2)])

        assert run.position(key_of(result(1, "same").recorded)) == 1
        assert run.position(key_of(result(7, "same").recorded)) is None
        found = run.find(key_of(again.recorded))
        assert found is not None
        assert found.position == 2


def test_what_came_out_is_a_recording(filled: Run) -> None:
    assert [message.id for message in filled.replayed()] == ["m0", "m1", "m2", "m3"]


def test_attempts_stand_beside_each_other(runs: Runs) -> None:
    with runs.create(About(source="x")) as run:
        run.add([result(0, "same", 1), result(0, "intent", 2), result(1, "same", 1)])

        assert [one.comparison.attempt for one in run.attempts(0)] == [1, 2]
        assert [one.position for one in run.results()] == [0, 0, 1]
        assert [message.id for message in run.replayed()] == ["m0", "m1"]


def test_what_is_there_is_not_added_twice_and_is_known(runs: Runs) -> None:
    with runs.create(About(source="x")) as run:
        run.add([result(0, "same"), result(1, "intent")])
        run.add([result(1, "intent"), result(2, "same")])

        assert run.summary().turns == 3
        assert run.position(key_of(result(1, "same").recorded)) == 1
        assert run.position(key_of(result(7, "same").recorded)) is None


def test_a_batch_is_there_whole_or_not_at_all(runs: Runs) -> None:
    def broken() -> Iterator[Result]:
        yield result(1, "same")
        raise OSError("the source is gone")

    with runs.create(About(source="x")) as run:
        run.add([result(0, "same")])
        with pytest.raises(OSError, match="the source is gone"):
            run.add(broken())

        assert run.summary().turns == run.count(Wanted(changed=False)) == 1
        run.add([result(1, "same")])
        assert run.summary().turns == 2


def test_it_is_read_while_it_is_written(runs: Runs) -> None:
    with runs.create(About(source="x", request=ReplayRequest(session="s1"))) as run:
        reader = runs.open(run.name)
        assert reader.about().state == "running"
        for place in range(3):
            run.add([result(place, "intent")], done=(place + 1) / 4)
            assert reader.summary().turns == place + 1
            assert reader.about().done == (place + 1) / 4
            assert len(reader.turns(Wanted())) == place + 1
        with pytest.raises(RunIsWritten):
            reader.add([result(9, "same")])
        with pytest.raises(RunIsWritten):
            runs.resume(run.name)
        with pytest.raises(RunIsWritten):
            runs.delete(run.name)


def test_a_run_whose_player_died_is_interrupted_and_goes_on(runs: Runs, tmp_path: Path) -> None:
    name = new_run_id()
    script = (
        "import os, pathlib; from tables.run import About; from tables.runs import Runs;"
        f"run = Runs(pathlib.Path({str(tmp_path / 'data')!r})).create("
        f"About(run={name!r}, source='x')); run.add([]); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == 9

    assert runs.open(name).about().state == "interrupted"
    with runs.resume(name) as run:
        assert runs.open(name).about().state == "running"
        run.add([result(0, "same")])
        run.end("interrupted", "Ctrl-C")
    about = runs.open(name).about()
    assert (about.state, about.problem) == ("interrupted", "Ctrl-C")
    with runs.resume(name) as run:
        assert run.about().problem == ""
        run.end()
    assert runs.open(name).about().state == "ended"


def test_a_run_is_stopped_by_who_only_reads_it_and_goes_on_later(runs: Runs) -> None:
    with runs.create(About(source="x")) as run:
        runs.stop(run.name, "stopped by Ann")
        with pytest.raises(Stopped, match="stopped by Ann"):
            run.add([result(0, "same")])
        assert run.summary().turns == 1
        run.end("interrupted", "stopped by Ann")
    with pytest.raises(NoSuchRun, match="not under way"):
        runs.stop(run.name, "again")
    with runs.resume(run.name) as run:
        run.add([result(1, "same")])
        assert run.summary().turns == 2


def test_what_a_killed_player_left_is_swept_and_what_one_uses_is_not(runs: Runs) -> None:
    with runs.create(About(source="x")) as killed:
        pass
    with runs.create(About(source="x")) as used:
        for run in (killed, used):
            runs.work_folder(run.name).mkdir()
        foreign = runs.folder / "mine.work"
        foreign.mkdir()
        runs.sweep()
        assert not runs.work_folder(killed.name).exists()
        assert runs.work_folder(used.name).exists()
        assert foreign.exists()


def test_a_deleted_run_leaves_nothing(runs: Runs, filled: Run) -> None:
    (runs.folder / f"{filled.name}.work" / "streams").mkdir(parents=True)
    runs.delete(filled.name)

    assert list(runs.folder.iterdir()) == []
    assert runs.listed() == []
    with pytest.raises(NoSuchRun):
        filled.summary()
    with pytest.raises(NoSuchRun):
        runs.delete(filled.name)


def test_a_name_is_taken_once(runs: Runs, filled: Run) -> None:
    with pytest.raises(RunIsWritten):
        runs.create(About(run=filled.name, source="y"))
    assert filled.about().source == "the journal"


def test_what_is_no_run_does_not_disturb_the_list(runs: Runs, filled: Run) -> None:
    (runs.folder / "notes.txt").write_text("hello")
    (runs.folder / "odd.sqlite").write_text("hello")
    (runs.folder / f"{new_run_id()}.sqlite").write_text("hello")
    (runs.folder / f"{new_run_id()}.sqlite").mkdir()
    foreign = runs.folder / f"{new_run_id()}.sqlite"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE run (about TEXT)")
    db.close()
    newer = runs.folder / f"{new_run_id()}.sqlite"
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    assert [one.about.run for one in runs.listed()] == [filled.name]
    with pytest.raises(NoSuchRun, match="another version, of format 99"):
        runs.open(newer.stem)
    with pytest.raises(NoSuchRun, match="another version, of format 0"):
        runs.open(foreign.stem)


def test_a_damaged_run_says_so(filled: Run) -> None:
    with sqlite3.connect(filled.path) as db:
        db.execute("UPDATE turns SET comparison = x'00' WHERE position = 1")
    db.close()
    os.utime(filled.path)

    with pytest.raises(NoSuchRun, match="cannot be read"):
        filled.turns(Wanted())
