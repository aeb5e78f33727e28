"""How a turn came into the mesh, and what each of its hops found: read back from its end."""

from typing import Any, Final

from streams.message import Message
from streams.payload import Json, Payload
from streams.slip import NEW_TURN, RouteSlip

_SLOTS: Final = {name for name, field in Payload.model_fields.items() if not field.frozen}


def brought(message: Message) -> Json:
    """Return what `message` brings to its next hop that no hop of its trace tells.

    That is `{"steps", "slots"}` where a turn begins, or begins again after a redrive; nothing for
    one that begins as all do.
    """
    begins = not message.trace
    if not begins and not _redriven_since(message):
        return {}
    slots = message.payload.model_dump(mode="json", include=_SLOTS, exclude_defaults=True)
    if begins and not slots and message.slip.steps == NEW_TURN:
        return {}
    return {"steps": list(message.slip.steps), "slots": slots}


def _redriven_since(message: Message) -> bool:
    last = message.by_hand[-1] if message.by_hand else None
    return last is not None and last.letter is not None and last.at >= message.trace[-1].started_at


def begun_at(message: Message) -> int:
    """Return the place of the hop with which a finished turn began, the last time that it did."""
    begun = [place for place, hop in enumerate(message.trace) if hop.given]
    return begun[-1] if begun else 0


def entered(message: Message) -> Message:
    """Return a finished turn as it came in: its words and its slip, with nothing found out yet."""
    given = message.trace[0].given if message.trace else {}
    return message.model_copy(
        update={
            "slip": RouteSlip(
                steps=tuple(given.get("steps", NEW_TURN)), on_error=message.slip.on_error
            ),
            "payload": Payload.model_validate(_words(message) | given.get("slots", {})),
            "trace": [],
            "error": None,
            "recovery": type(message.recovery)(),
            "replay": None,
            "traceparent": None,
        },
    )


def payload_before(message: Message, place: int) -> Payload:
    """Return the payload that the hop at `place` found; past the last one, the one it left."""
    slots: dict[str, Any] = {}
    for earlier in message.trace[:place]:
        slots = (earlier.given.get("slots") or slots) | earlier.added
    if place < len(message.trace):
        slots = message.trace[place].given.get("slots") or slots
    return Payload.model_validate(_words(message) | slots)


def _words(message: Message) -> Json:
    """Return what the customer brought, which no hop changes."""
    return message.payload.model_dump(exclude=_SLOTS)
