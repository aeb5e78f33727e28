"""Breaks when nats-py or Faust change what the bridge reaches for beneath their surface."""

import asyncio
import inspect
import io
import itertools
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import faust.app.base
import faust.stores.memory
import faust.stores.rocksdb
import faust.streams
import faust.tables.base
import faust.tables.objects
import faust.tables.recovery
import faust.transport.conductor
import faust.transport.consumer
import nats.aio.client
import nats.aio.subscription
import nats.aio.transport
import nats.protocol.parser
import pytest
from faust.types import TP, StreamT
from faust.utils.terminal import Spinner, SpinnerHandler
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.internals import (
    FastParser,
    RawHandler,
    client_of,
    guard_streams,
    quiet_sends,
    step,
    subscribe_raw,
    unsent,
    unsubscribe_raw,
    write,
)
from streams.bridge.layout import parse_headers

from .conftest import running, until


class Recorder:
    """Stands where nats-py's client stands for its parser."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self._transport: object = None

    async def _process_msg(self, *args: object) -> None:
        await asyncio.sleep(0)  # as when a subscription's queue is full
        self.seen.append(args)

    async def _process_ping(self) -> None:
        self.seen.append(("ping",))

    async def _process_pong(self) -> None:
        self.seen.append(("pong",))

    async def _process_err(self, text: str) -> None:
        self.seen.append(("error", text))

    async def _process_info(self, info: dict[str, object]) -> None:
        self.seen.append(("info", info))


token = st.text("abcdefghij.>-_", min_size=1, max_size=20).map(str.encode)
message = st.tuples(token, st.integers(1, 99), st.none() | token, st.binary(max_size=60)).map(
    lambda m: (
        b"MSG %b %d %b%d\r\n%b\r\n" % (m[0], m[1], m[2] + b" " if m[2] else b"", len(m[3]), m[3])
    )
)
headed = st.tuples(token, st.integers(1, 99), token, st.binary(max_size=60)).map(
    lambda m: (
        b"HMSG %b %d %b 19 %d\r\nNATS/1.0\r\nA: bcd\r\n%b\r\n"
        % (m[0], m[1], m[2], len(m[3]) + 19, b"\r\n"[:1] + m[3])
    )
)
control = st.sampled_from(
    [b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Stale Connection'\r\n", b'INFO {"a":1}\r\n']
)


@given(st.lists(message | headed | control, max_size=8), st.lists(st.integers(0, 400)))
def test_our_parser_sees_what_nats_pys_sees(commands: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(commands)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[a:b] for a, b in itertools.pairwise(places)]
    ours, theirs = Recorder(), Recorder()

    async def run() -> None:
        fast, original = FastParser(ours), nats.protocol.parser.Parser(theirs)
        for chunk in chunks:
            await fast.parse(chunk)
            await original.parse(chunk)
        assert not fast.buf

    asyncio.run(run())
    assert ours.seen == theirs.seen


@given(
    st.lists(st.tuples(message | headed | control, st.integers(0, 60), st.booleans()), max_size=12),
    st.integers(1, 3),
)
def test_bytes_from_the_socket_are_seen_in_order_whoever_handles_them(
    commands: list[tuple[bytes, int, bool]], every: int
) -> None:
    recorder, theirs = Recorder(), Recorder()

    def handler(number: int) -> RawHandler:
        return lambda subject, reply, header, payload: recorder.seen.append(
            (number, subject, reply, payload, header or None)
        )

    async def run() -> None:
        reader = asyncio.StreamReader()
        recorder._transport = SimpleNamespace(_io_reader=reader)
        fast, original = FastParser(recorder), nats.protocol.parser.Parser(theirs)
        fast.raw = {number: handler(number) for number in range(0, 100, every)}

        async def read_loop() -> None:
            while data := await reader.read(32):
                await fast.parse(data)

        async def feed(data: bytes, *, turn: bool = True) -> None:
            reader.feed_data(data)
            await original.parse(data)
            if turn:
                await asyncio.sleep(0)

        reading = asyncio.create_task(read_loop())
        await feed(b"PING\r\n")  # the first bytes of a connection come through the read loop
        await until(lambda: recorder.seen)
        left = b""
        for command, cut, turn in commands:
            await feed(left + command[:cut], turn=turn)
            left = command[cut:]
        await feed(left)
        reader.feed_eof()
        await reading
        assert not fast.buf

    asyncio.run(run())
    assert recorder.seen == theirs.seen


async def test_what_is_ours_needs_no_read_loop(client: Client, prefix: str) -> None:
    got: list[bytes] = []
    await subscribe_raw(client, f"{prefix}.a", lambda *args: got.append(args[3]))
    await client.flush()  # the first bytes of a connection come through the read loop
    assert client._reading_task is not None
    client._reading_task.cancel()
    await asyncio.wait([client._reading_task])
    write(client, b"PUB %b.a 1\r\nx\r\n" % prefix.encode())
    await until(lambda: got == [b"x"])


async def test_complaints_over_rights_keep_the_case_of_their_subject() -> None:
    told: list[str] = []
    recorder = Recorder()
    parser = FastParser(recorder, told.append)
    for chunk in (b"PING\r\n-ERR 'Permissions Viol", b'ation for Publish to "A.b"\'\r\nPONG\r\n'):
        await parser.parse(chunk)
    assert told == ['Permissions Violation for Publish to "A.b"']
    assert recorder.seen == [("ping",), ("pong",)]


async def test_raw_subscriptions_and_writes(client: Client, prefix: str) -> None:
    got: list[tuple[bytes, bytes, bytes, bytes]] = []
    number = await subscribe_raw(client, f"{prefix}.*", lambda *args: got.append(args))
    await client.publish(f"{prefix}.a", b"1", reply="r", headers={"X": "y"})
    assert write(client, b"PUB %b.b 1\r\n2\r\n" % prefix.encode())
    await until(lambda: len(got) == 2)
    assert sorted(got) == [
        (f"{prefix}.a".encode(), b"r", b"NATS/1.0\r\nX: y\r\n\r\n", b"1"),
        (f"{prefix}.b".encode(), b"", b"", b"2"),
    ]
    await unsubscribe_raw(client, number)
    await client.publish(f"{prefix}.c", b"3")
    await client.flush()
    assert len(got) == 2


async def test_an_error_in_a_raw_handler_does_not_end_the_connection(
    client: Client, prefix: str
) -> None:
    def fail(*args: object) -> None:
        raise ValueError("on purpose")

    number = await subscribe_raw(client, f"{prefix}.x", fail)
    await client.publish(f"{prefix}.x", b"")
    await client.flush()
    assert client.is_connected
    await unsubscribe_raw(client, number)


async def test_a_server_that_reads_nothing_is_left_at_once_for_another(
    own_server: NatsServer, nats_url: str
) -> None:
    client = await connect(parse_url(own_server.url), name="test")
    assert client_of(client.jetstream()) is client
    assert unsent(client) == 0
    own_server.pause()
    for _ in range(20):
        assert write(client, b"PUB x 1000000\r\n%b\r\n" % bytes(1_000_000))
    assert unsent(client) > 1_000_000
    client.set_server_pool([nats_url])
    await client.force_reconnect()
    await until(lambda: client.connected_url is not None)
    assert client.connected_url is not None
    assert client.connected_url.geturl() == nats_url
    await client.close()


def test_status_lines_are_headers_too() -> None:
    raw = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n"
    assert parse_headers(raw) == {
        "Status": "408",
        "Description": "Request Timeout",
        "Nats-Pending-Messages": "3",
    }


async def test_stepping_a_coroutine() -> None:
    done: list[object] = []

    async def straight() -> None:
        done.append("straight")

    async def waits(future: "asyncio.Future[str]") -> str:
        done.append(await future)
        await asyncio.sleep(0)
        raise KeyError("end")

    assert step(straight()) is None
    future = asyncio.get_running_loop().create_future()
    waiting = step(waits(future))
    assert waiting is not None
    task = asyncio.ensure_future(waiting.finish())
    await asyncio.sleep(0)
    future.set_result("waited")
    with pytest.raises(KeyError):
        await task
    assert done == ["straight", "waited"]
    waiting = step(waits(asyncio.get_running_loop().create_future()))
    assert waiting is not None
    task = asyncio.ensure_future(waiting.finish())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_streams_begin_with_nothing_while_they_must_not(
    new_app: Callable[..., Any],
) -> None:
    app = new_app()
    topic = app.topic("in", value_type=int, partitions=1)
    got: list[int] = []
    allowed = False

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def agent(stream: StreamT[Any]) -> None:
        async for value in stream:
            got.append(value)

    async with running(app):
        guard_streams(app, lambda: allowed)
        await topic.send(value=1)
        await until(lambda: app.consumer._dispatcher.positions.get(TP("in", 0)) == 2, "handed on")
        await asyncio.sleep(0.1)
        allowed = True
        await topic.send(value=2)
        await until(lambda: got)
    assert got == [2]


def source(thing: Any) -> str:
    return inspect.getsource(thing)


def test_what_we_replace_in_nats_py_is_still_there() -> None:
    client = Client()
    for name in ("_ps", "_sid", "_subs", "_transport", "_connect_command", "_server_info"):
        assert hasattr(client, name)
    introduction = source(nats.aio.client.Client._process_connect_init)
    assert introduction.index('"tls_required" in self._server_info') < introduction.index(
        "self._connect_command()"
    )
    assert "_connect_command" not in vars(client)
    assert "create_task(self._attempt_reconnect())" in source(client._process_op_err)
    assert "_transport.wait_closed()" in source(nats.aio.client.Client._attempt_reconnect)
    assert "_io_writer" in source(nats.aio.transport.TcpTransport)
    assert "self._sid += 1" in source(nats.aio.client.Client.subscribe)
    assert "self._ps.parse" in source(nats.aio.client.Client._read_loop)
    assert "self.buf = bytearray()" in source(nats.protocol.parser.Parser.reset)
    assert hasattr(nats.aio.subscription.Subscription(client), "_id")


def test_what_we_replace_in_faust_is_still_there() -> None:
    consumer = faust.transport.consumer.Consumer
    conductor = faust.transport.conductor.Conductor
    assert "self._gap" in source(consumer._new_offset)
    assert "self._acked_index[tp]" in source(consumer.ack)
    assert "self._unacked_messages.discard" in source(consumer.ack)
    assert "notify(self._waiting_for_ack)" in source(consumer.ack)
    assert "_resubscribe_sleep_lock_seconds" in source(conductor._subscriber.fun)
    for name in ("_update_tp_index", "_build_handler", "_update_callback_map"):
        assert hasattr(conductor, name)
    assert "self._tp_index" in source(conductor._update_callback_map)
    assert "maybe_start_producer" in vars(faust.app.base.App)
    recovery = source(faust.tables.recovery.Recovery)
    for name in ("active_offsets", "standby_offsets", "active_highwaters", "standby_highwaters"):
        assert f"self.{name} = Counter()" in recovery
    base = source(faust.tables.base)
    for name in ("_partition_timestamps", "_partition_timestamp_keys", "_should_expire_keys"):
        assert name in base
    assert "(partition, range_end)].add(key)" in base
    objects = source(faust.tables.objects)
    assert "self._storage is None" in objects
    assert "self[key].sync_from_storage(value)" in objects
    disk = source(faust.stores.rocksdb)
    for name in (
        "self._dbs[partition]",
        "self._key_index = ",
        "def partition_path",
        "_visible_keys",
    ):
        assert name in disk
    assert "self._key_partition[key] = " in source(faust.stores.memory)
    assert "consumer.earliest_offsets(*tps)" in recovery
    assert "_fetcher.stop()" in source(faust.app.base.App._stop_fetcher)
    assert "_stop_fetcher" in source(faust.app.base.App._stop_consumer)
    assert hasattr(faust.streams, "current_event")


def test_no_log_record_is_built_for_a_send_that_nobody_reads() -> None:
    root, sends = logging.getLogger(), logging.getLogger("faust.topics")
    spins = SpinnerHandler(Spinner(file=io.StringIO()), level=logging.DEBUG)
    shows = logging.StreamHandler(io.StringIO())
    shows.setLevel(logging.WARNING)
    others, level = root.handlers[:], root.level
    root.handlers[:] = [spins, shows]
    root.setLevel(logging.DEBUG)
    try:
        assert sends.isEnabledFor(logging.DEBUG)
        quiet_sends()
        assert not sends.isEnabledFor(logging.INFO)
        assert sends.isEnabledFor(logging.WARNING)
    finally:
        sends.setLevel(logging.NOTSET)
        root.handlers[:] = others
        root.setLevel(level)
