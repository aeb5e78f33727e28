"""The boundary around every actor: its mailbox, and the one function that works on a message."""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import faust
from faust.types import EventT

from streams.bridge.layout import MESSAGE_ID
from streams.dead_letters import DeadLetters
from streams.errors import HopLimitExceeded, MeshError, Retryable, UnknownSubject
from streams.journal import record_id
from streams.message import MESSAGE_CODEC, Failure, Hop, Message, Undecoded
from streams.observability import tracing
from streams.observability.logs import about
from streams.observability.metrics import Burial, Metrics, Outcome
from streams.observability.tracing import TRACEPARENT, Tracing
from streams.payload import SLOTS, Escalation, Payload, Response
from streams.presence import Presence
from streams.replay.answers import Answers
from streams.replay.entry import brought
from streams.reply import REPLY_CODEC, Progress, Reply
from streams.settings import Settings
from streams.slip import CLOSE, RESPONSE_AGGREGATOR, RouteSlip
from streams.topics import (
    DEAD_LETTERS,
    JOURNAL,
    MAILBOXES,
    REPLIES,
    actor_name,
    topics,
)
from streams.trace import recording
from streams.version import code_version

log = logging.getLogger(__name__)

Event = EventT[object]

#: What an actor is to the mesh: it returns the message to send on, or None to hold it back.
Work = Callable[[Message], Awaitable[Message | None]]


APOLOGY: Final = (
    "I am sorry, something went wrong on our side and I could not finish this. "
    "Your message is safe and our team can see it. "
    "Please try again in a moment, or ask for a human agent."
)


