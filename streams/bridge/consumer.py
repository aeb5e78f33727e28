"""Faust's consumer on JetStream."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import nats.js.errors
from faust.transport import base
from faust.transport import consumer as faust_consumer
from faust.types import TP
from faust.types.transports import PartitionerT
from faust.types.tuples import ack_lock
from mode import Service
from mode.utils.times import Seconds

from .conductor import Conductor
from .connection import patiently
from .delivered import DeliveredOffsets
from .errors import BridgeError, Fenced
from .inputs import Input
from .internals import (
    Waiting,
    begin_recovery,
    forget_tables,
    guard_streams,
    keep_positions,
    keep_sets_in_memory,
    recovered_to_end,
    restore_expiry,
)
from .layout import Place, decode_block, partition_for
from .link import always
from .membership import Member
from .offsets import Offsets
from .producer import Producer
from .reader import Delivered, Reader
from .refusals import STREAM_NOT_FOUND
from .restore import Restorer
from .sharing import share_out, take_share, wishes
from .stores import check_partition
from .topics import TopicInfo
from .transactions import TransactionManager

if TYPE_CHECKING:
    from .transport import Transport

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 1.0
LARGE_BYTES: Final = 4096
"""Of larger records not only the number that waits in a stream's queue is bounded."""
CROWDED_SECONDS: Final = 0.05
YIELD_EVERY: Final = 64
"""Records that are handed on before other tasks get a turn."""


class Fetcher(base.Fetcher):
    """The task that hands records to the streams.

    It ends first when the app stops, before agents are cancelled: the moment to let them finish.
    """

    async def on_stop(self) -> None:
        """Let agents finish what they have begun, then commit for the last time."""
        await super().on_stop()
        if self.app.should_stop:
            await cast(Consumer, self.app.consumer).settle_for_good()


