"""The entry: a turn finds its session, learns what was said before, and starts or waits."""

from streams.clock import now
from streams.mailbox import Mesh
from streams.message import Message, Remembered
from streams.slip import CONVERSATION
from tables.sessions import Session, Sessions, TooManyWaiting, enter


def prepare(message: Message, session: Session) -> Message:
    """Return the turn with its number, the conversation so far and what waits for a yes."""
    message.payload = message.payload.model_copy(
        update={
            "turn": session.turns,
            "history": session.history,
            "awaiting": session.awaiting,
        }
    )
    return message


def recalled(message: Message, remembered: Remembered) -> Session:
    """Return the session as it was when the turn was recorded; TooManyWaiting if it was full."""
    if remembered.refused is not None:
        raise TooManyWaiting(remembered.refused)
    return Session(
        session_id=message.session_id,
        started_at=now(),
        updated_at=now(),
        turns=remembered.turn,
        history=remembered.history,
        awaiting=remembered.awaiting,
    )


def setup(mesh: Mesh, sessions: Sessions) -> None:
    """Register the actor; it changes the table of sessions, so it works on one turn at a time."""

    @mesh.actor(CONVERSATION, concurrency=1)
    async def conversation(message: Message) -> Message | None:
        if message.replay is not None and message.replay.session is not None:
            return prepare(message, recalled(message, message.replay.session))
        entry = enter(
            sessions.get(message.session_id),
            message,
            now(),
            pending_turns=mesh.settings.pending_turns,
        )
        if entry.reply is not None:
            await mesh.reply(entry.reply)
            return None
        sessions.put(entry.session)
        if entry.following is not None:
            await mesh.send(entry.following)
        if entry.kind == "wait":
            return None
        return prepare(message, entry.session)
