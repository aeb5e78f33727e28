"""Iterating over a stream without a turn of the event loop for every event."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, TypeVar

import faust

from .internals import Stride, compiled_iterator

T = TypeVar("T")

TURN_EVERY: Final = 16
"""Events after which other tasks get their turn though more events wait."""


class Stream(faust.Stream[T]):
    """Faust's stream, iterated over in longer strides.

    Before every event Faust lets the event loop turn once. That is most of what taking an event
    that waits already costs; and as every stream then sends one record a turn, each leaves in a
    system call of its own. Faust's compiled iterator does the work here too.
    """

    def __aiter__(self) -> AsyncIterator[T]:
        """Return an iterator over values, which are acknowledged as the next one is asked for."""
        compiled = compiled_iterator()
        if compiled is None:
            return super().__aiter__()
        iterator = self._stride(compiled)
        self._active_agens.add(iterator)
        return iterator

    async def _stride(self, compiled: type[Any]) -> AsyncGenerator[T, None]:
        skipped = self._skipped_value
        self._finalized = True
        started_here = await self.maybe_start()
        events = compiled(self)
        count = 0
        try:
            while not self.should_stop:
                acknowledge = self.enable_acks
                count += 1
                value, sensor_state = await Stride(events.next(), turn=count % TURN_EVERY == 0)
                try:
                    if value is not skipped:
                        self.events_total += 1
                        yield value
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
