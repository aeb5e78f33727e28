"""Faust's consumer on JetStream."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

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
from .dispatcher import Dispatcher
from .errors import BridgeError, Fenced
from .inputs import Input
from .internals import (
    begin_recovery,
    forget_tables,
    guard_streams,
    keep_positions,
    keep_sets_in_memory,
    recovered_to_end,
    restore_expiry,
    running_commit,
)
from .layout import Place, partition_for
from .link import LEAST_SECONDS, always
from .membership import Member
from .offsets import Offsets
from .producer import Producer
from .reader import CHECK_SECONDS, Reader
from .refusals import STREAM_NOT_FOUND
from .sharing import share_out, take_share, wishes
from .stores import check_partition
from .topics import TopicInfo
from .transactions import TransactionManager

if TYPE_CHECKING:
    from .transport import Transport

logger = logging.getLogger(__name__)


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
        self._dispatcher = Dispatcher(self)
        self._highwaters: dict[TP, int] = {}
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
            await self._dispatcher.close()
        finally:
            self.link.on_reconnect.remove(self._reconnected)
            await self.link.release()

    def close(self) -> None:
        """Do nothing: `on_stop` closes."""

    def _reconnected(self) -> None:
        self._dispatcher.restart()
        if self._member is not None:
            self._member.reconnected()

    @Service.task
    async def _look_after(self) -> None:
        while not self.should_stop:
            await self.sleep(CHECK_SECONDS)
            now = self.loop.time()
            if self._member is not None:
                self._member.check(now)
            for tp, reader in list(self._dispatcher.readers.items()):
                reader.check(now)
                self._note_highwater(tp, reader)
                if self.app.in_recovery and reader.caught_up and not reader.buffer:
                    recovered_to_end(self.app, tp, self._dispatcher.positions[tp] - 1)

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
            self._dispatcher.positions[tp] = await self._reset_position(tp)
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
        self._dispatcher.changelogs = frozenset(filter(self._is_changelog_tp, assigned))
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
        await self._transactions.give_up()
        if self.offsets is not None:
            self.offsets.release()
        await super().on_partitions_revoked(revoked)
        self._assignment = set()
        self._transactions.drop()
        self._dispatcher.forget()
        await self._dispatcher.close()

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
        """Wait for agents, then commit, within the option `drain`; say if all was done."""
        end = self.loop.time() + self.link.time_to_drain()
        try:
            async with asyncio.timeout_at(end):
                while any(not message.acked for message in list(self._unacked_messages)):
                    await self._acknowledgement()
        except TimeoutError:
            logger.warning("agents are still busy; their events will be worked on again")
            finished = False
        else:
            finished = True
        try:
            # Where agents took all the time, what others have finished is still committed.
            async with asyncio.timeout_at(max(end, self.loop.time() + LEAST_SECONDS)):
                # One that runs already knows nothing of what was acknowledged last.
                while (running := running_commit(self)) is not None:
                    await asyncio.wait([running])
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
        await self._dispatcher.move(partition, offset)
        self._transactions.forget(partition)
        self._acked.pop(partition, None)
        self._acked_index.pop(partition, None)
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
        return self._dispatcher.positions.get(tp)

    def highwater(self, tp: TP) -> int:
        """Return the offset after the last known record of a partition."""
        reader = self._dispatcher.readers.get(tp)
        known = self._highwaters.get(tp, 0)
        return known if reader is None else max(known, reader.highwater)

    def lag(self) -> dict[TP, int]:
        """Return how many records each partition that is read is behind what is committed."""
        return self._dispatcher.lag()

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
        return {
            # What others have written over since we took the highwater is no loss to Faust.
            tp: min(first, self._highwaters.get(tp) or first) if first else cast(int, None)
            for tp, first in zip(partitions, values, strict=True)
        }

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
        self._dispatcher.wake()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read partitions again, from where they were."""
        super().resume_partitions(set(tps))
        self._open_readers()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Stop reading partitions; what was read ahead is dropped."""
        paused = set(tps)
        super().pause_partitions(paused)
        self._dispatcher.close_soon(paused)

    def on_buffer_drop(self, tp: TP) -> None:
        """Hand on records of a partition again: its stream has caught up."""
        super().on_buffer_drop(tp)
        self._dispatcher.ready(tp)

    def look_again(self) -> None:
        """Read what was not wanted so far: a stream has begun on a topic."""
        self._open_readers()

    def _open_readers(self) -> None:
        self._dispatcher.read(
            self._assignment if self.app.client_only else list(self._active_partitions)
        )

    # -- handing on

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand records to the streams as they arrive (Faust's fetcher runs it)."""
        await self._dispatcher.run(lambda: bool(self.should_stop or fetcher.should_stop))

    def handed_on(self, message: Input) -> None:
        """Take note that a record is with its streams; what none wanted counts as done."""
        unwanted = not message.refcount and not message.acked
        if unwanted and self._topics.acks_enabled_for(message.topic):
            self._acked[message.tp].append(message.offset)
            self._acked_index[message.tp].add(message.offset)
        if self._commit_every is not None and self._n_acked >= self._commit_every:
            self._n_acked = 0
            self._dispatcher.must_commit = True

    def is_active(self, tp: TP) -> bool:
        """Say whether a partition's records may be handed on now."""
        return tp in self._active_partitions or self.app.client_only

    def _to_message(self, tp: TP, record: Any) -> Input:
        return Input(tp, record, self.app.consumer_generation_id)

    async def _getmany(
        self, active_partitions: set[TP] | None, timeout: float
    ) -> Mapping[TP, list[Any]]:
        """Return what has arrived, for callers other than our own loop."""
        records: dict[TP, list[Any]] = {}
        for tp, reader in self._dispatcher.readers.items():
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
            delivered = self._dispatcher.delivered[tp]
            offset = delivered.committable(acknowledged, self._committed_offset[tp])
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
