"""Publishing to JetStream with many records in flight, none of them lost."""

import asyncio
import json
import logging
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from nats.aio.client import Client

from .errors import BatchRefused, BridgeError, Fenced, SendFailed
from .internals import subscribe_raw, unsubscribe_raw, write
from .layout import header_block, parse_headers
from .rights import Right

logger = logging.getLogger(__name__)

ACK_SECONDS: Final = 5.0
"""How long an acknowledgement may take before the record is sent again."""
NOBODY_SECONDS: Final = 30.0
"""How long a subject may be without a stream (an election, a restart) before sending fails."""
_TICK_SECONDS: Final = 0.5
_TURNS: Final = 3
"""Turns of the event loop that sending waits for more to come, as long as more comes."""
_FEW: Final = 4
"""Records in flight up to which the next is sent at once."""

BatchRecord = tuple[str, bytes, bytes]
"""Subject, payload and header block of a record in an atomic batch."""
_VERSION: Final = len(b"NATS/1.0\r\n")

_STORED = re.compile(rb'^\{"stream":"[^"]*",(?:"domain":"[^"]*",)?"seq":(\d+)')


class _InFlight:
    """A record on its way: the bytes to send again, and who waits for the sequence."""

    __slots__ = (
        "change",
        "command",
        "failed",
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
        failed: Callable[[BaseException], None] | None,
        superseding: bool,
        change: bool,
        vital: bool,
        now: float,
    ) -> None:
        self.subject = subject
        self.command = command
        self.future = future
        self.result = result
        self.failed = failed
        self.superseding = superseding
        self.change = change
        self.vital = vital
        self.sent = now
        self.first_sent = now


