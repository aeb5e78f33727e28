"""What an actor tells of its work while it works: exchanges with the outside, and notes.

The mailbox opens a hop around every actor; whatever the actor calls, however deep, adds to that
hop without having it handed down.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from streams import tracing
from streams.message import Exchange, Hop
from streams.payload import Json

_current: ContextVar[Hop | None] = ContextVar("hop", default=None)

Target = Literal["llm", "customers", "orders", "tracking", "cache"]


@contextmanager
def recording(hop: Hop) -> Iterator[Hop]:
    """Make `hop` the one that `exchange` and `note` add to, in this task and those it starts."""
    token = _current.set(hop)
    try:
        yield hop
    finally:
        _current.reset(token)


def note(text: str) -> None:
    """Add a remark for people to the current hop, such as why rules answered."""
    if (hop := _current.get()) is not None:
        hop.notes.append(text)
        tracing.remark(text)


class Answer:
    """What came of an exchange; set `response` before the exchange ends."""

    response: Any = None


@contextmanager
def exchange(target: Target, request: Json) -> Iterator[Answer]:
    """Time one question to the outside and record it with its answer, or with its error."""
    answer = Answer()
    error: str | None = None
    with tracing.child(f"ask {target}", "client", {"peer.service": target}):
        started = time.perf_counter()
        try:
            yield answer
        except BaseException as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            if (hop := _current.get()) is not None:
                ended = Exchange(
                    target=target,
                    request=request,
                    response=answer.response,
                    error=error,
                    duration_ms=(time.perf_counter() - started) * 1000,
                )
                hop.exchanges.append(ended)
                tracing.asked(ended)
