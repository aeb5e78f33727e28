"""Iterating over a stream without a turn of the event loop for every event."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from time import monotonic
from typing import Any, Final, TypeVar, cast

import faust
from faust import Event
from faust.types import ChannelT, EventT
from mode.utils.times import Seconds

from .inputs import Input, worked_on_together
from .internals import Stride, compiled_iterator
from .producer import Producer

T = TypeVar("T")

TURN_SECONDS: Final = 0.001
"""Time after which other tasks get their turn though more events wait."""

_VALUES, _EVENTS, _ITEMS = range(3)
_NONE: Final[Any] = object()
"""No event waits."""


class Stream(faust.Stream[T]):
    """Faust's stream, iterated over in longer strides.

    Before every event Faust lets the event loop turn once. That is most of what taking an event
    that waits already costs; and as every stream then sends one record a turn, each leaves in a
    system call of its own. Here an event is taken from the stream's queue directly. Faust's own
    compiled iterator acknowledges it, and does all of the work where there is more to do than
    that: processors, joins, streams over other things than topics and channels.
    """

    def __aiter__(self) -> AsyncIterator[T]:
        """Return an iterator over values, which are acknowledged as the next one is asked for."""
        return self._iterate(_VALUES) or super().__aiter__()

    def events(self) -> AsyncIterator[EventT[T]]:
        """Return an iterator over events, in the same way."""
        return self._iterate(_EVENTS) or cast(Any, super().events())

    def items(self) -> AsyncIterator[tuple[Any, T]]:
        """Return an iterator over keys and values, in the same way."""
        return self._iterate(_ITEMS) or cast(Any, super().items())

    def take(self, max_: int, within: Seconds) -> AsyncGenerator[Sequence[T], None]:
        """Return an iterator over lists of values; see Faust's own."""
        return self._take(super().take(max_, within))

    def take_events(self, max_: int, within: Seconds) -> AsyncGenerator[Sequence[EventT[T]], None]:
        """Return an iterator over lists of events; see Faust's own."""
        return self._take(cast(Any, super().take_events(max_, within)))

    def take_with_timestamp(
        self, max_: int, within: Seconds, timestamp_field_name: str
    ) -> AsyncGenerator[Sequence[T], None]:
        """Return an iterator over lists of values with their times; see Faust's own."""
        return self._take(super().take_with_timestamp(max_, within, timestamp_field_name))

    def noack_take(self, max_: int, within: Seconds) -> AsyncGenerator[Sequence[T], None]:
        """Return an iterator over lists that are acknowledged by hand; see Faust's own."""
        return self._take(super().noack_take(max_, within))

    def _take(
        self, lists: AsyncGenerator[Sequence[Any], None]
    ) -> AsyncGenerator[Sequence[Any], None]:
        iterator = self._several(lists)
        self._active_agens.add(iterator)
        return iterator

    async def _several(
        self, lists: AsyncGenerator[Sequence[Any], None]
    ) -> AsyncGenerator[Sequence[Any], None]:
        """Let what is sent for several events at once belong to all of them, in transactions.

        Faust reads them in another task, so that whoever works on them has no current event.
        """
        taken: deque[Input] = deque()

        def take_note(value: Any) -> Any:
            if (event := self.current_event) is not None:
                taken.append(cast(Input, event.message))
            return value

        self.add_processor(take_note)
        try:
            async with contextlib.aclosing(lists):
                async for several in lists:
                    inputs = [taken.popleft() for _ in several if taken]
                    producer = self.app.producer
                    if isinstance(producer, Producer) and producer.transactions is not None:
                        worked_on_together.set(producer.transactions.together(inputs))
                    yield several
                    worked_on_together.set(None)
        finally:
            worked_on_together.set(None)
            self._processors.remove(take_note)

    def _iterate(self, wanted: int) -> AsyncIterator[Any] | None:
        compiled = compiled_iterator()
        if compiled is None:
            return None
        iterator = self._stride(compiled, wanted)
        self._active_agens.add(iterator)
        return iterator

    async def _stride(self, compiled: type[Any], wanted: int) -> AsyncGenerator[Any, None]:
        """Iterate.

        What Faust's iterator does with an event that waits is written out: in methods of their
        own, its few steps would take a tenth longer.
        """
        skipped = self._skipped_value
        self._finalized = True
        started_here = await self.maybe_start()
        events = compiled(self)
        queue = self.channel.queue if isinstance(self.channel, ChannelT) else None
        producer: Any = self.app.producer
        waiting = producer.waiting if isinstance(producer, Producer) else ()  # not in Faust's tests
        # Actors that share the work of an agent take turns with every event, as in Faust.
        shares = self.concurrency_index is not None or self.active_partitions is not None
        turn_at = 0.0
        app: Any = self.app
        acked_topics, add_unacked = events.acking_topics, events.add_unacked
        try:
            while not self.should_stop:
                if waiting:
                    # What agents send without waiting for it, changes of tables for instance,
                    # must not pile up: each event may bring any number of records.
                    await producer.room()
                acknowledge = self.enable_acks
                turn = shares or monotonic() > turn_at
                if turn or queue is None or self._processors or self.join_strategy:
                    value, sensor_state = await Stride(events.next(), turn=turn)
                    if turn:
                        turn_at = monotonic() + TURN_SECONDS
                else:
                    try:
                        found = queue.get_nowait()
                    except asyncio.QueueEmpty:
                        found = _NONE
                    if found is _NONE:
                        found = await queue.get()
                        turn_at = monotonic() + TURN_SECONDS
                    # The second is what counts, the first spares almost all its slow look.
                    if not isinstance(found, Event) and not isinstance(found, EventT):
                        self._set_current_event(None)
                        value, sensor_state = found, None
                    else:
                        message = found.message
                        if (
                            message.generation_id != app.consumer_generation_id
                            or not app.flow_control.is_active()
                        ):
                            continue  # of partitions that we do not have any more
                        tp, offset = message.tp, message.offset
                        if not message.tracked and message.topic in acked_topics:
                            message.tracked = True
                            add_unacked(message)
                            self._on_message_in(tp, offset, message)
                        sensor_state = self._on_stream_event_in(tp, offset, self, found)
                        self._set_current_event(found)
                        value = found.value
                try:
                    if value is not skipped:
                        self.events_total += 1
                        if wanted == _VALUES:
                            yield value
                        elif (current := self.current_event) is not None:
                            yield current if wanted == _EVENTS else (current.key, current.value)
                finally:
                    event, self.current_event = self.current_event, None
                    events.after(event, acknowledge or value is skipped, sensor_state)
        except StopAsyncIteration:
            return  # it was a stream over a list
        finally:
            self._channel_stop_iteration(self.channel)
            if started_here:
                await self.stop()
                self.service_reset()
