"""What actors take for the present: the real time, or in a replay that of the recording."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_recorded: ContextVar[datetime | None] = ContextVar("recorded time", default=None)


def now() -> datetime:
    """Return the time by which an actor decides and with which it marks what it writes."""
    return _recorded.get() or datetime.now(UTC)


@contextmanager
def standing_at(moment: datetime | None) -> Iterator[None]:
    """Make `moment` the present for this task and those it starts; None leaves it the real one."""
    token = _recorded.set(moment)
    try:
        yield
    finally:
        _recorded.reset(token)
