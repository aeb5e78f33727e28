"""The sessions that had something to say lately, for people who look for one."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, ValidationError

from streams.bridge import direct
from streams.bridge.layout import every_partition, key_of, partition_for, subject
from streams.bridge.reader import Delivered, heads
from streams.bridge.topics import TopicInfo, lookup
from streams.inspection.broker import Client
from streams.post import reaching
from streams.reply import Reply
from streams.slip import CONVERSATION
from streams.topics import REPLIES

LOOKED_AT: Final = 500
"""Messages of customers that are looked at, the newest ones."""
WITHIN: Final = 10.0  # seconds


class Recent(BaseModel):
    """A session, and what is known of it without reading it."""

    session_id: str
    at: datetime
    """When its newest message came."""
    replies: int = 0
    state: str | None = None
    """Of its last reply; None if it has none yet."""
    intent: str | None = None
    answered: bool = False
    """Whether its last reply is newer than its newest message."""


async def recent(client: Client, prefix: str, most: int = 30) -> list[Recent]:
    """Return the newest sessions, the newest first. GatewayUnavailable if nobody can tell."""
    with reaching("the conversations cannot be read"):
        async with asyncio.timeout(WITHIN):
            js = client.jetstream()
            mailbox = await lookup(js, prefix, CONVERSATION)
            replies = await lookup(js, prefix, REPLIES)
            if mailbox is None or replies is None:
                return []
            newest: dict[str, float] = {}
            for record in await _newest(client, mailbox):
                key = key_of(record.header)
                if key is not None:
                    newest[key.decode("utf-8", "replace")] = record.time
            chosen = sorted(newest, key=lambda session: newest[session], reverse=True)[:most]
            return await asyncio.gather(
                *(_seen(client, prefix, replies, session, newest[session]) for session in chosen)
            )


async def _newest(client: Client, topic: TopicInfo) -> list[Delivered]:
    """Return the headers of a topic's newest records."""
    start = max(topic.first_offset, topic.last_offset - LOOKED_AT + 1)
    subjects = every_partition(topic.prefix, topic.topic)
    async with aclosing(heads(client, topic.stream, subjects, start)) as batches:
        return [record async for batch in batches for record in batch]


async def _seen(client: Client, prefix: str, replies: TopicInfo, session: str, at: float) -> Recent:
    known = Recent(session_id=session, at=datetime.fromtimestamp(at, UTC))
    key = session.encode()
    place = subject(prefix, REPLIES, partition_for(key, replies.partitions), key)
    last = await direct.last(client, replies.stream, place)
    if last is not None:
        try:
            reply = Reply.model_validate_json(last.record.value or b"")
        except ValidationError:
            return known
        known.replies, known.state, known.intent = reply.sequence, reply.state, reply.intent
        known.answered = last.stored >= at
    return known
