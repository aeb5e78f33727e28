"""Finished turns, as the journal keeps them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from streams.message import Exchange, Hop, Message
from streams.payload import Intent, IntentName, Payload, Response
from streams.slip import CLOSE, NEW_TURN, RouteSlip

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)


def finished(
    turn: str = "t1",
    session: str = "s1",
    text: str = "where is my order?",
    *,
    minutes: float = 0,
    intent: IntentName = IntentName.ORDER_STATUS,
    reply: str | None = "on its way",
    **more: Any,
) -> Message:
    """Return a turn that was said so many minutes after ten, with a hop and an exchange."""
    at = AT + timedelta(minutes=minutes)
    asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
    hop = Hop(
        actor="intent_analyzer",
        started_at=at,
        duration_ms=3,
        added={"intent": {"name": intent, "confidence": 1}},
        exchanges=[Exchange(target="llm", request=asked, response={"text": "x"}, duration_ms=2)],
    )
    return Message(
        id=turn,
        session_id=session,
        slip=RouteSlip(steps=(), done=(*NEW_TURN, *CLOSE)),
        payload=Payload(
            text=text,
            email="ann@example.com",
            at=at,
            turn=1,
            intent=Intent(name=intent, confidence=1),
            response=Response(text=reply, source="template") if reply is not None else None,
        ),
        trace=[hop],
        **more,
    )