class Consumer(faust_consumer.Consumer):
    """Reads the partitions that the group assigns to this worker, and commits what is done."""

    def __init__(self, transport: "Transport", *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        self.link = transport.link
        self._assignment: set[TP] = set()
        self._subscribed: frozenset[str] = frozenset()
        self._positions: dict[TP, int] = {}
        self._readers: dict[TP, Reader] = {}
        self._due: dict[TP, None] = {}
        self._put_off_now: set[TP] = set()
        self._delivered: defaultdict[TP, DeliveredOffsets] = defaultdict(DeliveredOffsets)
        self._highwaters: dict[TP, int] = {}
        self._wakeup = asyncio.Event()
        self._parked = False
        """Whether everything that can be handed on has been."""
        self._held_up: _HeldUp | None = None
        self._must_commit = False
        self._restorer = Restorer(self.app)
        self._changelogs: frozenset[TP] = frozenset()
        self._linked = False
        self._frozen = False
        self._settling = asyncio.Lock()
        self._losing = False
        self._doubtful = False
        self._tables_fresh = False
        """Whether what tables hold on disk was written by this process."""
        self.generation: int | None = None
        """The generation whose partitions we hold; events of another are not ours any more."""
        self.offsets: Offsets | None = None
        """Where commits go; None before the group is joined."""
        self._member: Member | None = None
        self._topics = cast(Conductor, self.app.topics)
        self._partitioner = cast(PartitionerT | None, cast(Any, self.app.conf).producer_partitioner)

    # -- life

    async def on_start(self) -> None:
        """Connect."""
        self._frozen = False
        keep_sets_in_memory(self.app)
        await self.link.acquire()
        self._linked = True
        self.link.on_reconnect.append(self._reconnected)
        if self.in_transaction:
            cast(Producer, self.app.producer).transactions = self._transactions
        await super().on_start()

    @property
    def _transactions(self) -> TransactionManager:
        return cast(TransactionManager, self.transactions)

    async def on_stop(self) -> None:
        """Commit what is done, leave the group, disconnect; ends whatever the server does."""
        if self.app.conf.stream_wait_empty:
            await self.wait_empty()  # ours waits in any case, but somebody may have extended it
        if not self._linked:
            return  # it never came to starting
        self._linked = False
        try:
            if not self.app.client_only:
                await self.settle_for_good()
            if self._member is not None:
                self.link.may_write = always
                await self._member.stop()
            await self._close_readers(list(self._readers))
        finally:
            self.link.on_reconnect.remove(self._reconnected)
            await self.link.release()

    def close(self) -> None:
        """Do nothing: `on_stop` closes."""

    def _reconnected(self) -> None:
        for reader in self._readers.values():
            reader.restart()
        if self._member is not None:
            self._member.reconnected()

    @Service.task
    async def _look_after(self) -> None:
        while not self.should_stop:
            await self.sleep(CHECK_SECONDS)
            now = self.loop.time()
            if self._member is not None:
                self._member.check(now)
            for tp, reader in list(self._readers.items()):
                reader.check(now)
                self._note_highwater(tp, reader)
                if self.app.in_recovery and reader.caught_up and not reader.buffer:
                    recovered_to_end(self.app, tp, self._positions[tp] - 1)

    def _note_highwater(self, tp: TP, reader: Reader) -> None:
        highwater = max(self._highwaters.get(tp, 0), reader.highwater)
        self._highwaters[tp] = highwater
        self.app.monitor.track_tp_end_offset(tp, highwater)

    # -- subscription and group

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Change what is read; the assignment comes later, by itself."""
        names = frozenset(topics)
        await asyncio.gather(*(self.link.topic(name) for name in names))
        changed, self._subscribed = names != self._subscribed, names
        if self.app.client_only:
            await self._subscribe_client(names)
        elif self._member is None:
            await self._join()
        elif changed:
            await self._member.rejoin()

    async def _subscribe_client(self, names: Iterable[str]) -> None:
        """Read without a group: a client's topics have one partition, and nobody commits."""
        for tp in {TP(name, 0) for name in names} - self._assignment:
            self._assignment.add(tp)
            self._positions[tp] = await self._reset_position(tp)
        await self.app.topics.on_client_only_start()
        self._open_readers()

    async def _join(self) -> None:
        conf = self.app.conf
        bucket = self.link.bucket()
        await bucket.create(storage=self.link.options.storage, replicas=self.link.replicas)
        member = Member(
            self.link.client,
            self.link.options,
            bucket,
            conf.id,
            self,
            heartbeat=conf.broker_heartbeat_interval,
            session=conf.broker_session_timeout,
            rebalance=conf.broker_rebalance_timeout,
            patience=conf.broker_max_poll_interval or 0.0,
            on_lease=self._lease_changed,
        )
        self.offsets = Offsets(self.link.offsets_bucket(), conf.id, member.id, self.link.identity)
        self._member = member
        guard_streams(self.app, lambda: not member.lapsed)
        await member.start()

    def _lease_changed(self) -> None:
        """Send what could not be sent while the lease was in doubt."""
        self.link.publisher.send_again()

    def metadata(self) -> bytes:
        """Return what this worker wants to read (membership)."""
        partitions = {
            name: info.partitions
            for name, info in self.link.topics.items()
            if name in self._subscribed
        }
        return wishes(self.app, self._subscribed, partitions)

    def assign(self, metadata: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Share out all partitions with Faust's own assignor (membership, as leader)."""
        return share_out(self.app, metadata)

    async def assigned(self, generation: int, assignment: bytes) -> None:
        """Claim the partitions of a new generation, then let Faust take them up (membership)."""
        if self.app.should_stop:
            return  # we are about to leave
        share = take_share(self.app, assignment)
        assigned = {TP(topic, number) for topic, numbers in share for number in numbers}
        assignor = cast(Any, self.app.assignor)
        assert self.offsets is not None  # noqa: S101 - made together with the member
        await asyncio.gather(*(self.link.look_up_again(topic) for topic, _ in share))
        await self.offsets.claim(
            [Place(*tp) for tp in sorted(assigned) if not self._is_changelog_tp(tp)], generation
        )
        kept = assignor.assigned_actives() | assignor.assigned_standbys()
        forget_tables(
            self.app,
            kept,
            doubtful=self._doubtful,
            ahead=self.in_transaction and not self._tables_fresh,
        )
        keep_positions(self.app, kept)
        begin_recovery(self.app)
        self._losing = self._doubtful = False
        self._tables_fresh = True
        self.generation = generation
        if self._member is not None:
            self.link.may_write = self._member.holds_lease
        self._assignment = assigned
        self._changelogs = frozenset(tp for tp in assigned if self._is_changelog_tp(tp))
        self.app.consumer_generation_id = generation
        if not self.app.rebalancing:
            self.app.on_rebalance_start()
        await self.on_partitions_assigned(assigned, generation)

    async def revoke(self, *, lost: bool) -> None:
        """Finish and commit what is in progress, then give up all partitions (membership)."""
        self._losing = lost
        self._doubtful |= lost
        self.app.on_rebalance_start()
        await self.on_partitions_revoked(set(self._assignment))

    def failed(self, error: BaseException) -> None:
        """End the worker: the group cannot be followed any more (membership)."""
        self.add_future(self._crash_for(error))

    async def _crash_for(self, error: BaseException) -> None:
        await self.crash(error)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Give up partitions, after what is in progress has been finished and committed.

        Faust would forget what was acknowledged before it commits, and so do work again.
        """
        if self.app.should_stop:
            await self.settle_for_good()
        elif not self._losing:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.pause_partitions(self._assignment)
            self.app.flow_control.clear()
            if not await self._settle():
                self._doubtful = True
        # Whoever is still busy with an event of ours works for nothing from here on.
        self.generation = None
        self._disown_unfinished()
        if self.link.is_open:
            self.link.publisher.forget_changes(Fenced("the partition is another member's now"))
        if self.link.may_write is not always:
            # What is left has ids: sending it does no harm, even if another sends it too.
            self.link.may_write = always
            self.link.publisher.send_again()
        if self.offsets is not None:
            self.offsets.release()
        await super().on_partitions_revoked(revoked)
        self._assignment = set()
        self._positions.clear()
        self._delivered.clear()
        self._transactions.forget()
        self._due.clear()
        await self._close_readers(list(self._readers))

    def assignment(self) -> set[TP]:
        """Return the partitions that are ours, those of changelogs included."""
        return self._assignment

    # -- finishing

    async def settle_for_good(self) -> None:
        """Let agents finish and commit; what they acknowledge afterwards does not count.

        A cancelled agent acknowledges the event it was working on: after this it is too late
        for that to be committed, and the event comes again. A rebalance that begins meanwhile
        waits for it.
        """
        async with self._settling:
            if not self._frozen:
                if self._assignment and not self._losing and not self.app.client_only:
                    await self._settle()
                self._frozen = True

    async def wait_empty(self) -> None:
        """Wait until agents have finished what they have begun, and commit; never for ever."""
        if not self._frozen and not self.app.client_only:
            await self._settle()

    async def _settle(self) -> bool:
        """Wait for agents, then commit, each within the option `drain`; say if all was done."""
        try:
            async with asyncio.timeout(self.link.options.drain):
                while any(not message.acked for message in list(self._unacked_messages)):
                    await self._acknowledgement()
        except TimeoutError:
            logger.warning("agents are still busy; their events will be worked on again")
            finished = False
        else:
            finished = True
        try:
            async with asyncio.timeout(self.link.options.drain):
                # One that runs already knows nothing of what was acknowledged last.
                while await self.maybe_wait_for_commit_to_finish():
                    pass
                await self.commit()
        except TimeoutError:
            logger.warning("could not commit in time; some events will be worked on again")
        except BridgeError as exc:
            logger.error("not committed: %s", exc)
        else:
            return finished
        return False

    def _disown_unfinished(self) -> None:
        """See to it that what agents acknowledge from here on counts for nothing.

        Their events come again, here or elsewhere. Here it would look as if that had been done.
        """
        for message in list(self._unacked_messages):
            message.acked = True
        self._unacked_messages.clear()

    async def _acknowledgement(self) -> None:
        # Faust resolves this future at every acknowledgement. Streams may also have let go of
        # messages without one, so look again after a while.
        if self._waiting_for_ack is None or self._waiting_for_ack.done():
            self._waiting_for_ack = self.loop.create_future()
        await asyncio.wait([self._waiting_for_ack], timeout=0.5)

    # -- positions

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Move every source partition to where the group goes on; return these offsets.

        Faust asks for it when its tables have been read back.
        """
        await restore_expiry(self.app)
        committed = self.offsets.committed() if self.offsets is not None else {}
        seeks: dict[TP, int] = {}
        for tp in sorted(self._assignment):
            if self._is_changelog_tp(tp):
                continue
            offset = committed.get(Place(*tp))
            seeks[tp] = await self._reset_position(tp) if offset is None else offset
        for tp, offset in seeks.items():
            await self._seek(tp, offset)
        return seeks

    async def _reset_position(self, tp: TP) -> int:
        """Return where reading begins when nothing was ever committed."""
        if self.app.conf.consumer_auto_offset_reset == "latest":
            return (await self._last_sequence(tp)) + 1
        return 1

    async def _seek(self, partition: TP, offset: int) -> None:
        await self._close_readers([partition])
        self._delivered.pop(partition, None)
        self._transactions.forget(partition)
        self._acked.pop(partition, None)
        self._acked_index.pop(partition, None)
        self._positions[partition] = max(offset, 1)
        self._open_readers()

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Move partitions to offsets.

        A recovery that another rebalance has overtaken goes on for a moment with offsets that
        nobody has worked out yet: None, which moves nothing.
        """
        for tp, offset in cast(Mapping[TP, int | None], partitions).items():
            if offset is not None:
                await self._seek(tp, offset)
                self._read_offset[tp] = offset if offset else None

    async def position(self, tp: TP) -> int | None:
        """Return the offset that will be handed on next, or None before the first seek."""
        return self._positions.get(tp)

    def highwater(self, tp: TP) -> int:
        """Return the offset after the last known record of a partition."""
        reader = self._readers.get(tp)
        known = self._highwaters.get(tp, 0)
        return known if reader is None else max(known, reader.highwater)

    def lag(self) -> dict[TP, int]:
        """Return how many records each partition that is read is behind.

        Counted are those that are not committed: with the streams, in a reader, and at the
        server, of which we know what it said with its last delivery. Offsets would not tell, as
        they have gaps.
        """
        return {
            tp: len(self._delivered.get(tp, ())) + len(reader.buffer) + reader.pending
            for tp, reader in self._readers.items()
            if not self._is_changelog_tp(tp)
        }

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offsets after the last records, as the streams' leaders know them.

        Never less than a table's store has seen already, as long as the stream is the same one:
        its last record may have been removed since.
        """
        values = await asyncio.gather(*(self._table_highwater(tp) for tp in partitions))
        highwaters = dict(zip(partitions, values, strict=True))
        self._highwaters.update(highwaters)
        return highwaters

    async def _table_highwater(self, tp: TP) -> int:
        last = await self._last_sequence(tp)
        table = cast(Any, self.app.tables)._changelogs.get(tp.topic)
        persisted = table.persisted_offset(tp) if table is not None else None
        if persisted is not None and persisted > last:
            info = await self.link.look_up_again(tp.topic)
            if persisted <= info.last_offset:
                last = persisted
        return last + 1 if last else 0

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return a lower bound of the offsets there are; None for empty partitions.

        Faust asks for it when it works out from where to read tables back: the moment to see
        whether what they have on disk can be built upon.
        """
        await asyncio.gather(*(self._check_store(tp) for tp in partitions))
        values = await asyncio.gather(*(self._first_sequence(tp) for tp in partitions))
        return cast(Mapping[TP, int], dict(zip(partitions, values, strict=True)))

    async def _check_store(self, tp: TP) -> None:
        table = cast(Any, self.app.tables)._changelogs.get(tp.topic)
        store: Any = None if table is None else table.data
        if hasattr(store, "partition_path") and not store.read_only:
            changelog = await self.link.look_up_again(tp.topic)
            await check_partition(self.app, self.link.js, store, tp, changelog)

    async def _first_sequence(self, tp: TP) -> int | None:
        if not await self._last_sequence(tp):
            return None
        return (await self.link.look_up_again(tp.topic)).first_offset

    async def _last_sequence(self, tp: TP) -> int:
        """Return the sequence of a partition's last record, 0 if there is none."""
        info = await self._info(tp)
        js = self.link.js
        try:
            message = await patiently(
                self.link.client,
                f"find the end of {info.stream}",
                lambda: js.get_last_msg(info.stream, info.filter(tp.partition)),
            )
        except nats.js.errors.NotFoundError as exc:
            if exc.err_code == STREAM_NOT_FOUND:
                await self.link.look_up_again(tp.topic)
            return 0
        return message.seq or 0

    async def _info(self, tp: TP) -> TopicInfo:
        return await self.link.topic(tp.topic)

    # -- topics

    def topic_partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, or None if this app has not met it."""
        info = self.link.topics.get(topic)
        return None if info is None else info.partitions

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        """Return the partition that a key belongs to, or None if the topic is not known."""
        if partition is not None:
            return partition
        partitions = self.topic_partitions(topic)
        if partitions is None or key is None:
            return None
        if self._partitioner is not None:
            return self._partitioner(key, range(partitions), range(partitions))
        return partition_for(key, partitions)

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        timeout: Seconds = 30.0,
        retention: Seconds | None = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
        ensure_created: bool = False,
    ) -> None:
        """Create a topic, or check the one that exists."""
        await self.app.producer.create_topic(
            topic,
            partitions,
            replication,
            config=config,
            timeout=timeout,
            retention=retention,
            compacting=compacting,
            deleting=deleting,
            ensure_created=ensure_created,
        )

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    # -- flow: each of these may let records through that wait in a reader

    def resume_flow(self) -> None:
        """Let records through."""
        super().resume_flow()
        self._wakeup.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read partitions again, from where they were."""
        super().resume_partitions(set(tps))
        self._open_readers()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Stop reading partitions; what was read ahead is dropped."""
        paused = set(tps)
        super().pause_partitions(paused)
        readers = [self._readers.pop(tp) for tp in paused if tp in self._readers]
        for tp in paused:
            self._due.pop(tp, None)
        for reader in readers:
            self.add_future(reader.close())

    def on_buffer_drop(self, tp: TP) -> None:
        """Hand on records of a partition again: its stream has caught up."""
        super().on_buffer_drop(tp)
        self._due[tp] = None
        self._wakeup.set()

    def look_again(self) -> None:
        """Read what was not wanted so far: a stream has begun on a topic."""
        self._open_readers()

    def _open_readers(self) -> None:
        """Read what is active and has a position: none has before the first seek."""
        active = self._assignment if self.app.client_only else self._active_partitions
        for tp in active:
            position = self._positions.get(tp)
            info = self.link.topics.get(tp.topic)
            if position is None or info is None or not self._topics.read(tp.topic):
                continue
            if tp not in self._readers:
                reader = Reader(
                    self.link.client,
                    info.stream,
                    info.filter(tp.partition),
                    position,
                    partial(self._arrived, tp),
                    identity=info.identity,
                    on_gone=self.failed,
                )
                self._readers[tp] = reader
                reader.open()
            self._due[tp] = None
        self._wakeup.set()

    async def _close_readers(self, tps: Sequence[TP]) -> None:
        readers = [self._readers.pop(tp) for tp in tps if tp in self._readers]
        await asyncio.gather(*(reader.close() for reader in readers))

    def _arrived(self, tp: TP) -> None:
        if self._parked and self.flow_active and tp not in self._changelogs:
            # Nothing waits before it: hand it on here, inside the read loop. Under load that
            # saves a task's turn for every batch, and with little to do it is what latency is.
            try:
                self._held_up = self._hand_on_next(tp)
            except Exception as exc:
                self.failed(exc)
            if self._held_up is None and not self._must_commit:
                return
            self._parked = False
        self._due[tp] = None
        self._wakeup.set()

    # -- handing on

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand records to the streams as they arrive, turn by turn between partitions."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.can_resume_flow.wait()
                self._wakeup.clear()
                if self._held_up is None:
                    self._held_up = self._hand_on_due()
                if self._held_up is not None:
                    held_up, self._held_up = self._held_up, None
                    await self._wait_for(held_up)
                elif self._must_commit:
                    self._must_commit = False
                    await self.commit()
                elif self._due and self.flow_active:
                    await asyncio.sleep(0)
                else:
                    await self._park()
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as exc:
            # Faust's fetcher would end without a word, and the worker would stand still.
            logger.exception("handing on records failed")
            await self.crash(exc)

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
        while due and self.flow_active and count < YIELD_EVERY:
            for tp in list(due):
                if not self._has_more(tp):
                    due.pop(tp, None)
                    continue
                held_up = self._hand_on_next(tp)
                if held_up is not None:
                    return held_up
                count += 1
                if not self.flow_active:
                    break
        return None

    def _has_more(self, tp: TP) -> bool:
        """Say whether a partition has a record to hand on; a changelog goes into its table."""
        reader = self._readers.get(tp)
        if reader is None or not self._is_active(tp):
            return False
        if tp in self._changelogs and self._restore(tp, reader):
            return False
        return bool(reader.buffer)

    def _is_active(self, tp: TP) -> bool:
        return tp in self._active_partitions or self.app.client_only

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
        self._positions[tp] = records[-1].sequence + 1
        return True

    def _hand_on_next(self, tp: TP) -> "_HeldUp | None":
        reader = self._readers.get(tp)
        if reader is None or not self._is_active(tp):
            return None
        if reader.front > LARGE_BYTES and self._topics.crowded(tp, reader.front):
            self._put_off(tp)
            return None
        record = reader.take()
        if record is None:
            return None
        offset = record.sequence
        message = self._to_message(tp, record)
        self._positions[tp] = offset + 1
        if self._topics.acks_enabled_for(tp.topic):
            self._delivered[tp].add(offset)
            if self.in_transaction:
                self._transactions.begin(message)
        waiting = self._topics.deliver(message)
        if waiting is not None:
            return _HeldUp(tp, reader, record, message, waiting)
        self._handed_on(tp, message)
        return None

    def _put_off(self, tp: TP) -> None:
        """Come back to a partition whose next record is large, and its stream busy with such."""
        self._due.pop(tp, None)
        if tp not in self._put_off_now:
            self._put_off_now.add(tp)
            self.loop.call_later(CROWDED_SECONDS, self._come_back, tp)

    def _come_back(self, tp: TP) -> None:
        self._put_off_now.discard(tp)
        self._due[tp] = None
        self._wakeup.set()

    def _handed_on(self, tp: TP, message: Input) -> None:
        unwanted = not message.refcount and not message.acked
        if unwanted and self._topics.acks_enabled_for(tp.topic):
            self._acked[tp].append(message.offset)
            self._acked_index[tp].add(message.offset)
        if self._commit_every is not None and self._n_acked >= self._commit_every:
            self._n_acked = 0
            self._must_commit = True

    async def _wait_for(self, held_up: "_HeldUp") -> None:
        """Wait until a stream has room for a record, or take the record back."""
        tp, reader, record, message, waiting = held_up
        handing_on = asyncio.ensure_future(waiting.finish())
        await self.wait_first(handing_on, self.suspend_flow.wait())
        if handing_on.done() and not handing_on.cancelled():
            handing_on.result()
            self._handed_on(tp, message)
            return
        self._delivered[tp].take_back(record.sequence)
        if self.in_transaction:
            self._transactions.take_back(message)
        if self._readers.get(tp) is reader:
            self._positions[tp] = record.sequence
            reader.put_back(record)

    def _to_message(self, tp: TP, record: Delivered) -> Input:
        content = decode_block(record.header, record.payload)
        own_time = content.timestamp
        return Input(
            tp.topic,
            tp.partition,
            record.sequence,
            record.time if own_time is None else own_time,
            1 if own_time is None else 0,  # as in Kafka: 0 is the sender's time, 1 the log's
            content.headers,
            content.key,
            content.value,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _getmany(
        self, active_partitions: set[TP] | None, timeout: float
    ) -> Mapping[TP, list[Any]]:
        """Return what has arrived, for callers other than our own loop."""
        records: dict[TP, list[Any]] = {}
        for tp, reader in self._readers.items():
            if active_partitions is None or tp in active_partitions:
                while record := reader.take():
                    records.setdefault(tp, []).append(record)
        return records

    # -- committing

    @Service.task
    async def _commit_what_is_finished(self) -> None:
        """In transactions: let nobody wait for the interval, as it is then that outputs go out."""
        seen = -1
        while self.in_transaction and not self.should_stop:
            if self._n_acked == seen:
                await self._acknowledgement()
            seen = self._n_acked
            if self._assignment and not self.app.rebalancing:
                await self.commit()

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        """Commit in the partitions that are ours; say if there was anything.

        As Faust's, without the tables of text that it draws for its log at every commit.
        """
        offsets = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        if not offsets:
            return False
        if self.in_transaction:
            committed = await self.transactions.commit(
                offsets, start_new_transaction=start_new_transaction
            )
        else:
            committed = await self._commit(offsets)
        if committed:
            self.app.tables.on_commit(cast(Any, offsets))
            self._committed_offset.update(offsets)
            self.app.monitor.on_tp_commit(offsets)
        return committed

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: gaps between a partition's offsets mean nothing here."""

    def _new_offset(self, tp: TP) -> int | None:
        """Return up to where a partition is done, or None if that has not changed."""
        if self._frozen:
            return None
        with ack_lock:
            acknowledged = self._acked_index[tp]
            offset = self._delivered[tp].committable(acknowledged, self._committed_offset[tp])
            if offset is not None:
                acknowledged -= {done for done in acknowledged if done < offset}
            self._acked[tp].clear()
        return offset

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Store offsets, once all that was sent is; waits for as long as the server stays away."""
        await cast(Producer, self.app.producer).confirm()
        if self.offsets is None:
            return False
        try:
            await self.offsets.commit({Place(*tp): offset for tp, offset in offsets.items()})
        except Fenced as exc:
            logger.warning("%s", exc)
            self.fenced()
            return False
        return True

    def fenced(self) -> None:
        """Take note that another member has one of our partitions by now."""
        if self._member is not None and self.generation is not None:
            self._member.fenced()


class _HeldUp(NamedTuple):
    """A record on its way to streams that have no room for it."""

    tp: TP
    reader: Reader
    record: Delivered
    message: Input
    waiting: Waiting
