"""What is private of nats-py and Faust and the bridge touches, each with its reason.

Nats-py's parser is in `parser.py`.

`tests/streams/bridge/test_internals.py` breaks when one of the libraries changes beneath us.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import time
import zlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from ssl import SSLError
from typing import TYPE_CHECKING, Any, cast

from nats.aio.client import Client
from nats.js import JetStreamContext

if TYPE_CHECKING:  # who uses nats without Faust shall not import it
    from faust.types import TP, AppT
    from faust.types.transports import ProducerT

logger = logging.getLogger(__name__)


def insist_on_tls(client: Client) -> None:
    """Let connecting fail, before the login is sent, when the connection is not encrypted.

    Why: nats-py encrypts only if the server's greeting asks for it. A server that does not ask,
    or somebody on the way to it who removed that, would get the password in the clear.
    """
    introduce = client._connect_command

    def introduce_in_secret() -> bytes:
        if not client._server_info.get("tls_required"):
            raise SSLError("TLS is wanted, but the server does not ask for it")
        return introduce()

    client.__dict__["_connect_command"] = introduce_in_secret


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("returning true from eof_received()")


def quiet_tls() -> None:
    """Let asyncio not warn at the end of each encrypted connection.

    Why: nats-py reads with asyncio's own streams, of which asyncio itself then complains, to the
    operator of every command.
    """
    asyncio_log = logging.getLogger("asyncio")
    if _is_news not in asyncio_log.filters:
        asyncio_log.addFilter(_is_news)


def client_of(js: JetStreamContext) -> Client:
    """Return the connection of a JetStream context.

    Why: functions that take a context, as nats-py's own do, must see if the connection complains.
    """
    return js._nc


async def written(client: Client) -> None:
    """Return once everything that was sent before is on its way to the server.

    Why: nats-py's `flush` writes its ping past what waits to be written, so the answer may come
    before the server has seen, and complained of, what was sent.
    """
    await client._flush_pending(force_flush=True)


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
    """Close a connection; what a server that stands still, or is gone, has not read is dropped.

    Why: as above, nats-py would wait for that server; and over a socket that is broken it would
    fail before it tells anybody that the connection is closed.
    """
    if unsent(client):
        _abort(client)
    if not client.is_connected:
        client._pending.clear()
        client._pending_data_size = 0
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


def running_commit(consumer: Any) -> "asyncio.Future[Any] | None":
    """Return what Faust's commit that runs at the moment is waited for by; None if none runs.

    Why: its own way to wait for it takes the cancellation of who waits for the commit's.
    """
    running: asyncio.Future[Any] | None = consumer._commit_fut
    return running


def answer_through(app: "AppT", consumer: Any) -> None:
    """Let `ask()` and its like wait for answers through another reply consumer.

    Why: Faust makes one itself, and has a setting for every other service's class.
    """
    cast(Any, app)._reply_consumer = consumer


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


class Stride:
    """A coroutine to be awaited without the turn of the event loop that it begins with.

    Why: Faust's stream iterator begins with `sleep(0)`, for every event. With `turn` it has its
    way, as other tasks must not starve.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, turn: bool) -> None:
        self._coroutine = coroutine
        self._turn = turn

    def __await__(self) -> Any:
        coroutine = self._coroutine
        try:
            waits_for = coroutine.send(None)
            if waits_for is None and not self._turn:  # it only lets others go first
                waits_for = coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        return (yield from Waiting(coroutine, waits_for).__await__())


def compiled_iterator() -> type[Any] | None:
    """Return Faust's compiled stream iterator, or None where it is not built.

    Why: it is what `faust.Stream` iterates with; our own stream drives it in another way.
    """
    from faust import streams

    return cast(type[Any] | None, cast(Any, streams)._CStreamIterator)


def model_maker() -> Callable[[Any], Any]:
    """Return what makes a model of data that says it is one, and returns other data as it is.

    Why: it is what Faust's registry does with what no type is given for, and it finds out by
    letting a look-up fail.
    """
    from faust.models.base import Model

    mark, make = Model._blessed_key, Model._maybe_reconstruct

    def as_model(data: Any) -> Any:
        kind = type(data)
        if kind is str or kind is bytes or (kind is dict and mark not in data):
            return data
        return make(data)

    return as_model