class Mesh:
    """The mailboxes of one Faust app, and the ways out of them."""

    def __init__(self, app: faust.App, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        described = topics(settings)
        self.topics = {
            name: app.topic(
                name,
                key_serializer="raw",
                value_serializer=MESSAGE_CODEC,
                partitions=settings.partitions,
                retention=described[name].retention_seconds,
            )
            for name in (*MAILBOXES, JOURNAL)
        }
        self.dead_letters = DeadLetters(
            app, settings.partitions, described[DEAD_LETTERS].retention_seconds
        )
        self.replies = app.topic(
            REPLIES,
            key_serializer="raw",
            value_serializer=REPLY_CODEC,
            partitions=settings.partitions,
            retention=described[REPLIES].retention_seconds,
            config={"nats.key_in_subject": described[REPLIES].key_in_subject},
        )
        self.presence = Presence(app, settings)
        self.code = code_version()
        self.metrics = Metrics()
        self.tracing: Tracing | None = None
        """Where spans go; set before the first event by whoever wants any."""

    def actor(self, subject: str, *, concurrency: int | None = None) -> Callable[[Work], Work]:
        """Give the decorated function the mailbox of `subject`.

        `concurrency` is the number of messages in hand at once, by default the settings'. An
        actor that changes a table takes 1.
        """

        def decorate(work: Work) -> Work:
            async def worker(stream: faust.StreamT[Any]) -> None:
                async for event in stream.events():
                    await self.attempt(subject, work, event)

            # Faust's logs and pages name an agent by its function.
            worker.__name__ = worker.__qualname__ = actor_name(subject)
            worker.__module__ = work.__module__
            worker.__doc__ = sys.modules[work.__module__].__doc__
            self.app.agent(
                self.topics[subject],
                name=subject,
                concurrency=concurrency or self.settings.concurrency,
            )(worker)
            return work

        return decorate

    async def send(self, message: Message) -> None:
        """Publish `message` to the mailbox that its slip names; at the slip's end, to the journal.

        UnknownSubject if no mailbox has that name.
        """
        subject = message.slip.next()
        if subject is not None and subject not in MAILBOXES:
            raise UnknownSubject(subject)
        key = message.session_id.encode()
        headers: dict[str, bytes] = {}
        if message.traceparent is not None:
            headers[TRACEPARENT] = message.traceparent.encode()
        if subject is None:
            headers[MESSAGE_ID] = record_id(message.session_id, message.run).encode()
            await self.topics[JOURNAL].send(key=key, value=message, headers=headers)
        else:
            await self.topics[subject].send(key=key, value=message, headers=headers or None)

    async def reply(self, reply: Reply) -> None:
        """Publish a reply; the same one again, after a crash, is the same record."""
        run = reply.run or reply.message_id
        headers = {MESSAGE_ID: f"reply-{reply.session_id}-{run}".encode()}
        await self.replies.send(key=reply.session_id.encode(), value=reply, headers=headers)

    async def attempt(self, subject: str, work: Work, event: Event) -> None:
        """Let an actor work on one event, and see to it that the event has a sequel.

        Faust acknowledges an event also when the agent's body raises, so nothing may escape from
        here but the cancellation of the worker itself. What the actor raises is retried if it may
        pass, else the message turns to its slip's `on_error`, else to the dead letters.
        """
        message = event.value
        if not isinstance(message, Message):
            empty = "a record without a value is not a message"
            reason = message.reason if isinstance(message, Undecoded) else empty
            await self._bury(subject, event, "unreadable", reason)
            return
        if message.slip.next() != subject:
            text = f"it is addressed to {message.slip.next()!r}"
            await self._bury(subject, event, "misaddressed", text)
            return
        self.presence.in_hand += 1
        try:
            with about(message.session_id, message.id, actor_name(subject)):
                await self._work(subject, work, event, message)
        finally:
            self.presence.in_hand -= 1

    async def _work(self, subject: str, work: Work, event: Event, message: Message) -> None:
        actor = actor_name(subject)
        self.metrics.waited(actor, time.time() - event.message.timestamp)
        await _until(message.recovery.not_before)
        with self._span(actor, event, message):
            await self._hop(subject, work, event, message)

    def _span(self, actor: str, event: Event, message: Message) -> AbstractContextManager[Any]:
        """Return the span of a hop, below the one that the record's headers name."""
        if self.tracing is None:
            return nullcontext()
        record = event.message
        parent = dict(record.headers or ()).get(TRACEPARENT)
        return self.tracing.span(
            actor,
            "consumer",
            {
                "mesh.session": message.session_id,
                "mesh.turn": message.id,
                "mesh.actor": actor,
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "mesh.offset": record.offset,
            },
            # A record that was put there by hand has its way in the message alone.
            parent.decode(errors="replace") if parent else message.traceparent,
        )

    async def _hop(self, subject: str, work: Work, event: Event, message: Message) -> None:
        hop = Hop(actor=actor_name(subject), started_at=datetime.now(UTC), given=brought(message))
        if self.tracing is not None:
            message.traceparent = tracing.headers().get(TRACEPARENT)
        await self.presence.publish(
            Progress(
                session_id=message.session_id,
                message_id=message.id,
                actor=hop.actor,
                hop=len(message.trace),
            )
        )
        hop.code = self.code
        started = time.perf_counter()
        before = {name: getattr(message.payload, name) for name in SLOTS}
        try:
            message.slip = message.slip.advance()
            planned = message.slip
            with recording(hop, Answers.of(message, hop.actor)):
                result = await work(message)
            hop.duration_ms = (time.perf_counter() - started) * 1000
            if result is None:
                self._count(hop, "held")
                return
            if result.slip != planned:
                hop.outcome = "rerouted"
            hop.added = _added(before, result.payload)
            result.recovery.not_before = None
            result.trace.append(hop)
            await self.send(result)
        except Exception as error:
            hop.duration_ms = (time.perf_counter() - started) * 1000
            tracing.failed(error)
            await self._recover(subject, event, hop, error)
        else:
            self._count(hop, hop.outcome)
            if subject == RESPONSE_AGGREGATOR:
                self.metrics.turn(result, time.time())

    async def _recover(self, subject: str, event: Event, hop: Hop, error: Exception) -> None:
        """Send on a message whose actor failed: once more, to `on_error`, or to the dead."""
        # The failed try may have changed the message: begin again from the bytes that came.
        message = Message.decode(event.message.value or b"")
        if self.tracing is not None:
            message.traceparent = tracing.headers().get(TRACEPARENT)
        if not isinstance(error, MeshError):
            log.exception("%s failed on turn %s", hop.actor, message.id, exc_info=error)
        self.metrics.error(hop.actor, error)
        message.trace.append(hop)
        hop.error = f"{type(error).__name__}: {error}"
        failures = message.recovery.attempts.get(hop.actor, 0) + 1
        message.recovery.attempts[hop.actor] = failures
        if isinstance(error, Retryable) and failures <= self.settings.retries:
            hop.outcome = "retry"
            self._count(hop, hop.outcome)
            hop.notes.append(f"try {failures} failed: {error}")
            delay = self.settings.retry_delay * 2 ** (failures - 1)
            message.recovery.not_before = datetime.now(UTC) + timedelta(seconds=delay)
            await self.send(message)
            return
        hop.outcome = "failed"
        self._count(hop, hop.outcome)
        message.recovery.not_before = None
        message.error = Failure(
            actor=hop.actor, kind=type(error).__name__, text=str(error), at=datetime.now(UTC)
        )
        turn_to = message.slip.on_error
        hopeless = (
            isinstance(error, HopLimitExceeded)
            or turn_to not in MAILBOXES
            # Where the way out begins and where it ends, there is nobody further to turn to.
            or subject in (turn_to, RESPONSE_AGGREGATOR)
        )
        if hopeless:
            await self._give_up(subject, event, message, error)
            return
        message.slip = message.slip.advance().reroute((turn_to,))
        await self.send(message)

    async def _give_up(
        self, subject: str, event: Event, message: Message, error: Exception
    ) -> None:
        """Bury the message, and still end the turn with an honest reply."""
        await self._bury(subject, event, "failed", f"{type(error).__name__}: {error}")
        if subject == RESPONSE_AGGREGATOR:
            return
        reason = f"{actor_name(subject)}: {type(error).__name__}: {error}"
        message.payload.escalation = Escalation(kind="fallback", reason=reason)
        message.payload.response = Response(text=APOLOGY, source="template")
        message.trace[-1].added = message.payload.model_dump(
            mode="json", include={"escalation", "response"}
        )
        # A new slip: the old one may have no hop left. The trace keeps where the message was.
        message.slip = RouteSlip(steps=CLOSE)
        await self.send(message)

    def _count(self, hop: Hop, outcome: Outcome) -> None:
        tracing.annotate({"mesh.outcome": outcome})
        self.metrics.hop(hop, outcome, tracing.trace_id())

    async def _bury(self, subject: str, event: Event, why: Burial, reason: str) -> None:
        self.metrics.buried(actor_name(subject), why)
        await self.dead_letters.bury(event, reason)


def _added(before: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Return the slots that were assigned anew, as plain values."""
    changed = {name for name in SLOTS if getattr(payload, name) is not before[name]}
    return payload.model_dump(mode="json", include=changed)


async def _until(moment: datetime | None) -> None:
    """Wait for the time that a retried message names; it names at most a few seconds."""
    if moment is not None:
        await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))
