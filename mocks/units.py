"""Money, time and chance as the shop knows them."""

import hashlib
import random
from datetime import UTC, date, datetime, timedelta


def dice(*seed: object) -> random.Random:
    """Return a source of chance that always falls the same way for the same seed."""
    text = "/".join(str(part) for part in seed)
    # Not for secrets: that it can be foreseen is the point. Hashed, because neighbouring seeds
    # would otherwise begin alike, and because `hash()` of a text differs between processes.
    return random.Random(hashlib.sha256(text.encode()).digest())  # noqa: S311


def digits(length: int, *seed: object) -> str:
    """Return a number of that many digits, always the same for the same seed."""
    return str(dice(*seed).randrange(10 ** (length - 1), 10**length))


def cents(amount: float) -> int:
    """Return an amount of dollars as whole cents, the only form in which money is added up."""
    return round(amount * 100)


def dollars(amount: int) -> float:
    """Return whole cents as the number that travels in JSON."""
    return round(amount / 100, 2)


def utc_now() -> datetime:
    """Return the present moment; services take it as their clock unless a test gives another."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, to the second, with a `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Return the moment that `stamp` wrote down."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def working_days_after(start: date, days: int) -> date:
    """Return the date that many working days (Monday to Friday) after another."""
    day = start
    while days > 0:
        day += timedelta(days=1)
        if day.weekday() < 5:
            days -= 1
    return day
