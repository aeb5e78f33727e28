"""Everything private of nats-py and Faust that the bridge touches, each with its reason.

`tests/streams/bridge/test_internals.py` breaks when one of the libraries changes beneath us.
"""

import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from mode.utils.queues import ThrowableQueue
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.js import JetStreamContext
from nats.protocol.parser import Parser

if TYPE_CHECKING:  # who uses nats without Faust shall not import it
    from faust.types import TP, AppT
    from faust.types.transports import ProducerT

logger = logging.getLogger(__name__)

RawHandler = Callable[[str, str, bytes, bytes], None]
"""Gets subject, reply subject, raw header block (or b"") and payload of one message."""

_CRLF: Final = b"\r\n"
_LINE_MAX: Final = 65_536


class FastParser(Parser):
    """nats-py's protocol parser, with messages cut out of the buffer in one pass.

    Why: the original matches regular expressions at the buffer's start and shifts the buffer
    for every message, then passes each through a queue to a task of its subscription. At
    thousands of small records a second that is most of the time spent. Here a subscription
    registered in `raw` is called at once, without headers being parsed or a task being woken.
    Everything that is not a message goes to the original, line by line.
    """

    raw: dict[int, RawHandler]

    def __init__(self, nc: Any) -> None:
        super().__init__(nc)
        self.raw = {}
        self._control = Parser(nc)

    async def parse(self, data: bytes = b"") -> None:
        """Take in bytes from the socket and hand on every message that is complete."""
        buffer = self.buf
        buffer += data
        position, end = 0, len(buffer)
        try:
            while position < end:
                line_end = buffer.find(_CRLF, position)
                if line_end < 0:
                    if end - position > _LINE_MAX:
                        raise ProtocolError("nats: no line end in sight")
                    return
                first = buffer[position]
                if first == 72 or first == 77:  # "HMSG", "MSG"
                    after = await self._message(buffer, position, line_end + 2, end, first == 72)
                    if not after:
                        return
                    position = after
                else:
                    line = bytes(buffer[position : line_end + 2])
                    position = line_end + 2
                    await self._control.parse(line)
        finally:
            # An error line can reset the parser meanwhile, which gives it a new buffer.
            if self.buf is buffer and position:
                del buffer[:position]

    async def _message(
        self, buffer: bytearray, start: int, body: int, end: int, headed: bool
    ) -> int:
        """Hand on one message; return the position after it, or 0 if it is not complete yet."""
        words = buffer[start : body - 2].split()
        total = int(words[-1])
        after = body + total + 2
        if after > end:
            return 0
        header_size = int(words[-2]) if headed else 0
        header = bytes(buffer[body : body + header_size])
        payload = bytes(buffer[body + header_size : body + total])
        reply = words[3] if len(words) == (6 if headed else 5) else b""
        sid = int(words[2])
        handler = self.raw.get(sid)
        if handler is None:
            await cast(Any, self.nc)._process_msg(
                sid, bytes(words[1]), bytes(reply), payload, header or None
            )
            return after
        try:
            handler(words[1].decode(), reply.decode(), header, payload)
        except Exception:
            # An escaping error would end nats-py's read loop, silently and for good.
            logger.exception("error in the handler of %s", words[1])
        return after


def install_parser(client: Client) -> None:
    """Give a client, not yet connected, the parser above."""
    client._ps = FastParser(client)


async def subscribe_raw(client: Client, subject: str, handler: RawHandler) -> int:
    """Subscribe with a plain function that is called inside the read loop; return its number.

    The subscription survives reconnects like any other.
    """
    parser = client._ps
    assert isinstance(parser, FastParser)  # noqa: S101 - our connect() makes all clients
    # The number is taken before subscribe() first waits, so it can be known beforehand and no
    # message slips past.
    number = client._sid + 1
    parser.raw[number] = handler
    await client.subscribe(subject)
    return number


