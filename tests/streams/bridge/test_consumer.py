"""Faust apps on the bridge, through Faust's own front door."""
# Apps are made by a fixture without a type, as tests look into them.
# mypy: disable-error-code="untyped-decorator"

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from faust.types import StreamT
from nats.aio.client import Client

from mocks.servers import NatsServer, free_port
from streams.bridge.layout import subject
from streams.bridge.topics import describe, lookup
from tests.faust_apps import read_topic, running
from tests.waiting import DEADLINE, until

NewApp = Callable[..., Any]


async def test_records_pass_through_agents_with_key_value_headers_and_time(
    new_app: NewApp, client: Client, prefix: str
) -> None:
    app = new_app()
    inbox = app.topic("in", key_serializer="raw", value_serializer="raw")
    outbox = app.topic("out", key_serializer="raw", value_serializer="raw")
    events: list[Any] = []

    @app.agent(inbox, concurrency=2)
    async def worker(stream: StreamT[Any]) -> None:
        async for event in stream.events():
            events.append(event)
            await event.forward(outbox)

    headers = [("trace", b"1"), ("binary", bytes(range(256))), ("trace", b"2")]
    async with running(app):
        sent = await (await inbox.send(key=b"k\xff", value=b"v", headers=headers, timestamp=1234.5))
        await (await inbox.send(key=None, value=b""))
        await (await inbox.send(key=b"", value=None))
        await until(lambda: len(events) == 3)
        assert sent.topic == "in"
        assert sent.offset == 1
        first = next(event for event in events if event.message.offset == 1)
        assert (first.message.key, first.message.value) == (b"k\xff", b"v")
        assert first.message.headers == headers
        assert first.message.timestamp == 1234.5
        assert first.message.partition == sent.partition
        await until(lambda: app.consumer._n_acked == 3)
    out = await read_topic(client, prefix, "out")
    assert {record.key: record.value for record in out} == {b"k\xff": b"v", None: b"", b"": None}
    assert next(record for record in out if record.value == b"v").headers == tuple(headers)


async def test_lag_counts_the_records_that_are_not_committed(new_app: NewApp) -> None:
    app = new_app(topic_partitions=2, broker_commit_interval=0.05)
    topic = app.topic("busy", value_serializer="raw", partitions=2)
    go_on = asyncio.Event()

    @app.agent(topic)
    async def worker(stream: StreamT[Any]) -> None:
        async for _ in stream:
            await go_on.wait()

    def lag() -> dict[int, int]:
        return {tp.partition: n for tp, n in app.consumer.lag().items() if tp.topic == "busy"}

    async with running(app):
        assert lag() == {0: 0, 1: 0}
        # Both partitions share one stream: their offsets have gaps, the lag has none.
        for number in range(700):
            await topic.send(value=b"x", partition=0 if number % 7 else 1)
        await until(lambda: lag() == {0: 600, 1: 100})
        go_on.set()
        await until(lambda: lag() == {0: 0, 1: 0})


async def test_a_restarted_app_goes_on_where_it_committed(new_app: NewApp) -> None:
    async def run(count: int) -> list[int]:
        app = new_app()
        topic = app.topic("numbers", value_type=int)
        got: list[int] = []

        @app.agent(topic)
        async def collect(stream: StreamT[Any]) -> None:
            async for value in stream:
                got.append(value)

        async with running(app):
            for number in range(count):
                await topic.send(key=str(number), value=number)
            await until(lambda: len(got) >= count)
        return got

    assert sorted(await run(20)) == list(range(20))
    assert sorted(await run(5)) == list(range(5))


async def test_ask_from_a_worker_and_from_a_client(new_app: NewApp) -> None:
    def app_with_agent(**settings: Any) -> tuple[Any, Any]:
        app = new_app(**settings)

        @app.agent(app.topic("questions", value_type=int), name="double")
        async def double(stream: StreamT[Any]) -> Any:
            async for value in stream:
                yield value * 2

        return app, double

    app, agent = app_with_agent()
    client_app, client_agent = app_with_agent()
    async with running(app):
        assert await asyncio.wait_for(agent.ask(21), DEADLINE) == 42
        await client_app.start_client()
        assert await asyncio.wait_for(client_agent.ask(4), DEADLINE) == 8
        assert await asyncio.wait_for(client_agent.ask(5), DEADLINE) == 10
        await asyncio.wait_for(client_app.stop(), DEADLINE)


