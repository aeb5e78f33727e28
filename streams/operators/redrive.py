"""Sending dead letters on, mended or as they are, or setting them aside.

A redrive is claimed in the audit before anything is sent, behind the last entry about the letter:
so of two operators who press at once, one does it. The message goes through its session's door
again, keeps its turn and its trace, and says by whose hand it came back.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from nats.aio.client import Client
from pydantic import BaseModel

from streams.errors import MeshError, Undecodable
from streams.message import BY_HAND, ByHand, Message, Recovery
from streams.observability.tracing import TRACEPARENT
from streams.operators.audit import Entry, append, entries
from streams.operators.draft import BadDraft, Problem, dotted, read_draft, route_problems
from streams.operators.fates import redrives
from streams.operators.letters import Letter, read
from streams.post import Overtaken, put
from streams.settings import Settings
from streams.slip import CONVERSATION, RouteSlip

#: The header of a redriven record, for people who look at the topic: the letter's offset.
REDRIVEN: Final = "Mesh-Redriven"
OVERTAKEN_SECONDS: Final = 0.05


class AlreadyRedriven(MeshError):
    """Somebody was faster."""


class Change(BaseModel):
    """What to change in a letter before it is sent on; nothing: it goes on where it was."""

    text: str | None = None  # the whole message, as JSON
    steps: list[str] | None = None
    on_error: str | None = None


@dataclass(frozen=True)
class Redriven:
    """Where a letter went."""

    letter: int
    attempt: int
    message: Message
    topic: str
    offset: int


def plan(letter: Letter, change: Change, operator: str, attempt: int, now: datetime) -> Message:
    """Return the message as it would be sent on; BadDraft if it could not be worked on."""
    draft = _draft(letter, change)
    slip = draft.slip
    if change.steps is not None or change.on_error is not None:
        # A route that a person chose is counted anew: the old one may have no hop left.
        steps = slip.steps if change.steps is None else tuple(change.steps)
        slip = RouteSlip(steps=steps, on_error=change.on_error or slip.on_error)
    if slip.next() is not None and slip.next() != CONVERSATION:
        # Through the door, so that one turn a session at a time holds for it too.
        slip = slip.insert((CONVERSATION,))
    if problems := route_problems(slip):
        raise BadDraft(Problem(path=dotted(path), text=said) for path, said in problems)
    hand = ByHand(kind="redriven", operator=operator, at=now, letter=letter.offset, attempt=attempt)
    before = letter.message or draft
    return draft.model_copy(
        update={
            "slip": slip,
            "trace": before.trace,
            "by_hand": [*before.by_hand, hand],
            # Failed tries of then do not count now.
            "recovery": Recovery(),
        }
    )


def edited(letter: Letter, message: Message) -> list[str]:
    """Return the paths of what differs from the letter; `everything` if that was no message."""
    if letter.message is None:
        return ["everything"]
    ours = {"trace", "by_hand", "recovery"}
    old = letter.message.model_dump(mode="json", exclude=ours)
    new = message.model_dump(mode="json", exclude=ours)
    return _differences(old, new)


async def set_aside(
    client: Client, settings: Settings, operator: str, offset: int, note: str
) -> None:
    """Say of a letter that nothing is to be done about it, and why; it stays, and may be redriven.

    NoLetter, GatewayUnavailable.
    """
    letter = await read(client, settings, offset)
    entry = Entry(
        operator=operator, action="set aside", target=letter.target, detail={"note": note}
    )
    await append(client, settings, entry)


async def redrive(
    client: Client, settings: Settings, operator: str, offset: int, change: Change, *, seen: int
) -> Redriven:
    """Send a letter on, changed or not; returns once its message is in its mailbox.

    `seen` is how often the operator has seen it redriven: AlreadyRedriven if that is no longer
    so. BadDraft, NoLetter; GatewayUnavailable if the broker does not answer: the letter's fate
    says then whether it was begun.
    """
    letter = await read(client, settings, offset)
    while True:
        told = await entries(client, settings, target=letter.target)
        done = redrives(told)
        if len(done) != seen:
            who = f" by {done[-1].operator} at {done[-1].at:%Y-%m-%d %H:%M:%S} UTC" if done else ""
            raise AlreadyRedriven(f"dead letter {offset} was redriven meanwhile{who}")
        attempt = len(done) + 1
        message = plan(letter, change, operator, attempt, datetime.now(UTC))
        claim = Entry(
            operator=operator,
            action="redrive",
            target=letter.target,
            detail={
                "attempt": attempt,
                "session": message.session_id,
                "turn": message.id,
                "steps": list(message.slip.steps),
                "edited": edited(letter, message),
            },
        )
        try:
            await append(client, settings, claim, after=told[-1].offset if told else 0)
        except Overtaken:
            # By another redrive, which is seen next, or by somebody who only looked. A replica
            # may take a moment to know.
            await asyncio.sleep(OVERTAKEN_SECONDS)
            continue
        break
    topic = message.slip.steps[0]
    stored = await put(
        client,
        settings,
        topic,
        key=message.session_id.encode(),
        value=message.encode(),
        message_id=f"redriven-{offset}-{attempt}",
        # The turn's trace goes on where it came from when it was buried.
        headers={name: value for name, value in letter.headers if name == TRACEPARENT}
        | {REDRIVEN: str(offset).encode(), BY_HAND: operator.encode()},
    )
    arrival = Entry(
        operator=operator,
        action="redriven",
        target=letter.target,
        detail={"attempt": attempt, "topic": topic, "offset": stored.offset},
    )
    await append(client, settings, arrival)
    return Redriven(offset, attempt, message, topic, stored.offset)


def _draft(letter: Letter, change: Change) -> Message:
    """Return the message to send, before its route; of a letter's identity nothing may change."""
    if change.text is None:
        if letter.message is None:
            raise BadDraft([Problem(path="", text=f"{letter.problem}: edit it first")])
        return letter.message
    draft = read_draft(change.text) if change.steps is None else _read_but_route(change.text)
    kept = {"session_id": letter.session_id}
    if letter.message is not None:
        kept["id"] = letter.message.id
    problems = [
        Problem(path=name, text=f"must stay {was!r}: a letter stays in its conversation")
        for name, was in kept.items()
        if was is not None and getattr(draft, name) != was
    ]
    if problems:
        raise BadDraft(problems)
    return draft


def _read_but_route(text: str) -> Message:
    """Return the message in `text` whose route is replaced anyway."""
    try:
        return read_draft(text)
    except BadDraft as bad:
        if not all(problem.path.startswith("slip.") for problem in bad.problems):
            raise
    try:
        return Message.decode(text.encode())
    except Undecodable as error:
        raise BadDraft([Problem(path="slip", text=str(error))]) from None


def _differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> list[str]:
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for name in sorted({*old, *new})
            for found in _differences(old.get(name), new.get(name), (*path, name))
        ]
    return [dotted(path)]
