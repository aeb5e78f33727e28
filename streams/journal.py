"""Reading the journal: every finished turn, in the order in which the turns ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from streams.bridge.layout import decode_headers, every_partition, parse_headers, stream_name
from streams.bridge.reader import CHECK_SECONDS, Delivered, batches
from streams.errors import Undecodable
from streams.message import Message
from streams.topics import JOURNAL

BATCH: Final = 200


def record_id(session_id: str, run: str) -> str:
    """Return the id of a turn's record: a run that ends again is in the journal once."""
    return f"journal-{session_id}-{run}"


async def identity(client: Client, prefix: str) -> str:
    """Return a name for this life of the journal's stream: offsets of another life differ.

    Waits for the stream, which the first worker makes.
    """
    while True:
        with suppress(NotFoundError, TimeoutError):
            info = await client.jetstream().stream_info(stream_name(prefix, JOURNAL))
            return f"{info.config.name} {info.created}"
        await asyncio.sleep(CHECK_SECONDS)


async def finished_turns(
    client: Client, prefix: str, after: int = 0
) -> AsyncGenerator[list[tuple[int, Message | Undecodable]], None]:
    """Yield batches of finished turns with their offsets, from `after` (exclusive) on, for ever.

    All partitions come in one order, that of the stream. What is not a message comes as the
    error that says why, so that the reader can step over it.
    """
    stream, subjects = stream_name(prefix, JOURNAL), every_partition(prefix, JOURNAL)
    async with aclosing(batches(client, stream, subjects, after + 1, most=BATCH)) as found:
        async for batch, _ in found:
            if batch:
                yield [(record.sequence, _message(record)) for record in batch]


def _message(record: Delivered) -> Message | Undecodable:
    content = decode_headers(parse_headers(record.header), record.payload)
    try:
        return Message.decode(content.value or b"")
    except Undecodable as error:
        return error
