"""A mesh of one: reads real turns from the real conversation topic and answers them.

It stands where the worker stands, on the same subjects, so the room is tested against a broker
and not against itself; and it can be told to be slow, silent, or gone.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig

from streams.bridge.layout import (
    MESSAGE_ID,
    encode_headers,
    partition_for,
    stream_name,
    subject,
)
from streams.message import Message
from streams.presence import Pulse, progress_subject, pulse_subject
from streams.reply import Progress, Reply
from streams.settings import Settings
from streams.slip import CONVERSATION
from streams.topics import REPLIES

ROUTE = ("conversation", "intent_analyzer", "context_retriever", "response_generator")


class Responder:
    """Answers every turn with its own text, upper-cased, after naming the actors of `ROUTE`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.turns: list[Message] = []
        self.replies: dict[str, list[Reply]] = defaultdict(list)
        self.script: dict[str, Mapping[str, Any]] = {}  # by text: what the reply has instead
        self.silent = False
        self.pause = 0.0  # seconds an actor
        self.going_on = asyncio.Event()  # cleared, the last actor is at work until it is set
        self.going_on.set()
        self.alive = True  # whether it answers pulses
        self._client: Client | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(
            self.settings.broker_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1
        )
        await self._client.subscribe(pulse_subject(self.settings.prefix), cb=self._on_pulse)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exc: object) -> None:
        while self._reading is not None and not self._reading.done():
            # More than once: a fetch that ends in the same instant swallows the cancellation.
            self._reading.cancel()
            await asyncio.wait({self._reading}, timeout=0.2)
        if self._client is not None:
            await self._client.close()

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    async def publish(self, reply: Reply) -> None:
        """Put a reply into the reply topic, as the aggregator does."""
        key = reply.session_id.encode()
        partition = partition_for(key, self.settings.partitions)
        await self.client.jetstream().publish(
            subject(self.settings.prefix, REPLIES, partition, key),
            reply.model_dump_json().encode(),
            headers=encode_headers(key, b"")
            | {MESSAGE_ID: f"{reply.session_id}-{reply.message_id}-{reply.sequence}"},
        )
        # Only now: who waits for it here may read it back at once.
        self.replies[reply.session_id].append(reply)

    def next_reply(self, session_id: str, message_id: str, text: str, **other: Any) -> Reply:
        """Return the session's next reply."""
        fields: dict[str, Any] = {
            "session_id": session_id,
            "message_id": message_id,
            "sequence": len(self.replies.get(session_id, ())) + 1,
            "at": datetime.now(UTC),
            "response": text,
            "state": "answered",
            "intent": "other",
            "sentiment": "neutral",
            "route": [f"mesh.{actor}" for actor in ROUTE],
        }
        return Reply(**(fields | other))

    async def _read(self) -> None:
        stream = stream_name(self.settings.prefix, CONVERSATION)
        while True:
            try:
                pull = await self.client.jetstream().pull_subscribe(
                    "", durable="responder", stream=stream, config=ConsumerConfig()
                )
                while True:
                    with suppress(TimeoutError):
                        for record in await pull.fetch(8, timeout=0.5):
                            try:
                                await self._work(Message.decode(record.data))
                            except NatsError:
                                # A broker that has just come back may lack a stream still: not
                                # acknowledged, the record would come again in half a minute only.
                                with suppress(NatsError):
                                    await record.nak()
                                raise
                            await record.ack()
            except NatsError:
                await asyncio.sleep(0.05)  # no stream yet, or the broker is away

    async def _work(self, turn: Message) -> None:
        said = self.replies.get(turn.session_id, [])
        if any(reply.message_id == turn.id for reply in said):
            return
        self.turns.append(turn)
        if self.silent:
            return
        for hop, actor in enumerate(ROUTE):
            progress = Progress(
                session_id=turn.session_id, message_id=turn.id, actor=actor, hop=hop
            )
            await self.client.publish(
                progress_subject(self.settings.prefix, turn.session_id),
                progress.model_dump_json().encode(),
            )
            await asyncio.sleep(self.pause)
        await self.going_on.wait()
        text = turn.payload.text
        other = dict(self.script.get(text, {}))
        answer = other.pop("response", text.upper())
        await self.publish(self.next_reply(turn.session_id, turn.id, answer, **other))

    async def _on_pulse(self, request: Msg) -> None:
        if self.alive:
            pulse = Pulse(worker="responder", ready=True, partitions=4, in_hand=0)
            await request.respond(pulse.model_dump_json().encode())
