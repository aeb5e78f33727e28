"""News from a worker, kept nowhere: which actor is at work, and that the worker is alive.

Plain NATS messages on a connection of their own. They may be lost; nothing but a page that waits
and a health check depends on them.
"""

from typing import Any, Final

import faust
from mode import Service
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import BaseModel

from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import key_token
from streams.reply import Progress
from streams.settings import Settings

PULSE: Final = "pulse"


class Pulse(BaseModel):
    """A worker's answer to 'who is there?'."""

    worker: str
    ready: bool  # partitions assigned, tables recovered
    partitions: int
    in_hand: int  # messages being worked on


def progress_subject(prefix: str, session_id: str) -> str:
    """Return the subject that a session's progress goes to."""
    return f"{prefix}.progress.{key_token(session_id.encode())}"


def pulse_subject(prefix: str) -> str:
    """Return the subject on which every worker answers with its `Pulse`."""
    return f"{prefix}.{PULSE}"


class Presence(Service):
    """A worker's side line to the pages."""

    def __init__(self, app: faust.App, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app
        self.settings = settings
        self.in_hand = 0
        self._client: Client | None = None

    async def on_start(self) -> None:
        """Connect, now and again after every break, and answer pulses."""
        options = parse_url(self.settings.faust_broker())
        self._client = await connect(options, name=f"{self.app.conf.id} presence")
        await self._client.subscribe(pulse_subject(self.settings.prefix), cb=self._answer)

    async def on_stop(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()

    async def publish(self, progress: Progress) -> None:
        """Send `progress` to whoever listens; while the broker is away, to nobody."""
        if self._client is not None and self._client.is_connected:
            subject = progress_subject(self.settings.prefix, progress.session_id)
            await self._client.publish(subject, progress.model_dump_json().encode())

    def pulse(self) -> Pulse:
        """Return how this worker is doing."""
        assigned = self.app.consumer.assignment() if self.app.started else set()
        return Pulse(
            worker=self.app.conf.origin or self.app.conf.id,
            ready=bool(assigned) and not self.app.rebalancing and not self.app.in_recovery,
            partitions=len(assigned),
            in_hand=self.in_hand,
        )

    async def _answer(self, request: Msg) -> None:
        await request.respond(self.pulse().model_dump_json().encode())
