"""What was done about dead letters, by the audit, and what came of it, by replies and letters."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from nats.aio.client import Client

from streams.bridge.direct import batch, first
from streams.operators.audit import Entry, entries
from streams.operators.letters import WINDOW, Letter, letter_of, where
from streams.payload import Json
from streams.post import reaching
from streams.replies import replies_of
from streams.reply import State
from streams.settings import Settings

AHEAD: Final = 1000  # letters behind a redrive among which it is looked for


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


def redrives(told: list[Entry]) -> list[Redrive]:
    """Return the redrives that the audit tells of, in order."""
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


async def _fate(client: Client, settings: Settings, letter: Letter, told: list[Entry]) -> Fate:
    done = redrives(told)
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


async def _buried_again(
    client: Client, settings: Settings, since: datetime
) -> dict[tuple[int, int], int]:
    """Return the letters since then that were redriven ones before, by letter and attempt."""
    found: dict[tuple[int, int], int] = {}
    with reaching("the dead letters cannot be read"):
        begin = await first(client, *where(settings), since=since.timestamp())
        position = begin.record.offset if begin else 0
        looked = 0
        while position and looked < AHEAD:
            records, position = await batch(client, *where(settings), position, WINDOW)
            looked += len(records)
            for record in records:
                message = letter_of(record).message
                hands = message.by_hand if message else []
                if hands and hands[-1].letter is not None:
                    found[hands[-1].letter, hands[-1].attempt] = record.record.offset
    return found


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
