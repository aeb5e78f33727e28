"""Exactly once: what finished events have sent is stored together with their offsets."""

import asyncio
import itertools
import logging
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import nats.errors
from faust.transport import consumer as faust_consumer
from faust.types import TP

from .beginning import Search
from .connection import SAY_SECONDS
from .errors import BatchRefused, BridgeError, Fenced, SendFailed
from .inputs import Input, Output, Together
from .layout import Place
from .publisher import BatchRecord
from .refusals import BEING_WRITTEN, WRONG_REVISION

if TYPE_CHECKING:
    from .consumer import Consumer
    from .link import Link
    from .offsets import Offsets

logger = logging.getLogger(__name__)

RECORDS_MAX: Final = 1_000
"""Records that nats-server takes in one atomic batch."""
BYTES_MAX: Final = 8 * 1024 * 1024
"""Payload past which a batch takes no further event."""
PENDING_MAX: Final = 4_096
"""Outputs not stored yet above which no more input is handed on."""

PAUSE_SECONDS: Final = 0.1
PAUSE_MAX_SECONDS: Final = 1.0

_INCOMPLETE: Final = 10176
_DUPLICATE: Final = 10201
_UNCERTAIN: Final = (WRONG_REVISION, BEING_WRITTEN, _INCOMPLETE)


@dataclass
class _Batch:
    """What is stored at one go: outputs of finished events, and the offsets up to them."""

    offsets: dict[TP, int] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    bytes: int = 0

    def has_room(self, unit: "_Unit") -> bool:
        """Say whether finished events and their outputs fit in, beside the offsets."""
        offsets = len({*self.offsets, *(message.tp for message in unit.inputs)})
        records = len(self.outputs) + len(unit.outputs) + offsets
        return records <= RECORDS_MAX and self.bytes < BYTES_MAX

    def add(self, unit: "_Unit") -> None:
        """Take in finished events."""
        for message in unit.inputs:
            self.offsets[message.tp] = message.offset + 1
        self.outputs += unit.outputs
        self.bytes += sum(len(output.payload) for output in unit.outputs)


class _Unit(NamedTuple):
    """What must not be stored in parts: a finished event, or several that were worked on together.

    The latter with all that come before them in their partitions.
    """

    inputs: list[Input]
    outputs: list[Output]


class _Rest:
    """What of a batch is not stored yet."""

    def __init__(self, outputs: list[Output], offsets: Mapping[TP, int]) -> None:
        self.outputs = outputs
        self.offsets = {Place(*tp): offset for tp, offset in offsets.items()}
        self.sequences: dict[str, int] = {}
        """Of what is stored, by subject."""

    @property
    def begun(self) -> bool:
        """Whether some of it is stored already, so that the rest must be."""
        return bool(self.sequences)

    def take(self, first: int, count: int) -> int:
        """Take note that so many outputs are stored, from a sequence on; return the next one."""
        for sequence, output in enumerate(self.outputs[:count], first):
            self.sequences[output.subject] = sequence
        del self.outputs[:count]
        return first + count


