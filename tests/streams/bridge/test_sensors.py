"""Our sensors and our monitor know what Faust's do, whoever else listens."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import faust
import pytest
from faust.sensors import SensorDelegate
from faust.types import TP, RecordMetadata
from faust.types.tuples import PendingMessage
from hypothesis import given
from hypothesis import strategies as st

from streams.bridge.inputs import Input
from streams.bridge.reader import Delivered
from streams.bridge.sensors import Monitor, Sensors

BROKER: Final = "nats://unused?prefix=x"
PLACES: Final = [TP("a", 0), TP("a", 1), TP("b", 0)]


def ticks() -> Callable[[], float]:
    """Return a clock that goes on by one whenever somebody looks."""
    count = itertools.count()
    return lambda: float(next(count))


class Listener(faust.Sensor):
    """Notes what it is told, and gives back something of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[Any, ...]] = []

    def on_stream_event_in(self, tp: Any, offset: int, stream: Any, event: Any) -> Any:
        self.heard.append(("in", tp, offset))
        return {"listener": offset}

    def on_stream_event_out(
        self, tp: Any, offset: int, stream: Any, event: Any, state: Any = None
    ) -> None:
        self.heard.append(("out", tp, offset, state))

    def on_send_initiated(
        self, producer: Any, topic: str, message: Any, keysize: int, valsize: int
    ) -> Any:
        self.heard.append(("sending", topic, message.key, keysize, valsize))
        return topic

    def on_send_completed(self, producer: Any, state: Any, metadata: Any) -> None:
        self.heard.append(("sent", state, metadata.offset))

    def on_send_error(self, producer: Any, exc: BaseException, state: Any) -> None:
        self.heard.append(("failed", state, str(exc)))


class Owner:
    """Stands for the task of an agent."""


class Side:
    """A delegate with a monitor, and what their app has under way."""

    def __init__(
        self, streams: list[Any], delegate: SensorDelegate, monitor: faust.Monitor
    ) -> None:
        monitor.time = ticks()
        delegate.add(monitor)
        self.delegate = delegate
        self.monitor = monitor
        self.listener = Listener()
        self.listening = False
        self.streams = streams
        self.producer: Any = None
        self.begun: list[tuple[Any, ...]] = []
        self.sending: list[Any] = []

    def do(self, what: str, number: int, offset: int) -> None:
        """Let one thing happen."""
        sensors: Any = self.delegate
        tp = PLACES[number]
        if what == "begin":
            stream = self.streams[number // 2]
            message = Input(tp, Delivered(b"", offset, 1.0, b"", b"v"), None)
            event: Any = faust.Event(stream.app, None, b"v", None, message)
            sensors.on_message_in(tp, offset, message)
            state = sensors.on_stream_event_in(tp, offset, stream, event)
            self.begun.append((tp, offset, stream, event, message, state))
        elif what == "end" and self.begun:
            *where, message, state = self.begun.pop(0)
            sensors.on_stream_event_out(*where, state)
            sensors.on_message_out(*where[:2], message)
        elif what == "send":
            channel: Any = None
            pending = PendingMessage(channel, b"k", b"v", None, None, None, None, None, None)
            self.sending.append(sensors.on_send_initiated(self.producer, tp.topic, pending, 1, 1))
        elif what == "stored" and self.sending:
            metadata = RecordMetadata(*tp, tp, offset, None, None)
            sensors.on_send_completed(self.producer, self.sending.pop(0), metadata)
        elif what == "refused" and self.sending:
            sensors.on_send_error(self.producer, ValueError("x"), self.sending.pop(0))

    def join(self) -> None:
        """Let somebody else listen too, or no longer."""
        if self.listening:
            self.delegate.remove(self.listener)
        else:
            self.delegate.add(self.listener)
        self.listening = not self.listening

    def known(self) -> Any:
        """Return all that the monitor knows."""
        monitor = self.monitor
        inbound = sorted(monitor.stream_inbound_time)
        return monitor.asdict(), inbound, list(monitor.events_runtime), list(monitor.send_latency)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> faust.App:
    folder: Path = tmp_path_factory.mktemp("data")
    return faust.App("x", broker=BROKER, datadir=folder, web_enabled=False)


@pytest.fixture(scope="module")
def streams(app: faust.App) -> list[Any]:
    streams: list[Any] = [app.stream(app.topic(name)) for name in ("a", "b")]
    for stream in streams:
        stream.task_owner = Owner()
    return streams


happenings = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "send", "stored", "refused"]),
        st.sampled_from(range(len(PLACES))),
        st.integers(1, 9),
    )
)


@given(happenings, st.booleans())
def test_the_monitor_knows_what_fausts_own_does(
    app: faust.App, streams: list[Any], happens: list[tuple[str, int, int]], accompanied: bool
) -> None:
    ours = Side(streams, Sensors(app), Monitor())
    faust_s = Side(streams, SensorDelegate(app), faust.Monitor())
    for side in (ours, faust_s):
        if accompanied:
            side.join()
        for what in happens:
            side.do(*what)
    assert ours.known() == faust_s.known()
    assert ours.listener.heard == faust_s.listener.heard


@given(st.lists(happenings.filter(bool), min_size=1))
def test_who_comes_and_goes_meanwhile_disturbs_nobody(
    app: faust.App, streams: list[Any], happens: list[list[tuple[str, int, int]]]
) -> None:
    side = Side(streams, Sensors(app), Monitor())
    alone = Side(streams, Sensors(app), Monitor())
    for part in happens:
        for what in part:
            side.do(*what)
            alone.do(*what)
        side.join()
    assert side.monitor.asdict() == alone.monitor.asdict()
    heard = side.listener.heard
    begun = [told[1:] for told in heard if told[0] == "in"]
    ended = [told[1:] for told in heard if told[0] == "out"]
    # What it is given back is its own, or None of what began before it came.
    assert all(state in (None, {"listener": offset}) for _, offset, state in ended)
    assert all((tp, offset) in begun for tp, offset, state in ended if state is not None)
    sending = Counter(told[1] for told in heard if told[0] == "sending")
    done = Counter(told[1] for told in heard if told[0] in ("sent", "failed"))
    assert done <= sending


def test_a_monitor_in_place_of_another_counts_for_itself(
    app: faust.App, streams: list[Any]
) -> None:
    side = Side(streams, Sensors(app), Monitor())
    side.do("begin", 0, 1)
    side.do("send", 0, 1)
    side.delegate.remove(side.monitor)
    other = Monitor()
    side.delegate.add(other)
    side.do("end", 0, 1)
    side.do("stored", 0, 1)
    assert other.events_active == 0
    assert not other.events_runtime
    assert not other.send_latency
    side.do("begin", 0, 2)
    assert other.events_active == 1
    side.do("end", 0, 2)
    assert other.events_active == 0
    assert len(other.events_runtime) == 1


def test_who_has_chosen_others_keeps_them(tmp_path: Path) -> None:
    class Own(faust.Monitor):
        pass

    mine = faust.App("mine", broker=BROKER, datadir=tmp_path, Monitor=Own)
    assert type(mine.monitor) is Own
    usual = faust.App("usual", broker=BROKER, datadir=tmp_path)
    early = Listener()
    usual.sensors.add(early)
    assert type(usual.monitor) is Monitor
    assert type(usual.sensors) is Sensors
    assert list(usual.sensors) == [early]