async def test_a_producer_alone_and_topics_made_as_the_app_describes_them(
    new_app: NewApp, client: Client, prefix: str
) -> None:
    app = new_app(producer_only=True)
    app.producer_only = True
    app.finalize()
    await app.start()
    topic = app.topic(
        "described",
        partitions=2,
        retention=60.0,
        config={"nats.key_in_subject": True, "nats.storage": "memory", "cleanup.policy": "x"},
    )
    await topic.maybe_declare()
    sent = await (await topic.send(key=b"me@home", value={"a": 1}))
    soon = topic.send_soon(key=b"me@home", value={"a": 2})
    assert (await asyncio.wait_for(soon, DEADLINE)).offset == 2
    await app.stop()
    js = client.jetstream()
    assert {info.topic for info in await describe(js, prefix)} == {"described"}
    stream = await js.stream_info(f"{prefix}--described")
    assert stream.config.max_age == 60.0
    message = await js.get_msg(f"{prefix}--described", 1)
    assert message.subject == subject(prefix, "described", sent.partition, b"me@home")


async def test_timers_and_the_leader(new_app: NewApp) -> None:
    app = new_app()
    ticks: list[str] = []

    @app.timer(0.05)
    async def tick() -> None:
        ticks.append("all")

    @app.timer(0.05, on_leader=True)
    async def lead() -> None:
        ticks.append("leader")

    @app.agent(app.topic("some"))
    async def agent(stream: StreamT[Any]) -> None:
        async for _ in stream:
            pass

    async with running(app):
        await until(lambda: {"all", "leader"} <= set(ticks))
        assert app.is_leader()


async def test_a_full_stream_buffer_holds_back_and_loses_nothing(new_app: NewApp) -> None:
    app = new_app(stream_buffer_maxsize=16)
    topic = app.topic("many", value_type=int)
    got: list[int] = []
    gate = asyncio.Event()

    @app.agent(topic)
    async def slow(stream: StreamT[Any]) -> None:
        async for value in stream:
            await gate.wait()
            got.append(value)

    async with running(app):
        for number in range(2000):
            await topic.send(key=str(number), value=number)
        await app.producer.flush()
        held: int = sum(len(reader.buffer) for reader in app.consumer._dispatcher.readers.values())
        assert held <= 4 * 300
        gate.set()
        await until(lambda: len(got) == 2000)
    assert sorted(got) == list(range(2000))


async def test_undecodable_records_do_not_hold_up_commits(
    new_app: NewApp, client: Client, prefix: str
) -> None:
    app = new_app()
    topic = app.topic("mixed", value_type=int, partitions=1)
    got: list[int] = []

    @app.agent(topic)
    async def collect(stream: StreamT[Any]) -> None:
        async for value in stream:
            got.append(value)

    async with running(app):
        js = client.jetstream()
        await js.publish(subject(prefix, "mixed", 0), b"{not json")
        await topic.send(value=7)
        await until(lambda: got == [7])
        await until(lambda: app.consumer._committed_offset.get(("mixed", 0)) == 3)


async def test_a_producer_thread_is_refused(new_app: NewApp) -> None:
    app = new_app(producer_threaded=True)
    with pytest.raises(Exception, match="producer_threaded"):
        app.producer  # noqa: B018


async def test_outputs_are_named_after_their_input_unless_the_sender_names_them(
    new_app: NewApp, client: Client, prefix: str
) -> None:
    app = new_app()
    inbox = app.topic("in", value_serializer="raw", partitions=1)
    outbox = app.topic("out", value_serializer="raw", partitions=1)
    other = app.topic("other", value_serializer="raw", partitions=1)

    @app.agent(inbox, name="a")
    async def a(stream: StreamT[Any]) -> None:
        async for value in stream:
            await outbox.send(value=value + b"1")
            await other.send(value=value)
            outbox.send_soon(value=value + b"2")

    @app.agent(inbox, name="b")
    async def b(stream: StreamT[Any]) -> None:
        async for value in stream:
            await outbox.send(value=value + b"b", headers={"Nats-Msg-Id": b"chosen"})

    async with running(app):
        await inbox.send(value=b"x")
        await until(lambda: app.consumer._n_acked == 1)
        await app.producer.flush()
        again = await (await inbox.send(value=b"y", headers={"Nats-Msg-Id": b"once"}))
        assert again == await (await inbox.send(value=b"y", headers={"Nats-Msg-Id": b"once"}))
        await until(lambda: app.consumer._n_acked == 2)
    ids = {record.value: record.message_id for record in await read_topic(client, prefix, "out")}
    topic = await lookup(client.jetstream(), prefix, "in")
    assert topic is not None
    place = f"app/a/in/{topic.identity}/0"
    assert ids == {
        b"x1": f"{place}/1/out/1",
        b"x2": f"{place}/1/out/2",
        b"xb": "chosen",
        b"y1": f"{place}/2/out/1",
        b"y2": f"{place}/2/out/2",
    }
    others = [record.message_id for record in await read_topic(client, prefix, "other")]
    assert others == [f"{place}/1/other/1", f"{place}/2/other/1"]


