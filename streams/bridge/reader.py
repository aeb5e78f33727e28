"""Reading one partition in order, from any sequence on, through whatever happens."""

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import islice
from typing import Final, NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, ReplayPolicy

from .errors import AccessDenied, BridgeError, TopicGone
from .layout import parse_headers
from .parser import subscribe_raw, unsubscribe_raw, write
from .records import split_delivery
from .refusals import STREAM_NOT_FOUND
from .topics import identity_of

logger = logging.getLogger(__name__)

BATCH: Final = 256
"""Records that a reader holds or has asked for at most."""
FIRST: Final = 16
"""Records that a new reader asks for; then twice as many each time. So streams get something of
every partition before they have a backlog of one."""
BATCH_BYTES: Final = 1024 * 1024
"""Bytes that a reader asks for at once, and that it holds before it asks for no more.

Of larger records it asks for one at a time.
"""
GONE_SECONDS: Final = 10.0
"""How long a stream must be missing before it counts as deleted."""
EXPIRE_SECONDS: Final = 30
HEARTBEAT_SECONDS: Final = 2
SILENCE_SECONDS: Final = 2.5 * HEARTBEAT_SECONDS
"""Silence after which an unanswered request counts as lost."""
CHECK_SECONDS: Final = 1.0
"""How often `Reader.check` is to be called."""
INACTIVE_SECONDS: Final = 120.0
"""After so long without a request the server forgets the consumer; it is then made anew."""

_NEXT: Final = "$JS.API.CONSUMER.MSG.NEXT"
_DELETE: Final = "$JS.API.CONSUMER.DELETE"


class Delivered(NamedTuple):
    """A record as delivered, not decoded yet."""

    subject: bytes
    sequence: int
    time: float
    """When it was stored, in seconds since 1970."""
    header: bytes
    payload: bytes


