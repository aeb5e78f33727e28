"""A line that says how far something has come, how fast it is, and how long it will take."""

import sys
import time
from typing import Final

import click

from streams.replay.source import Progress
from web.terminal.text import number

#: Seconds between two lines where the last one cannot be written over.
LINE_EVERY: Final = 10.0


class Bar:
    """Progress on stderr: one line that is written over on a terminal, else one now and then."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._said_at = self._began
        self._over = sys.stderr.isatty()

    def show(self, count: int, progress: Progress, remark: str = "") -> None:
        """Say how many of `what` are done, `progress` being how far their source was read."""
        now = time.monotonic()
        if not self._over and now - self._said_at < LINE_EVERY:
            return
        self._said_at = now
        text = self._text(count, progress, now - self._began) + (f" · {remark}" if remark else "")
        if self._over:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)
        else:
            click.echo(text, err=True)

    def end(self) -> None:
        """Leave room for what comes next."""
        if self._over:
            click.echo("\r\x1b[K", nl=False, err=True)

    def _text(self, count: int, progress: Progress, seconds: float) -> str:
        parts = [f"{number(count)} {self._what}"]
        share = progress.done / progress.total if progress.total else 0.0
        if share:
            parts.append(f"{share:.0%}")
        if count and seconds > 0:
            parts.append(f"{count / seconds:.1f} a second")
        if count and 0 < share < 1:
            parts.append(f"{_time(seconds * (1 - share) / share)} left")
        return " · ".join(parts)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
