from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from mocks.units import cents, dice, digits, dollars, moment, stamp, working_days_after


@given(st.integers(-(10**9), 10**9))
def test_money_comes_back_as_it_went(amount: int) -> None:
    assert cents(dollars(amount)) == amount


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_moments_come_back_to_the_second(at: datetime) -> None:
    assert moment(stamp(at)) == at.replace(microsecond=0)


def test_stamps_are_utc() -> None:
    at = datetime(2026, 3, 11, 15, 30, tzinfo=timezone(timedelta(hours=2)))
    assert stamp(at) == "2026-03-11T13:30:00Z"


def test_working_days_skip_the_weekend() -> None:
    friday = date(2026, 3, 13)
    assert working_days_after(friday, 1) == date(2026, 3, 16)
    assert working_days_after(friday, 5) == date(2026, 3, 20)


def test_dice_fall_alike_for_a_seed_and_unlike_for_neighbours() -> None:
    assert dice("a", 1).random() == dice("a", 1).random() != dice("a", 2).random()
    assert len(digits(10, "a")) == 10
