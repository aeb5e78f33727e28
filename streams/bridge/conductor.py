"""Faust's conductor, taught to take up topics that are iterated over later."""

from typing import Any, Final, cast

from faust.transport import base
from faust.types import TP
from faust.types.topics import TopicT

QUEUE_BYTES: Final = 16 * 1024 * 1024
"""Roughly how many bytes may wait in one stream's queue, when its records are large."""


class Conductor(base.Conductor):
    """Passes records to the streams that iterate over their topics.

    Three things differ from Faust's. A new subscription is made after half a second, not after
    45. A stream that begins on a topic already assigned gets its records from then on, not from
    the next rebalance on. And a topic object over which nothing iterates gets none: Faust fills
    its queue, which nobody reads, until it is full and everything stands still.
    """

    _resubscribe_sleep_lock_seconds = 0.5

    def add(self, topic: TopicT) -> None:
        """Register a topic to be read."""
        known = topic in self._topics
        super().add(topic)
        if not known and _iterated(topic) and self.app.started:
            self._take_up(topic)

    def read(self, name: str) -> bool:
        """Say whether anything iterates over the topic of that name."""
        return any(name in topic.topics and _iterated(topic) for topic in self._topics)

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