class Reader:
    """The records of one subject filter, in order and without gaps, into a bounded buffer.

    It pulls through an ephemeral in-memory consumer that acknowledges nothing. The consumer is
    made anew, from the next unseen sequence, whenever deliveries show a gap, heartbeats stay
    out, or the server says that it is gone. Not taking records out of `buffer` is the
    back-pressure: nothing more is asked for.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        filter_subject: str,
        start: int,
        wake: Callable[[], None],
        *,
        identity: str | None = None,
        on_gone: Callable[[BridgeError], None] | None = None,
        headers_only: bool = False,
    ) -> None:
        self.client = client
        self.stream = stream
        self.filter = filter_subject
        self.buffer: deque[Delivered] = deque()
        self.next_sequence = max(start, 1)
        """The first sequence that has not arrived yet."""
        self.highwater = self.next_sequence
        """One past the last sequence known to exist: exact when nothing is pending."""
        self.caught_up = False
        """Whether everything that was there at the last word from the server has arrived."""
        self.pending = 0
        """Records that were still to come at the last word from the server."""
        self._wake = wake
        self._identity = identity
        """Of the stream that we read from: another one under its name must not go unnoticed."""
        self._on_gone = on_gone
        self._headers_only = headers_only
        """For who looks for keys: values stay where they are."""
        self._missing_since: float | None = None
        self._held = 0
        self._large = False
        self._consumer = ""
        self._token = b""
        self._inbox = ""
        self._subscription = 0
        self._number = 0
        self._asked = 0
        self._window = FIRST
        self._pulls = 0
        self._heard = 0.0
        self._broken = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to read, in the background."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    async def close(self) -> None:
        """Stop reading and let the server forget the consumer."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._discard()

    def take(self) -> Delivered | None:
        """Return the next record, or None if none has arrived."""
        if not self.buffer:
            return None
        record = self.buffer.popleft()
        self._held -= len(record.payload) + len(record.header)
        if self._asked <= self._window // 2:
            self._pull()
        return record

    def take_all(self) -> list[Delivered]:
        """Return all records that have arrived."""
        records = list(self.buffer)
        self.buffer.clear()
        self._held = 0
        if self._asked <= self._window // 2:
            self._pull()
        return records

    def put_back(self, *records: Delivered) -> None:
        """Undo the last `take` or `take_all`."""
        self.buffer.extendleft(reversed(records))
        self._held += sum(len(record.payload) + len(record.header) for record in records)

    def restart(self) -> None:
        """Make the consumer anew: the connection was interrupted."""
        self._broken.set()

    def check(self, now: float) -> None:
        """Notice missed heartbeats, by the event loop's time."""
        if self._asked > 0 and now - self._heard > SILENCE_SECONDS:
            logger.warning("%s: silence; reading on from %d", self.filter, self.next_sequence)
            self._broken.set()

    async def _run(self) -> None:
        pause = 0.05
        again = False
        # In Python 3.11 `wait_for`, which nats-py uses, can swallow a cancellation.
        while not self._closed:
            self._broken.clear()
            try:
                if again:
                    await self._check_identity()
                again = True
                await self._create()
                pause = 0.05
                self._missing_since = None
                if not self._closed:
                    await self._broken.wait()
            except TopicGone as exc:
                self._gone(exc)
                pause = 2.0
            except nats.js.errors.NotFoundError as exc:
                logger.info("%s: %s; looking again", self.filter, exc.description)
                self._missing(exc)
                pause = 0.5
            except (nats.errors.Error, TimeoutError, AccessDenied) as exc:
                # Also a stream that is not there at the moment: elections, restarts.
                log = logger.info if pause < 1.0 else logger.warning
                log("%s: cannot read yet: %s", self.filter, exc or type(exc).__name__)
                pause = min(pause * 2, 2.0)
            except Exception:
                logger.exception("%s: cannot read", self.filter)
                pause = 2.0
            await self._discard()
            await asyncio.sleep(pause)

    async def _check_identity(self) -> None:
        """Raise TopicGone if the stream is not the one we have read from so far."""
        if self._identity is None:
            return
        info = await self.client.jetstream().stream_info(self.stream)
        if identity_of(info) != self._identity:
            raise TopicGone.of(self.stream)

    def _missing(self, error: nats.js.errors.NotFoundError) -> None:
        now = asyncio.get_running_loop().time()
        if error.err_code == STREAM_NOT_FOUND and self._missing_since is None:
            self._missing_since = now
        elif self._missing_since is not None and now - self._missing_since > GONE_SECONDS:
            self._gone(TopicGone.of(self.stream))

    def _gone(self, error: TopicGone) -> None:
        logger.error("%s", error)
        if self._on_gone is not None:
            on_gone, self._on_gone = self._on_gone, None
            on_gone(error)

    async def _create(self) -> None:
        client = self.client
        name = f"bridge-{secrets.token_hex(8)}"
        self._inbox = client.new_inbox()
        self._subscription = await subscribe_raw(client, f"{self._inbox}.*", self._on_message)
        info = await client.jetstream().add_consumer(
            self.stream,
            ConsumerConfig(
                name=name,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self.next_sequence,
                ack_policy=AckPolicy.NONE,
                replay_policy=ReplayPolicy.INSTANT,
                filter_subject=self.filter,
                headers_only=self._headers_only or None,
                inactive_threshold=INACTIVE_SECONDS,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        self._consumer = name
        self._token = name.encode()
        self._number = 0
        self._asked = 0
        self._window = FIRST
        self.pending = info.num_pending or 0
        self.caught_up = not self.pending
        self._pull()
        self._wake()

    async def _discard(self) -> None:
        consumer, self._consumer = self._consumer, ""
        self._asked = 0
        if consumer:
            write(
                self.client,
                b"PUB %b.%b.%b 0\r\n\r\n"
                % (_DELETE.encode(), self.stream.encode(), consumer.encode()),
            )
        if self._subscription:
            number, self._subscription = self._subscription, 0
            await unsubscribe_raw(self.client, number)

    def _pull(self) -> None:
        window = self._window
        room = window - len(self.buffer) - self._asked
        if room < window // 4 or self._held >= BATCH_BYTES or not self._consumer or self._closed:
            return
        bound = {"batch": room, "max_bytes": BATCH_BYTES}
        if self._large:
            if self._asked or self.buffer:
                return
            room = 1
            bound = {"batch": room}
        self._pulls += 1
        request = json.dumps(
            bound
            | {
                "expires": EXPIRE_SECONDS * 1_000_000_000,
                "idle_heartbeat": HEARTBEAT_SECONDS * 1_000_000_000,
            }
        ).encode()
        command = f"PUB {_NEXT}.{self.stream}.{self._consumer} {self._inbox}.{self._pulls}"
        sent = write(self.client, b"%b %d\r\n%b\r\n" % (command.encode(), len(request), request))
        if sent:
            self._asked += room
            self._window = min(2 * window, BATCH)
            self._heard = self._loop.time()

    def _on_message(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        self._heard = self._loop.time()
        if not reply.startswith(b"$JS.ACK."):
            self._on_status(header)
            return
        consumer, sequence, number, nanoseconds, pending = split_delivery(reply)
        if consumer != self._token or self._broken.is_set():
            return
        self._number += 1
        if number != self._number:
            logger.warning("%s: a delivery is missing; reading it again", self.filter)
            self._broken.set()
            return
        self._asked -= 1
        self.next_sequence = sequence + 1
        self.highwater = sequence + pending + 1
        self.pending = pending
        self.caught_up = not pending
        self.buffer.append(
            Delivered(subject, sequence, nanoseconds / 1_000_000_000, header, payload)
        )
        self._held += len(payload) + len(header)
        self._large = False
        if self._asked <= self._window // 2:
            self._pull()
        self._wake()

    def _on_status(self, header: bytes) -> None:
        fields = parse_headers(header)
        status, description = fields.get("Status", ""), fields.get("Description", "")
        if status == "100":
            return
        if status == "408" or "MaxBytes" in description or "Batch Completed" in description:
            self._asked -= int(fields.get("Nats-Pending-Messages", self._asked))
            if (
                int(fields.get("Nats-Pending-Bytes", 0)) >= BATCH_BYTES
                and "MaxBytes" in description
            ):
                self._large = True  # not even one record fitted
            self._pull()
        else:
            logger.info("%s: %s %s; reading on", self.filter, status, description)
            self._broken.set()


async def batches(
    client: Client,
    stream: str,
    filter_subject: str,
    start: int = 1,
    *,
    most: int | None = None,
    headers_only: bool = False,
    on_gone: Callable[[BridgeError], None] | None = None,
) -> AsyncGenerator[tuple[list[Delivered], bool], None]:
    """Yield records in batches (of `most`, if given) from the sequence `start` on, for ever.

    With each comes whether there is no more at the moment; an empty one says only that. Waits for
    as long as the stream cannot be read.
    """
    arrived = asyncio.Event()
    reader = Reader(
        client,
        stream,
        filter_subject,
        start,
        arrived.set,
        on_gone=on_gone,
        headers_only=headers_only,
    )
    reader.open()
    loop = asyncio.get_running_loop()
    try:
        while True:
            arrived.clear()
            batch = list(islice(iter(reader.take, None), most)) if most else reader.take_all()
            end = reader.caught_up and not reader.buffer
            if batch or end:
                yield batch, end
            if reader.buffer:
                continue
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await arrived.wait()
            except TimeoutError:
                reader.check(loop.time())
    finally:
        await reader.close()


async def heads(
    client: Client, stream: str, filter_subject: str, start: int = 1
) -> AsyncGenerator[list[Delivered], None]:
    """Yield batches of records without their values, from the sequence `start` to the end."""
    reading = batches(client, stream, filter_subject, start, headers_only=True)
    async with aclosing(reading) as found:
        async for batch, end in found:
            if batch:
                yield batch
            if end:
                return