async def unsubscribe_raw(client: Client, number: int) -> None:
    """End a subscription of `subscribe_raw`; harmless when the connection is closed."""
    cast(FastParser, client._ps).raw.pop(number, None)
    subscription = client._subs.get(number)
    if subscription is not None and not client.is_closed and not client.is_draining:
        await subscription.unsubscribe()


def write(client: Client, data: bytes) -> bool:
    """Write protocol bytes to the socket now; False when there is no connection.

    Why: `Client.publish` is a coroutine with a queue, a future and a task of its own between
    the caller and the socket. The bridge keeps what is unacknowledged itself, so nothing is
    lost by not buffering here.
    """
    transport = client._transport
    if not client.is_connected or transport is None:
        return False
    if client._pending:  # a SUB, say, whose answers ours must not overtake
        data = b"".join([*client._pending, data])
        client._pending = []
        client._pending_data_size = 0
    transport.write(data)
    return True


def client_of(js: JetStreamContext) -> Client:
    """Return the connection of a JetStream context.

    Why: functions that take a context, as nats-py's own do, must see if the connection complains.
    """
    return js._nc


def unsent(client: Client) -> int:
    """Return how many bytes written to the socket wait in this process.

    Why: a server that stands still takes nothing out of the socket, and what is sent again
    meanwhile would pile up without limit. nats-py has no call that tells.
    """
    writer = getattr(client._transport, "_io_writer", None)
    return 0 if writer is None else int(writer.transport.get_write_buffer_size())


def break_off_on_reconnect(client: Client) -> None:
    """Let a client drop a broken connection at once, instead of flushing it first.

    Why: nats-py closes the old socket and waits until what was written to it has left. Towards a
    server that stands still, or a machine that has vanished, that takes the operating system's
    quarter of an hour, in which no other server of the cluster is tried.
    """
    attempt = client._attempt_reconnect

    async def break_off() -> None:
        _abort(client)
        await attempt()

    client._attempt_reconnect = break_off  # type: ignore[method-assign]


async def close(client: Client) -> None:
    """Close a connection; what a server that stands still has not read is dropped.

    Why: as above, nats-py would wait for that server.
    """
    if unsent(client):
        _abort(client)
    with contextlib.suppress(ConnectionError):
        await client.close()


def _abort(client: Client) -> None:
    writer = getattr(client._transport, "_io_writer", None)
    if writer is not None:
        writer.transport.abort()


def drop_half_open(client: Client) -> None:
    """Close the socket of an attempt to connect that has failed.

    Why: nats-py makes the next attempt without closing the socket on which the last one failed
    after it was opened, by a server that was about to end for instance.
    """
    transport: Any = client._transport
    if not client.is_connected and transport:
        transport.close()


def parse_headers(raw: bytes) -> dict[str, str]:
    """Return a raw header block's fields; bytes that are not UTF-8 survive as surrogates.

    An inline status line (`NATS/1.0 408 Request Timeout`) gives the fields `Status` and
    `Description`.
    """
    first, *lines = raw.split(_CRLF)
    fields: dict[str, str] = {}
    status = first[8:].strip()
    if status:
        code, _, description = status.decode("utf-8", "replace").partition(" ")
        fields["Status"] = code
        fields["Description"] = description
    for line in lines:
        name, separator, value = line.partition(b":")
        if separator:
            fields[name.decode("ascii", "replace")] = value.strip().decode(
                "utf-8", "surrogateescape"
            )
    return fields


def step(coroutine: Coroutine[Any, Any, Any]) -> "Waiting | None":
    """Run a coroutine until it ends or first waits; return how to go on in the latter case.

    Why: almost every delivery and publish in Faust runs through without waiting at all, and a
    task for each costs two turns of the event loop. The rest of a coroutine that does wait can
    be awaited through the returned object, in any task.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return None
    return Waiting(coroutine, waits_for)


class Waiting:
    """The rest of a coroutine that `step` began; await it once."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Any:
        coroutine, waits_for = self._coroutine, self._waits_for
        while True:
            thrown: BaseException | None = None
            answer = None
            try:
                answer = yield waits_for
            except BaseException as exc:
                thrown = exc
            try:
                waits_for = coroutine.send(answer) if thrown is None else coroutine.throw(thrown)
            except StopIteration as stop:
                return stop.value

    async def finish(self) -> Any:
        """Await the rest, as a coroutine (for `asyncio.ensure_future` and its like)."""
        return await self


