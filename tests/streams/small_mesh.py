"""The smallest mesh that takes a turn and gives a reply: its door, one actor, its exit."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import faust

from agents import conversation, response_aggregator
from streams import slip
from streams.gateway import Gateway
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import Response
from streams.reply import Reply
from streams.settings import Settings
from tables.sessions import Sessions
from tests.faust_apps import running
from tests.waiting import until


def settings_apart(broker_url: str, data_dir: Path, *, partitions: int = 2) -> Settings:
    """Return settings of a mesh of its own on a shared broker; actors are tried again soon."""
    return Settings(
        broker_url=broker_url,
        prefix=f"t{secrets.token_hex(4)}",
        data_dir=data_dir,
        partitions=partitions,
        retry_delay=0.01,
    )


class SmallMesh:
    """A mesh of entry, one actor that repeats what it read, and exit."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = faust.App(
            "mesh",
            broker=settings.faust_broker(),
            topic_partitions=settings.partitions,
            web_enabled=False,
            datadir=str(settings.data_dir / "tables"),
            stream_wait_empty=True,
        )
        self.mesh = Mesh(self.app, settings)
        self.sessions = Sessions(self.app, settings)
        self.release = asyncio.Event()
        self.release.set()
        self.fails = False
        conversation.setup(self.mesh, self.sessions)
        response_aggregator.setup(self.mesh, self.sessions)

        @self.mesh.actor(slip.SENTIMENT_ANALYZER)
        async def repeat(message: Message) -> Message:
            await self.release.wait()
            if self.fails:
                raise ValueError("no voice")
            payload = message.payload
            past = " ".join(line.text for line in payload.history if line.role == "customer")
            payload.response = Response(text=f"{past}|{payload.text}", source="template")
            message.slip = message.slip.reroute(slip.CLOSE)
            return message

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.mesh.presence.start()
        try:
            async with running(self.app):
                yield
        finally:
            await self.mesh.presence.stop()


#: A route to the actor that fails while the mesh is broken.
TO_THE_BREAKABLE = slip.RouteSlip(steps=(slip.CONVERSATION, slip.ESCALATION_ROUTER))


class BreakableMesh(SmallMesh):
    """A small mesh whose last resort fails until it is mended."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.broken = True

        @self.mesh.actor(slip.ESCALATION_ROUTER)
        async def last_resort(message: Message) -> Message:
            if self.broken:
                raise ValueError("broken")
            message.payload.response = Response(text="mended", source="template")
            message.slip = message.slip.reroute(slip.CLOSE)
            return message

        @self.mesh.actor(slip.INTENT_ANALYZER)
        async def lose(message: Message) -> Message | None:
            return None if self.broken else message


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Gateway]:
    gateway = Gateway(settings)
    await gateway.start()
    await until(lambda: gateway.declared, "the gateway being connected")
    try:
        yield gateway
    finally:
        await gateway.close()


async def replies(gateway: Gateway, session: str, count: int) -> list[Reply]:
    """Return a session's replies once there are so many."""

    async def enough() -> list[Reply]:
        found = await gateway.replies(session)
        return found if len(found) >= count else []

    found: list[Reply] = await until(enough, f"{count} replies in {session}")
    return found
