"""The message that has a recorded turn worked on once more."""

from typing import Final

from streams.message import Hop, Message, Recovery, Remembered, Replay
from streams.payload import Payload
from streams.replay.answers import recorded_hops
from streams.replay.entry import begun_at, entered, payload_before
from streams.replay.request import WhatIf
from streams.slip import (
    ACT_AND_ANSWER,
    ANSWER,
    CONVERSATION,
    DECISION_ROUTER,
    ESCALATION_ROUTER,
    NEW_TURN,
    RouteSlip,
)
from streams.topics import MAILBOX_OF, actor_name

#: They name what follows them: a slip need not know it.
_ROUTERS: Final = (DECISION_ROUTER, ESCALATION_ROUTER)


class NoSuchHop(ValueError):
    """A turn has no hop at the place that is to be edited."""


def rerun(recorded: Message, replay: Replay, edited: WhatIf | None = None) -> Message:
    """Return the message to put into the mailbox that its slip names.

    It begins where the recorded turn began, or behind the hop that is `edited`, with the trace up
    to there. A turn without a trace was never worked on: it begins at the door, and its session
    goes on with it. NoSuchHop if there is none to edit.
    """
    trace = recorded.trace
    if not trace:
        return _started(recorded, entered(recorded).payload, [], NEW_TURN, replay)
    replay = replay.model_copy(
        update={"hops": recorded_hops(trace), "session": _remembered(recorded)}, deep=True
    )
    if edited is None:
        start = begun_at(recorded)
        steps = tuple(trace[start].given.get("steps", NEW_TURN))
        return _started(recorded, payload_before(recorded, start), trace[:start], steps, replay)
    if edited.hop >= len(trace):
        raise NoSuchHop(f"the turn has {len(trace)} hops, none at place {edited.hop}")
    changed = trace[edited.hop].model_copy(
        update={"added": edited.slots, "outcome": "done", "error": None, "notes": ["edited"]}
    )
    before = payload_before(recorded, edited.hop).model_dump()
    return _started(
        recorded,
        Payload.model_validate(before | edited.slots),
        [*trace[: edited.hop], changed],
        tuple(edited.steps or following(trace, edited.hop)),
        replay,
    )


def _started(
    recorded: Message, payload: Payload, trace: list[Hop], steps: tuple[str, ...], replay: Replay
) -> Message:
    done = tuple(MAILBOX_OF[hop.actor] for hop in trace if hop.actor in MAILBOX_OF)
    return recorded.model_copy(
        update={
            "slip": RouteSlip(steps=steps, done=done, on_error=recorded.slip.on_error),
            "payload": payload,
            "trace": trace,
            "error": None,
            "recovery": Recovery(),
            "replay": replay,
            "traceparent": None,
        }
    )


def _remembered(recorded: Message) -> Remembered:
    """Return what the session knew, as its door told it."""
    payload = recorded.payload
    door = recorded.trace[begun_at(recorded)]
    refused = door.actor == actor_name(CONVERSATION) and door.outcome == "failed"
    return Remembered(
        turn=payload.turn,
        history=payload.history,
        awaiting=payload.awaiting,
        refused=(door.error or "").partition(": ")[2] if refused else None,
    )


def following(trace: list[Hop], place: int) -> list[str]:
    """Return the steps that a slip named behind the hop at `place`, as the trace shows them."""
    steps: list[str] = []
    for hop in trace[place + 1 :]:
        subject = MAILBOX_OF.get(hop.actor)
        if subject is None or hop.outcome == "retry":
            continue
        steps.append(subject)
        if subject in _ROUTERS:
            break
        if hop.outcome == "failed":
            # Then it turned aside: what it had still before it is what such slips go on with.
            rest = next((s for s in (NEW_TURN, ACT_AND_ANSWER, ANSWER) if subject in s), ())
            steps += rest[rest.index(subject) + 1 :] if rest else ()
            break
    return steps