async def test_what_streams_without_an_agent_send_is_told_apart_by_nothing(
    new_app: NewApp, client: Client, prefix: str
) -> None:
    """Worked on again in another order, one would take the other's ids, and lose its output."""
    app = new_app()
    shared = app.topic("shared", value_type=bytes, value_serializer="raw", partitions=1)
    alone = app.topic("alone", value_type=bytes, value_serializer="raw", partitions=1)
    outbox = app.topic("out", value_serializer="raw", partitions=1)

    async def copy(topic: Any, name: bytes) -> None:
        async for value in app.stream(topic):
            await outbox.send(value=value + name)

    for topic, name in ((shared, b"1"), (shared, b"2"), (alone, b"t")):
        app.task(partial(copy, topic, name))

    @app.agent(alone, name="agent")
    async def agent(stream: StreamT[Any]) -> None:
        async for value in stream:
            await outbox.send(value=value + b"a")

    async with running(app):
        await shared.send(value=b"s")
        await alone.send(value=b"x")
        await until(lambda: app.consumer._n_acked == 2)
    ids = {record.value: record.message_id for record in await read_topic(client, prefix, "out")}
    assert ids.keys() == {b"s1", b"s2", b"xt", b"xa"}
    places = {}
    for topic in ("shared", "alone"):
        found = await lookup(client.jetstream(), prefix, topic)
        assert found is not None
        places[topic] = f"{topic}/{found.identity}/0/1/out/1"
    assert ids[b"xt"] == f"app//{places['alone']}"
    assert ids[b"xa"] == f"app/agent/{places['alone']}"
    assert places["shared"] not in f"{ids[b's1']} {ids[b's2']}"


async def test_an_agent_asks_another(
    new_app: NewApp, client: Client, prefix: str, guarantee: str
) -> None:
    """The first question makes no rebalance; and asked again, it is not taken for the same one."""
    app = new_app(processing_guarantee=guarantee)
    app.in_worker = True
    inbox = app.topic("in", value_type=int)
    numbers = app.topic("numbers", value_type=int)
    answers: list[int] = []

    @app.agent(numbers, name="double")
    async def double(stream: StreamT[Any]) -> AsyncIterator[int]:
        async for value in stream:
            yield value * 2

    @app.agent(inbox, name="asker")
    async def asker(stream: StreamT[Any]) -> None:
        async for value in stream:
            answers.append(await double.ask(value))
            answers.extend(sorted([one async for one in double.map([value + 1, value + 2])]))

    async with running(app):
        generation = app.consumer.generation
        await inbox.send(value=1)
        await until(lambda: len(answers) == 3)
        await inbox.send(value=5)
        await until(lambda: len(answers) == 6)
        assert answers == [2, 4, 6, 10, 12, 14]
        assert app.consumer.generation == generation
    ids = [record.message_id for record in await read_topic(client, prefix, "numbers")]
    assert len(set(ids)) == 6
    assert not [name for name in ids if name is None or "/in/" in name]


async def test_stopping_ends_without_a_server(
    own_server: NatsServer, new_app: NewApp, guarantee: str
) -> None:
    """Also with more acknowledged than the commit knows of that waits for the server."""
    app = new_app(
        broker=f"{own_server.url}?prefix=x&drain=0.5",
        processing_guarantee=guarantee,
        broker_commit_interval=0.05,
    )
    app.in_worker = True
    topic = app.topic("in", value_type=int)
    got: list[int] = []

    @app.agent(topic)
    async def agent(stream: StreamT[Any]) -> None:
        async for value in stream:
            got.append(value)
            await asyncio.sleep(0.005)

    async with running(app):
        for value in range(500):
            await topic.send(value=value)
        await until(lambda: got)
        own_server.kill()
        begun = len(got)
        await until(lambda: len(got) > begun + 100)


async def test_fausts_own_web_pages(new_app: NewApp) -> None:
    port = free_port()
    app = new_app(web_enabled=True, web_port=port, web_bind="127.0.0.1", web_host="127.0.0.1")
    app.Table("t", partitions=4)

    @app.agent(app.topic("in"), name="reader")
    async def reader(stream: StreamT[Any]) -> None:
        async for _ in stream:
            pass

    async with running(app), aiohttp.ClientSession() as session:
        for path, expected in (("/", "OK"), ("/router/", "t"), ("/table/", "t")):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200, path
                assert expected in await answer.text()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["agents"], "@one"),
        (["tables"], "seen"),
        (["send", "first", '"hello"', "--key", '"k"'], '"offset":'),
    ],
)
async def test_fausts_commands(
    nats_url: str, prefix: str, tmp_path: Path, command: list[str], expected: str
) -> None:
    env = {"BROKER": f"{nats_url}?prefix={prefix}", "DATADIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "faust", "-A", "tests.streams.bridge.chain:app", *command),
        env=os.environ | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert expected in output.decode()
    assert process.returncode == 0
