"""Log lines: text for people or JSON for machines, and in both whose turn they are about.

Every line is masked, whoever wrote it: a library's error may quote what it was given. Logins in
URLs and bearer tokens are cut out in the same way.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from streams.masking import HIDDEN, mask_text
from streams.observability import tracing
from streams.settings import Settings

_LOGIN: Final = re.compile(r"(\w://)[^/\s@'\"]+@")
_BEARER: Final = re.compile(r"(?i)(\bbearer\s+)[^\s'\"]+")


class About(NamedTuple):
    """Whose work a line is about."""

    session: str
    turn: str
    actor: str


_about: ContextVar[About | None] = ContextVar("about", default=None)


class about:
    """Let what is logged in this task, and in those it starts, say whose turn it is about.

    A class and no generator: it is entered with every hop, and takes a third of the time so.
    """

    __slots__ = ("_place", "_token")

    def __init__(self, session: str, turn: str, actor: str) -> None:
        self._place = About(session, turn, actor)

    def __enter__(self) -> None:
        self._token = _about.set(self._place)

    def __exit__(self, *exc: object) -> None:
        _about.reset(self._token)


def configuration(settings: Settings, process: str) -> dict[str, Any]:
    """Return how a process logs, as `logging.config.dictConfig` and Faust take it."""

    def formatter() -> logging.Formatter:
        # Made when it is wanted: a configuration is data that may be shown.
        return JsonLines(process) if settings.log_format == "json" else TextLines()

    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": formatter}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "lines",
            }
        },
        "root": {"level": "INFO", "handlers": ["console"]},
    }


def clean(text: str) -> str:
    """Return `text` without personal data and without logins."""
    text = _LOGIN.sub(rf"\1{HIDDEN}@", text)
    return mask_text(_BEARER.sub(rf"\1{HIDDEN}", text))


class TextLines(logging.Formatter):
    """Lines for people, with tracebacks below them."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s%(about)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line itself."""
        place = _about.get()
        record.about = "" if place is None else f" [{place.session}/{place.turn} {place.actor}]"
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return line and traceback, masked."""
        return clean(super().format(record))


class JsonLines(logging.Formatter):
    """A JSON object a line, also for an error with its traceback."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        if (place := _about.get()) is not None:
            line |= place._asdict()
        if (trace := tracing.trace_id()) is not None:
            line["trace"] = trace
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, _ = record.exc_info
            line["error"] = {
                "type": kind.__name__,
                "message": clean(str(error)),
                "stack": clean(self.formatException(record.exc_info)),
            }
        if record.stack_info:
            line["stack"] = clean(record.stack_info)
        return json.dumps(line, ensure_ascii=False)
