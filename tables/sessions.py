"""Sessions: what a conversation remembers, and how a turn enters and leaves it.

The transitions are pure. One turn of a session is worked on at a time; those that come meanwhile
wait in the session. A turn that comes again, after a crash or from an impatient browser, is
recognised by its id; one that operators redrive is to be worked on again, so it has a name for
each run (`Message.run`).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import faust
from faust.types import TableT
from pydantic import BaseModel

from streams.errors import MeshError
from streams.message import Message
from streams.payload import PlannedAction, Utterance
from streams.reply import Reply, State
from streams.settings import Settings
from streams.slip import CONVERSATION

#: A turn that has not come back after this time will not: the next one may start.
ABANDONED_AFTER: Final = timedelta(minutes=15)

#: Turns that a session still recognises when they come again.
REMEMBERED_TURNS: Final = 20


class TooManyWaiting(MeshError):
    """A session has as many turns waiting as it may have."""


class Session(BaseModel):
    """One conversation."""

    session_id: str
    email: str | None = None
    started_at: datetime
    updated_at: datetime
    state: State | None = None
    turns: int = 0
    replies: int = 0
    history: list[Utterance] = []
    active: Message | None = None
    active_since: datetime | None = None
    waiting: list[Message] = []
    awaiting: list[PlannedAction] = []
    done: dict[str, Reply] = {}


class Sessions:
    """The app's table of sessions by id. Only conversation and aggregator change it.

    The table holds JSON as bytes: Faust writes a table's changelog with the serializer of its
    types alone, and knows of none for ours.
    """

    def __init__(self, app: faust.App, settings: Settings) -> None:
        self.table: TableT[str, bytes] = app.Table(
            "mesh.sessions",
            partitions=settings.partitions,
            key_type=str,
            value_type=bytes,
            help="Conversations: history window, state, turns that wait, actions to confirm.",
        )

    def get(self, session_id: str) -> Session | None:
        """Return a session of a partition that this worker owns, or None."""
        found = self.table.get(session_id)
        return None if found is None else Session.model_validate_json(found)

    def put(self, session: Session) -> None:
        """Store a session; only while an event of its own partition is worked on."""
        self.table[session.session_id] = session.model_dump_json().encode()


@dataclass(frozen=True)
class Entry:
    """What became of a turn at the door: it starts, it waits, or it was answered before."""

    kind: Literal["start", "wait", "repeat"]
    session: Session
    reply: Reply | None = None
    following: Message | None = None  # a turn that waited for one that never came back


def enter(session: Session | None, message: Message, now: datetime, *, pending_turns: int) -> Entry:
    """Let a turn into its session; TooManyWaiting if `pending_turns` wait already."""
    session = session or Session(
        session_id=message.session_id,
        email=message.payload.email,
        started_at=now,
        updated_at=now,
    )
    if reply := session.done.get(message.run):
        return Entry("repeat", session, reply)
    active = session.active
    if active is not None and not _same(active, message) and _abandoned(session, now):
        active = None
        if session.waiting and session.waiting[0].run != message.run:
            # Those that waited go first, and the newcomer behind them.
            first, *others = session.waiting
            session = session.model_copy(
                update={"active": first, "active_since": now, "waiting": others}
            )
            entry = enter(session, message, now, pending_turns=pending_turns)
            return replace(entry, following=first)
    if active is not None and not _same(active, message):
        if any(waiting.run == message.run for waiting in session.waiting):
            return Entry("wait", session)
        if len(session.waiting) >= pending_turns:
            raise TooManyWaiting(f"{pending_turns} messages of this session wait already")
        # It has to come through the door once more, to learn what was said meanwhile.
        outside = message.model_copy(update={"slip": message.slip.insert((CONVERSATION,))})
        return Entry("wait", session.model_copy(update={"waiting": [*session.waiting, outside]}))
    # The same turn may come twice before it is done, after a crash: it keeps its number. So does
    # one that was answered with an apology and is redriven now.
    if active is not None and active.payload.turn > 0:
        turn = active.payload.turn
    elif message.former_run in session.done and message.payload.turn > 0:
        turn = message.payload.turn
    else:
        turn = session.turns + 1
    started = message.model_copy(
        update={"payload": message.payload.model_copy(update={"turn": turn})}
    )
    return Entry(
        "start",
        session.model_copy(
            update={
                "turns": max(turn, session.turns),
                "active": started,
                "active_since": now,
                "updated_at": now,
                "email": session.email or message.payload.email,
                "waiting": [m for m in session.waiting if m.run != message.run],
            }
        ),
    )


@dataclass(frozen=True)
class Exit:
    """A turn's end: its reply, and the turn that may start now."""

    session: Session
    reply: Reply
    following: Message | None


def leave(
    session: Session | None, message: Message, reply: Reply, now: datetime, *, history_turns: int
) -> Exit:
    """Close a turn with `reply`, whose sequence is set here. A turn closed before stays as it was.

    The turn that waited longest becomes the active one: it starts when it has come through its
    mailbox again, and until then keeps its place before all newer ones.
    """
    session = session or Session(
        session_id=message.session_id,
        email=message.payload.email,
        started_at=now,
        updated_at=now,
    )
    if earlier := session.done.get(message.run):
        following = session.active
        if following is not None and following.payload.turn > 0:
            following = None  # it has started since
        return Exit(session, earlier, following)
    reply = reply.model_copy(update={"sequence": session.replies + 1})
    was_active = session.active is not None and session.active.run == message.run
    following = session.waiting[0] if was_active and session.waiting else None
    plan = message.payload.plan
    said = Utterance(role="customer", text=message.payload.text, at=message.payload.at)
    history = [
        *session.history,
        # What a redriven turn says was heard already, if it had an apology the first time.
        *([] if said in session.history and message.former_run in session.done else [said]),
        Utterance(role=reply.author, text=reply.response, at=reply.at),
    ]
    done = {**session.done, message.run: reply}
    changes: dict[str, Any] = {
        "updated_at": now,
        "replies": reply.sequence,
        "history": history[-2 * history_turns :],
        "done": dict(list(done.items())[-REMEMBERED_TURNS:]),
    }
    if was_active:
        asked = plan is not None and reply.state == "awaiting_confirmation"
        changes |= {
            "state": reply.state,
            "awaiting": plan.confirm if plan is not None and asked else [],
            "active": following,
            "active_since": now if following else None,
            "waiting": session.waiting[1:],
        }
    return Exit(session.model_copy(update=changes), reply, following)


def _same(active: Message, message: Message) -> bool:
    """Say whether the message is the active turn: this run of it, or one that takes its place.

    A run that ended among the dead letters stays active until another one gets it going again.
    """
    return active.run in (message.run, message.former_run)


def _abandoned(session: Session, now: datetime) -> bool:
    since = session.active_since
    return since is not None and now - since > ABANDONED_AFTER
