"""The way into the mesh and out of it for a process without Faust: the pages."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import BaseModel, Field, ValidationError

from streams.bridge import decode
from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import BridgeError
from streams.errors import GatewayUnavailable
from streams.message import Message
from streams.observability import tracing
from streams.post import put
from streams.presence import Pulse, progress_subject, pulse_subject
from streams.replies import replies_of, reply_subject
from streams.reply import Progress, Reply
from streams.settings import Settings
from streams.slip import CONVERSATION
from streams.topics import declare_topics

log = logging.getLogger(__name__)

PULSE_WITHIN: Final = 1.0  # seconds
DECLARE_AGAIN: Final = 1.0  # seconds


class Health(BaseModel):
    """How the mesh is doing, seen from a page."""

    broker: bool
    workers: list[Pulse] = Field([], description="Those that answered, ready or not.")

    @property
    def ready(self) -> bool:
        """Say whether a turn sent now would be worked on."""
        return self.broker and any(worker.ready for worker in self.workers)


class Listener:
    """What happens in one session from now on: progress and replies, as they come.

    A reply may come more than once; its `sequence` tells.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Reply | Progress] = asyncio.Queue()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Reply | Progress:
        return await self._queue.get()

    async def _on_progress(self, message: Msg) -> None:
        with suppress(ValidationError):
            self._queue.put_nowait(Progress.model_validate_json(message.data))

    async def _on_reply(self, message: Msg) -> None:
        try:
            self._queue.put_nowait(Reply.model_validate_json(decode(message).value or b""))
        except ValidationError:
            log.exception("a record on %s is not a reply", message.subject)


class Gateway:
    """One connection to the mesh: send turns, hear of replies, read back what was missed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._options = replace(parse_url(settings.broker_url), prefix=settings.prefix)
        self._client: Client | None = None
        self._connecting: asyncio.Task[None] | None = None
        self.declared = False

    async def start(self) -> None:
        """Begin to connect. Returns at once; the broker may be away, now and later."""
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        self._client = await connect(self._options, name="mesh gateway")
        while not self.declared:
            try:
                await declare_topics(self._client.jetstream(), self.settings)
                self.declared = True
            except (NatsError, BridgeError, TimeoutError) as error:
                # A broker that is starting or electing answers so; wrong rights do too, and the
                # log is where people look for both.
                log.warning("the topics cannot be declared yet: %s", error)
                await asyncio.sleep(DECLARE_AGAIN)

    async def close(self) -> None:
        """Close the connection, or stop trying to make one."""
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._connecting
        if self._client is not None:
            await self._client.close()

    @property
    def connected(self) -> bool:
        """Say whether the broker is there right now."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The connection, for those who look into the streams; GatewayUnavailable without one."""
        if self._client is None or not self._client.is_connected:
            raise GatewayUnavailable("the message broker is not reachable")
        return self._client

    async def send(self, message: Message) -> None:
        """Hand a turn to the mesh; returns when JetStream has it on disk.

        The turn's id is the record's id: sent twice, it is there once. GatewayUnavailable when
        no acknowledgement comes; then nobody knows whether the turn arrived, and sending the same
        message again is right.
        """
        await put(
            self.client,
            self.settings,
            CONVERSATION,
            key=message.session_id.encode(),
            value=message.encode(),
            message_id=f"{message.session_id}-{message.id}",
            headers={name: value.encode() for name, value in tracing.headers().items()},
        )

    async def replies(self, session_id: str, after: int = 0) -> list[Reply]:
        """Return a session's replies with a sequence above `after`, in order, each once."""
        return await replies_of(self.client, self.settings, session_id, after)

    @asynccontextmanager
    async def listen(self, session_id: str) -> AsyncIterator[Listener]:
        """Listen to a session. Once entered, nothing that is sent can be missed."""
        client = self.client
        listener = Listener()
        try:
            progress = await client.subscribe(
                progress_subject(self.settings.prefix, session_id), cb=listener._on_progress
            )
            replies = await client.subscribe(
                reply_subject(self.settings, session_id), cb=listener._on_reply
            )
            # The server has our interest only once it has answered what came after it.
            await client.flush()
        except NatsError as error:
            raise GatewayUnavailable(f"cannot listen: {error}") from error
        try:
            yield listener
        finally:
            if not client.is_closed:
                with suppress(NatsError):
                    await progress.unsubscribe()
                    await replies.unsubscribe()

    async def ping(self) -> Health:
        """Ask the mesh how it is; takes a second when a worker is missing or late."""
        if not self.connected:
            return Health(broker=False)
        client = self.client
        workers: dict[str, Pulse] = {}
        done = asyncio.Event()

        async def on_pulse(message: Msg) -> None:
            with suppress(ValidationError):
                pulse = Pulse.model_validate_json(message.data)
                workers[pulse.worker] = pulse
                if pulse.ready:
                    done.set()

        inbox = client.new_inbox()
        try:
            subscription = await client.subscribe(inbox, cb=on_pulse)
            await client.publish(pulse_subject(self.settings.prefix), reply=inbox)
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE_WITHIN):
                    await done.wait()
            await subscription.unsubscribe()
        except NatsError:
            return Health(broker=False)
        return Health(broker=True, workers=list(workers.values()))