def plain_json() -> tuple[Callable[[Any], str], Callable[[str], Any]] | None:
    """Return what encodes and decodes as Faust's JSON codec does; None where it has a library.

    Why: the codec makes an encoder for every value, and that one another in C, which is half of
    encoding a small one; and bytes pass through a chain of codecs, of which it is the only one.
    """
    from faust.utils import json as faust_json

    if getattr(faust_json, "orjson", None) is not None or (
        faust_json.JSONEncoder.__base__ is not json.JSONEncoder
    ):
        return None
    encoder: json.JSONEncoder = faust_json.JSONEncoder(separators=(",", ":"))
    return _encode_json(encoder), _decode_json


def _encode_json(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Return what does as the encoder's `encode`, which makes another encoder for each value."""
    make = cast(Any, json.encoder).c_make_encoder
    if make is None:
        return encoder.encode
    on_the_way: dict[int, Any] = {}
    """What is being encoded, by which circles are found."""
    chunks = make(
        on_the_way,
        encoder.default,
        json.encoder.encode_basestring_ascii,
        None,
        encoder.key_separator,
        encoder.item_separator,
        encoder.sort_keys,
        encoder.skipkeys,
        encoder.allow_nan,
    )

    def encode(value: Any) -> str:
        if on_the_way:  # a hook of what is being encoded encodes something itself, or a thread
            return encoder.encode(value)
        try:
            return "".join(chunks(value, 0))
        except BaseException:
            on_the_way.clear()
            raise

    return encode


_scan_json = cast(Any, json.JSONDecoder()).scan_once


def _decode_json(text: str) -> Any:
    """Do as `json.loads`, which looks for white space around the value in two steps more."""
    try:
        value, end = _scan_json(text, 0)
    except StopIteration:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


def listened_to(signal: Any) -> bool:
    """Say whether anybody may listen to a signal.

    Why: a signal looks for listeners anew each time, by a chain of generators.
    """
    return bool(signal._receivers or signal._filter_receivers)


def attaches(app: Any) -> bool:
    """Say whether what events send is held back until they are acknowledged.

    Why: Faust's setting `stream_publish_on_commit` works through its own way of sending.
    """
    return bool(app._attachments.enabled)


def quiet_sends() -> None:
    """Let Faust build no log record for each send that nobody will read.

    Why: with a log level of WARN, its default, the worker's progress spinner sets the root
    logger to DEBUG to turn with every line. The handlers keep their levels, so all that is
    built for them is thrown away. A level that somebody has given the logger is left alone.
    """
    from faust.utils.terminal import SpinnerHandler

    sends = logging.getLogger("faust.topics")
    if sends.level == logging.NOTSET:
        levels = [
            handler.level
            for handler in logging.getLogger().handlers
            if not isinstance(handler, SpinnerHandler)
        ]
        sends.setLevel(min(levels, default=logging.NOTSET))


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


def guard_streams(app: "AppT", may_begin: Callable[[], bool]) -> None:
    """Let streams begin with no event while `may_begin()` is false; they skip what they have.

    Why: a process that was stopped for longer than its lease, and continues, has the events of
    others in its streams' queues, and would begin with some before its consumer gets a turn to
    clear them. Streams ask flow control before they begin with an event.
    """
    flow_control = cast(Any, app.flow_control)
    is_active = partial(type(flow_control).is_active, flow_control)
    flow_control.is_active = lambda: is_active() and may_begin()


def own_share(app: "AppT", user_data: bytes) -> Sequence[tuple[str, list[int]]]:
    """Return which partitions of which topics the leader's assignor has given to this worker.

    Why: what it returns beside `user_data` leaves out the standbys of tables that the leader's
    own code does not have, and our assignor would trip over the difference.
    """
    from faust.assignor.client_assignment import ClientMetadata

    metadata = ClientMetadata.loads(cast(Any, app.assignor)._decompress(user_data))
    assignment = cast(Any, metadata).assignment
    return cast("Sequence[tuple[str, list[int]]]", assignment.kafka_protocol_assignment(app.tables))


def shared_out(user_data: bytes) -> tuple[str, Mapping[str, list[int]], Mapping[str, list[int]]]:
    """Return a worker's URL, and the partitions that are its own and that it stands by for.

    Why: for people who look at a group, from outside of its workers. Takes what the leader's
    assignor has given to a worker, or the worker's own wishes, which are not compressed.
    """
    from faust.assignor.client_assignment import ClientMetadata

    with contextlib.suppress(zlib.error):
        user_data = zlib.decompress(user_data)
    metadata = cast(Any, ClientMetadata.loads(user_data))
    return metadata.url, metadata.assignment.actives, metadata.assignment.standbys


def forget_tables(app: "AppT", kept: "set[TP]", *, doubtful: bool, ahead: bool) -> None:
    """Empty tables whose local data cannot be relied on; recovery then reads them back whole.

    Why: the memory store does not know which of the keys written here belong to a partition
    that has moved away, so they would stay, and grow old. It is emptied unless exactly the
    changelog partitions `kept` stay ours. And when we may have gone on writing what belonged to
    another member already (`doubtful`), no store can be relied on, those on disk included.
    Neither can those on disk that an earlier process has left, if it wrote `ahead` of
    transactions that it may not have lived to commit.
    """
    recovery = cast(Any, app.tables).recovery
    for table in app.tables.values():
        topic = cast(Any, table).changelog_topic.get_topic_name()
        offsets = (recovery.active_offsets, recovery.standby_offsets)
        before = {tp for counter in offsets for tp in counter if tp.topic == topic}
        store = getattr(cast(Any, table).data, "storage", cast(Any, table).data)
        if store is not cast(Any, table).data:
            # A set table, which would take its store for newer than what is read back.
            store.data.clear()
        in_memory = hasattr(store, "_key_partition")
        moved = before != {tp for tp in kept if tp.topic == topic}
        left_behind = ahead and not in_memory
        if not left_behind and not (before and (doubtful or (in_memory and moved))):
            continue
        if in_memory:
            store.data.clear()
            store._key_partition.clear()
            cast(Any, table).data.data.clear()  # a set table's own, beside its store
            cast(Any, table)._partition_timestamps.clear()
            cast(Any, table)._partition_timestamp_keys.clear()
        else:
            table.reset_state()
        for counter in offsets:
            for tp in before:
                counter.pop(tp, None)


def restoring(app: "AppT", tp: "TP") -> Any:
    """Return the table whose changelog partition is being read to bring it up to date, or None.

    Why: Faust's own recovery takes a few thousand records a second; we feed the stores ourselves
    (see `restore.py`) and keep its books.
    """
    recovery = cast(Any, app.tables).recovery
    if tp in recovery.standby_tps or (recovery.in_recovery and tp in recovery.active_tps):
        return recovery.tp_to_table.get(tp)
    return None


def wants_each(table: Any) -> bool:
    """Say whether a table has a callback for each of its changes."""
    return table._on_changelog_event is not None


def seen_offset(app: "AppT", tp: "TP") -> int:
    """Return the last offset of a changelog that its table has taken in, -1 for none."""
    recovery = cast(Any, app.tables).recovery
    offsets = recovery.active_offsets if tp in recovery.active_tps else recovery.standby_offsets
    seen = offsets.get(tp)
    return -1 if seen is None else int(seen)


def restored(app: "AppT", tp: "TP", offset: int) -> None:
    """Tell Faust that a table has taken in its changelog up to `offset`."""
    recovery = cast(Any, app.tables).recovery
    now = time.monotonic()
    if tp in recovery.active_tps:
        recovery.active_offsets[tp] = max(offset, recovery.active_offsets[tp] or -1)
        recovery._active_events_received_at[tp] = now
        recovery._last_active_event_processed_at = now
        _end_recovery(recovery)
    else:
        recovery.standby_offsets[tp] = max(offset, recovery.standby_offsets[tp] or -1)
        recovery._standby_events_received_at[tp] = now
        if not recovery.tables.standbys_ready and not recovery.standby_remaining_total():
            recovery.tables.on_standbys_ready()
    recovery._last_flush_at = now


def _end_recovery(recovery: Any) -> None:
    """End recovery if nothing is missing any more: by itself it only looks at an event.

    Who waits for the signal may not do so yet: it stays until `begin_recovery`. Should Faust
    clear it between, it looks again within five seconds.
    """
    if recovery.in_recovery and not recovery.need_recovery():
        recovery.flush_buffers()
        recovery.signal_recovery_end.set()


def begin_recovery(app: "AppT") -> None:
    """Forget that the last recovery has ended: partitions are about to be assigned anew."""
    cast(Any, app.tables).recovery.signal_recovery_end.clear()


def keep_sets_in_memory(app: "AppT") -> None:
    """Let set tables have their store in memory, whatever the app's other tables have.

    Why: what is read back never reaches a set table's store, and what is written there is one
    change behind; yet Faust takes it for the truth after every recovery, and so loses changes.
    Their changelogs are kept whole, so all of it can be read back each time.
    """
    from faust.stores import memory
    from faust.tables.objects import ChangeloggedObjectManager

    for table in app.tables.values():
        data = cast(Any, table).data
        if isinstance(data, ChangeloggedObjectManager):
            data._storage = memory.Store("memory://", app, table)


def drop_partition(app: "AppT", store: Any, tp: "TP") -> None:
    """Remove what a store on disk holds of a changelog partition; recovery then reads all of it.

    Why: Faust can only remove all tables at once, and believes what a store said it has seen.
    """
    database = store._dbs.pop(tp.partition, None)
    if database is not None:
        database.close()
    store._key_index.clear()
    shutil.rmtree(store.partition_path(tp.partition))
    recovery = cast(Any, app.tables).recovery
    for offsets in (recovery.active_offsets, recovery.standby_offsets):
        if tp in offsets:
            offsets[tp] = None


async def restore_expiry(app: "AppT") -> None:
    """Let windows that were read back from changelogs expire like those that were made here.

    Why: Faust notes when a window expires only where it is written to. After a recovery the
    cleaning would pass it over, so it would stay, and its `on_window_close` would never be called.
    """
    for table in cast(Any, app.tables).values():
        if not table._should_expire_keys():
            continue
        for number, (partition, key) in enumerate(_stored_keys(table)):
            if key not in table._partition_timestamp_keys[partition, key[1][1]]:
                table._maybe_set_key_ttl(key, partition)
            if number % 1_000 == 999:
                await asyncio.sleep(0)


def _stored_keys(table: Any) -> Iterator[tuple[int, Any]]:
    """Go through what was read back: the partition and key of each."""
    store = table.data
    if hasattr(store, "_key_partition"):
        for key, partition in list(store._key_partition.items()):
            yield partition, key
    elif hasattr(store, "_visible_keys"):
        for partition, database in list(store._dbs.items()):
            for raw in store._visible_keys(database):
                yield partition, table._to_key(store._decode_key(raw))


def table_size(table: Any) -> int:
    """Return how many entries a table has here; of one on disk, at most about how many.

    Why: Faust counts a table on disk by reading every key of it, on the event loop. The database
    knows at once, but counts what was written again more than once until it has tidied up.
    """
    databases = getattr(table.data, "_dbs", None)
    if databases is None:
        return len(table.data)
    estimate = "rocksdb.estimate-num-keys"
    return sum(database.property_int_value(estimate) or 0 for database in databases.values())


def keep_positions(app: "AppT", kept: "set[TP]") -> None:
    """Let changelog partitions that stay ours be read on from where they were.

    Why: Faust counts separately what it has read as active and as standby, so a standby of a
    table in memory that becomes active would read everything again. Call `forget_tables` before.
    """
    recovery = cast(Any, app.tables).recovery
    counters = (recovery.active_offsets, recovery.standby_offsets)
    for tp in kept:
        seen = [counter[tp] for counter in counters if counter.get(tp) is not None]
        for counter in counters if seen else ():
            counter[tp] = max(seen)


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
    _end_recovery(recovery)
