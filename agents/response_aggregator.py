"""The exit: the turn is closed, the customer gets the reply, and the next turn may start."""

from datetime import datetime

from streams import clock
from streams.mailbox import APOLOGY, Mesh
from streams.message import Message
from streams.reply import Reply, describe, state_of
from streams.slip import RESPONSE_AGGREGATOR
from tables.sessions import Sessions, leave


def reply_of(message: Message, now: datetime) -> Reply:
    """Return the reply to a turn; its sequence is set by the session."""
    payload = message.payload
    return Reply(
        session_id=message.session_id,
        message_id=message.id,
        sequence=1,
        at=now,
        response=payload.response.text if payload.response else APOLOGY,
        state=state_of(message),
        intent=payload.intent.name if payload.intent else None,
        sentiment=payload.sentiment.label if payload.sentiment else None,
        route=[hop.actor for hop in message.trace] + ["response_aggregator"],
        actions=[describe(r) for r in payload.execution.results] if payload.execution else [],
        run=message.run if message.former_run else None,
    )


def setup(mesh: Mesh, sessions: Sessions) -> None:
    """Register the actor; it changes the table of sessions, so it works on one turn at a time."""

    @mesh.actor(RESPONSE_AGGREGATOR, concurrency=1)
    async def response_aggregator(message: Message) -> Message:
        now = clock.now()
        if message.replay is not None and message.replay.session is not None:
            await mesh.reply(reply_of(message, now))  # what its session knew is told, not kept
            return message
        ending = leave(
            sessions.get(message.session_id),
            message,
            reply_of(message, now),
            now,
            history_turns=mesh.settings.history_turns,
        )
        sessions.put(ending.session)
        await mesh.reply(ending.reply)
        if ending.following is not None:
            await mesh.send(ending.following)
        return message
