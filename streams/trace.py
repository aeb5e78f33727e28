"""What an actor tells of its work while it works: exchanges with the outside, and notes.

The mailbox opens a hop around every actor; whatever the actor calls, however deep, adds to that
hop without having it handed down.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from streams import clock
from streams.errors import NotRecorded
from streams.message import Exchange, Hop
from streams.observability import tracing
from streams.payload import Json
from streams.replay.answers import Answers, failure

_current: ContextVar[Hop | None] = ContextVar("hop", default=None)
_answers: ContextVar[Answers | None] = ContextVar("answers", default=None)

Target = Literal["llm", "customers", "orders", "tracking", "cache"]


@contextmanager
def recording(hop: Hop, answers: Answers | None = None) -> Iterator[Hop]:
    """Make `hop` the one that `exchange` and `note` add to, in this task and those it starts.

    With `answers`, in a replay, they answer in the outside's place, and it is then, not now.
    """
    token, answering = _current.set(hop), _answers.set(answers)
    try:
        with clock.standing_at(answers.now if answers is not None else None):
            yield hop
    finally:
        _answers.reset(answering)
        _current.reset(token)


def note(text: str) -> None:
    """Add a remark for people to the current hop, such as why rules answered."""
    if (hop := _current.get()) is not None:
        hop.notes.append(text)
        tracing.remark(text)


class Answer:
    """What came of an exchange."""

    def __init__(self) -> None:
        self.wanted = True
        """Whether the outside is to be asked: else the recording has answered."""
        self.response: Any = None
        """The answer; set it before the exchange ends if it is wanted."""


def replaying() -> bool:
    """Say whether this is a replay: then nothing is to be left behind outside."""
    return _answers.get() is not None


@asynccontextmanager
async def exchange(target: Target, request: Json) -> AsyncIterator[Answer]:
    """Time one question to the outside and record it with its answer, or with its error.

    In a replay the recording answers, also with the error that there was; NotRecorded if nobody
    asked this then.
    """
    answer = Answer()
    error: str | None = None
    with tracing.child(f"ask {target}", "client", {"peer.service": target}):
        started = time.perf_counter()
        try:
            answers = _answers.get()
            if answers is not None and target == "cache":
                _recall_cached(answers, request, answer)
            elif answers is not None and not answers.live:
                await _recall(answers, target, request, answer)
            yield answer
        except BaseException as failed:
            error = f"{type(failed).__name__}: {failed}"
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


def _recall_cached(answers: Answers, request: Json, answer: Answer) -> None:
    """Fill in what the cache held then. An actor that asks the outside finds nothing cached."""
    answer.wanted = False
    recorded = None if answers.live else answers.take("cache", request)
    # A cache that was down had nothing, and one that nobody asked then is asked in vain.
    answer.response = recorded.response if recorded else None


async def _recall(answers: Answers, target: Target, request: Json, answer: Answer) -> None:
    """Fill in the recorded answer."""
    answer.wanted = False
    recorded = answers.take(target, request)
    if recorded is None:
        raise NotRecorded(f"the recording has no answer of {target} to this")
    if answers.pace:
        await asyncio.sleep(recorded.duration_ms / 1000 / answers.pace)
    answer.response = recorded.response
    # With an answer, the error was what we made of it: today's code judges by itself.
    if recorded.error is not None and recorded.response is None:
        raise failure(recorded.error)
