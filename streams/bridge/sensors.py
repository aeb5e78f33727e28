"""Faust's sensors and its monitor, which know the same for a third of the work.

Faust tells its sensors of every record five times, on its way in and on its way out. Its delegate
makes a dictionary each time for what they give back, though almost every app has one sensor, the
monitor; and the monitor makes one more and looks up twice, in tables of weak references, what a
stream is called. Of a hop of some 60 µs that was a sixth.
"""

from time import monotonic
from typing import Any

import faust
from faust.sensors import SensorDelegate
from faust.types import TP, EventT, StreamT
from faust.types.sensors import SensorT
from faust.types.transports import ProducerT
from faust.types.tuples import PendingMessage, RecordMetadata


class Monitor(faust.Monitor):
    """Faust's monitor. What it gives back of an event is when it began, and no dictionary."""

    def on_stream_event_in(
        self, tp: TP, offset: int, stream: StreamT[Any], event: EventT[Any]
    ) -> Any:
        """Count an event that a stream begins with."""
        self.events_total += 1
        self.stream_inbound_time[tp] = monotonic()
        labels: tuple[Any, str, str] | None = getattr(stream, "monitor_labels", None)
        if labels is None or labels[0] is not stream.task_owner:
            labels = self._label(stream)
        self.events_by_stream[labels[1]] += 1
        self.events_by_task[labels[2]] += 1
        self.events_active += 1
        return self.time()

    def on_stream_event_out(
        self, tp: TP, offset: int, stream: StreamT[Any], event: EventT[Any], state: Any = None
    ) -> None:
        """Count an event that a stream is done with, and how long that took."""
        if state is not None:
            self.events_active -= 1
            self.events_runtime.append(self.time() - state)

    def _label(self, stream: StreamT[Any]) -> tuple[Any, str, str]:
        """Return a stream's task, and what the two are called, which takes long to find out."""
        task: Any = stream.task_owner
        labels = (task, str(stream), str(task))
        stream.__dict__["monitor_labels"] = labels
        return labels


class Sensors(SensorDelegate):
    """Faust's delegate, which passes what it is told straight on to our monitor, if it is alone.

    What a sensor gives back at a beginning it gets again at the end, also when others came or
    went meanwhile. One that has missed the beginning of an event is told of its end with None, as
    in Faust, and one that has missed the sending of a record is not told how it ended.
    """

    _alone: Monitor | None = None
    """Our monitor, where nobody else listens: then what it gives back is passed as it is."""
    _monitor: Monitor | None = None
    """The only one that ever was alone: a state that is no dictionary is what it has given back."""

    def add(self, sensor: SensorT) -> None:
        """Add a sensor."""
        super().add(sensor)
        self._count()

    def remove(self, sensor: SensorT) -> None:
        """Remove a sensor."""
        super().remove(sensor)
        self._count()

    def _count(self) -> None:
        only = next(iter(self._sensors)) if len(self._sensors) == 1 else None
        if type(only) is Monitor and self._monitor in (None, only):
            self._alone = self._monitor = only
        else:
            self._alone = None

    def _states(self, state: Any) -> dict[SensorT, Any]:
        if type(state) is dict:
            return state
        return {} if self._monitor is None or state is None else {self._monitor: state}

    def on_stream_event_in(
        self, tp: TP, offset: int, stream: StreamT[Any], event: EventT[Any]
    ) -> Any:
        """Tell that a stream begins with an event; return what `on_stream_event_out` takes."""
        if self._alone is not None:
            return self._alone.on_stream_event_in(tp, offset, stream, event)
        return super().on_stream_event_in(tp, offset, stream, event)

    def on_stream_event_out(
        self, tp: TP, offset: int, stream: StreamT[Any], event: EventT[Any], state: Any = None
    ) -> None:
        """Tell that a stream is done with an event."""
        if self._alone is not None and type(state) is not dict:
            self._alone.on_stream_event_out(tp, offset, stream, event, state)
        else:
            super().on_stream_event_out(tp, offset, stream, event, self._states(state))

    def on_send_initiated(
        self,
        producer: ProducerT,
        topic: str,
        message: PendingMessage,
        keysize: int,
        valsize: int,
    ) -> Any:
        """Tell that a record is about to be sent; return what the two below take."""
        if self._alone is not None:
            return self._alone.on_send_initiated(producer, topic, message, keysize, valsize)
        return super().on_send_initiated(producer, topic, message, keysize, valsize)

    def on_send_completed(self, producer: ProducerT, state: Any, metadata: RecordMetadata) -> None:
        """Tell that a record is stored."""
        if self._alone is not None and type(state) is not dict:
            self._alone.on_send_completed(producer, state, metadata)
            return
        for sensor, its_state in self._states(state).items():
            if sensor in self._sensors:
                sensor.on_send_completed(producer, its_state, metadata)

    def on_send_error(self, producer: ProducerT, exc: BaseException, state: Any) -> None:
        """Tell that a record could not be sent."""
        for sensor, its_state in self._states(state).items():
            if sensor in self._sensors:
                sensor.on_send_error(producer, exc, its_state)
