"""What goes over the wire, past nats-py's queues and tasks: its parser, and raw subscriptions.

Like `internals.py` it reaches beneath nats-py's surface; `tests/streams/bridge/test_parser.py`
breaks when that changes.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

logger = logging.getLogger(__name__)

RawHandler = Callable[[bytes, bytes, bytes, bytes], None]
"""Gets subject, reply subject, raw header block (or b"") and payload of one message."""

_CRLF: Final = b"\r\n"
_LINE_MAX: Final = 65_536
_VIOLATION: Final = b"-ERR 'Permissions Violation"


class FastParser(Parser):
    """nats-py's protocol parser, with messages cut out of the buffer in one pass.

    Why: the original matches regular expressions at the buffer's start and shifts the buffer
    for every message, then passes each through a queue to a task of its subscription. At
    thousands of small records a second that is most of the time spent. Here a subscription
    registered in `raw` is called at once, without headers being parsed or a task being woken:
    as the bytes come from the socket, before nats-py's read loop, which would take another turn
    of the event loop for them. Everything else goes to the read loop and the original, in order.
    Complaints over missing rights go to `on_violation`: the original lowers their case, and with
    it that of the subject.
    """

    raw: dict[bytes, RawHandler]
    """By the subscription's number, as it comes over the wire."""

    def __init__(self, nc: Any, on_violation: Callable[[str], None] = logger.error) -> None:
        super().__init__(nc)
        self.raw = {}
        self._on_violation = on_violation
        self._control = Parser(nc)

    def reset(self) -> None:
        """Begin anew, on a new connection."""
        super().reset()
        self._needed = 0
        """Bytes there must be before another look makes sense."""
        self._reader: asyncio.StreamReader | None = None
        """Where the bytes of this connection come from."""
        self._owed = 0
        """Bytes that are on their way to `parse` through the read loop, or in its hands."""

    async def parse(self, data: bytes = b"") -> None:
        """Take in bytes from the read loop and hand on every message that is complete."""
        if self._reader is None:
            self._owed = len(data)
            self._listen()
        buffer = self.buf
        buffer += data
        if len(buffer) >= self._needed:
            self._needed = 0
            whole = bytes(buffer)  # slices of it need no second copy
            position, end = 0, len(whole)
            try:
                while position < end:
                    operation, position = self._hand_on(whole, position)
                    if operation is None:
                        break
                    position += len(operation)
                    await self._pass(operation)
            finally:
                # An error line can reset the parser meanwhile, which gives it a new buffer.
                if self.buf is buffer and position:
                    del buffer[:position]
        if self.buf is buffer:
            self._owed = max(0, self._owed - len(data))

    def _listen(self) -> None:
        """Have what comes from the socket from now on handed on before the read loop sees it."""
        reader = getattr(getattr(self.nc, "_transport", None), "_io_reader", None)
        if not isinstance(reader, asyncio.StreamReader):
            return  # a websocket, or no connection at all
        self._reader = reader
        self._owed += len(cast(Any, reader)._buffer)
        feed_data = reader.feed_data

        def feed(data: bytes) -> None:
            if self._reader is not reader:
                feed_data(data)
            elif self._owed:
                self._owed += len(data)
                feed_data(data)
            else:
                rest = self._take(data)
                if rest:
                    self._owed = len(rest)
                    feed_data(rest)

        cast(Any, reader).feed_data = feed

    def _take(self, data: bytes) -> bytes:
        """Hand on what is complete, up to what is not for us; return all from there on."""
        buffer = self.buf
        buffer += data
        if len(buffer) < self._needed:
            return b""
        self._needed = 0
        whole = bytes(buffer)
        operation, position = self._hand_on(whole, 0)
        if operation is None:
            del buffer[:position]
            return b""
        buffer.clear()
        return whole[position:]

    def _hand_on(self, whole: bytes, position: int) -> tuple[bytes | None, int]:
        """Call the handlers of all messages from `position` on, as far as they have any.

        Returns where that ends: before an operation for nats-py, which comes too, or before what
        is not complete.
        """
        end = len(whole)
        while position < end:
            line_end = whole.find(_CRLF, position)
            if line_end < 0:
                if end - position > _LINE_MAX:
                    return whole[position:], position  # which `_pass` will not like
                break
            first = whole[position]
            if first != 72 and first != 77:  # "HMSG", "MSG"
                return whole[position : line_end + 2], position
            words = whole[position:line_end].split()
            body = line_end + 2
            after = body + int(words[-1]) + 2
            if after > end:
                self._needed = after - position
                break
            handler = self.raw.get(words[2])
            if handler is None:
                return whole[position:after], position
            start = body + int(words[-2]) if first == 72 else body
            reply = words[3] if len(words) == (6 if first == 72 else 5) else b""
            try:
                handler(words[1], reply, whole[body:start], whole[start : after - 2])
            except Exception:
                # It would end nats-py's read loop, silently and for good.
                logger.exception("error in the handler of %s", words[1])
            position = after
        return None, position

    async def _pass(self, operation: bytes) -> None:
        """Pass one operation to nats-py."""
        line, _, body = operation.partition(_CRLF)
        if _CRLF not in operation:
            raise ProtocolError("nats: no line end in sight")
        if line.startswith((b"HMSG", b"MSG")):
            words = line.split()
            header = int(words[-2]) if line.startswith(b"H") else 0
            has_reply = len(words) == (6 if header else 5)
            await cast(Any, self.nc)._process_msg(
                int(words[2]),
                words[1],
                words[3] if has_reply else b"",
                body[header:-2],
                body[:header] or None,
            )
        elif line.startswith(_VIOLATION):
            self._on_violation(line[5:].strip().strip(b"'").decode(errors="replace"))
        else:
            await self._control.parse(operation)


def install_parser(client: Client, on_violation: Callable[[str], None]) -> None:
    """Give a client, not yet connected, the parser above."""
    client._ps = FastParser(client, on_violation)


async def subscribe_raw(client: Client, subject: str, handler: RawHandler) -> int:
    """Subscribe with a plain function that is called inside the read loop; return its number.

    The subscription survives reconnects like any other.
    """
    parser = client._ps
    assert isinstance(parser, FastParser)  # noqa: S101 - our connect() makes all clients
    # The number is taken before subscribe() first waits, so it can be known beforehand and no
    # message slips past.
    number = client._sid + 1
    parser.raw[b"%d" % number] = handler
    await client.subscribe(subject)
    return number


async def unsubscribe_raw(client: Client, number: int) -> None:
    """End a subscription of `subscribe_raw`; harmless when the connection is closed."""
    cast(FastParser, client._ps).raw.pop(b"%d" % number, None)
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