class TransactionManager(faust_consumer.TransactionManager):
    """Keeps what events send until they are finished, then stores it with their offsets.

    Offsets, outputs and changes of tables go into one atomic batch. Each offset is written on
    condition that it is still the one that this worker has claimed: a worker that has lost a
    partition can store nothing more for it, and an event that is worked on again has left
    nothing behind from the first time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.link: Link = cast(Any, self.transport).link
        self.pending = 0
        """Outputs that are not stored yet."""
        self._open: defaultdict[TP, dict[int, Input]] = defaultdict(dict)
        self._together: defaultdict[Input, list[Together]] = defaultdict(list)
        self._held: dict[TP, int] = {}
        """Up to where partitions are finished, but for what others are not finished with."""
        self._storing: asyncio.Task[bool] | None = None
        self._giving_up = False
        self._room = asyncio.Event()

    # -- events

    def begin(self, message: Input) -> None:
        """Keep what follows from an input until it is finished."""
        message.sent = []
        self._open[message.tp][message.offset] = message

    def take_back(self, message: Input) -> None:
        """Undo `begin`: the record was not delivered after all."""
        message.sent = None
        self._open[message.tp].pop(message.offset, None)

    def together(self, inputs: Sequence[Input]) -> Together | None:
        """Keep what is sent for several events at once until all of them are finished.

        They may be of different partitions, whose offsets are stored together then: else a
        worker that dies between would leave some of them to be worked on without the others.
        """
        kept = [message for message in inputs if message.sent is not None]
        if not kept:
            return None
        several = Together(kept)
        for message in kept:
            if self._open[message.tp].get(message.offset) is message:  # else it is not ours now
                self._together[message].append(several)
        return several

    def attach(self, source: Input | Together, output: Output) -> None:
        """Keep an output until the event, or the events, that sent it are finished."""
        assert source.sent is not None  # noqa: S101 - the caller has looked
        source.sent.append(output)
        self.pending += 1

    def forget(self, tp: TP) -> None:
        """Drop what is not stored of a partition: it will be worked on again."""
        for message in self._open.pop(tp, {}).values():
            self._together.pop(message, None)
        self._held.pop(tp, None)
        self._count()

    async def give_up(self) -> None:
        """Drop what is not stored: it will be worked on again, here or elsewhere.

        But a batch of which the server has stored a part is stored whole before, however long
        that takes. It could not be taken back, and would be there twice. Should others have
        claimed its partitions meanwhile, the server refuses the rest.
        """
        self._giving_up = True
        try:
            while self._storing is not None and not self._storing.done():
                await asyncio.wait([self._storing])
        finally:
            self._giving_up = False
            self.drop()

    def drop(self) -> None:
        """Drop what is not stored, at once."""
        if self._storing is not None:
            self._storing.cancel()
        self._storing = None
        self._open.clear()
        self._together.clear()
        self._held.clear()
        self._count()

    @property
    def full(self) -> bool:
        """Whether so much waits to be stored that nothing more should be begun."""
        return self.pending >= PENDING_MAX

    async def room(self) -> None:
        """Wait until there is less to be stored."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    def _count(self) -> None:
        sources: list[Input | Together] = [
            message for inputs in self._open.values() for message in inputs.values()
        ]
        sources += {id(one): one for several in self._together.values() for one in several}.values()
        self.pending = sum(len(source.sent or ()) for source in sources)
        self._room.set()

    # -- what Faust tells

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP]
    ) -> None:
        """Do nothing: a claim, not a producer of its own, is what fences a partition."""

    async def commit(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Store what is finished up to these offsets; False if the partitions were lost.

        Waits for as long as the server stays away. What is being stored goes on being stored
        though the caller is cancelled.
        """
        while (storing := self._storing) is not None and not storing.done():
            await asyncio.wait([storing])
            if self._giving_up or self._storing is None:
                return False  # what these offsets stand for was dropped
        storing = self._storing = asyncio.get_running_loop().create_task(self._store(offsets))
        await asyncio.wait([storing])
        return not storing.cancelled() and storing.result()

    async def on_stop(self) -> None:
        """Drop what is not stored; it will be worked on again."""
        self.drop()

    # -- storing

    async def _store(self, offsets: Mapping[TP, int]) -> bool:
        if self.link.publisher.failure is not None:
            return False  # an event may lack what was refused: none may count as done any more
        try:
            for batch in self._batches(offsets):
                if not await self._store_batch(batch):
                    return False
        except Fenced as exc:
            logger.warning("%s", exc)
            cast("Consumer", self.consumer).fenced()
            return False
        except BridgeError as exc:
            self.link.publisher.fail(exc)
            return False
        return True

    def _batches(self, offsets: Mapping[TP, int]) -> Iterator[_Batch]:
        """Cut what is finished into batches that the server takes, units whole and in order."""
        offsets = {**self._held, **offsets}
        self._held = {}
        left = {
            tp: deque(m for o, m in self._open[tp].items() if o < offset)
            for tp, offset in offsets.items()
        }
        batch = _Batch()
        for tp, offset in offsets.items():
            while left[tp] and (unit := self._unit(left[tp][0], left)) is not None:
                if not batch.has_room(unit):
                    if batch.offsets:
                        yield batch
                    batch = _Batch()
                    if not batch.has_room(unit):
                        raise SendFailed(
                            f"{tp.topic}[{tp.partition}] {unit.inputs[0].offset}: the event sends "
                            f"{len(unit.outputs)} records; {RECORDS_MAX - 1} fit into a transaction"
                        )
                batch.add(unit)
            if left[tp]:
                self._held[tp] = offset
            # What follows from no event of ours, a record that nobody wanted for instance.
            elif batch.offsets.get(tp, 0) < offset:
                batch.offsets[tp] = offset
        if batch.offsets:
            yield batch

    def _unit(self, first: Input, left: Mapping[TP, deque[Input]]) -> _Unit | None:
        """Take the next unit out of what is finished; None if others have to be finished first."""
        if not self._together:
            left[first.tp].popleft()
            return _Unit([first], first.sent or [])
        several: dict[int, Together] = {}
        counts: defaultdict[TP, int] = defaultdict(int)
        needed = [first]
        while needed:
            last = needed.pop()
            if self._open[last.tp].get(last.offset) is not last:
                continue  # stored, or to be worked on again
            finished = left.get(last.tp)
            if not finished or finished[-1].offset < last.offset:
                return None
            for message in itertools.islice(finished, counts[last.tp], None):
                if message.offset > last.offset:
                    break
                counts[last.tp] += 1
                for one in self._together.get(message, ()):
                    if id(one) not in several:
                        several[id(one)] = one
                        needed += one.last
        inputs = [left[tp].popleft() for tp, count in counts.items() for _ in range(count)]
        sources: list[Input | Together] = [*inputs, *several.values()]
        return _Unit(inputs, [output for source in sources for output in source.sent or ()])

    async def _store_batch(self, batch: _Batch) -> bool:
        """Store a batch however long it takes; False if it was given up before that began."""
        rest = _Rest(_last_of_each(batch.outputs), batch.offsets)
        try:
            stored = await self._store_rest(rest, self._before(batch))
        except (asyncio.CancelledError, Fenced):
            if rest.begun:
                logger.error(
                    "the beginning of a transaction is stored, and its rest cannot be any more: "
                    "its events are worked on again, so some of what they send is there twice"
                )
            raise
        if stored:
            self._stored(batch, rest)
        return stored

    async def _store_rest(self, rest: _Rest, before: int) -> bool:
        name = self.link.unique_id()
        search = Search(self.link.js, self._offsets.bucket.stream, name, before)
        explain = False
        pause = PAUSE_SECONDS
        began = said = asyncio.get_running_loop().time()
        attempt = 0
        while True:
            attempt += 1
            # The offsets come last: where they are, so is everything that they stand for.
            records: list[BatchRecord] = [
                (output.subject, output.payload, output.block) for output in rest.outputs
            ]
            records += [self._offsets.prepare(*item) for item in rest.offsets.items()]
            try:
                last = await self.link.publisher.publish_batch(
                    records, name=f"{name}.{attempt}", explain=explain
                )
            except BatchRefused as exc:
                if exc.code == _DUPLICATE:
                    rest.outputs = await self._without_duplicates(rest.outputs)
                    continue
                if not exc.may_pass and exc.code not in _UNCERTAIN:
                    raise SendFailed(f"a transaction was refused: {exc}") from exc
                reason = str(exc)
                explain = exc.code == _INCOMPLETE
            except TimeoutError as exc:
                reason = str(exc) or "no answer"
            else:
                self._take(rest, last - len(records) + 1, len(rest.offsets))
                return True
            try:
                if await self._is_there(rest, search):
                    return True
            except (TimeoutError, nats.errors.Error):
                pass  # it cannot be said now
            if self._giving_up and not rest.begun:
                return False
            now = asyncio.get_running_loop().time()
            if now - said > SAY_SECONDS:
                said = now
                logger.warning(
                    "transaction: not stored for %.0f s: %s; trying again", now - began, reason
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_SECONDS)

    def _before(self, batch: _Batch) -> int:
        """Return a sequence that is older than the batch: of an input, or of its last offset."""
        inputs = [offset - 1 for offset in batch.offsets.values()]
        return max(*inputs, *(self._offsets.revision(Place(*tp)) for tp in batch.offsets))

    def _take(self, rest: _Rest, first: int, offsets: int) -> None:
        """Take note that outputs and so many offsets are stored, from a sequence on."""
        sequence = rest.take(first, len(rest.outputs))
        for place, offset in list(rest.offsets.items())[:offsets]:
            self._offsets.stored(place, offset, sequence)
            del rest.offsets[place]
            sequence += 1

    async def _is_there(self, rest: _Rest, search: Search) -> bool:
        """Look what is stored in spite of the answer, or for want of one; say if it is all."""
        first = found = 0
        for place, offset in rest.offsets.items():
            revision = await self._offsets.find(place, offset)
            if revision is None:
                break
            first = first or revision - len(rest.outputs)
            found += 1
        if found:
            self._take(rest, first, found)
        elif rest.outputs:
            beginning = await search.find(rest.outputs[0].subject, len(rest.outputs))
            if beginning is not None:
                rest.take(*beginning)
        return not rest.offsets

    def _stored(self, batch: _Batch, rest: _Rest) -> None:
        for output in batch.outputs:
            if output.future is not None and not output.future.done():
                output.future.set_result(output.result(rest.sequences.get(output.subject, -1)))
        for tp, offset in batch.offsets.items():
            inputs = self._open[tp]
            for done in [number for number in inputs if number < offset]:
                message = inputs.pop(done)
                message.sent = None  # what it still sends is for itself
                for several in self._together.pop(message, ()):
                    several.sent = None
        self._count()

    async def _without_duplicates(self, outputs: list[Output]) -> list[Output]:
        """Leave out what is stored already under the message id that its sender chose."""
        kept: list[Output] = []
        for output in outputs:
            if output.message_id is not None and await self._is_stored(output):
                continue
            kept.append(output)
        return kept

    async def _is_stored(self, output: Output) -> bool:
        """Ask with a batch that cannot succeed: ids are looked at before the condition."""
        impossible = b"Nats-Expected-Last-Subject-Sequence: %d\r\n\r\n" % (2**62)
        record = (output.subject, output.payload, output.block[:-2] + impossible)
        while True:
            try:
                await self.link.publisher.publish_batch([record], name=self.link.unique_id())
            except BatchRefused as exc:
                if not exc.may_pass:
                    return exc.code == _DUPLICATE
            except TimeoutError:
                pass
            await asyncio.sleep(PAUSE_MAX_SECONDS)

    @property
    def _offsets(self) -> "Offsets":
        offsets = cast("Consumer", self.consumer).offsets
        if offsets is None:
            raise Fenced("not in the group yet")
        return offsets


def _last_of_each(outputs: list[Output]) -> list[Output]:
    """Return what has to be stored: of a superseded key the last, of a message id the first."""
    last = {output.subject: output for output in outputs if output.superseding}
    ids: set[str] = set()
    kept: list[Output] = []
    for output in outputs:
        if output.superseding and last[output.subject] is not output:
            continue
        name = output.message_id
        if name is not None:
            if name in ids:
                continue
            ids.add(name)
        kept.append(output)
    return kept
