"""The dead letters for people: finding them, mending them, and sending them on.

A redrive is claimed in the audit before anything is sent, behind the last entry about the letter:
so of two operators who press at once, one does it. The message goes through its session's door
again, keeps its turn and its trace, and says by whose hand it came back.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from nats.aio.client import Client
from pydantic import BaseModel

from streams.audit import Entry, append, entries
from streams.bridge.direct import Found, batch, first, last
from streams.bridge.layout import every_partition, stream_name
from streams.dead_letters import BURIED_AT, ORIGIN, REASON
from streams.draft import BadDraft, Problem, dotted, read_draft, route_problems
from streams.errors import MeshError, Undecodable
from streams.message import BY_HAND, ByHand, Message, Recovery
from streams.payload import Json
from streams.post import Overtaken, put, reaching
from streams.replies import replies_of
from streams.reply import State
from streams.settings import Settings
from streams.slip import CONVERSATION, RouteSlip
from streams.topics import DEAD_LETTERS
from streams.tracing import TRACEPARENT

#: The header of a redriven record, for people who look at the topic: the letter's offset.
REDRIVEN: Final = "Mesh-Redriven"

PAGE: Final = 50
LOOK: Final = 5000  # letters that one search looks through at most
AHEAD: Final = 1000  # letters behind a redrive among which it is looked for
WINDOW: Final = 250
OVERTAKEN_SECONDS: Final = 0.05


class NoLetter(MeshError):
    """There is no dead letter with this offset."""


class AlreadyRedriven(MeshError):
    """Somebody was faster."""


@dataclass(frozen=True)
class Letter:
    """A dead letter: the record as it came, why it is here, and from where."""

    offset: int
    buried_at: datetime
    reason: str
    topic: str | None
    origin: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    message: Message | None
    problem: str = ""  # why the bytes are no message

    @property
    def target(self) -> str:
        """What the audit calls it."""
        return f"dead letter {self.offset}"

    @property
    def session_id(self) -> str | None:
        """The conversation it belongs to; None if even that cannot be told."""
        if self.message is not None:
            return self.message.session_id
        return self.key.decode(errors="replace") if self.key else None

    def text(self) -> str:
        """Return the bytes as text to edit."""
        return (self.value or b"").decode(errors="replace")


@dataclass(frozen=True)
class Redrive:
    """One time that a letter was sent on."""

    attempt: int
    operator: str
    at: datetime
    session: str
    turn: str
    steps: list[str]
    edited: list[str]
    arrived: bool  # False: it was begun, and nobody knows whether the message is on its way


Became = Literal["unknown", "under way", "buried again", "set aside", "long past"] | State


@dataclass(frozen=True)
class Fate:
    """What was done about a letter, and what came of it."""

    redrives: list[Redrive] = field(default_factory=list)
    became: Became | None = None
    again: int | None = None  # the letter that it became, if it was buried again
    last_entry: int = 0  # the offset of the last thing that the audit says of it
    aside: Entry | None = None  # who set it aside last, and why, if nothing was done since

    @property
    def open(self) -> bool:
        """Say whether nobody has done anything about the letter."""
        return self.became is None


class Wanted(BaseModel):
    """Which letters to find; times are those of the burial."""

    reason: str = ""  # a part of it
    topic: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    """Letters, newest first. `before` is where to look on, None at the end."""

    letters: list[Letter]
    before: int | None
    looked: int


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


async def find(
    client: Client, settings: Settings, wanted: Wanted, *, before: int | None = None
) -> Page:
    """Return the newest letters that are wanted, from `before` (exclusive) on backwards.

    One call looks through `LOOK` letters at most and returns `PAGE`; GatewayUnavailable.
    """
    found: list[Letter] = []
    looked = 0
    with reaching("the dead letters cannot be read"):
        if before is None:
            newest = await last(client, *_place(settings))
            before = newest.record.offset + 1 if newest else 1
        while before > 1 and looked < LOOK:
            start = max(1, before - WINDOW)
            records, _ = await batch(client, *_place(settings), start, WINDOW)
            window = [record for record in records if record.record.offset < before]
            for record in reversed(window):
                looked += 1
                before = record.record.offset
                letter = _letter(record)
                if wanted.since and letter.buried_at < wanted.since:
                    return Page(found, None, looked)
                if _matches(letter, wanted):
                    found.append(letter)
                    if len(found) == PAGE:
                        return Page(found, before if before > 1 else None, looked)
            before = start
    return Page(found, before if before > 1 else None, looked)


async def read(client: Client, settings: Settings, offset: int) -> Letter:
    """Return one letter; NoLetter, GatewayUnavailable."""
    with reaching("the dead letters cannot be read"):
        found = await first(client, *_place(settings), sequence=offset)
    if found is None or found.record.offset != offset:
        raise NoLetter(f"there is no dead letter {offset}")
    return _letter(found)


async def fates(client: Client, settings: Settings, letters: Iterable[Letter]) -> list[Fate]:
    """Return what was done about each letter and what came of it; GatewayUnavailable."""
    letters = list(letters)
    told = await asyncio.gather(
        *(entries(client, settings, target=letter.target) for letter in letters)
    )
    known = await asyncio.gather(
        *(_fate(client, settings, letter, each) for letter, each in zip(letters, told, strict=True))
    )
    # A turn that was buried again has an apology or nothing.
    doubtful = [
        fate.redrives[-1].at for fate in known if fate.became in ("under way", "unknown", "failed")
    ]
    if not doubtful:
        return known
    buried = await _buried_again(client, settings, min(doubtful))
    return [
        replace(fate, became="buried again", again=again)
        if fate.redrives
        and fate.became != "set aside"
        and (again := buried.get((letter.offset, fate.redrives[-1].attempt))) is not None
        else fate
        for letter, fate in zip(letters, known, strict=True)
    ]


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
        done = _redrives(told)
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


def _place(settings: Settings) -> tuple[str, str]:
    prefix = settings.prefix
    return stream_name(prefix, DEAD_LETTERS), every_partition(prefix, DEAD_LETTERS)


def _letter(found: Found) -> Letter:
    record = found.record
    headers = dict(record.headers)
    origin = headers.get(ORIGIN, b"").decode(errors="replace") or None
    message, problem = None, ""
    try:
        message = Message.decode(record.value or b"")
    except Undecodable as error:
        problem = str(error)
    return Letter(
        offset=record.offset,
        buried_at=_time(headers.get(BURIED_AT, b"")) or datetime.fromtimestamp(found.stored, UTC),
        reason=headers.get(REASON, b"").decode(errors="replace"),
        topic=origin.rsplit("/", 2)[0] if origin else None,
        origin=origin,
        key=record.key,
        value=record.value,
        headers=record.headers,
        message=message,
        problem=problem,
    )


def _time(text: bytes) -> datetime | None:
    try:
        return datetime.fromisoformat(text.decode())
    except ValueError:
        return None


def _matches(letter: Letter, wanted: Wanted) -> bool:
    return (
        wanted.reason.casefold() in letter.reason.casefold()
        and (not wanted.topic or letter.topic == wanted.topic)
        and (wanted.until is None or letter.buried_at <= wanted.until)
    )


def _redrives(told: list[Entry]) -> list[Redrive]:
    arrived = {each.detail["attempt"] for each in told if each.action == "redriven"}
    return [
        Redrive(
            attempt=each.detail["attempt"],
            operator=each.operator,
            at=each.at,
            session=each.detail["session"],
            turn=each.detail["turn"],
            steps=each.detail["steps"],
            edited=each.detail["edited"],
            arrived=each.detail["attempt"] in arrived,
        )
        for each in told
        if each.action == "redrive"
    ]


async def _buried_again(
    client: Client, settings: Settings, since: datetime
) -> dict[tuple[int, int], int]:
    """Return the letters since then that were redriven ones before, by letter and attempt."""
    found: dict[tuple[int, int], int] = {}
    with reaching("the dead letters cannot be read"):
        begin = await first(client, *_place(settings), since=since.timestamp())
        position = begin.record.offset if begin else 0
        looked = 0
        while position and looked < AHEAD:
            records, position = await batch(client, *_place(settings), position, WINDOW)
            looked += len(records)
            for record in records:
                message = _letter(record).message
                hands = message.by_hand if message else []
                if hands and hands[-1].letter is not None:
                    found[hands[-1].letter, hands[-1].attempt] = record.record.offset
    return found


async def _fate(client: Client, settings: Settings, letter: Letter, told: list[Entry]) -> Fate:
    done = _redrives(told)
    last_entry = told[-1].offset if told else 0
    acted = [each for each in told if each.action in ("redrive", "set aside")]
    if acted and acted[-1].action == "set aside":
        return Fate(done, "set aside", None, last_entry, acted[-1])
    if not done:
        return Fate(last_entry=last_entry)
    latest = done[-1]
    run = f"{latest.turn}.{letter.offset}.{latest.attempt}"
    for reply in await replies_of(client, settings, latest.session):
        if reply.run == run:
            return Fate(done, reply.state, None, last_entry)
    if datetime.now(UTC) - latest.at > timedelta(days=settings.reply_days):
        return Fate(done, "long past", None, last_entry)
    return Fate(done, "under way" if latest.arrived else "unknown", None, last_entry)


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


def as_json(letter: Letter, fate: Fate) -> Json:
    """Return a letter and its fate as plain values, for pages and programs; nothing is masked."""
    message = letter.message
    return {
        "offset": letter.offset,
        "buried_at": letter.buried_at.isoformat(),
        "reason": letter.reason,
        "topic": letter.topic,
        "origin": letter.origin,
        "session_id": letter.session_id,
        "turn": message.id if message else None,
        "text": message.payload.text if message else None,
        "steps": list(message.slip.steps) if message else None,
        "hops": len(message.slip.done) if message else None,
        "problem": letter.problem or None,
        "redrives": [
            {
                "attempt": each.attempt,
                "operator": each.operator,
                "at": each.at.isoformat(),
                "steps": each.steps,
                "edited": each.edited,
                "arrived": each.arrived,
            }
            for each in fate.redrives
        ],
        "became": fate.became,
        "aside": None
        if fate.aside is None
        else {
            "operator": fate.aside.operator,
            "at": fate.aside.at.isoformat(),
            "note": fate.aside.detail["note"],
        },
        "again": fate.again,
    }
