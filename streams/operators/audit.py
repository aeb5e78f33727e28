"""The audit: what operators did and asked for, kept on a topic that nobody rewrites."""

import secrets
from datetime import UTC, datetime

from nats.aio.client import Client
from pydantic import BaseModel, Field

from streams.bridge.direct import every
from streams.bridge.layout import every_partition, partition_for, stream_name, subject
from streams.payload import Json
from streams.post import put, reaching
from streams.settings import Settings
from streams.topics import AUDIT


class Entry(BaseModel):
    """One thing that an operator did. It names what it was done to, and holds no personal data."""

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    operator: str
    action: str = Field(description="A verb, such as 'redrive', 'publish', 'unmask'.")
    target: str = Field(description="What it was done to, such as 'dead letter 12'.")
    detail: Json = {}
    offset: int = Field(0, description="Its place in the audit; set when it is read.")


async def append(
    client: Client, settings: Settings, entry: Entry, *, after: int | None = None
) -> int:
    """Add an entry and return its offset, once it is on disk.

    With `after` only if that is the offset of the target's last entry (0: it has none), else
    Overtaken: so of two operators who do the same at once, one does. GatewayUnavailable if the
    broker does not answer: then do not do what was to be audited.
    """
    stored = await put(
        client,
        settings,
        AUDIT,
        key=entry.target.encode(),
        value=entry.model_dump_json(exclude={"offset"}).encode(),
        message_id=f"audit-{secrets.token_hex(12)}",
        after=after,
    )
    return stored.offset


async def entries(
    client: Client, settings: Settings, *, target: str | None = None, after: int = 0
) -> list[Entry]:
    """Return the entries behind the offset `after`, oldest first; all, or those of one target.

    GatewayUnavailable if they cannot be read.
    """
    if target is None:
        subjects = every_partition(settings.prefix, AUDIT, keyed=True)
    else:
        key = target.encode()
        partition = partition_for(key, settings.partitions)
        subjects = subject(settings.prefix, AUDIT, partition, key)
    found: list[Entry] = []
    stream = stream_name(settings.prefix, AUDIT)
    with reaching("the audit cannot be read"):
        async for each in every(client, stream, subjects, after + 1):
            entry = Entry.model_validate_json(each.record.value or b"")
            found.append(entry.model_copy(update={"offset": each.record.offset}))
    return found
