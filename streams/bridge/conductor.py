"""Faust's conductor, taught to take up topics that are iterated over later."""

import logging
from collections.abc import Callable, Iterable, MutableSet
from functools import partial
from typing import Any, Final, cast

import nats.errors
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.transport import base
from faust.types import TP, AgentT, Message
from faust.types.topics import TopicT
from mode import Service

from . import topics as streams
from .internals import Waiting, step
from .serialization import decoder
from .topic import Topic

logger = logging.getLogger(__name__)

PATTERN_SECONDS: Final = 5.0
"""How often topics are looked for that match a pattern, unless Faust's settings say: more often."""

QUEUE_BYTES: Final = 16 * 1024 * 1024
"""Roughly how many bytes may wait in one stream's queue, when its records are large."""


class Conductor(base.Conductor):
    """Passes records to the streams that iterate over their topics.

    Four things differ from Faust's. A new subscription is made after half a second, not after
    45. A stream that begins on a topic already assigned gets its records from then on, not from
    the next rebalance on. A topic object over which nothing iterates gets none: Faust fills
    its queue, which nobody reads, until it is full and everything stands still. And a topic with
    a pattern stands for all topics there are that match it; Faust has such, but reads nothing.
    """

    _resubscribe_sleep_lock_seconds = 0.5
    _existing: frozenset[str] = frozenset()
    """All topics that there are, as far as patterns have asked for them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._direct: dict[TP, Callable[[Message], Waiting | None]] = {}
        """How to pass a partition's records on without a coroutine, where one stream reads it."""

    def deliver(self, message: Message) -> Waiting | None:
        """Pass a record on to its streams; return what is left to wait for if one has no room.

        The same as awaiting `on_message`, which takes a lock each time.
        """
        if self._tp_to_callback_lock.locked():
            return step(cast(Any, self.on_message(message)))
        direct = self._direct.get(message.tp)
        if direct is not None:
            return direct(message)
        return step(cast(Any, self._tp_to_callback[message.tp](message)))

    def _build_handler(self, tp: TP, channels: MutableSet[Any]) -> Any:
        self._direct.pop(tp, None)
        if len(channels) != 1:
            return super()._build_handler(tp, channels)
        direct = self._direct[tp] = self._handler(tp, next(iter(channels)))

        async def handle(message: Message) -> None:
            waiting = direct(message)
            if waiting is not None:
                await waiting

        return handle

    def _handler(self, tp: TP, channel: Any) -> Callable[[Message], Waiting | None]:
        """Return what passes records on where one stream reads a partition: the usual case.

        Faust's own handler is written for any number of streams; this is a fourth of its work.
        """
        app: Any = self.app
        consumer, flow, producer = app.consumer, app.flow_control, app.producer
        # Whether our lease holds (`guard_streams`) is for the streams to ask, as they begin.
        is_active, crowded = partial(type(flow).is_active, flow), producer.crowded
        queue = channel.queue
        pressure, put_below, put = (
            queue.pressure_high_size,
            queue.force_put_nowait,
            queue.put_nowait_enhanced,
        )
        decode = decoder(app, channel.schema) if type(channel) is Topic else None

        def on_pressure_high() -> None:
            app.sensors.on_topic_buffer_full(tp)
            consumer.on_buffer_full(tp)

        def on_pressure_drop() -> None:
            consumer.on_buffer_drop(tp)

        def handle(message: Message) -> Waiting | None:
            waiting = queue.qsize()
            if (
                decode is None
                or crowded()
                or not is_active()
                or (waiting >= pressure and queue.full())
            ):
                return step(wait_and_handle(message))
            message.incref()
            try:
                event = decode(message)
            except (KeyDecodeError, ValueDecodeError) as exc:
                return step(refuse(message, exc))
            if waiting < pressure:
                put_below(event)  # what the other does beside that is about pressure
            else:
                put(event, on_pressure_high=on_pressure_high, on_pressure_drop=on_pressure_drop)
            return None

        async def wait_and_handle(message: Message) -> None:
            if not flow.is_active():
                await flow.acquire()
            if crowded():
                await producer.buffer.wait_until_ebb()
            message.incref()
            try:
                event = await channel.decode(message, propagate=True)
            except (KeyDecodeError, ValueDecodeError) as exc:
                await refuse(message, exc)
                return
            if queue.full():
                app.sensors.on_topic_buffer_full(tp)
                await channel.put(event)
            else:
                put(event, on_pressure_high=on_pressure_high, on_pressure_drop=on_pressure_drop)

        async def refuse(message: Message, error: Exception) -> None:
            message.ack(consumer)
            if isinstance(error, KeyDecodeError):
                await channel.on_key_decode_error(error, message)
            else:
                await channel.on_value_decode_error(error, message)

        return handle

    def add(self, topic: TopicT) -> None:
        """Register a topic to be read."""
        known = topic in self._topics
        super().add(topic)
        if not known and _iterated(topic) and self.app.started:
            self._take_up(topic)

    def read(self, name: str) -> bool:
        """Say whether anything iterates over the topic of that name."""
        return any(name in self._names(topic) and _iterated(topic) for topic in self._topics)

    def shared_without_agents(self, tp: TP) -> bool:
        """Say whether several streams read a partition that belong to no agent."""
        channels = len(self._tp_index.get(tp, ()))
        if channels < 2:
            return False
        agents = sum(self._reads(agent, tp.topic) for agent in self.app.agents.values())
        return channels - agents > 1

    def _reads(self, agent: AgentT[Any], name: str) -> bool:
        channel = agent.channel
        return isinstance(channel, TopicT) and name in self._names(channel)

    # -- patterns

    def _names(self, topic: TopicT) -> Iterable[str]:
        """Return the names of the topics that a topic object stands for."""
        pattern = topic.pattern
        return topic.topics if pattern is None else filter(pattern.match, self._existing)

    def _topic_contain_unsubscribed_topics(self, topic: TopicT) -> bool:
        return topic.pattern is not None or super()._topic_contain_unsubscribed_topics(topic)

    @Service.task
    async def _look_for_topics(self) -> None:
        seconds = min(PATTERN_SECONDS, self.app.conf.consumer_metadata_max_age_ms / 1000)
        while not self.should_stop:
            await self.sleep(seconds)
            if await self._find_topics():
                self._flag_changes()

    async def _find_topics(self) -> bool:
        """Find out which topics there are, if there are patterns; say if one has come that fits."""
        patterns = [topic.pattern for topic in self._topics if topic.pattern is not None]
        if not patterns or self.should_stop:
            return False
        link = cast(Any, self.app.consumer).link
        try:
            described = await streams.describe(link.js, link.options.prefix)
        except (TimeoutError, nats.errors.Error) as exc:
            logger.info("topics cannot be looked up: %s", exc or type(exc).__name__)
            return False
        before, self._existing = (
            self._existing,
            frozenset(info.topic for info in described if not self._internal(info.topic)),
        )
        return any(pattern.match(name) for name in self._existing - before for pattern in patterns)

    def _internal(self, name: str) -> bool:
        """Say whether a topic is Faust's own business: no pattern means it."""
        conf = self.app.conf
        return name in self.app.tables.changelog_topics or name.startswith(
            (conf.reply_to_prefix, f"{conf.id}-__assignor-")
        )

    async def _update_indices(self) -> Iterable[str]:
        await self._find_topics()
        await super()._update_indices()
        for topic in self._topics:
            for name in self._names(topic) if topic.pattern is not None else ():
                self._topic_name_index[name].add(topic)
                if topic.acks:
                    self._acking_topics.add(name)
        return self._topic_name_index

    # -- streams that begin later

    def crowded(self, tp: TP, size: int) -> bool:
        """Say whether a stream has so much to do that a record of `size` bytes should wait.

        Faust bounds a stream's queue by number alone (`stream_buffer_maxsize`), which large
        records make gigabytes of.
        """
        return any(
            cast(Any, topic).queue.qsize() * size >= QUEUE_BYTES
            for topic in self._tp_index.get(tp, ())
        )

    async def on_client_only_start(self) -> None:
        """Pass on what clients receive: replies."""
        await super().on_client_only_start()
        self._leave_out_idle()
        self._update_callback_map()

    def _take_up(self, topic: TopicT) -> None:
        consumer = cast(Any, self.app.consumer)
        for tp in consumer.assignment():
            if tp.topic in self._names(topic) and topic.active_partitions is None:
                self._pass_on(tp, {*self._tp_index[tp], topic})
        consumer.look_again()

    def _pass_on(self, tp: TP, topics: set[TopicT]) -> None:
        # A new set each time: a handler that waits may be iterating over the old one.
        self._tp_index[tp] = {topic for topic in topics if _iterated(topic)}
        self._tp_to_callback[tp] = self._build_handler(tp, cast(Any, self._tp_index[tp]))

    def _update_tp_index(self, assigned: set[TP]) -> None:
        super()._update_tp_index(assigned)
        for topic in self._topics:
            if topic.pattern is not None:
                names = set(self._names(topic))
                for tp in assigned:
                    if tp.topic in names:
                        self._tp_index[tp].add(topic)
        self._leave_out_idle()

    def _leave_out_idle(self) -> None:
        for tp, topics in self._tp_index.items():
            self._tp_index[tp] = {topic for topic in topics if _iterated(topic)}


def _iterated(topic: TopicT) -> bool:
    return bool(cast(Any, topic).is_iterator)
