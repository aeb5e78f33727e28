"""Publishing to JetStream with many records in flight, none of them lost."""

import asyncio
import bisect
import itertools
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from .errors import AccessDenied, BridgeError, SendFailed, TopicGone
from .internals import subscribe_raw, unsent, unsubscribe_raw, write
from .layout import stream_of
from .refusals import explain, passes

logger = logging.getLogger(__name__)

ACK_SECONDS: Final = 5.0
"""How long an acknowledgement may take before the record is sent again."""
NOBODY_SECONDS: Final = 10.0
"""How long nobody may take a subject (an election, a restart) before we ask for its stream."""
BYTES: Final = 16 * 1024 * 1024
"""Bytes in flight above which senders wait for room."""
SAY_SECONDS: Final = 30.0
"""How often a trouble that lasts is logged."""
_TICK_SECONDS: Final = 0.5

_REFUSED = re.compile(r'permissions violation for publish to "(.+?)"')


class _InFlight:
    """A record on its way: the bytes to send again, and who waits for the sequence."""

    __slots__ = (
        "command",
        "first_sent",
        "future",
        "result",
        "sent",
        "subject",
        "superseding",
        "vital",
    )

    def __init__(
        self,
        subject: str,
        command: bytes,
        future: "asyncio.Future[Any]",
        result: Callable[[int], Any],
        superseding: bool,
        vital: bool,
        now: float,
    ) -> None:
        self.subject = subject
        self.command = command
        self.future = future
        self.result = result
        self.superseding = superseding
        self.vital = vital
        self.sent = now
        self.first_sent = now


@dataclass
class _Hold:
    """A topic that takes no records now. One is tried now and then; the others wait behind it.

    So order is kept, and a server in trouble is not flooded with what it refuses.
    """

    reason: str
    since: float
    said: float
    nobody_since: float | None = None
    """Since when nothing has listened on the topic's subjects at all."""
    probe: int = 0
    refused: bool = True
    """Whether the last try has been answered."""
    search: "asyncio.Task[None] | None" = None


