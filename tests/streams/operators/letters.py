"""Dead letters for tests, as a mailbox buries them."""

import secrets
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client

from streams import slip
from streams.dead_letters import BURIED_AT, ORIGIN, REASON
from streams.message import Message
from streams.payload import Payload
from streams.post import put
from streams.settings import Settings
from streams.topics import DEAD_LETTERS

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def turn(turn_id: str = "t1", text: str = "hello", **fields: Any) -> Message:
    payload = Payload(text=text, email="ann@example.com", at=NOW)
    return Message(id=turn_id, session_id="s1", payload=payload, **fields)


async def bury(
    client: Client,
    settings: Settings,
    value: bytes = b"?",
    reason: str = "it broke",
    topic: str = slip.INTENT_ANALYZER,
    at: datetime = NOW,
) -> int:
    headers = {
        REASON: reason.encode(),
        ORIGIN: f"{topic}/0/1".encode(),
        BURIED_AT: at.isoformat().encode(),
    }
    stored = await put(
        client,
        settings,
        DEAD_LETTERS,
        key=b"s1",
        value=value,
        message_id=secrets.token_hex(8),
        headers=headers,
    )
    return stored.offset
