"""Publishing to JetStream with many records in flight, none of them lost."""

import asyncio
import bisect
import itertools
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from .errors import BatchRefused, BridgeError, SendFailed, TopicGone
from .internals import unsent
from .layout import header_block, shared_stream_of, stream_of
from .parser import subscribe_raw, unsubscribe_raw, write
from .refusals import SILENCE, explain, passes
from .rights import Right

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
_TURNS: Final = 3
"""Turns of the event loop that sending waits for more to come, as long as more comes."""
_FEW: Final = 4
"""Records in flight up to which the next is sent at once."""
AWAKE_SECONDS: Final = 0.0003
"""How long the event loop stays awake for the answer to a record that is alone in flight."""
AWAKE_AFTER_SECONDS: Final = 0.0001
"""How long it does after that answer: the record, if it comes back to us, follows at once."""

BATCH_HEADERS: Final = 200
"""Bytes that `publish_batch` adds to a record at most, and what a fence in it needs."""

BatchRecord = tuple[str, bytes, bytes]
"""Subject, payload and header block of a record in an atomic batch."""

_STORED = re.compile(rb'^\{"stream":"[^"]*",(?:"domain":"[^"]*",)?"seq":(\d+)')


class Kind(NamedTuple):
    """What is to happen with the records of a topic besides being stored."""

    superseding: bool = False
    """Only the last record of a subject counts (compaction), so one that a later one has overtaken
    is not sent again and counts as stored with the later one."""
    change: bool = False
    """They change a table, which `Publisher.forget_changes` is about."""
    vital: bool = True
    """Otherwise only the future tells of a failure, and a subject without a stream is one at once:
    the record was for somebody who has gone."""


PLAIN: Final = Kind()


