"""Reading back what a session was answered."""

from contextlib import suppress

from nats.aio.client import Client
from pydantic import ValidationError

from streams.bridge.direct import every
from streams.bridge.layout import partition_for, stream_name, subject
from streams.post import reaching
from streams.reply import Reply
from streams.settings import Settings
from streams.topics import REPLIES


def reply_subject(settings: Settings, session_id: str) -> str:
    """Return the subject of a session's replies: nobody else's have it."""
    key = session_id.encode()
    return subject(settings.prefix, REPLIES, partition_for(key, settings.partitions), key)


async def replies_of(
    client: Client, settings: Settings, session_id: str, after: int = 0
) -> list[Reply]:
    """Return a session's replies with a sequence above `after`, in order, each once.

    GatewayUnavailable if they cannot be read.
    """
    stream, subjects = stream_name(settings.prefix, REPLIES), reply_subject(settings, session_id)
    found: dict[int, Reply] = {}
    with reaching("replies cannot be read"):
        async for each in every(client, stream, subjects):
            with suppress(ValidationError):
                reply = Reply.model_validate_json(each.record.value or b"")
                found.setdefault(reply.sequence, reply)
    return [found[sequence] for sequence in sorted(found) if sequence > after]
