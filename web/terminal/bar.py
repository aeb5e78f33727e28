"""How far a long work has come: one line of the terminal that is written again and again."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from streams.replay.source import Progress
from web.terminal.text import number

WIDTH: Final = 24
QUIET_SECONDS: Final = 1.0
"""What takes no longer needs no bar."""
EVERY_SECONDS: Final = 0.2
LINE_SECONDS: Final = 15.0
"""Between two lines where stderr is no terminal but, say, the log of a build."""


class Bar:
    """A bar with count, rate and the time left, on stderr."""

    def __init__(self, things: str) -> None:
        self._things = things
        self._terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._next = self._began + (QUIET_SECONDS if self._terminal else LINE_SECONDS)
        self._before: tuple[Progress, int] | None = None
        self._shown = 0

    def show(self, progress: Progress, count: int, remark: str = "") -> None:
        """Say how far a source was read, and how many things are done with that."""
        now = time.monotonic()
        if self._before is None:
            self._before = progress, count  # of a work that goes on, what came earlier has no rate
        if now < self._next:
            return
        self._next = now + (EVERY_SECONDS if self._terminal else LINE_SECONDS)
        text = line(self._things, progress, count, self._before, now - self._began)
        text += f", {remark}" if remark else ""
        if self._terminal:
            # What is wider than the terminal would stay above the next one.
            text = text[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r{text:<{self._shown}}", err=True, nl=False)
            self._shown = len(text)
        else:
            click.echo(text, err=True)

    def clear(self) -> None:
        """Take the bar away: something else is to be said."""
        if self._shown:
            click.echo(f"\r{'':<{self._shown}}\r", err=True, nl=False)
            self._shown = 0


@contextmanager
def bar(things: str) -> Iterator[Bar]:
    """Show a bar that counts `things` for as long as the block takes."""
    shown = Bar(things)
    try:
        yield shown
    finally:
        shown.clear()


def line(
    things: str, progress: Progress, count: int, before: tuple[Progress, int], seconds: float
) -> str:
    """Return the bar as text; so many seconds ago it was as it says `before`."""
    share = min(progress.done / progress.total, 1.0) if progress.total > 0 else 0.0
    full = round(share * WIDTH)
    rate = (count - before[1]) / seconds if seconds > 0 else 0.0
    text = f"[{'#' * full}{'.' * (WIDTH - full)}] {share:4.0%}  {number(count)} {things}"
    text += f", {rate:,.0f} a second" if rate >= 10 else f", {rate:.1f} a second"
    if new := progress.done - before[0].done:
        left = seconds * max(0, progress.total - progress.done) / new
        text += f", {_duration(left)} left" if left > 0 else ""
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
