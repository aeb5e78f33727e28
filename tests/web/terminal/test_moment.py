from datetime import UTC, datetime, timedelta

import click
import pytest

from web.terminal.moment import MOMENT


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1.5h", timedelta(hours=1, minutes=30)),
        ("3d", timedelta(days=3)),
    ],
)
def test_so_long_ago(text: str, ago: timedelta) -> None:
    before = datetime.now(UTC) - ago
    moment = MOMENT.convert(text, None, None)
    assert before <= moment <= datetime.now(UTC) - ago


def test_a_time_has_its_zone_or_the_local_one() -> None:
    assert MOMENT.convert("2026-03-01T10:00+02:00", None, None) == datetime(
        2026, 3, 1, 8, tzinfo=UTC
    )
    local = MOMENT.convert("2026-03-01T10:00", None, None)
    assert local == datetime(2026, 3, 1, 10).astimezone()
    assert MOMENT.convert(local, None, None) is local


@pytest.mark.parametrize("text", ["", "soon", "5", "5w", "-1h", "9" * 400 + "d", "2026-13-01"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        MOMENT.convert(text, None, None)
