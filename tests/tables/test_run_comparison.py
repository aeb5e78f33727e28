from pathlib import Path

import pytest

from tables.results import Wanted
from tables.run import About, Run
from tables.run_comparison import begin, fill
from tables.run_file import NoSuchRun
from tables.runs import Runs
from tests.tables.test_runs import result


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def run(runs: Runs, names: dict[int, str]) -> str:
    with runs.create(About(source="the journal")) as run:
        run.add([result(place, name) for place, name in names.items()])
        run.end()
        return run.name


def compared(runs: Runs, first: str, second: str) -> Run:
    with begin(runs, first, second) as into:
        fill(into, runs)
        return runs.open(into.name)


def test_two_replays_that_came_out_the_same_do_not_differ_however_far_from_the_recording(
    runs: Runs,
) -> None:
    names = {0: "same", 1: "intent", 2: "other words"}
    found = compared(runs, run(runs, names), run(runs, names))

    assert found.summary().verdicts["same"] == 3
    assert found.about().state == "ended"
    assert found.about().against[0] < found.about().against[1]


def test_only_what_the_second_does_otherwise_is_shown(runs: Runs) -> None:
    first = run(runs, {0: "intent", 1: "same", 2: "same", 3: "failed", 4: "failed", 5: "same"})
    second = run(runs, {0: "intent", 1: "amount", 2: "failed", 3: "same", 4: "failed", 6: "same"})

    found = compared(runs, first, second)

    verdicts = {row.position: row.comparison.verdict for row in found.turns(Wanted(changed=False))}
    assert verdicts == {
        0: "same",
        1: "different",
        2: "failed",
        3: "not recorded",
        4: "failed",
        5: "failed",
        6: "not recorded",
    }
    missing = found.turn(5)
    assert missing is not None
    assert missing.comparison.reason == "the second replay does not have this turn"
    assert found.summary().diverging["decision_router"] == 1


def test_a_replay_that_is_not_there_is_named(runs: Runs) -> None:
    with pytest.raises(NoSuchRun):
        begin(runs, run(runs, {0: "same"}), "20260101T000000000-00000000")


def test_a_replay_that_goes_away_meanwhile_interrupts_the_comparison(runs: Runs) -> None:
    first, second = run(runs, {0: "same"}), run(runs, {0: "same"})
    with begin(runs, first, second) as into:
        runs.delete(second)
        with pytest.raises(NoSuchRun):
            fill(into, runs)

        assert into.about().state == "interrupted"
        assert second in into.about().problem
