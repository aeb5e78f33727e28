"""How far several attempts at one turn are apart: a model need not answer the same twice."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from streams.message import Message
from streams.replay.comparison import route
from streams.replay.essence import decision, stable
from streams.replay.similarity import score


class Way(BaseModel):
    """Something that came out, and in how many attempts."""

    value: Any
    times: int


class Spread(BaseModel):
    """What came out of the attempts at one turn, each list the most frequent first."""

    attempts: int
    failed: int = Field(0, description="Attempts that did not come to their end.")
    routes: list[Way] = []
    intents: list[Way] = []
    plans: list[Way] = []
    replies: list[Way] = []
    lowest_score: float | None = Field(
        None, description="How alike to the most frequent reply the least alike one is, 0 to 1."
    )
    stability: float = Field(
        0, description="The share of attempts with the most frequent route, intent and plan."
    )


def spread(attempts: Sequence[Message | None]) -> Spread:
    """Return the spread over the attempts at one turn; None is one that failed. Pure."""
    ended = [attempt for attempt in attempts if attempt is not None]
    replies = [one.payload.response.text for one in ended if one.payload.response is not None]
    decided = _ways([route(one), _intent(one), _plan(one)] for one in ended)
    said = _ways(replies)
    return Spread(
        attempts=len(attempts),
        failed=len(attempts) - len(ended),
        routes=_ways(route(one) for one in ended),
        intents=_ways(_intent(one) for one in ended),
        plans=_ways(_plan(one) for one in ended),
        replies=said,
        lowest_score=min((score(said[0].value, way.value) for way in said), default=None),
        stability=round(decided[0].times / len(attempts), 4) if decided else 0,
    )


def _intent(message: Message) -> Any:
    return _decided("intent", message)


def _plan(message: Message) -> Any:
    return _decided("plan", message)


def _decided(slot: str, message: Message) -> Any:
    value = getattr(message.payload, slot)
    if value is None:
        return None
    return decision(slot, stable(slot, value.model_dump(mode="json")))


def _ways(values: Iterable[Any]) -> list[Way]:
    written = Counter(json.dumps(value, sort_keys=True) for value in values)
    return [Way(value=json.loads(text), times=times) for text, times in written.most_common()]
