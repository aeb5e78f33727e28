"""The streams of one replay: a mesh of its own beside all others, gone when the replay is."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from nats.js.errors import NotFoundError

from streams.bridge.groups import read_groups
from streams.bridge.layout import stream_name
from streams.bridge.topics import every_stream
from streams.inspection.broker import Client
from streams.post import reaching
from streams.topics import JOURNAL, MAILBOXES, REPLIES

#: The time that a replay has from its first stream to its first worker.
STARTS_WITHIN: Final = timedelta(minutes=5)

_PREFIX: Final = re.compile(r"(?:KV_)?(replay-[0-9a-f]{12})(?:--.*|-groups)?")


def new_prefix() -> str:
    """Return the prefix of a namespace that nobody else has."""
    return f"replay-{secrets.token_hex(6)}"


async def clear(client: Client, prefix: str) -> None:
    """Delete all streams of a replay. Not those of a mesh, whatever the prefix."""
    with reaching("the streams of the replay cannot be deleted"):
        js = client.jetstream()
        async for info in every_stream(js):
            if _prefix_of(info) == prefix:
                await _delete(js, info)


async def sweep(client: Client) -> list[str]:
    """Delete what replays left behind that were killed, and return their prefixes.

    A replay that has no worker any more, and is not just starting, is one of those.
    """
    with reaching("the streams of earlier replays cannot be deleted"):
        js = client.jetstream()
        found: dict[str, list[StreamInfo]] = {}
        async for info in every_stream(js):
            if (prefix := _prefix_of(info)) is not None:
                found.setdefault(prefix, []).append(info)
        now = datetime.now(UTC)
        left = []
        for prefix, streams in found.items():
            if any(_is_new(info, now) for info in streams):
                continue
            groups = await read_groups(client, prefix)
            if any(member.alive for group in groups for member in group.members):
                continue
            for info in streams:
                await _delete(js, info)
            left.append(prefix)
        return left


async def trim(client: Client, prefix: str, keep: int) -> None:
    """Delete all but the newest `keep` records of each topic that every turn goes through."""
    with reaching("the streams of the replay cannot be trimmed"):
        js = client.jetstream()
        for topic in (*MAILBOXES, JOURNAL, REPLIES):
            await js.purge_stream(stream_name(prefix, topic), keep=keep)


def _prefix_of(info: StreamInfo) -> str | None:
    """Return the replay's prefix that a stream belongs to, or None."""
    matched = _PREFIX.fullmatch(info.config.name or "")
    return matched[1] if matched else None


def _is_new(info: StreamInfo, now: datetime) -> bool:
    created = info.created
    return created is None or now - created.astimezone(UTC) < STARTS_WITHIN


async def _delete(js: JetStreamContext, info: StreamInfo) -> None:
    try:
        await js.delete_stream(info.config.name or "")
    except NotFoundError:
        return  # somebody else swept
