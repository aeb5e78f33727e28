"""Handing records from the readers to the streams, turn by turn between partitions."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from faust.types import TP

from .conductor import Conductor
from .delivered import DeliveredOffsets
from .inputs import Input
from .internals import Waiting
from .reader import Delivered, Reader
from .restore import Restorer
from .transactions import TransactionManager

if TYPE_CHECKING:
    from .consumer import Consumer

logger = logging.getLogger(__name__)

LARGE_BYTES: Final = 4096
"""Of larger records not only the number that waits in a stream's queue is bounded."""
CROWDED_SECONDS: Final = 0.05
YIELD_EVERY: Final = 64
"""Records that are handed on before other tasks get a turn."""


class Dispatcher:
    """The readers of a worker's partitions, and the handing on of what they bring.

    A changelog's records go into its table, all others to the streams of their topic. What a
    stream has no room for is waited for, and holds up the others: Faust's queues are long, and
    a partition of which a stream has had enough is paused before.
    """

    def __init__(self, consumer: "Consumer") -> None:
        self.consumer = consumer
        self.app: Any = consumer.app
        self.topics = cast(Conductor, consumer.app.topics)
        self.readers: dict[TP, Reader] = {}
        self.positions: dict[TP, int] = {}
        """The offsets that will be handed on next; none before the first seek."""
        self.delivered: defaultdict[TP, DeliveredOffsets] = defaultdict(DeliveredOffsets)
        """What is with the streams, or done and not committed."""
        self.changelogs: Collection[TP] = frozenset()
        self.must_commit = False
        """Whether enough is done that offsets should be committed, by number and not by time."""
        self._restorer = Restorer(consumer.app)
        self._due: dict[TP, None] = {}
        self._put_off_now: set[TP] = set()
        self._wakeup = asyncio.Event()
        self._parked = False
        """Whether everything that can be handed on has been."""
        self._held_up: _HeldUp | None = None

    # -- readers

    def read(self, tps: Iterable[TP]) -> None:
        """Read partitions, those of them that have a position and that a stream wants."""
        link = self.consumer.link
        for tp in tps:
            position = self.positions.get(tp)
            info = link.topics.get(tp.topic)
            if position is None or info is None or not self.topics.read(tp.topic):
                continue
            if tp not in self.readers:
                reader = Reader(
                    link.client,
                    info.stream,
                    info.filter(tp.partition),
                    position,
                    partial(self._arrived, tp),
                    identity=info.identity,
                    on_gone=self.consumer.failed,
                )
                self.readers[tp] = reader
                reader.open()
            self._due[tp] = None
        self.wake()

    async def close(self, tps: Iterable[TP] | None = None) -> None:
        """Read partitions, or all, no longer; what was read ahead is dropped."""
        await asyncio.gather(*(reader.close() for reader in self._remove(tps)))

    def close_soon(self, tps: Iterable[TP]) -> None:
        """Do what `close` does, without waiting for it to be done."""
        for reader in self._remove(tps):
            self.consumer.add_future(reader.close())

    def _remove(self, tps: Iterable[TP] | None) -> list[Reader]:
        gone = set(self.readers if tps is None else tps)
        for tp in gone:
            self._due.pop(tp, None)
        return [self.readers.pop(tp) for tp in gone if tp in self.readers]

    def restart(self) -> None:
        """Read on over a connection that is new."""
        for reader in self.readers.values():
            reader.restart()

    async def move(self, tp: TP, offset: int) -> None:
        """Let a partition be read from another offset on."""
        await self.close([tp])
        self.delivered.pop(tp, None)
        self.positions[tp] = max(offset, 1)

    def forget(self) -> None:
        """Forget everything about partitions that are given up."""
        self.positions.clear()
        self.delivered.clear()
        self._due.clear()

    def lag(self) -> dict[TP, int]:
        """Return how many records each partition that is read is behind.

        Counted are those that are not committed: with the streams, in a reader, and at the
        server, of which we know what it said with its last delivery. Offsets would not tell, as
        they have gaps.
        """
        return {
            tp: len(self.delivered.get(tp, ())) + len(reader.buffer) + reader.pending
            for tp, reader in self.readers.items()
            if tp not in self.changelogs
        }

    # -- when something may be handed on

    def ready(self, tp: TP) -> None:
        """Look at a partition again: it may have records, or room for some."""
        self._due[tp] = None
        self.wake()

    def wake(self) -> None:
        """Look again whether there is something to hand on."""
        self._wakeup.set()

    def _arrived(self, tp: TP) -> None:
        if self._parked and self.consumer.flow_active and tp not in self.changelogs:
            # Nothing waits before it: hand it on here, inside the read loop. Under load that
            # saves a task's turn for every batch, and with little to do it is what latency is.
            try:
                self._held_up = self._hand_on_next(tp)
            except Exception as exc:
                self.consumer.failed(exc)
            if self._held_up is None and not self.must_commit:
                return
            self._parked = False
        self.ready(tp)

    # -- handing on

    async def run(self, should_stop: Callable[[], bool]) -> None:
        """Hand records to the streams as they arrive, until the worker stops."""
        consumer = self.consumer
        try:
            while not should_stop():
                if not consumer.flow_active:
                    await consumer.can_resume_flow.wait()
                self._wakeup.clear()
                if self._held_up is None:
                    self._held_up = self._hand_on_due()
                if self._held_up is not None:
                    held_up, self._held_up = self._held_up, None
                    await self._wait_for(held_up)
                elif self.must_commit:
                    self.must_commit = False
                    await consumer.commit()
                elif self._due and consumer.flow_active:
                    await asyncio.sleep(0)
                else:
                    await self._park()
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as exc:
            # Faust's fetcher would end without a word, and the worker would stand still.
            logger.exception("handing on records failed")
            await consumer.crash(exc)

    async def _park(self) -> None:
        """Wait for something that cannot be handed on at once."""
        self._parked = True
        try:
            await self._wakeup.wait()
        finally:
            self._parked = False

    def _hand_on_due(self) -> "_HeldUp | None":
        """Go round the partitions that have records, one record each, for a limited number.

        Returns the record that some stream has no room for, which must be waited for.
        """
        count = 0
        due = self._due
        while due and self.consumer.flow_active and count < YIELD_EVERY:
            for tp in list(due):
                if not self._has_more(tp):
                    due.pop(tp, None)
                    continue
                held_up = self._hand_on_next(tp)
                if held_up is not None:
                    return held_up
                count += 1
                if not self.consumer.flow_active:
                    break
        return None

    def _has_more(self, tp: TP) -> bool:
        """Say whether a partition has a record to hand on; a changelog goes into its table."""
        reader = self.readers.get(tp)
        if reader is None or not self.consumer.is_active(tp):
            return False
        if tp in self.changelogs and self._restore(tp, reader):
            return False
        return bool(reader.buffer)

    def _restore(self, tp: TP, reader: Reader) -> bool:
        """Put all that has arrived of a changelog into its table, if that is what it is for."""
        table = self._restorer.table(tp)
        if table is None:
            return False
        records = reader.take_all()
        if not records:
            return True
        if not self._restorer.apply(tp, table, records):
            reader.put_back(*records)
            return False
        self.positions[tp] = records[-1].sequence + 1
        return True

    def _hand_on_next(self, tp: TP) -> "_HeldUp | None":
        reader = self.readers.get(tp)
        if reader is None or not self.consumer.is_active(tp):
            return None
        if not reader.buffer:
            return None
        record = reader.buffer[0]
        size = len(record.payload)
        if size > LARGE_BYTES and self.topics.crowded(tp, size):
            self._put_off(tp)
            return None
        reader.take()
        offset = record.sequence
        message = Input(tp, record, self.app.consumer_generation_id)
        self.positions[tp] = offset + 1
        if self.topics.acks_enabled_for(tp.topic):
            self.delivered[tp].add(offset)
            if self.consumer.in_transaction:
                self._transactions.begin(message)
        waiting = self.topics.deliver(message)
        if waiting is not None:
            return _HeldUp(tp, reader, record, message, waiting)
        self.consumer.handed_on(message)
        return None

    @property
    def _transactions(self) -> TransactionManager:
        return cast(TransactionManager, self.consumer.transactions)

    def _put_off(self, tp: TP) -> None:
        """Come back to a partition whose next record is large, and its stream busy with such."""
        self._due.pop(tp, None)
        if tp not in self._put_off_now:
            self._put_off_now.add(tp)
            self.consumer.loop.call_later(CROWDED_SECONDS, self._come_back, tp)

    def _come_back(self, tp: TP) -> None:
        self._put_off_now.discard(tp)
        self.ready(tp)

    async def _wait_for(self, held_up: "_HeldUp") -> None:
        """Wait until a stream has room for a record, or take the record back."""
        tp, reader, record, message, waiting = held_up
        handing_on = asyncio.ensure_future(waiting.finish())
        await self.consumer.wait_first(handing_on, self.consumer.suspend_flow.wait())
        if handing_on.done() and not handing_on.cancelled():
            handing_on.result()
            self.consumer.handed_on(message)
            return
        self.delivered[tp].take_back(record.sequence)
        if self.consumer.in_transaction:
            self._transactions.take_back(message)
        if self.readers.get(tp) is reader:
            self.positions[tp] = record.sequence
            reader.put_back(record)


class _HeldUp(NamedTuple):
    """A record on its way to streams that have no room for it."""

    tp: TP
    reader: Reader
    record: Delivered
    message: Input
    waiting: Waiting
