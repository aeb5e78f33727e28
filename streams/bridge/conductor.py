"""Faust's conductor, taught to take up topics that are iterated over later."""

from collections.abc import Awaitable, Callable, MutableSet
from typing import Any, cast

from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.transport import base
from faust.types import TP, Message
from faust.types.topics import TopicT

from .internals import Waiting, step


class Conductor(base.Conductor):
    """Passes records to the streams that iterate over their topics.

    Three things differ from Faust's. A new subscription is made after half a second, not after
    45. A stream that begins on a topic already assigned gets its records from then on, not from
    the next rebalance on. And a topic object over which nothing iterates gets none: Faust fills
    its queue, which nobody reads, until it is full and everything stands still.
    """

    _resubscribe_sleep_lock_seconds = 0.5

    def deliver(self, message: Message) -> Waiting | None:
        """Pass a record on to its streams; return what is left to wait for if one has no room.

        The same as awaiting `on_message`, which takes a lock each time.
        """
        if self._tp_to_callback_lock.locked():
            return step(cast(Any, self.on_message(message)))
        return step(cast(Any, self._tp_to_callback[message.tp](message)))

    def _build_handler(self, tp: TP, channels: MutableSet[Any]) -> Any:
        if len(channels) == 1:
            return self._handler(tp, next(iter(channels)))
        return super()._build_handler(tp, channels)

    def _handler(self, tp: TP, channel: Any) -> Callable[[Message], Awaitable[None]]:
        """Return what passes records on where one stream reads a partition: the usual case.

        Faust's own handler is written for any number of streams; this is a third of its work.
        """
        app: Any = self.app
        consumer, flow, buffer = app.consumer, app.flow_control, app.producer.buffer
        queue, decode = channel.queue, channel.decode

        def on_pressure_high() -> None:
            app.sensors.on_topic_buffer_full(tp)
            consumer.on_buffer_full(tp)

        def on_pressure_drop() -> None:
            consumer.on_buffer_drop(tp)

        async def handle(message: Message) -> None:
            if not flow.is_active():
                await flow.acquire()
            if buffer.high:
                await buffer.wait_until_ebb()
            message.incref(1)
            try:
                event = await decode(message, propagate=True)
            except KeyDecodeError as exc:
                message.ack(consumer)
                await channel.on_key_decode_error(exc, message)
            except ValueDecodeError as exc:
                message.ack(consumer)
                await channel.on_value_decode_error(exc, message)
            else:
                if queue.full():
                    app.sensors.on_topic_buffer_full(tp)
                    await channel.put(event)
                else:
                    queue.put_nowait_enhanced(
                        event, on_pressure_high=on_pressure_high, on_pressure_drop=on_pressure_drop
                    )

        return handle

    def add(self, topic: TopicT) -> None:
        """Register a topic to be read."""
        known = topic in self._topics
        super().add(topic)
        if not known and _iterated(topic) and self.app.started:
            self._take_up(topic)

    def read(self, name: str) -> bool:
        """Say whether anything iterates over the topic of that name."""
        return any(name in topic.topics and _iterated(topic) for topic in self._topics)

    async def on_client_only_start(self) -> None:
        """Pass on what clients receive: replies."""
        await super().on_client_only_start()
        self._leave_out_idle()
        self._update_callback_map()

    def _take_up(self, topic: TopicT) -> None:
        consumer = cast(Any, self.app.consumer)
        for tp in consumer.assignment():
            if tp.topic in topic.topics and topic.active_partitions is None:
                self._pass_on(tp, {*self._tp_index[tp], topic})
        consumer.look_again()

    def _pass_on(self, tp: TP, topics: set[TopicT]) -> None:
        # A new set each time: a handler that waits may be iterating over the old one.
        self._tp_index[tp] = {topic for topic in topics if _iterated(topic)}
        self._tp_to_callback[tp] = self._build_handler(tp, cast(Any, self._tp_index[tp]))

    def _update_tp_index(self, assigned: set[TP]) -> None:
        super()._update_tp_index(assigned)
        self._leave_out_idle()

    def _leave_out_idle(self) -> None:
        for tp, topics in self._tp_index.items():
            self._tp_index[tp] = {topic for topic in topics if _iterated(topic)}


def _iterated(topic: TopicT) -> bool:
    return bool(cast(Any, topic).is_iterator)
