"""Bringing recorded turns into a mesh's journal: those that are there already stay as they are."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client

from streams.bridge.layout import MESSAGE_ID, every_partition, parse_headers
from streams.bridge.reader import heads
from streams.inspection.scan import find_topic
from streams.journal import record_id
from streams.message import BY_HAND, Message
from streams.post import put, reaching
from streams.replay.lines import BadLine
from streams.replay.source import Turns
from streams.settings import Settings
from streams.topics import JOURNAL

AT_ONCE: Final = 64
"""Turns that are on their way to the broker together."""
HEADERS: Final = 1024
"""Bytes that a record's headers have at most."""


@dataclass(frozen=True)
class Taken:
    """A turn that was brought in; `repeated` if it was there already."""

    message: Message
    repeated: bool


async def take_in(
    client: Client, settings: Settings, operator: str, turns: Turns
) -> AsyncGenerator[Taken | BadLine, None]:
    """Put the finished turns of a recording into the journal, and yield what became of each.

    A turn's record has the same id wherever it is, and is in a journal once. Of what is there
    already eight bytes a turn are remembered meanwhile. NoSuchTopic if there is no journal yet,
    GatewayUnavailable if the broker does not answer: bringing in the same again is right.
    """
    put_in = _Intake(client, settings, operator, await _known(client, settings))
    batch: list[tuple[int, Message | BadLine]] = []
    async with aclosing(aiter(turns)) as items:
        async for item in items:
            batch.append((turns.position, item))
            if len(batch) == AT_ONCE:
                for taken in await put_in.all(batch):
                    yield taken
                batch.clear()
    for taken in await put_in.all(batch):
        yield taken


async def _known(client: Client, settings: Settings) -> set[int]:
    """Return the names of all turns in the journal, each cut down to a number."""
    topic = await find_topic(client, settings.prefix, JOURNAL)
    subjects = every_partition(settings.prefix, JOURNAL)
    known: set[int] = set()
    with reaching("the journal cannot be read"):
        async with aclosing(heads(client, topic.stream, subjects)) as batches:
            async for batch in batches:
                for record in batch:
                    if (name := parse_headers(record.header).get(MESSAGE_ID)) is not None:
                        known.add(_number(name))
    return known


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


class _Intake:
    def __init__(self, client: Client, settings: Settings, operator: str, known: set[int]) -> None:
        self.client, self.settings, self.operator, self.known = client, settings, operator, known

    async def all(self, batch: list[tuple[int, Message | BadLine]]) -> list[Taken | BadLine]:
        # What is sent first is stored first: the turns of a session stay in order.
        return list(await asyncio.gather(*(self._one(number, item) for number, item in batch)))

    async def _one(self, line: int, turn: Message | BadLine) -> Taken | BadLine:
        if isinstance(turn, BadLine):
            return turn
        name = record_id(turn.session_id, turn.run)
        number = _number(name)
        if number in self.known:
            return Taken(turn, repeated=True)
        # What a replay or a span was about is no matter of this mesh.
        value = turn.model_copy(update={"replay": None, "traceparent": None}).encode()
        if len(value) + HEADERS > self.client.max_payload:
            return BadLine(line, f"has {len(value):,} bytes, more than the broker takes")
        self.known.add(number)
        stored = await put(
            self.client,
            self.settings,
            JOURNAL,
            key=turn.session_id.encode(),
            value=value,
            message_id=name,
            headers={BY_HAND: self.operator.encode()},
        )
        return Taken(turn, stored.repeated)
