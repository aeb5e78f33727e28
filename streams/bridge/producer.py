"""Faust's producer on JetStream."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from faust.agents import current_agent
from faust.streams import current_event
from faust.transport import producer as base
from faust.types import TP, EventT, HeadersArg, RecordMetadata
from faust.types.tuples import FutureMessage, PendingMessage
from mode.utils.times import Seconds

from .errors import BridgeError, ConfigurationError, Fenced, SendFailed, UnknownTopic
from .inputs import Input, Output, Together, worked_on_together
from .internals import (
    Waiting,
    answer_through,
    listened_to,
    quick_producer,
    quiet_sends,
    slow_producer,
    step,
)
from .layout import (
    MESSAGE_ID,
    encode_block,
    encode_headers,
    escape,
    header_block,
    key_token,
    partition_for,
    subject,
)
from .link import LEAST_SECONDS
from .publisher import BATCH_HEADERS, Kind, Publisher, Sending
from .replies import Replies
from .topics import TopicInfo

if TYPE_CHECKING:
    from .conductor import Conductor
    from .transactions import TransactionManager
    from .transport import Transport

logger = logging.getLogger(__name__)

Source = Input | Together
"""What a record follows from."""

CORRELATION: Final = "Faust-Ag-CorrelationId"
"""The header by which Faust's agents know which answer belongs to which request."""
_UNWATCHED: Final = object()
"""The sensors' state of a record of which they are not told."""


class ProducerBuffer(base.ProducerBuffer):
    """What Faust asks for when it wants to know whether senders are too fast.

    Faust queues `send_soon` here; ours are sent at once, so what counts is what is in flight.
    """

    producer: "Producer"

    def put(self, fut: FutureMessage) -> None:
        """Send a message."""
        self.producer.send_soon(fut)

    async def on_stop(self) -> None:
        """Do nothing: the producer has flushed before."""

    async def flush(self) -> None:
        """Wait until what was sent so far is stored."""
        await self.producer.flush()

    @property
    def high(self) -> bool:
        """Whether so much is on its way that nothing more should be begun."""
        return self.producer.crowded()

    async def wait_until_ebb(self) -> None:
        """Wait while too much is on its way, or waits to be."""
        while self.high:
            await self.producer.room()

    @property
    def size(self) -> int:
        """How many messages are not sent yet."""
        return self.producer.unsent


class Destination:
    """What sending to a topic needs to know each time, worked out once."""

    def __init__(
        self, info: TopicInfo, publisher: Publisher, *, changelog: bool, vital: bool
    ) -> None:
        self.info = info
        self.publisher = publisher
        self.changelog = changelog
        self.kind = Kind(superseding=info.compacted, change=changelog, vital=vital)
        self.escaped = escape(info.topic)
        numbers = range(info.partitions)
        self.places = [TP(info.topic, number) for number in numbers]
        self.subjects = [subject(info.prefix, info.topic, number) for number in numbers]
        self.headers = info.headers(tombstone=False)
        self.tombstone_headers = info.headers(tombstone=True)


class _Record(Sending):
    """A record that Faust has sent: told of when it is stored are its sender and the sensors."""

    __slots__ = ("place", "producer", "state", "timestamp")

    def __init__(
        self,
        subject: str,
        destination: Destination,
        place: TP,
        timestamp: float | None,
        producer: "Producer",
        state: Any,
    ) -> None:
        super().__init__(subject, destination.kind)
        self.place = place
        self.timestamp = timestamp
        self.producer = producer
        self.state = state

    def stored(self, sequence: int) -> RecordMetadata:
        """Return where the record is."""
        topic, partition = place = self.place
        metadata = RecordMetadata(topic, partition, place, sequence, self.timestamp, None)
        if self.state is not _UNWATCHED:
            producer = self.producer
            producer.app.sensors.on_send_completed(producer, self.state, metadata)
        return metadata

    def failed(self, error: BaseException) -> None:
        """Tell the sensors of the failure."""
        if self.state is not _UNWATCHED:
            producer = self.producer
            producer.app.sensors.on_send_error(producer, error, self.state)


