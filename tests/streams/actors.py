"""A mesh whose actors a test gives, and what becomes of its messages."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import faust

from streams import slip
from streams.mailbox import Mesh, Work
from streams.message import Message
from streams.observability.tracing import Tracing
from streams.payload import Payload, Response
from streams.settings import Settings
from streams.slip import RouteSlip
from streams.topics import DEAD_LETTERS, JOURNAL
from tests.faust_apps import at_least, records, running

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def turn(*steps: str, **fields: Any) -> Message:
    return Message(
        id=secrets.token_hex(4),
        session_id="s1",
        slip=RouteSlip(steps=steps, **fields),
        payload=Payload(text="hello", at=NOW),
    )


class Bench:
    """A mesh with actors given by the test, and everything that its journal received."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    async def on(self, topic: str, least: int = 0) -> list[Any]:
        """Return what is on a topic, once that is so many records."""
        settings = self.mesh.settings
        if not least:
            return await records(settings.broker_url, settings.prefix, topic)
        return await at_least(settings.broker_url, settings.prefix, topic, least)

    async def journal(self, count: int = 1) -> list[Message]:
        """Return the journal once it holds `count` turns."""
        return [Message.decode(record.value or b"") for record in await self.on(JOURNAL, count)]

    async def dead_letters(self, count: int = 1) -> list[Any]:
        """Return the dead letters once there are so many."""
        return await self.on(DEAD_LETTERS, count)

    def counted(self, name: str, **labels: str) -> float:
        """Return what a series of the metrics has counted."""
        return self.mesh.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def open_bench(
    settings: Settings, actors: dict[str, Work], tracing: Tracing | None = None
) -> AsyncIterator[Bench]:
    """Run a mesh with these actors."""
    app = faust.App(
        f"mesh-{settings.prefix}",
        broker=settings.faust_broker(),
        topic_partitions=settings.partitions,
        web_enabled=False,
        datadir=str(settings.data_dir),
    )
    mesh = Mesh(app, settings)
    mesh.tracing = tracing
    for subject, work in actors.items():
        mesh.actor(subject)(work)
    async with running(app):
        yield Bench(mesh)


async def pass_on(message: Message) -> Message:
    return message


async def apologise(message: Message) -> Message:
    """What an escalation router does at least."""
    error = message.error
    message.payload.response = Response(text=f"sorry: {error and error.text}", source="template")
    message.slip = message.slip.reroute(slip.CLOSE)
    return message


ENDING: dict[str, Work] = {
    slip.ESCALATION_ROUTER: apologise,
    slip.RESPONSE_AGGREGATOR: pass_on,
}
