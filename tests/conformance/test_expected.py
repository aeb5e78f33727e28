"""What makes a run of Faust's own tests a failed one."""

import subprocess
import sys
from pathlib import Path

from tests.conformance.expected import Suite
from tests.conformance.stress import Verdict

SUITE = Suite("some", (), least=2, failures={r"file\.py::test_known\[.+\]": "for a reason"})


def test_only_named_failures_are_expected() -> None:
    outcomes = {"a": "passed", "b": "passed", "c": "skipped", "file.py::test_known[x]": "failed"}
    assert SUITE.complaints(outcomes) == []
    assert SUITE.complaints(outcomes | {"d": "failed"}) == ["failed unexpectedly: d"]


def test_a_named_failure_that_is_none_any_more_and_missing_passes_are_told() -> None:
    assert SUITE.complaints({"a": "passed", "file.py::test_known[x]": "passed"}) == [
        r"expected to fail, but nothing that matches did: file\.py::test_known\[.+\]"
    ]
    assert SUITE.complaints({"a": "passed", "file.py::test_known[x]": "failed"}) == [
        "1 passed; 2 is the least"
    ]


def test_duplicates_are_for_at_least_once_alone() -> None:
    verdict = Verdict(processed=10, gaps=0, duplicates=2, statuses=[0, 0])
    assert verdict.complaints("at_least_once") == []
    assert verdict.complaints("exactly_once") == ["2 duplicates"]
    lost = Verdict(processed=10, gaps=1, duplicates=0, statuses=[0, 1])
    assert lost.complaints("at_least_once") == ["1 gaps", "workers ended with statuses [0, 1]"]


def test_without_a_checkout_the_run_is_skipped_with_the_reason(
    tmp_path: Path, repository: Path
) -> None:
    command = [sys.executable, "-m", "tests.conformance", "--faust", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout.startswith("skipped: there is no")