def quick_producer(app: "AppT", producer: "ProducerT") -> None:
    """Let `app.maybe_start_producer()` return the started producer at once.

    Why: every single send goes through it, and its protection against a stampede of starters
    lets the event loop turn three times. Nothing has to be started any more; the descriptor is
    overruled by the instance, as its own cache is.
    """

    async def started() -> "ProducerT":
        return producer

    app.__dict__["maybe_start_producer"] = started


def slow_producer(app: "AppT") -> None:
    """Undo `quick_producer`: the producer has stopped, and would have to be started again."""
    app.__dict__.pop("maybe_start_producer", None)


def slow_agents(app: "AppT", crowded: Callable[[], bool], room: Callable[[], Any]) -> None:
    """Let an app's streams wait for `room()` before their next event while `crowded()`.

    Why: what an agent sends with `send_soon`, changes of tables included, is not awaited. Faust
    only stops handing events to streams whose queues hold thousands already, and each of those
    may send as much as it likes. The queues come from a method of the app, overruled here.
    """

    class PatientQueue(ThrowableQueue[Any]):
        async def get(self) -> Any:
            while crowded():
                await room()
            return await super().get()

    def make(maxsize: int | None = None, *, clear_on_resume: bool = False) -> PatientQueue:
        return PatientQueue(
            maxsize=maxsize, flow_control=app.flow_control, clear_on_resume=clear_on_resume
        )

    app.__dict__["FlowControlQueue"] = make


def forget_tables(app: "AppT", kept: "set[TP]", *, doubtful: bool) -> None:
    """Empty tables whose local data cannot be relied on; recovery then reads them back whole.

    Why: the memory store does not know which of the keys written here belong to a partition
    that has moved away, so they would stay, and grow old. It is emptied unless exactly the
    changelog partitions `kept` stay ours. And when we may have gone on writing what belonged to
    another member already (`doubtful`), no store can be relied on, those on disk included.
    """
    recovery = cast(Any, app.tables).recovery
    for table in app.tables.values():
        topic = cast(Any, table).changelog_topic.get_topic_name()
        offsets = (recovery.active_offsets, recovery.standby_offsets)
        before = {tp for counter in offsets for tp in counter if tp.topic == topic}
        in_memory = hasattr(cast(Any, table).data, "_key_partition")
        moved = before != {tp for tp in kept if tp.topic == topic}
        if not before or not (doubtful or (in_memory and moved)):
            continue
        if in_memory:
            cast(Any, table).data.data.clear()
            cast(Any, table).data._key_partition.clear()
        else:
            table.reset_state()
        for counter in offsets:
            for tp in before:
                counter.pop(tp, None)


def recovered_to_end(app: "AppT", tp: "TP", handed_on: int) -> None:
    """Tell a table's recovery that nothing more comes after the offset `handed_on`.

    Why: recovery waits until it has seen the last offset there was when it began. When that
    record vanished meanwhile (a tombstone's time was up) it would wait for ever. What was
    handed on but is not applied yet must not be overtaken.
    """
    recovery = cast(Any, app.tables).recovery
    for offsets, highwaters in (
        (recovery.active_offsets, recovery.active_highwaters),
        (recovery.standby_offsets, recovery.standby_highwaters),
    ):
        highwater = highwaters.get(tp)
        seen = offsets.get(tp)
        if highwater is not None and seen is not None and handed_on <= seen < highwater:
            offsets[tp] = highwater
    if recovery.in_recovery and not recovery.need_recovery():
        # It would find out itself, but only looks every five seconds when nothing comes.
        recovery.flush_buffers()
        recovery._set_recovery_ended()
        recovery.signal_recovery_end.set()