class Publisher:
    """Sends records and collects their acknowledgements concurrently, in order of sending.

    A record stays in flight until JetStream has stored it: it is sent again, unchanged and so
    with the same message id, when its acknowledgement is overdue or the connection was lost.
    One subscription takes all acknowledgements, one timer looks after all that are overdue.

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
        """Records in flight above which `room()` waits."""
        self.failure: BridgeError | None = None
        self._on_failure = on_failure
        self._may_write = may_write
        self._in_flight: dict[int, _InFlight] = {}
        self._by_subject: defaultdict[str, list[int]] = defaultdict(list)
        self._batches: dict[int, asyncio.Future[int]] = {}
        self._token = 0
        self._inbox = b""
        self._subscription = 0
        self._outgoing: list[bytes] = []
        self._changed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to take acknowledgements; the client must be connected."""
        self._loop = asyncio.get_running_loop()
        inbox = self.client.new_inbox() + "."
        self._inbox = inbox.encode()
        self._batch_prefix = f"{secrets.token_hex(8)}-"
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
        return len(self._in_flight) >= self.limit

    def publish(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, str] | bytes,
        *,
        superseding: bool = False,
        change: bool = False,
        vital: bool = True,
        result: Callable[[int], Any] = int,
        failed: Callable[[BaseException], None] | None = None,
    ) -> "asyncio.Future[Any]":
        """Send a record; the future gives `result(sequence)` once it is stored.

        `headers` may be their block as it goes over the wire already.

        `superseding`: only the last record of this subject counts (compaction), so one that a
        later one has overtaken is not sent again and counts as stored with the later one.
        `change`: it changes a table, which `forget_changes` is about. `failed` is called should
        it fail. Without `vital` only the future tells of a failure, and a subject without a
        stream is one at once: the record was for somebody who has gone.

        Raises SendFailed at once for what the server would never take.
        """
        block = headers if isinstance(headers, bytes) else header_block(headers)
        if len(block) + len(payload) > self.client.max_payload:
            raise SendFailed(
                f"{subject}: {len(block) + len(payload)} bytes, but the server takes "
                f"{self.client.max_payload} at most"
            )
        token = self._token = self._token + 1
        command = b"HPUB %b %b%d %d %d\r\n%b%b\r\n" % (
            subject.encode(),
            self._inbox,
            token,
            len(block),
            len(block) + len(payload),
            block,
            payload,
        )
        loop = self._loop
        future: asyncio.Future[Any] = loop.create_future()
        self._in_flight[token] = _InFlight(
            subject, command, future, result, failed, superseding, change, vital, loop.time()
        )
        if superseding:
            self._by_subject[subject].append(token)
        self._write(command)
        return future

    async def publish_batch(self, records: Sequence[BatchRecord], *, explain: bool = False) -> int:
        """Store records of one stream together or not at all; return the last one's sequence.

        Their sequences follow each other without a gap. With `explain` the server tells which
        record made it refuse the batch, at the price of an answer for each.

        Raises BatchRefused if nothing was stored, TimeoutError if nobody knows whether it was,
        Fenced if we must not write any more.
        """
        token = self._token = self._token + 1
        name = f"{self._batch_prefix}{token}"
        reply = b"%b%d" % (self._inbox, token)
        last = len(records)
        commands: list[bytes] = []
        for number, (subject, payload, headers) in enumerate(records, 1):
            marks = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
            if number == last:
                marks["Nats-Batch-Commit"] = "1"
            block = headers[:-2] + header_block(marks)[_VERSION:]
            commands.append(
                b"HPUB %b %b%d %d\r\n%b%b\r\n"
                % (
                    subject.encode(),
                    reply + b" " if explain or number == last else b"",
                    len(block),
                    len(block) + len(payload),
                    block,
                    payload,
                )
            )
        answer: asyncio.Future[int] = self._loop.create_future()
        self._batches[token] = answer
        try:
            if not self._may_write():
                raise Fenced("the lease is lost: nothing may be written")
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
        now = self._loop.time()
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
            if record.change:
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
        if not self._outgoing and len(self._in_flight) <= _FEW and self._may_write():
            write(self.client, command)  # nothing to be gained by waiting for more
            return
        if not self._outgoing:
            self._loop.call_soon(self._write_out, _TURNS, 1)
        self._outgoing.append(command)

    def _write_out(self, turns: int, seen: int) -> None:
        # What is sent within one turn of the event loop leaves in one system call. Under load
        # the next turns bring more, and system calls are a good part of what sending costs.
        outgoing = self._outgoing
        if turns and len(outgoing) > seen:
            self._loop.call_soon(self._write_out, turns - 1, len(outgoing))
            return
        self._outgoing = []
        if self._may_write():
            write(self.client, b"".join(outgoing))

    def _on_ack(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        token = int(subject[len(self._inbox) :])
        record = self._in_flight.get(token)
        if record is None:  # stored before, and sent again meanwhile; or a batch
            if token in self._batches:
                self._on_batch_answer(self._batches[token], payload)
            return
        if not payload:
            self._on_status(token, record, header)
            return
        said = _STORED.match(payload)  # a good deal faster than reading the whole answer
        if said is not None:
            self._stored(token, record, int(said[1]))
            return
        answer = json.loads(payload)
        error = answer.get("error")
        if error is None:
            self._stored(token, record, answer["seq"])
        elif error.get("code") in (500, 503):
            self._retry_soon(record)
            logger.warning("%s: %s; trying again", record.subject, error.get("description"))
        else:
            self._fail(token, SendFailed(f"{record.subject}: {error.get('description')}"))

    def _on_status(self, token: int, record: _InFlight, header: bytes) -> None:
        """Nobody takes this subject: wait, then give up if that does not change."""
        if not record.vital or self._loop.time() - record.first_sent > NOBODY_SECONDS:
            status = parse_headers(header).get("Status", "")
            self._fail(token, SendFailed(f"no stream takes {record.subject} ({status})"))
        else:
            self._retry_soon(record)

    def _retry_soon(self, record: _InFlight) -> None:
        record.sent = self._loop.time() - ACK_SECONDS + 0.2

    def _stored(self, token: int, record: _InFlight, sequence: int) -> None:
        if not record.superseding:
            self._finish(token, record, sequence)
            return
        tokens = self._by_subject.pop(record.subject)
        while tokens and tokens[0] <= token:
            older = tokens.pop(0)
            self._finish(older, self._in_flight[older], sequence)
        if tokens:
            self._by_subject[record.subject] = tokens

    def _finish(self, token: int, record: _InFlight, sequence: int) -> None:
        del self._in_flight[token]
        result = record.result(sequence)
        if not record.future.done():
            record.future.set_result(result)
        self._notify()

    def _fail(self, token: int, error: BridgeError, *, vital: bool = True) -> None:
        record = self._in_flight.pop(token)
        if record.superseding:
            tokens = self._by_subject[record.subject]
            tokens.remove(token)
            if not tokens:
                del self._by_subject[record.subject]
        if record.failed is not None:
            record.failed(error)
        if not record.future.done():
            record.future.set_exception(error)
            record.future.exception()  # told by flush() too, so no "never retrieved"
        if vital and record.vital:
            self.fail(error)
        self._notify()

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        if not self.client.is_connected:
            return
        overdue = now - ACK_SECONDS
        for token, record in self._in_flight.items():
            if record.sent <= overdue:
                self._send_again(token, record, now)

    def _send_again(self, token: int, record: _InFlight, now: float) -> None:
        record.sent = now
        if not record.superseding or self._by_subject[record.subject][-1] == token:
            self._write(record.command)

    def _notify(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _change(self) -> None:
        if self._changed is None or self._changed.done():
            self._changed = self._loop.create_future()
        await asyncio.shield(self._changed)