class Producer(base.Producer):
    """Sends records of a Faust app, with ids that make sending them twice harmless."""

    def __init__(self, transport: "Transport", **kwargs: Any) -> None:
        conf = transport.app.conf
        if conf.producer_threaded:
            raise ConfigurationError(
                "producer_threaded: the NATS transport sends from the event loop; leave it off"
            )
        super().__init__(transport, **kwargs)
        self.link = transport.link
        self.buffer = ProducerBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app
        self.buffer.producer = self
        self._linked = False
        self.waiting: deque[tuple[FutureMessage, Waiting]] = deque()
        """What `send_soon` could not send at once; streams wait while there is any."""
        self._sending: asyncio.Task[None] | None = None
        self._stepping = False
        self._passed = 0
        self._moved = asyncio.Event()
        self.transactions: TransactionManager | None = None
        """Keeps what events send until they are finished; None: it is sent at once."""
        self._destinations: dict[str, Destination] = {}
        self._id_beginnings: dict[tuple[str, TP], str] = {}
        self._ids_generation: int | None = None
        self._topics = cast("Conductor", self.app.topics)
        # Whoever asks sends first: it is made in time, and for no app that does neither.
        answer_through(self.app, Replies(self.app, self.link, beacon=self.app.beacon))

    async def on_start(self) -> None:
        """Connect."""
        await self.link.acquire()
        self._linked = True
        quick_producer(self.app, self)
        quiet_sends()
        await super().on_start()

    async def on_stop(self) -> None:
        """Send the rest, then disconnect; does not wait for a server that stays away."""
        if not self._linked:
            return  # it never came to starting
        self._linked = False
        self._destinations.clear()
        await self.flush()
        if self._sending is not None:
            self._sending.cancel()
        slow_producer(self.app)
        await self.link.remove_reply_topic()
        await self.link.release()

    @property
    def unsent(self) -> int:
        """Messages of `send_soon` that wait for something, a topic's creation for instance."""
        return len(self.waiting)

    def crowded(self) -> bool:
        """Say whether so much is in flight, or waits to be, that senders should wait."""
        return self._linked and (
            bool(self.waiting)
            or self.link.publisher.full
            or (self.transactions is not None and self.transactions.full)
        )

    async def room(self) -> None:
        """Wait until nothing of `send_soon` waits any more, and more can be in flight."""
        if self._sending is not None and not self._sending.done():
            await asyncio.wait([self._sending])
        await self.link.publisher.room()
        if self.transactions is not None:
            await self.transactions.room()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
        message: PendingMessage | None = None,
    ) -> "asyncio.Future[RecordMetadata]":
        """Send a record; the result gives its place once JetStream has stored it.

        Faust's sensors are told what becomes of `message`, if it is given.

        In a transaction it is stored when the event is finished, so nobody can wait for it
        there: the result is then there at once, with -1 as the offset that is not known yet. A
        request (`ask`) is sent at once there too: its event waits for the answer.

        Raises SendFailed for what can never be sent, UnknownTopic.
        """
        # The id must be taken before anything is waited for: order within an event counts.
        source = _current_source()
        destination = self._destinations.get(topic)
        message_id = self._message_id(topic, destination, source)
        if self.waiting:
            await self._behind_what_waits()
        if destination is None:
            destination = await self._find_destination(topic)
        if destination.publisher.full and not self._kept(source):
            await destination.publisher.room()
        return self._send_now(
            *(destination, source, message_id, key, value, partition, timestamp, headers, message)
        )

    def send_at_once(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        message: PendingMessage,
    ) -> "asyncio.Future[RecordMetadata] | None":
        """Do what `send` does; None, and nothing is done, if that would have to wait."""
        destination = self._destinations.get(topic)
        if destination is None or self.waiting or destination.publisher.full:
            return None
        source = _current_source()
        message_id = self._message_id(topic, destination, source)
        return self._send_now(
            destination,
            source,
            message_id,
            key,
            value,
            partition,
            timestamp,
            headers,
            message,
        )

    def _send_now(
        self,
        destination: Destination,
        source: Source | None,
        message_id: str | None,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        watched: PendingMessage | None,
    ) -> "asyncio.Future[RecordMetadata]":
        info = destination.info
        if partition is None:
            partition = self._partition(info, key)
        elif not 0 <= partition < info.partitions:
            raise SendFailed(f"{info.topic} has no partition {partition}")
        if info.compacted and key is None:
            raise SendFailed(f"{info.topic} is compacted: its records need a key")
        if listened_to(self.app.on_produce_message):
            headers = list(headers.items() if isinstance(headers, Mapping) else headers or ())
            self.app.on_produce_message.send(
                key=key, value=value, partition=partition, timestamp=timestamp, headers=headers
            )
        request = bool(headers) and _is_request(headers)
        if request:
            # Asked again, it has another place for the answer: it is not the same record.
            message_id = self.link.unique_id()
        block = None
        if value is not None and timestamp is None and not headers and not destination.headers:
            block = encode_block(key, message_id)
        if block is None:
            block, message_id = _encode(destination, key, value, timestamp, headers, message_id)
        where = destination.subjects[partition]
        if info.keyed:
            where = f"{where}.{key_token(key)}"
        payload = value or b""
        state = _UNWATCHED
        if watched is not None:
            state = self.app.sensors.on_send_initiated(
                self, info.topic, watched, len(key) if key else 0, len(payload)
            )
        record = _Record(where, destination, destination.places[partition], timestamp, self, state)
        if self._kept(source) and not request:
            destination.publisher.check_size(where, len(block) + len(payload) + BATCH_HEADERS)
            output = Output(where, payload, block, message_id, info.compacted, record.stored)
            return self._keep(cast("Source", source), output, destination)
        return destination.publisher.send(record, payload, block)

    def _kept(self, source: Source | None) -> bool:
        """Say whether what an event sends is kept until it is finished."""
        return source is not None and source.sent is not None and self.transactions is not None

    def _keep(
        self, source: Source, output: Output, destination: Destination
    ) -> "asyncio.Future[RecordMetadata]":
        cast("TransactionManager", self.transactions).attach(source, output)
        if destination.changelog:  # the table wants the offset, and waits for nothing
            output.future = asyncio.Future(loop=self.loop)
            return output.future
        future: asyncio.Future[RecordMetadata] = asyncio.Future(loop=self.loop)
        future.set_result(output.result(-1))
        return future

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Send a record and wait until JetStream has stored it."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def _behind_what_waits(self) -> None:
        """Let nothing overtake what was sent before: of two changes of a key the later counts."""
        if self._stepping:
            await asyncio.sleep(0)  # goes to the end of the queue, and on when its turn comes
        elif asyncio.current_task() is not self._sending:
            place = self._passed + len(self.waiting)
            while self._passed < place:
                await self._moved.wait()

    def send_soon(self, fut: FutureMessage) -> None:
        """Send a message now, if it is possible without waiting, else as soon as it is."""
        fut.add_done_callback(_look_at)
        # mypy: publish_message is a coroutine, though declared as any awaitable.
        publishing = cast(Any, fut.message.channel.publish_message(fut, wait=False))
        self._stepping = True
        try:
            waiting = step(publishing)
        except Exception as exc:
            self._refused(fut, exc)
            return
        finally:
            self._stepping = False
        if waiting is not None:
            self.waiting.append((fut, waiting))
            if self._sending is None or self._sending.done():
                self._sending = asyncio.get_running_loop().create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        while self.waiting:
            fut, waiting = self.waiting[0]
            try:
                await waiting
            except Exception as exc:
                self._refused(fut, exc)
            self.waiting.popleft()
            self._passed += 1
            self._moved.set()
            self._moved = asyncio.Event()

    def _refused(self, fut: FutureMessage, error: Exception) -> None:
        # Nobody awaits what is sent soon, a change of a table for instance: do not lose it.
        if not fut.done():
            fut.set_exception(error)
        if not isinstance(error, Fenced):
            self.link.publisher.fail(
                error if isinstance(error, BridgeError) else SendFailed(f"not sent: {error!r}")
            )

    async def flush(self) -> None:
        """Wait until everything sent so far is stored; raise if something was refused.

        While the app stops it waits no longer than the option `drain` says, and only logs what
        could not be stored: stopping goes on, and nothing of it is committed.
        """
        try:
            async with asyncio.timeout(
                max(LEAST_SECONDS, self.link.time_to_drain()) if self.app.should_stop else None
            ):
                await self.confirm()
        except (BridgeError, TimeoutError) as exc:
            if not self.app.should_stop:
                raise
            logger.error(
                "%d records could not be stored before the end: %s",
                *(self.unsent + self.link.unstored, exc or type(exc).__name__),
            )

    async def confirm(self) -> None:
        """Wait until everything sent so far is stored; raise if something was refused."""
        while self._sending is not None and not self._sending.done():
            await asyncio.wait([self._sending])
        if self.link.is_open:
            await self.link.publisher.flush()

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        timeout: Seconds = 30.0,
        retention: Seconds | None = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
        ensure_created: bool = False,
    ) -> None:
        """Create a topic, or check that the one that exists fits (TopicMismatch if not)."""
        if not self.app.conf.topic_allow_declare:
            logger.warning("topic_allow_declare is off: topic %r is not created", topic)
            return
        await self.link.declare(
            topic,
            partitions,
            replicas=replication,
            config=config,
            retention=retention,
            compacting=compacting,
            deleting=deleting,
        )

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Return the partition that a key belongs to; UnknownTopic before the topic is known."""
        info = self.link.topics.get(topic)
        if info is None:
            raise UnknownTopic(f"topic {topic!r} is not known yet: declare it first")
        return TP(topic, self._partition(info, key))

    def supports_headers(self) -> bool:
        """Return True: records carry headers."""
        return True

    # -- one record

    def _partition(self, info: TopicInfo, key: bytes | None) -> int:
        if self.partitioner is None:
            return partition_for(key, info.partitions)
        partitions = range(info.partitions)
        return int(self.partitioner(key, partitions, partitions))

    async def _find_destination(self, topic: str) -> Destination:
        info = await self.link.topic(topic)
        destination = self._destinations[topic] = Destination(
            info,
            self.link.publisher,
            changelog=self._is_changelog(topic),
            vital=not topic.startswith(self.app.conf.reply_to_prefix),
        )
        return destination

    def _is_changelog(self, topic: str) -> bool:
        return topic in self.app.tables.changelog_topics

    def _check_ownership(self, source: Source | None) -> None:
        """Raise Fenced if an event may not change tables any more: its partition has moved on."""
        if source is not None and source.generation_id != self._generation():
            raise Fenced("the partition of an event is not ours any more")

    def _generation(self) -> int | None:
        generation: int | None = cast(Any, self.app.consumer).generation
        return generation

    def _message_id(
        self, topic: str, destination: Destination | None, message: Source | None
    ) -> str | None:
        """Return the id by which JetStream recognises this record if it is sent again.

        What follows from an input event is named after the input: by group, agent and the
        input's place (with its topic's identity), by destination, and by its ordinal among what
        the event sends there. An event that is worked on again after a crash so repeats the ids
        of what it sent before. What follows from no event gets an id that nothing else has: only
        the bridge itself sends it again; so does what several streams without an agent send,
        which nothing tells from each other. Changes of a table carry none: their last one is the
        truth.
        """
        if self._is_changelog(topic) if destination is None else destination.changelog:
            self._check_ownership(message)
            return None
        if message is None:
            return self.link.unique_id()
        if message.sent is not None:
            return None  # what a transaction stores, it stores once
        if isinstance(message, Together):
            return self.link.unique_id()
        if message.topic not in self.link.topics:
            return self.link.unique_id()  # an event of another app in this process
        agent = current_agent()
        if agent is None and self._topics.shared_without_agents(message.tp):
            return self.link.unique_id()  # whose ordinal it is cannot be told
        name = agent.name if agent is not None else ""
        outputs = message.outputs
        if outputs is None:
            outputs = message.outputs = {}
        ordinal = outputs[name, topic] = outputs.get((name, topic), 0) + 1
        beginning = self._id_beginnings.get((name, message.tp))
        if beginning is None or self._ids_generation != message.generation_id:
            if self._ids_generation != message.generation_id:
                self._ids_generation = message.generation_id
                self._id_beginnings.clear()
            # A topic that was deleted and created anew counts its offsets from 1 again.
            identity = self.link.identity(message.topic)
            parts = (self.app.conf.id, name, message.topic, identity, str(message.partition))
            beginning = "/".join(escape(part) if part else "" for part in parts)
            self._id_beginnings[name, message.tp] = beginning
        end = escape(topic) if destination is None else destination.escaped
        return f"{beginning}/{message.offset}/{end}/{ordinal}"


def _is_request(headers: HeadersArg) -> bool:
    """Say whether somebody may be waiting for the answer to a record (`ask`, `map`, `join`)."""
    return CORRELATION in (headers if isinstance(headers, Mapping) else dict(headers or ()))


def _encode(
    destination: Destination,
    key: bytes | None,
    value: bytes | None,
    timestamp: float | None,
    headers: HeadersArg | None,
    message_id: str | None,
) -> tuple[bytes, str | None]:
    """Return the header block of a record, and its id: the sender's own, if it has given one."""
    encoded = encode_headers(key, value, cast(Any, headers), timestamp)
    encoded.update(destination.headers if value is not None else destination.tombstone_headers)
    if message_id is not None:
        encoded.setdefault(MESSAGE_ID, message_id)
    return header_block(encoded), encoded.get(MESSAGE_ID)


def _current_source() -> Source | None:
    """Return the record behind the event that is being worked on, or those behind several."""
    event: EventT[Any] | None = current_event()
    if event is None:
        return worked_on_together.get()
    message = event.message
    return message if isinstance(message, Input) else None


def _look_at(future: "asyncio.Future[RecordMetadata]") -> None:
    """Take note of a failure: `flush()` tells it, so asyncio need not say that nobody looked."""
    if not future.cancelled():
        future.exception()
