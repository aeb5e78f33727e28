"""The entry: a turn finds its session, learns what was said before, and starts or waits."""

from datetime import UTC, datetime

from streams.mailbox import Mesh
from streams.message import Message
from streams.slip import CONVERSATION
from tables.sessions import Session, Sessions, enter


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


def setup(mesh: Mesh, sessions: Sessions) -> None:
    """Register the actor; it changes the table of sessions, so it works on one turn at a time."""

    @mesh.actor(CONVERSATION, concurrency=1)
    async def conversation(message: Message) -> Message | None:
        entry = enter(
            sessions.get(message.session_id),
            message,
            datetime.now(UTC),
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
