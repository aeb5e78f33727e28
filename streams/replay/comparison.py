"""One turn as it was recorded, and as it came out now: what differs, and where that began.

Three grades tell apart what people ask for. *Same*: nothing differs but what varies by itself
(see `essence`; and times, notes and versions of code, which say how, not what). *Similar*: the same
decisions, with other details or in other words. *Different*: another decision.

What the recording does not hold is *not recorded*, and so is all that follows from an answer that
it does not hold: it is neither the same nor another decision. Where a decision was another one
before that, the turn is different all the same.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from streams.errors import NotRecorded
from streams.inspection.difference import Change, difference
from streams.message import Exchange, Hop, Message
from streams.payload import Json
from streams.replay.essence import decision, made_up, stable
from streams.replay.similarity import SIMILAR, same_figures, score
from streams.reply import state_of
from streams.slip import RESPONSE_AGGREGATOR
from streams.topics import actor_name

Verdict = Literal["same", "similar", "not recorded", "different", "failed"]
Aspect = Literal[
    "route",
    "intent",
    "sentiment",
    "context",
    "plan",
    "actions",
    "guardrail",
    "escalation",
    "outcome",
    "reply",
]
HopVerdict = Literal["same", "similar", "different", "not recorded", "not made"]

#: From the best to the worst: the worst of its parts is a turn's verdict.
VERDICTS: Final[tuple[Verdict, ...]] = ("same", "similar", "not recorded", "different", "failed")
ASPECTS: Final[tuple[Aspect, ...]] = (
    "route",
    "intent",
    "sentiment",
    "context",
    "plan",
    "actions",
    "guardrail",
    "escalation",
    "outcome",
    "reply",
)

#: How the error of an exchange begins whose question the recording has no answer to.
NOT_RECORDED: Final = f"{NotRecorded.__name__}: "

_LAST: Final = actor_name(RESPONSE_AGGREGATOR)
_SLOT_OF: Final[dict[Aspect, str]] = {
    "intent": "intent",
    "sentiment": "sentiment",
    "context": "context",
    "plan": "plan",
    "actions": "execution",
    "guardrail": "guardrail",
    "escalation": "escalation",
    "reply": "response",
}


class AspectComparison(BaseModel):
    """One thing that people ask about, on both sides: the decisions in it."""

    verdict: Literal["same", "similar", "not recorded", "different"]
    recorded: Any = None
    replayed: Any = None
    score: float | None = Field(None, description="How alike two replies are, from 0 to 1.")


class Question(BaseModel):
    """A question to the outside that one side asked and the other did not."""

    kind: Literal["asked", "not asked", "not recorded"] = Field(
        description="Asked only now; only when it was recorded; or now, without an answer."
    )
    target: str
    request: Json


class HopComparison(BaseModel):
    """One place of the route, on both sides."""

    recorded: int | None = Field(description="Its place in the recorded trace, from 0.")
    replayed: int | None = Field(description="Its place in the new trace, from 0.")
    actor: str = Field(description="Who worked there when it was recorded; else who does now.")
    actor_now: str | None = None
    outcome: str | None = None
    outcome_now: str | None = None
    verdict: HopVerdict
    changes: list[Change] = Field([], description="How what it added differs.")
    questions: list[Question] = Field([], description="How what it asked the outside differs.")


class Spent(BaseModel):
    """What a turn took. None is not known."""

    work_ms: float | None = Field(None, description="The hops' time, waits between them left out.")
    cost_usd: float | None = None
    tokens: int | None = None


class TurnComparison(BaseModel):
    """What became of one turn."""

    session_id: str
    message_id: str
    turn: int
    attempt: int = 1
    intent: str | None = Field(None, description="What was wanted when it was recorded, else now.")
    verdict: Verdict
    reason: str = Field("", description="Why it failed, or what was not recorded.")
    aspects: dict[Aspect, AspectComparison] = {}
    diverging: HopComparison | None = Field(
        None, description="The first hop that is not the same; else the first that asked otherwise."
    )
    recorded: Spent = Spent()
    replayed: Spent = Spent()

    @property
    def changed(self) -> bool:
        """Whether people want to see it: all but what is the same."""
        return self.verdict != "same"


def compare(
    recorded: Message, replayed: Message | None, *, attempt: int = 1, failure: str = ""
) -> TurnComparison:
    """Compare a turn as it was recorded, or came out in another replay, with what it is now.

    Without `replayed`, or with the reason of a `failure`, the replay of the turn failed. Pure.
    """
    verdict: Verdict
    told: dict[str, Any] = {
        "session_id": recorded.session_id,
        "message_id": recorded.id,
        # One that we never worked on has no number of ours.
        "turn": recorded.payload.turn or (replayed.payload.turn if replayed else 0),
        "attempt": attempt,
        "intent": _intent(recorded) or (_intent(replayed) if replayed else None),
        "recorded": spent(recorded),
    }
    if replayed is None:
        reason = failure or "the turn did not come to its end"
        return TurnComparison(**told, verdict="failed", reason=reason)
    known = _known(recorded, replayed)
    hops = compare_hops(recorded, replayed)
    aspects = dict(_aspects(recorded, replayed, known))
    reason = failure
    if known is None and not reason:
        # Where an answer was missing, the turn may only have died of that.
        reason = _given_up(recorded, replayed)
    if reason:
        verdict = "failed"
    elif not recorded.trace:
        # If a human's answer is known it is compared, but no bot was there to be another one.
        verdict = "not recorded"
    else:
        verdict = _worst([*(one.verdict for one in aspects.values()), *_of_hops(hops, known)])
    if verdict == "not recorded":
        reason = _not_recorded(recorded, hops)
    diverging = next((hop for hop in hops if hop.verdict != "same"), None) or next(
        (hop for hop in hops if hop.questions), None
    )
    return TurnComparison(
        **told,
        verdict=verdict,
        reason=reason,
        aspects=aspects,
        diverging=diverging,
        replayed=spent(replayed),
    )


def compare_hops(recorded: Message, replayed: Message) -> list[HopComparison]:
    """Return all places of both routes, in order, each with what differs there."""
    known = _known(recorded, replayed)
    return [
        _compare_hop(recorded.trace, replayed.trace, old, new, known)
        for old, new in _pairs(recorded.trace, replayed.trace)
    ]


def spent(message: Message) -> Spent:
    """Return what a turn took. Of a turn that we never worked on nothing is known."""
    if not message.trace:
        return Spent()
    answers = [
        exchange.response
        for hop in message.trace
        for exchange in hop.exchanges
        if exchange.target == "llm" and isinstance(exchange.response, dict)
    ]
    return Spent(
        work_ms=round(sum(hop.duration_ms for hop in message.trace), 3),
        cost_usd=_sum(answer.get("cost_usd") for answer in answers),
        tokens=_sum(
            answer.get(kind)
            for answer in answers
            for kind in ("prompt_tokens", "completion_tokens")
        ),
    )


def route(message: Message) -> list[str]:
    """Return the way that a turn took: its actors in order, with the outcome if it is not done."""
    return [_step(hop) for hop in message.trace]


def _step(hop: Hop) -> str:
    # That the slip was rewritten is told by where it led.
    went_on = hop.outcome in ("done", "rerouted")
    return hop.actor if went_on else f"{hop.actor} ({hop.outcome})"


def _intent(message: Message) -> str | None:
    return message.payload.intent.name.value if message.payload.intent else None


def _sum(values: Iterable[Any]) -> Any:
    numbers = [one for one in values if isinstance(one, int | float)]
    return sum(numbers) if numbers else None


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=VERDICTS.index, default="same")


def _known(recorded: Message, replayed: Message) -> int | None:
    """Return how many places of the route can be compared; None if all.

    Past them a question had no answer, or the recording ends before the turn did.
    """
    places = [_unanswered(recorded.trace), _unanswered(replayed.trace)]
    if not recorded.trace or recorded.trace[-1].actor != _LAST:
        places.append(len(recorded.trace))
    return min((place for place in places if place is not None), default=None)


def _unanswered(trace: list[Hop]) -> int | None:
    for place, hop in enumerate(trace):
        if any(_lacks_answer(exchange) for exchange in hop.exchanges):
            return place
    return None


def _lacks_answer(exchange: Exchange) -> bool:
    # A look into the cache without an answer is a miss: what is asked then tells.
    return exchange.target != "cache" and (exchange.error or "").startswith(NOT_RECORDED)


def _given_up(recorded: Message, replayed: Message) -> str:
    """Return why the turn is among the dead letters now, if it was not when it was recorded."""
    if _buried(replayed) and not _buried(recorded):
        failure = replayed.error
        told = f"{failure.actor}: {failure.kind}: {failure.text}" if failure else "it failed"
        return f"the turn went to the dead letters: {told}"
    return ""


def _buried(message: Message) -> bool:
    """Say whether the mailbox gave up: then the exit follows a failed hop at once."""
    return any(
        hop.outcome == "failed" and after.actor == _LAST and hop.actor != _LAST
        for hop, after in zip(message.trace, message.trace[1:], strict=False)
    )


def _not_recorded(recorded: Message, hops: list[HopComparison]) -> str:
    if not recorded.trace:
        return "nothing of this turn was recorded but its words"
    for hop in hops:
        for question in hop.questions:
            if question.kind == "not recorded":
                what = question.request.get("path") or ""
                method = question.request.get("method") or ""
                told = " ".join(part for part in (question.target, method, what) if part)
                return f"{hop.actor_now or hop.actor} asked what was not recorded: {told}"
    return f"the recording ends behind {recorded.trace[-1].actor}"


# The hops


def _pairs(recorded: list[Hop], replayed: list[Hop]) -> Iterator[tuple[int | None, int | None]]:
    """Yield the places that belong together: one by one, and from where they part, by actor."""
    both = min(len(recorded), len(replayed))
    alike = next(
        (place for place in range(both) if recorded[place].actor != replayed[place].actor), both
    )
    yield from ((place, place) for place in range(alike))
    old, new = [hop.actor for hop in recorded[alike:]], [hop.actor for hop in replayed[alike:]]
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from zip(range(alike + a, alike + b), range(alike + c, alike + d), strict=True)
        else:
            yield from ((alike + place, None) for place in range(a, b))
            yield from ((None, alike + place) for place in range(c, d))


def _compare_hop(
    recorded: list[Hop],
    replayed: list[Hop],
    old: int | None,
    new: int | None,
    known: int | None,
) -> HopComparison:
    one = None if old is None else recorded[old]
    other = None if new is None else replayed[new]
    told: dict[str, Any] = {
        "recorded": old,
        "replayed": new,
        "actor": (one or other).actor,  # type: ignore[union-attr]
        "actor_now": other.actor if other else None,
        "outcome": one.outcome if one else None,
        "outcome_now": other.outcome if other else None,
    }
    questions = list(_questions(one.exchanges if one else [], other.exchanges if other else []))
    unknown = known is not None and max(old or 0, new or 0) >= known
    if one is None or unknown:
        changes = difference(_stable(one), _stable(other)) if one and other else []
        return HopComparison(**told, verdict="not recorded", changes=changes, questions=questions)
    if other is None:
        return HopComparison(**told, verdict="not made", questions=questions)
    verdict: HopVerdict = "same"
    changes = []
    if one.added != other.added:
        before, after = _stable(one), _stable(other)
        changes = difference(before, after)
        if changes:
            verdict = "similar" if _agree(before, after) else "different"
    if _step(one) != _step(other):
        verdict = "different"
    return HopComparison(**told, verdict=verdict, changes=changes, questions=questions)


def _stable(hop: Hop | None) -> Json:
    return {slot: stable(slot, value) for slot, value in hop.added.items()} if hop else {}


def _agree(before: Json, after: Json) -> bool:
    """Say whether two outputs hold the same decisions."""
    if before.keys() != after.keys():
        return False
    return all(
        _alike(before[slot], after[slot])
        if slot == "response"
        else not difference(decision(slot, before[slot]), decision(slot, after[slot]))
        for slot in before
    )


def _alike(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    first, second = str(decision("response", one)), str(decision("response", other))
    return score(first, second) >= SIMILAR and same_figures(first, second)


def _of_hops(hops: list[HopComparison], known: int | None) -> Iterator[Verdict]:
    """Yield what the hops say of the turn; past what is known only that it is not."""
    for hop in hops:
        if hop.verdict == "not made":
            yield "different"
        elif hop.verdict == "not recorded" and known is None:
            yield "different"  # a hop more, in a turn that was recorded to its end
        else:
            yield hop.verdict


def _questions(recorded: list[Exchange], replayed: list[Exchange]) -> Iterator[Question]:
    """Yield what only one side asked. Who asks at the same time is answered in any order."""
    old = Counter(_asked(one) for one in recorded if _counts(one))
    new = Counter(_asked(one) for one in replayed if _counts(one))
    for one in replayed:
        if _lacks_answer(one):
            yield Question(kind="not recorded", target=one.target, request=one.request)
        elif _counts(one) and _asked(one) in new - old:
            yield Question(kind="asked", target=one.target, request=one.request)
    for one in recorded:
        if _counts(one) and _asked(one) in old - new:
            yield Question(kind="not asked", target=one.target, request=one.request)


def _counts(exchange: Exchange) -> bool:
    """Say whether it matters that this was asked: whoever only reads may find it in the cache."""
    return exchange.target != "cache" and exchange.request.get("method") != "GET"


def _asked(exchange: Exchange) -> str:
    return f"{exchange.target} {json.dumps(exchange.request, sort_keys=True, default=str)}"


# The aspects


def _aspects(
    recorded: Message, replayed: Message, known: int | None
) -> Iterator[tuple[Aspect, AspectComparison]]:
    for aspect in ASPECTS:
        if aspect == "route":
            yield aspect, _compare_route(recorded, replayed, known)
        elif aspect == "outcome":
            yield aspect, _compare_outcome(recorded, replayed, known)
        elif aspect == "reply":
            yield aspect, _compare_reply(recorded, replayed, known)
        else:
            yield aspect, _compare_slot(aspect, recorded, replayed, known)


def _compare_route(recorded: Message, replayed: Message, known: int | None) -> AspectComparison:
    old, new = route(recorded), route(replayed)
    if old[:known] != new[:known]:
        verdict: Literal["same", "not recorded", "different"] = "different"
    else:
        verdict = "same" if known is None else "not recorded"
    return AspectComparison(verdict=verdict, recorded=old, replayed=new)


def _compare_outcome(recorded: Message, replayed: Message, known: int | None) -> AspectComparison:
    old, new = state_of(recorded), state_of(replayed)
    if known is not None:
        return AspectComparison(
            verdict="not recorded", recorded=old if recorded.trace else None, replayed=new
        )
    return AspectComparison(
        verdict="same" if old == new else "different", recorded=old, replayed=new
    )


def _compare_reply(recorded: Message, replayed: Message, known: int | None) -> AspectComparison:
    old = recorded.payload.response.text if recorded.payload.response else None
    new = replayed.payload.response.text if replayed.payload.response else None
    alike = None if old is None or new is None else score(old, new)
    verdict: Literal["same", "similar", "not recorded", "different"]
    # A reply is there without a trace where a human's answer is known.
    held = _holds("response", recorded, replayed, known) if recorded.trace else old is not None
    if not held:
        verdict = "not recorded"
    elif old == new:
        verdict = "same"
    elif old is None or new is None or alike is None or alike < SIMILAR:
        verdict = "different"
    else:
        figures = same_figures(_neutral(recorded, old), _neutral(replayed, new))
        verdict = "similar" if figures else "different"
    return AspectComparison(verdict=verdict, recorded=old, replayed=new, score=alike)


def _neutral(message: Message, text: str) -> str:
    """Return a reply with names that the shop made up replaced by what they are names of."""
    for name, kind in made_up(message).items():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", kind, text)
    return text


def _compare_slot(
    aspect: Aspect, recorded: Message, replayed: Message, known: int | None
) -> AspectComparison:
    slot = _SLOT_OF[aspect]
    before, after = _final(slot, recorded), _final(slot, replayed)
    old, new = decision(slot, before), decision(slot, after)
    if aspect == "actions":
        old, new = _with_arguments(recorded, old), _with_arguments(replayed, new)
    verdict: Literal["same", "similar", "not recorded", "different"]
    if not _holds(slot, recorded, replayed, known):
        verdict = "not recorded"
    elif difference(old, new):
        verdict = "different"
    else:
        verdict = "similar" if difference(before, after) else "same"
    return AspectComparison(verdict=verdict, recorded=old, replayed=new)


def _final(slot: str, message: Message) -> Any:
    value = getattr(message.payload, slot)
    return None if value is None else stable(slot, value.model_dump(mode="json"))


def _with_arguments(message: Message, decided: Any) -> Any:
    """Add to each action that was done what it was done with; the plan has that."""
    plan, execution = message.payload.plan, message.payload.execution
    if plan is None or execution is None or not isinstance(decided, list):
        return decided
    planned = {action.id: action.arguments for action in plan.actions}
    return [
        one | {"arguments": planned.get(result.action_id, {})}
        for one, result in zip(decided, execution.results, strict=True)
    ]


def _holds(slot: str, recorded: Message, replayed: Message, known: int | None) -> bool:
    """Say whether a slot has on both sides what led to it among the places that can be compared."""
    if known is None:
        return True
    filled = [_filled(slot, recorded), _filled(slot, replayed)]
    return any(place is not None for place in filled) and all(
        place is None or place < known for place in filled
    )


def _filled(slot: str, message: Message) -> int | None:
    """Return the place of the hop that filled a slot last."""
    places = (place for place, hop in enumerate(message.trace) if slot in hop.added)
    return max(places, default=None)
