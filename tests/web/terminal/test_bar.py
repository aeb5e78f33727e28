import pytest

from streams.replay.source import Progress
from web.terminal import bar as module
from web.terminal.bar import bar, line

NONE = Progress(0, 100, "bytes")


def test_a_bar_says_share_count_rate_and_time_left() -> None:
    def text(done: int, total: int, count: int, seconds: float) -> str:
        return line("turns", Progress(done, total, "bytes"), count, (NONE, 0), seconds)

    assert text(25, 100, 1250, 10) == (
        "[######..................]  25%  1,250 turns, 125 a second, 30 s left"
    )
    assert text(1, 100, 1, 100).endswith(", 0.0 a second, 2 h 45 min left")
    assert text(2, 4, 2, 70).endswith("1 min 10 s left")
    assert text(4, 4, 3, 0).endswith("100%  3 turns, 0.0 a second")
    assert text(0, 0, 0, 1).startswith("[........................]   0%")


def test_a_work_that_goes_on_has_the_rate_of_what_it_does_now() -> None:
    before = (Progress(50, 100, "bytes"), 1000)
    text = line("turns", Progress(60, 100, "bytes"), 1200, before, 10)
    assert text.endswith("60%  1,200 turns, 20 a second, 40 s left")


def test_what_takes_no_time_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("turns") as shown:
        shown.show(Progress(1, 2, "records"), 1)
    assert capsys.readouterr().err == ""


def test_a_bar_in_a_log_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    with bar("turns") as shown:
        shown.show(Progress(1, 2, "records"), 5, "2 not the same")
        shown.show(Progress(2, 2, "records"), 9)
    first, second = capsys.readouterr().err.splitlines()
    assert "50%  5 turns" in first
    assert first.endswith(", 2 not the same")
    assert "100%  9 turns" in second
