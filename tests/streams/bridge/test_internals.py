"""Breaks when nats-py or Faust change what the bridge reaches for beneath their surface."""

import asyncio
import inspect
import io
import json
import logging
from collections.abc import Callable
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
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.internals import (
    client_of,
    compiled_iterator,
    guard_streams,
    quiet_sends,
    step,
    unsent,
)
from streams.bridge.layout import parse_headers
from streams.bridge.parser import write
from tests.faust_apps import running
from tests.waiting import until


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
    refused = 0

    def may_begin() -> bool:
        nonlocal refused
        refused += not allowed
        return allowed

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def agent(stream: StreamT[Any]) -> None:
        async for value in stream:
            got.append(value)

    async with running(app):
        guard_streams(app, may_begin)
        await topic.send(value=1)
        await until(lambda: app.consumer._dispatcher.positions.get(TP("in", 0)) == 2, "handed on")
        await until(lambda: refused, "the stream has asked")
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
    assert "self._commit_fut = asyncio.Future(" in source(consumer.commit)
    assert "app._reply_consumer.add(p.correlation_id, p)" in source(faust.agents.agent.Agent.ask)
    assert "Faust-Ag-CorrelationId" in source(faust.agents.agent.Agent._create_req)
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
    iterator = compiled_iterator()
    for name in ("acking_topics", "add_unacked", "after", "next"):
        assert hasattr(iterator, name)
    for name in ("_receivers", "_filter_receivers"):
        assert hasattr(faust.App.on_produce_message, name)
    assert "self._sensors.add(sensor)" in source(faust.sensors.SensorDelegate)


def test_what_we_use_of_the_json_module_is_still_there() -> None:
    assert "c_make_encoder(" in source(json.encoder.JSONEncoder.iterencode)
    assert "self.scan_once = " in source(json.JSONDecoder.__init__)


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