class Publisher:
    """Sends records and collects their acknowledgements concurrently, in order of sending.

    A record stays in flight until JetStream has stored it: it is sent again, unchanged and so
    with the same message id, when its acknowledgement is overdue, the connection was lost, or a
    refusal may have passed (a full stream is logged, and waited for). One subscription takes all
    acknowledgements, one timer looks after all that are overdue.

    A record that is refused for good fails its future, every later `flush()`, and is told to
    `on_failure`: what follows from an input must not be forgotten.

    `may_write` is asked at the last moment before bytes reach the socket: a process that was
    stopped for longer than its lease must not go on writing what is another's by now.
    """

    def __init__(
        self,
        client: Client,
        *,
        limit: int = 4_096,
        on_failure: Callable[[BridgeError], None] | None = None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self.client = client
        self.limit = limit
        """Records in flight above which `room()` waits; `BYTES` is the other bound."""
        self.failure: BridgeError | None = None
        self._on_failure = on_failure
        self._may_write = may_write
        self._in_flight: dict[int, _InFlight] = {}
        self._by_subject: defaultdict[str, list[int]] = defaultdict(list)
        self._token = 0
        self._inbox = ""
        self._subscription = 0
        self._bytes = 0
        self._holds: dict[str, _Hold] = {}
        self._connections = client.stats["reconnects"]
        self._connected = 0.0
        self._said = -SAY_SECONDS
        self._outgoing: list[bytes] = []
        self._changed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to take acknowledgements; the client must be connected."""
        self._loop = asyncio.get_running_loop()
        self._inbox = self.client.new_inbox() + "."
        self._subscription = await subscribe_raw(self.client, self._inbox + "*", self._on_ack)
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)

    async def stop(self) -> None:
        """End; what is still in flight fails with SendFailed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await unsubscribe_raw(self.client, self._subscription)
        self.forget(SendFailed("stopped before JetStream acknowledged"))

    @property
    def size(self) -> int:
        """How many records are in flight."""
        return len(self._in_flight)

    @property
    def full(self) -> bool:
        """Whether so much is in flight that senders should wait for `room()`."""
        return len(self._in_flight) >= self.limit or self._bytes >= BYTES

    def publish(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, str],
        *,
        superseding: bool = False,
        vital: bool = True,
        result: Callable[[int], Any] = int,
    ) -> "asyncio.Future[Any]":
        """Send a record; the future gives `result(sequence)` once it is stored.

        `superseding`: only the last record of this subject counts (compaction), so one that a
        later one has overtaken is not sent again and counts as stored with the later one.
        Without `vital` only the future tells of a failure, and a subject without a stream is one
        at once: the record was for somebody who has gone.

        Raises SendFailed at once for what the server would never take.
        """
        block = header_block(headers)
        if len(block) + len(payload) > self.client.max_payload:
            raise SendFailed(
                f"{subject}: {len(block) + len(payload)} bytes, but the server takes "
                f"{self.client.max_payload} at most"
            )
        token = self._token = self._token + 1
        command = b"HPUB %b %b%d %d %d\r\n%b%b\r\n" % (
            subject.encode(),
            self._inbox.encode(),
            token,
            len(block),
            len(block) + len(payload),
            block,
            payload,
        )
        loop = self._loop
        future: asyncio.Future[Any] = loop.create_future()
        self._in_flight[token] = _InFlight(
            subject, command, future, result, superseding, vital, loop.time()
        )
        self._bytes += len(command)
        if superseding:
            self._by_subject[subject].append(token)
        if not self._holds or _topic(subject) not in self._holds:
            self._write(command)
        return future

    async def room(self) -> None:
        """Wait until another record may be sent."""
        while self.full:
            await self._change()

    async def flush(self) -> None:
        """Wait until everything sent so far is stored; raise what was refused, if anything was."""
        last = self._token
        while self.failure is None and self._in_flight and next(iter(self._in_flight)) <= last:
            await self._change()
        if self.failure is not None:
            raise self.failure

    def send_again(self) -> None:
        """Send all that is in flight again, in order: the connection is new."""
        now = self._loop.time()
        self._connections = self.client.stats["reconnects"]
        self._connected = now
        self._holds.clear()
        for token, record in self._in_flight.items():
            self._send_again(token, record, now)

    def fail(self, error: BridgeError) -> None:
        """Let every later `flush()` fail: something that had to be sent cannot be."""
        if self.failure is None:
            self.failure = error
            self._notify()
            if self._on_failure is not None:
                self._on_failure(error)

    def forget_changes(self, error: BridgeError) -> None:
        """Give up superseding records in flight: the keys belong to somebody else now."""
        for token, record in list(self._in_flight.items()):
            if record.superseding:
                self._fail(token, error, vital=False)

    def forget(self, error: BridgeError) -> None:
        """Give up all that is in flight."""
        for token in list(self._in_flight):
            self._fail(token, error, vital=False)

    def refused(self, complaint: str) -> None:
        """Take the server's complaint over a missing right: fail what it is about."""
        match = _REFUSED.search(complaint.lower())  # nats-py lowers the text's case
        if match is None:
            return
        for token, record in list(self._in_flight.items()):
            if record.subject.lower() == match[1]:
                self._fail(token, AccessDenied(f"no right to publish on {record.subject}"))

    def _write(self, command: bytes) -> None:
        # What is sent within one turn of the event loop leaves in one system call.
        if not self._outgoing:
            self._loop.call_soon(self._write_out)
        self._outgoing.append(command)

    def _write_out(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        # What is new must not overtake what was sent over a connection that has broken since.
        if self._may_write() and self._connections == self.client.stats["reconnects"]:
            write(self.client, b"".join(outgoing))

    def _on_ack(self, subject: str, reply: str, header: bytes, payload: bytes) -> None:
        token = int(subject[len(self._inbox) :])
        record = self._in_flight.get(token)
        if record is None:
            return  # stored before, and sent again meanwhile
        if not payload:
            if record.vital:
                self._hold(record, "nobody listens", nobody=True)
            else:
                self._fail(token, SendFailed(f"no stream takes {record.subject}"))
            return
        answer = json.loads(payload)
        error = answer.get("error")
        if error is None:
            self._stored(token, record, answer["seq"])
        elif passes(error):
            self._hold(record, explain(error), nobody=False)
        else:
            self._fail(token, SendFailed(f"{record.subject}: {explain(error)}"))

    def _stored(self, token: int, record: _InFlight, sequence: int) -> None:
        if not record.superseding:
            self._finish(token, record, sequence)
            return
        tokens = self._by_subject.pop(record.subject)
        done = bisect.bisect_right(tokens, token)
        if done < len(tokens):
            self._by_subject[record.subject] = tokens[done:]
        for older in tokens[:done]:
            self._finish(older, self._in_flight[older], sequence)

    def _finish(self, token: int, record: _InFlight, sequence: int) -> None:
        del self._in_flight[token]
        self._bytes -= len(record.command)
        if not record.future.done():
            record.future.set_result(record.result(sequence))
        if self._holds:
            self._settled(token, record)
        self._notify()

    def _fail(self, token: int, error: BridgeError, *, vital: bool = True) -> None:
        record = self._in_flight.pop(token)
        self._bytes -= len(record.command)
        if record.superseding:
            tokens = self._by_subject[record.subject]
            tokens.remove(token)
            if not tokens:
                del self._by_subject[record.subject]
        if not record.future.done():
            record.future.set_exception(error)
            record.future.exception()  # told by flush() too, so no "never retrieved"
        if vital and record.vital:
            self.fail(error)
        if self._holds:
            self._settled(token, record)
        self._notify()

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        if not self.client.is_connected:
            return
        if self._connections != self.client.stats["reconnects"]:
            self.send_again()
        elif unsent(self.client) < BYTES // 4:  # else the server reads nothing now
            for token, record in self._in_flight.items():
                if record.sent <= now - ACK_SECONDS and _topic(record.subject) not in self._holds:
                    self._send_again(token, record, now)
            self._probe(now)
        self._complain(now)

    def _send_again(self, token: int, record: _InFlight, now: float) -> None:
        record.sent = now
        if self._latest(token, record):
            self._write(record.command)

    def _latest(self, token: int, record: _InFlight) -> bool:
        return not record.superseding or self._by_subject[record.subject][-1:] == [token]

    # -- topics that take no records at the moment

    def _hold(self, record: _InFlight, reason: str, *, nobody: bool) -> None:
        now = self._loop.time()
        hold = self._holds.get(_topic(record.subject))
        if hold is None:
            logger.warning("%s: %s; waiting until it passes", record.subject, reason)
            hold = self._holds[_topic(record.subject)] = _Hold(reason, now, now)
        hold.reason = reason
        hold.refused = True
        if not nobody:
            hold.nobody_since = None
        elif hold.nobody_since is None:
            hold.nobody_since = now
        elif now - hold.nobody_since > NOBODY_SECONDS and hold.search is None:
            hold.search = self._loop.create_task(self._search(record.subject, hold))

    def _probe(self, now: float) -> None:
        """Try the first record of each topic that is held."""
        if not self._holds:
            return
        first: dict[str, int] = {}
        for token, record in self._in_flight.items():
            if self._latest(token, record):
                first.setdefault(_topic(record.subject), token)
        for topic, hold in list(self._holds.items()):
            if topic not in first:
                del self._holds[topic]
                continue
            hold.probe = first[topic]
            record = self._in_flight[hold.probe]
            if hold.refused or record.sent <= now - ACK_SECONDS:
                hold.refused = False
                self._send_again(hold.probe, record, now)

    def _settled(self, token: int, record: _InFlight) -> None:
        """Send what was held if this record was the one that was tried."""
        topic = _topic(record.subject)
        hold = self._holds.get(topic)
        if hold is None or hold.probe != token:
            return
        del self._holds[topic]
        now = self._loop.time()
        logger.info("%s: records are taken again, after %.0f s", topic, now - hold.since)
        for other, waiting in self._in_flight.items():
            if _topic(waiting.subject) == topic:
                self._send_again(other, waiting, now)

    async def _search(self, subject: str, hold: _Hold) -> None:
        """Find out if a topic that nobody takes records for is gone, or only away."""
        try:
            await self.client.jetstream().stream_info(stream_of(subject))
        except nats.js.errors.NotFoundError:
            error = TopicGone.of(stream_of(subject))
            for token, record in list(self._in_flight.items()):
                if _topic(record.subject) == _topic(subject):
                    self._fail(token, error)
        except (nats.errors.Error, TimeoutError):
            pass  # it cannot be said now
        hold.nobody_since = hold.search = None

    def _complain(self, now: float) -> None:
        """Log what has been waiting for long, and why."""
        for topic, hold in self._holds.items():
            if now - hold.said > SAY_SECONDS:
                hold.said = now
                logger.warning(
                    "%s: no record taken for %.0f s: %s", topic, now - hold.since, hold.reason
                )
        for record in itertools.islice(self._in_flight.values(), 1):
            waited = now - max(record.first_sent, self._connected)
            if waited > 2 * ACK_SECONDS and now - self._said > SAY_SECONDS and not self._holds:
                self._said = now
                logger.warning(
                    "%s: JetStream has not answered for %.0f s; %d records wait. The server's log "
                    "may tell why: a full disk, a stream without a leader",
                    *(record.subject, waited, self.size),
                )

    def _notify(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _change(self) -> None:
        if self._changed is None or self._changed.done():
            self._changed = self._loop.create_future()
        await asyncio.shield(self._changed)


def _topic(subject: str) -> str:
    """Return the part of a subject that all partitions of a topic share."""
    return ".".join(subject.split(".", 2)[:2])


def header_block(headers: dict[str, str]) -> bytes:
    """Return the bytes of a NATS header block; values must be free of line ends."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return b"NATS/1.0\r\n%b\r\n" % lines.encode("utf-8", "surrogateescape")
