import pytest

from web.terminal import bar as module
from web.terminal.bar import bar, line


def test_a_bar_says_share_count_rate_and_time_left() -> None:
    text = line("turns", 25, 100, 1250, 1000, 10)
    assert text.startswith("[######..................]  25%  1,250 turns, 100 a second, 30 s left")
    assert line("turns", 1, 100, 1, 1, 100).endswith(", 0.0 a second, 2 h 45 min left")
    assert line("turns", 2, 4, 2, 2, 70).endswith("1 min 10 s left")
    assert line("turns", 4, 4, 3, 3, 0).endswith("100%  3 turns, 0.0 a second")
    assert line("turns", 0, 0, 0, 0, 1).startswith("[........................]   0%")


def test_what_takes_no_time_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("turns") as shown:
        shown.show(1, 2, 1)
    assert capsys.readouterr().err == ""


def test_a_bar_in_a_log_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    with bar("turns") as shown:
        shown.show(1, 2, 5)
        shown.show(2, 2, 9)
    first, second = capsys.readouterr().err.splitlines()
    assert "50%  5 turns" in first
    assert "100%  9 turns" in second
