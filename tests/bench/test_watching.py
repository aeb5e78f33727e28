import pytest

from tests.bench import report
from tests.bench.watching import Watching, Window


def test_windows_with_pages_are_compared_within_their_round(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured = Watching(
        without=[Window(40, 20, 0, 2), Window(20, 40, 0, 2), Window(30, 30, 0, 2)],
        watched=[Window(38, 21, 3, 2), Window(20, 40, 3, 3), Window(27, 36, 3, 4)],
        told=[5, 6, 7],
    )
    found = report.of_watching(measured)
    assert found["per_second"]["ratio"] == {"median": 0.95, "min": 0.9, "max": 1.0}
    assert found["per_second"]["noise"] == {"median": 1.0, "min": 0.5, "max": 1.5}
    assert found["worker_ms"]["ratio"] == {"median": 1.05, "min": 1.0, "max": 1.2}
    assert found["web_ms"]["with pages"]["median"] == 3
    assert "ratio" not in found["web_ms"]
    report.show_watching(found)
    printed = capsys.readouterr().out
    assert "told 6 things a second" in printed
    assert "0.95" in printed