class Sending:
    """A record on its way: the bytes to send again, and who waits for what becomes of it."""

    __slots__ = ("command", "first_sent_at", "future", "kind", "sent_at", "subject")

    command: bytes
    future: "asyncio.Future[Any]"
    first_sent_at: float
    sent_at: float

    def __init__(self, subject: str, kind: Kind = PLAIN) -> None:
        self.subject = subject
        self.kind = kind

    def stored(self, sequence: int) -> Any:
        """Return what the future gives, of a record that is stored."""
        return sequence

    def failed(self, error: BaseException) -> None:
        """Take note that the record will never be stored."""


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
        self._in_flight: dict[int, Sending] = {}
        self._by_subject: defaultdict[str, list[int]] = defaultdict(list)
        self._batches: dict[int, asyncio.Future[int]] = {}
        self._token = 0
        self._inbox = b""
        self._subscription = 0
        self._bytes = 0
        self._holds: dict[str, _Hold] = {}
        self._connections = client.stats["reconnects"]
        self._connected = 0.0
        self._said = -SAY_SECONDS
        self._outgoing: list[bytes] = []
        self._awake_until = 0.0
        self._awake = False
        self._alone = 0
        """The last record that was alone in flight when it was sent."""
        self._near = True
        """Whether the last answer to such a record came within `AWAKE_SECONDS`."""
        self._changed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to take acknowledgements; the client must be connected."""
        self._loop = asyncio.get_running_loop()
        inbox = self.client.new_inbox() + "."
        self._inbox = inbox.encode()
        self._subscription = await subscribe_raw(self.client, inbox + "*", self._on_ack)
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
        self, subject: str, payload: bytes, headers: Mapping[str, str], kind: Kind = PLAIN
    ) -> "asyncio.Future[int]":
        """Send a record; the future gives its sequence once it is stored.

        Raises SendFailed at once for what the server would never take.
        """
        return self.send(Sending(subject, kind), payload, header_block(headers))

    def send(self, record: Sending, payload: bytes, block: bytes) -> "asyncio.Future[Any]":
        """Send a record with its header block; the future gives `record.stored(sequence)`.

        Raises SendFailed at once for what the server would never take.
        """
        subject = record.subject
        size = len(block) + len(payload)
        self.check_size(subject, size)
        token = self._token = self._token + 1
        command = record.command = b"HPUB %b %b%d %d %d\r\n%b%b\r\n" % (
            subject.encode(),
            self._inbox,
            token,
            len(block),
            size,
            block,
            payload,
        )
        record.sent_at = record.first_sent_at = monotonic()
        future = record.future = asyncio.Future(loop=self._loop)
        self._in_flight[token] = record
        self._bytes += len(command)
        if record.kind.superseding:
            self._by_subject[subject].append(token)
        if not self._holds or _topic(subject) not in self._holds:
            self._write(command)
            if len(self._in_flight) == 1:
                self._alone = token
                if self._near:
                    self._stay_awake()
        return future

    def check_size(self, subject: str, size: int) -> None:
        """Raise SendFailed for a record of more bytes than the server takes."""
        most = self.client.max_payload
        if size > most:
            raise SendFailed(f"{subject}: {size} bytes, but the server takes {most} at most")

    async def publish_batch(
        self, records: Sequence[BatchRecord], *, name: str, explain: bool = False
    ) -> int:
        """Store records of one stream together or not at all; return the last one's sequence.

        Their sequences follow each other without a gap. No two batches may have the same `name`.
        With `explain` the server tells which record made it refuse the batch, at the price of an
        answer for each. A lease is not asked for: what fences a batch is a condition in it.

        Raises BatchRefused if it was refused, TimeoutError if nobody knows whether it was stored.
        When the server's or the account's limit is reached, either can mean that the beginning
        is stored (`beginning.py`).
        """
        token = self._token = self._token + 1
        reply = b"%b%d " % (self._inbox, token)
        mark = b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: " % name.encode()
        last = len(records)
        commands: list[bytes] = []
        for number, (subject, payload, headers) in enumerate(records, 1):
            commit = b"Nats-Batch-Commit: 1\r\n" if number == last else b""
            block = b"%b%b%d\r\n%b\r\n" % (headers[:-2], mark, number, commit)
            commands.append(
                b"HPUB %b %b%d %d\r\n%b%b\r\n"
                % (
                    subject.encode(),
                    reply if explain or number == last else b"",
                    len(block),
                    len(block) + len(payload),
                    block,
                    payload,
                )
            )
        answer: asyncio.Future[int] = self._loop.create_future()
        self._batches[token] = answer
        try:
            write(self.client, b"".join(commands))
            async with asyncio.timeout(ACK_SECONDS):
                return await answer
        finally:
            del self._batches[token]

    def _on_batch_answer(self, answer: "asyncio.Future[int]", payload: bytes) -> None:
        if answer.done() or not payload:
            return  # an empty one says that the batch has been begun
        said = json.loads(payload)
        error = said.get("error")
        if error is None:
            answer.set_result(int(said["seq"]))
        else:
            answer.set_exception(BatchRefused(error))

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
        now = monotonic()
        self._connections = self.client.stats["reconnects"]
        self._connected = now
        self._holds.clear()
        self._outgoing = []  # all of it is in flight, and must not leave before what is older
        for token, record in self._in_flight.items():
            self._send_again(token, record, now)
        for answer in self._batches.values():
            if not answer.done():
                answer.set_exception(TimeoutError("the connection was lost"))

    def fail(self, error: BridgeError) -> None:
        """Let every later `flush()` fail: something that had to be sent cannot be."""
        if self.failure is None:
            self.failure = error
            self._notify()
            if self._on_failure is not None:
                self._on_failure(error)

    def forget_changes(self, error: BridgeError) -> None:
        """Give up changes of tables in flight: the keys belong to somebody else now."""
        for token, record in list(self._in_flight.items()):
            if record.kind.change:
                self._fail(token, error, vital=False)

    def forget(self, error: BridgeError) -> None:
        """Give up all that is in flight."""
        for token in list(self._in_flight):
            self._fail(token, error, vital=False)

    def refused(self, right: Right) -> bool:
        """Fail what this missing right is about; False if that is nothing of ours.

        The server complains once for each record. Without a right to hear acknowledgements
        nothing can be sent at all.
        """
        if right == ("subscribe", f"{self._inbox.decode()}*"):
            self.fail(right.denied())
            return True
        for token, record in self._in_flight.items():
            if right == ("publish", record.subject):
                self._fail(token, right.denied())
                return True
        return False

    def _write(self, command: bytes) -> None:
        if (
            not self._outgoing
            and len(self._in_flight) <= _FEW
            and self._may_write()
            and self._same_connection()
        ):
            write(self.client, command)  # nothing to be gained by waiting for more
            return
        if not self._outgoing:
            self._loop.call_soon(self._write_out, _TURNS, 1)
        self._outgoing.append(command)

    def _stay_awake(self) -> None:
        """Let the event loop turn, instead of sleeping, until the answer can be there.

        A process that sleeps takes tens of microseconds to wake, and then finds its caches cold:
        together a quarter of what a hop takes with one record under way. Where answers take
        longer (another machine, replicas, a busy server), it sleeps.
        """
        self._awake_until = monotonic() + AWAKE_SECONDS
        if not self._awake:
            self._awake = True
            self._loop.call_soon(self._turn)

    def _answered_alone(self, record: Sending) -> None:
        now = monotonic()
        self._near = now - record.sent_at < AWAKE_SECONDS
        self._awake_until = min(self._awake_until, now + AWAKE_AFTER_SECONDS)

    def _turn(self) -> None:
        if monotonic() < self._awake_until:
            self._loop.call_soon(self._turn)
        else:
            self._awake = False

    def _same_connection(self) -> bool:
        """Say whether new records may be sent now.

        They must not overtake what was sent over a connection that has broken since: `_tick` or
        whoever was told of it calls `send_again`.
        """
        return bool(self._connections == self.client.stats["reconnects"])

    def _write_out(self, turns: int, seen: int) -> None:
        # What is sent within one turn of the event loop leaves in one system call. Under load
        # the next turns bring more, and system calls are a good part of what sending costs.
        outgoing = self._outgoing
        if turns and len(outgoing) > seen:
            self._loop.call_soon(self._write_out, turns - 1, len(outgoing))
            return
        self._outgoing = []
        if self._may_write() and self._same_connection():
            write(self.client, b"".join(outgoing))

    def _on_ack(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        token = int(subject[len(self._inbox) :])
        record = self._in_flight.get(token)
        if record is None:  # stored before, and sent again meanwhile; or a batch
            if token in self._batches:
                self._on_batch_answer(self._batches[token], payload)
            return
        if not payload:
            if record.kind.vital:
                self._hold(record, "nobody listens", nobody=True)
            else:
                self._fail(token, SendFailed(f"no stream takes {record.subject}"))
            return
        said = _STORED.match(payload)  # a good deal faster than reading the whole answer
        if said is not None:
            self._stored(token, record, int(said[1]))
            return
        answer = json.loads(payload)
        error = answer.get("error")
        if error is None:
            self._stored(token, record, answer["seq"])
        elif passes(error):
            self._hold(record, explain(error), nobody=False)
        else:
            self._fail(token, SendFailed(f"{record.subject}: {explain(error)}"))

    def _stored(self, token: int, record: Sending, sequence: int) -> None:
        if not record.kind.superseding:
            self._finish(token, record, sequence)
            return
        tokens = self._by_subject.pop(record.subject)
        done = bisect.bisect_right(tokens, token)
        if done < len(tokens):
            self._by_subject[record.subject] = tokens[done:]
        for older in tokens[:done]:
            self._finish(older, self._in_flight[older], sequence)

    def _finish(self, token: int, record: Sending, sequence: int) -> None:
        del self._in_flight[token]
        if token == self._alone:
            self._answered_alone(record)
        result = record.stored(sequence)
        self._bytes -= len(record.command)
        if not record.future.done():
            record.future.set_result(result)
        if self._holds:
            self._settled(token, record)
        self._notify()

    def _fail(self, token: int, error: BridgeError, *, vital: bool = True) -> None:
        record = self._in_flight.pop(token)
        self._bytes -= len(record.command)
        if record.kind.superseding:
            tokens = self._by_subject[record.subject]
            tokens.remove(token)
            if not tokens:
                del self._by_subject[record.subject]
        record.failed(error)
        if not record.future.done():
            record.future.set_exception(error)
            record.future.exception()  # told by flush() too, so no "never retrieved"
        if vital and record.kind.vital:
            self.fail(error)
        if self._holds:
            self._settled(token, record)
        self._notify()

    def _tick(self) -> None:
        now = monotonic()
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        if not self.client.is_connected:
            return
        if self._connections != self.client.stats["reconnects"]:
            self.send_again()
        elif unsent(self.client) < BYTES // 4:  # else the server reads nothing now
            for token, record in self._in_flight.items():
                if (
                    record.sent_at <= now - ACK_SECONDS
                    and _topic(record.subject) not in self._holds
                ):
                    self._send_again(token, record, now)
            self._probe(now)
        self._complain(now)

    def _send_again(self, token: int, record: Sending, now: float) -> None:
        record.sent_at = now
        if self._latest(token, record):
            self._write(record.command)

    def _latest(self, token: int, record: Sending) -> bool:
        return not record.kind.superseding or self._by_subject[record.subject][-1:] == [token]

    # -- topics that take no records at the moment

    def _hold(self, record: Sending, reason: str, *, nobody: bool) -> None:
        now = monotonic()
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
            if hold.refused or record.sent_at <= now - ACK_SECONDS:
                hold.refused = False
                self._send_again(hold.probe, record, now)

    def _settled(self, token: int, record: Sending) -> None:
        """Send what was held if this record was the one that was tried."""
        topic = _topic(record.subject)
        hold = self._holds.get(topic)
        if hold is None or hold.probe != token:
            return
        del self._holds[topic]
        now = monotonic()
        logger.info("%s: records are taken again, after %.0f s", topic, now - hold.since)
        for other, waiting in self._in_flight.items():
            if _topic(waiting.subject) == topic:
                self._send_again(other, waiting, now)

    async def _search(self, subject: str, hold: _Hold) -> None:
        """Find out if a topic that nobody takes records for is gone, or only away."""
        js = self.client.jetstream()
        try:
            try:
                await js.stream_info(stream_of(subject))
            except nats.js.errors.NotFoundError:
                await js.stream_info(shared_stream_of(subject))
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
            waited = now - max(record.first_sent_at, self._connected)
            if waited > 2 * ACK_SECONDS and now - self._said > SAY_SECONDS and not self._holds:
                self._said = now
                logger.warning(
                    "%s: JetStream has not answered for %.0f s; %d records wait; %s",
                    *(record.subject, waited, self.size, SILENCE),
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
