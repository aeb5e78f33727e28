"""Exactly once: outputs, changes of tables and offsets are stored together or not at all."""
# Apps are made by a fixture without a type, as tests look into them.
# mypy: disable-error-code="untyped-decorator"

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from faust.types import StreamT
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import ConfigurationError, SendFailed, TopicMismatch
from streams.bridge.topics import TopicSpec, declare, describe, lookup
from tests.faust_apps import read_topic, running
from tests.waiting import DEADLINE, until

from .conftest import Worker, together
from .feed import feeding

NewApp = Callable[..., Any]
StartWorker = Callable[..., Worker]


@pytest.fixture
def new_exact(new_app: NewApp) -> NewApp:
    """Make apps that process exactly once, as `faust worker` would run them."""

    def make(name: str = "app", **settings: Any) -> Any:
        app = new_app(name, processing_guarantee="exactly_once", **settings)
        app.in_worker = True
        return app

    return make


async def counts(client: Client, prefix: str) -> dict[str, int]:
    """Return how many records each topic holds."""
    return {info.topic: info.messages for info in await describe(client.jetstream(), prefix)}


async def holds(client: Client, prefix: str, wanted: dict[str, int]) -> None:
    """Wait until topics hold so many records."""

    async def now() -> bool:
        return wanted.items() <= (await counts(client, prefix)).items()

    await until(now, str(wanted))


async def values(client: Client, prefix: str, topic: str) -> list[bytes | None]:
    """Return the values that a topic holds, in order."""
    return [record.value for record in await read_topic(client, prefix, topic)]


async def test_nothing_of_an_event_is_stored_before_it_is_finished(
    new_exact: NewApp, client: Client, prefix: str
) -> None:
    app = new_exact()
    inbox = app.topic("in", key_type=str, value_type=int, partitions=1)
    outbox = app.topic("out", value_serializer="raw", partitions=1)
    table = app.Table("seen", default=int, key_type=str, value_type=int, partitions=1)
    gate = asyncio.Event()
    told: list[Any] = []

    @app.agent(inbox)
    async def work(stream: StreamT[Any]) -> None:
        async for key, value in stream.items():
            for number in range(3):
                told.append(await (await outbox.send(value=b"%d.%d" % (value, number))))
                table[key] += 1
            await gate.wait()

    async with running(app):
        await outbox.declare()
        await inbox.send(key="a", value=7)
        await until(lambda: len(told) == 3)
        await app.consumer.commit()
        assert [result.offset for result in told] == [-1, -1, -1]
        before = await counts(client, prefix)
        assert (before["out"], before["app-seen-changelog"]) == (0, 0)
        gate.set()
        await holds(client, prefix, {"out": 3, "app-seen-changelog": 1})
        assert table["a"] == 3
    assert await values(client, prefix, "out") == [b"7.0", b"7.1", b"7.2"]
    assert await values(client, prefix, "app-seen-changelog") == [b"3"]


@pytest.mark.parametrize("way", ["take", "take_events", "take_with_timestamp", "noack_take"])
async def test_events_that_are_worked_on_together_are_stored_together(
    new_exact: NewApp, client: Client, prefix: str, nats_url: str, way: str
) -> None:
    gate = asyncio.Event()
    taken: list[Any] = []
    looked_at: list[Any] = []

    def build() -> tuple[Any, Any]:
        app = new_exact(broker=f"{nats_url}?prefix={prefix}&drain=0.5")
        inbox = app.topic("in", value_type=int, partitions=2)
        outbox = app.topic("out", value_serializer="raw", partitions=1)

        @app.agent(inbox)
        async def together(stream: StreamT[Any]) -> None:
            more = ("at",) if way == "take_with_timestamp" else ()
            async for values in getattr(stream, way)(2, 60.0, *more):
                plain = [getattr(value, "value", value) for value in values]
                taken.append(plain)
                await outbox.send(value=b"%d" % sum(plain))
                for event in values if way == "noack_take" else ():
                    event.ack()

        @app.agent(inbox)
        async def look(stream: StreamT[Any]) -> None:
            async for event in stream.events():
                looked_at.append(event.value)
                if event.message.partition == 1:
                    await gate.wait()

        return app, inbox

    app, inbox = build()
    async with running(app):
        for number in (0, 1):
            await inbox.send(value=10 + number, partition=number)
        await until(lambda: taken and 11 in looked_at)
        # Partition 0 is done with, but for what was done of it together with partition 1.
        await app.consumer.commit()
        assert (await counts(client, prefix)).get("out", 0) == 0
    gate.set()
    taken.clear()
    app, inbox = build()
    async with running(app):
        await holds(client, prefix, {"out": 1})
        assert sorted(taken[0]) == [10, 11]
        for number in (0, 1):
            await inbox.send(value=20 + number, partition=number)
        await holds(client, prefix, {"out": 2})
    assert await values(client, prefix, "out") == [b"21", b"41"]


async def test_what_no_event_sends_is_stored_at_once(
    new_exact: NewApp, client: Client, prefix: str
) -> None:
    app = new_exact()
    outbox = app.topic("out", value_serializer="raw", partitions=1, retention=60.0)

    @app.agent(app.topic("in", partitions=1))
    async def idle(stream: StreamT[Any]) -> None:
        async for _ in stream:
            pass

    async with running(app):
        await outbox.declare()
        assert (await (await outbox.send(value=b"now"))).offset > 0
        info = await lookup(client.jetstream(), prefix, "out")
        assert info is not None
        message = await client.jetstream().get_last_msg(info.stream, f"{prefix}.out.0")
        assert (message.headers or {})["Nats-TTL"] == "60s"  # as the stream is others' too


async def test_an_id_that_the_sender_has_chosen_is_stored_once(
    new_exact: NewApp, client: Client, prefix: str
) -> None:
    app = new_exact()
    inbox = app.topic("in", value_serializer="raw", partitions=1)
    outbox = app.topic("out", value_serializer="raw", partitions=1)

    @app.agent(inbox)
    async def work(stream: StreamT[Any]) -> None:
        async for value in stream:
            await outbox.send(value=value, headers={"Nats-Msg-Id": b"the same"})
            await outbox.send(value=value, headers={"Nats-Msg-Id": b"the same"})
            await outbox.send(value=value + b"!")

    async with running(app):
        for number in range(3):
            await inbox.send(value=b"%d" % number)
            await holds(client, prefix, {"out": number + 2})
    assert await values(client, prefix, "out") == [b"0", b"0!", b"1!", b"2!"]


async def test_an_event_that_sends_too_much_ends_the_worker_and_leaves_nothing(
    new_exact: NewApp, client: Client, prefix: str
) -> None:
    app = new_exact()
    inbox = app.topic("in", value_type=int, partitions=1)
    outbox = app.topic("out", value_serializer="raw", partitions=1)

    @app.agent(inbox)
    async def work(stream: StreamT[Any]) -> None:
        async for count in stream:
            for _ in range(count):
                await outbox.send(value=b"x")

    app.finalize()
    await app.start()
    await until(lambda: app.tables.recovery.completed.is_set())
    await inbox.send(value=999)
    await inbox.send(value=999)
    await holds(client, prefix, {"out": 1998})
    await inbox.send(value=1000)
    await until(lambda: app.crashed, "it says that it cannot")
    assert "999 fit into a transaction" in str(app.crash_reason)
    await app.stop()
    assert (await counts(client, prefix))["out"] == 1998


async def test_apps_without_transactions_share_the_prefix(
    new_app: NewApp, new_exact: NewApp, client: Client, prefix: str
) -> None:
    def words(app: Any) -> tuple[Any, Any]:
        topic = app.topic("words", key_type=str, value_type=int)
        table = app.Table("totals", default=int, key_type=str, value_type=int)

        @app.agent(topic)
        async def add(stream: StreamT[Any]) -> None:
            async for key, value in stream.items():
                table[key] = value

        return topic, table

    exact = new_exact("exact")

    @exact.agent(exact.topic("questions", value_type=int), name="double")
    async def double(stream: StreamT[Any]) -> Any:
        async for value in stream:
            yield value * 2

    asking = new_app("exact")
    asks = asking.agent(asking.topic("questions", value_type=int), name="double")(double.fun)
    async with running(exact):
        await asking.start_client()
        assert await asyncio.wait_for(asks.ask(21), DEADLINE) == 42
        await asking.stop()
        usual = new_app("usual")
        topic, table = words(usual)
        async with running(usual):
            for number in range(60):
                await topic.send(key=f"k{number % 6}", value=number)
            await until(lambda: sorted(table.values()) == list(range(54, 60)))
        again = new_app("usual")
        _, table = words(again)
        async with running(again):
            assert sorted(table.values()) == list(range(54, 60))
    held = await counts(client, prefix)
    assert held["words"] == 60
    assert held["usual-totals-changelog"] == 6
    assert [name for name in held if "reply" in name] == []  # it went with who asked


async def test_a_prefix_with_streams_of_their_own_has_no_transactions(
    client: Client, prefix: str
) -> None:
    js = client.jetstream()
    await declare(js, TopicSpec("there", 1, prefix=prefix))
    with pytest.raises(TopicMismatch, match="give the app another prefix"):
        await declare(js, TopicSpec("in", 1, prefix=prefix, shared=True))


async def test_an_app_that_has_run_without_transactions_gets_none_on_its_topics(
    new_app: NewApp, new_exact: NewApp
) -> None:
    async with running(reader(new_app())):
        pass
    app = reader(new_exact())
    with pytest.raises(TopicMismatch, match="has a stream of its own") as refused:
        async with running(app):
            pass
    assert "give the app another prefix" in str(refused.value)


def reader(app: Any) -> Any:
    """Return an app that reads a topic."""

    @app.agent(app.topic("in"))
    async def read(stream: StreamT[Any]) -> None:
        async for _ in stream:
            pass

    return app


async def test_a_record_that_is_too_large_is_an_error_of_who_sends_it(
    new_exact: NewApp, client: Client, prefix: str
) -> None:
    app = new_exact()
    inbox = app.topic("in", value_type=int, partitions=1)
    outbox = app.topic("out", value_serializer="raw", partitions=1)
    refused: list[str] = []

    @app.agent(inbox)
    async def work(stream: StreamT[Any]) -> None:
        async for size in stream:
            try:
                await outbox.send(value=b"x" * size)
            except SendFailed as exc:
                refused.append(str(exc))

    async with running(app):
        await outbox.declare()
        # Also one that would be too large with what a transaction adds to it.
        for size in (10, client.max_payload - 50, client.max_payload + 1, 20):
            await inbox.send(value=size)
        await holds(client, prefix, {"out": 2})
    assert [text.split(": ")[0] for text in refused] == [f"{prefix}.out.0"] * 2


async def test_an_event_whose_change_was_refused_is_not_done(
    new_exact: NewApp, client: Client, prefix: str
) -> None:
    seen: list[int] = []

    def build() -> tuple[Any, Any]:
        app = new_exact()
        inbox = app.topic("in", value_type=int, partitions=1)
        table = app.Table("sizes", key_type=str, value_type=str, partitions=1)

        @app.agent(inbox)
        async def work(stream: StreamT[Any]) -> None:
            async for size in stream:
                seen.append(size)
                table["a"] = "x" * min(size, limit)

        app.finalize()
        return app, inbox

    limit = client.max_payload + 1
    app, inbox = build()
    await app.start()
    await until(lambda: app.tables.recovery.completed.is_set())
    await inbox.send(value=limit)
    await until(lambda: app.crashed, "it says that it cannot")
    assert "the server takes" in str(app.crash_reason)
    await app.stop()
    limit = 5
    app, _ = build()
    async with running(app):
        await until(lambda: len(seen) == 2, "it is worked on again")


async def test_a_server_too_old_is_refused_with_its_version(
    nats_server: NatsServer, new_exact: NewApp
) -> None:
    passing: list[asyncio.Task[None]] = []

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
        finally:
            sink.close()
            with contextlib.suppress(OSError):
                await sink.wait_closed()

    async def aged(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on to a real server, but for the version in its greeting."""
        source, sink = await asyncio.open_connection("127.0.0.1", nats_server.port)
        greeting = await source.readline()
        writer.write(re.sub(rb'"version":"[^"]+"', b'"version":"2.11.9"', greeting))
        for way in (pass_on(source, writer), pass_on(reader, sink)):
            passing.append(asyncio.create_task(way))

    async with await asyncio.start_server(aged, "127.0.0.1", 0) as proxy:
        app = new_exact(broker=f"nats://127.0.0.1:{proxy.sockets[0].getsockname()[1]}?prefix=x")
        with pytest.raises(ConfigurationError, match=r"2\.12 or later; 127.0.0.1:\d+ is 2\.11\.9"):
            await app.producer.start()
        await app.stop()
        await asyncio.wait(passing, timeout=DEADLINE)


class SmallServer(NatsServer):
    """A server that may keep 8 MB."""

    limit = 8 * 1024 * 1024

    def config(self) -> str:
        return (
            super().config().replace("jetstream {", f"jetstream {{ max_file_store: {self.limit},")
        )

    async def fill(self, client: Client, room: int) -> None:
        """Leave no more than about `room` bytes, in a stream `filler` to be purged."""
        js = client.jetstream()
        await js.add_stream(name="filler", subjects=["filler"])
        while (left := self.limit - (await js.account_info()).storage - room) > 200:
            await js.publish("filler", bytes(min(left - 100, 1_000_000)))


class Cut:
    """An app whose transaction is cut in two by its server's limit."""

    def __init__(self, new_exact: NewApp, server: SmallServer, prefix: str, client: Client) -> None:
        self.new_exact = new_exact
        self.server = server
        self.prefix = prefix
        self.client = client
        self.gate = asyncio.Event()
        self.begun: list[int] = []

    def build(self, session: float) -> Any:
        broker = f"{self.server.url}?prefix={self.prefix}&drain=1"
        app = self.new_exact(broker=broker, broker_session_timeout=session)
        self.inbox = app.topic("in", key_type=str, value_type=int, partitions=1)
        self.outbox = app.topic("out", value_serializer="raw", partitions=1)
        self.table = app.Table("seen", default=int, key_type=str, value_type=int, partitions=1)

        @app.agent(self.inbox)
        async def work(stream: StreamT[Any]) -> None:
            async for key, value in stream.items():
                self.begun.append(value)
                await self.gate.wait()
                self.table[key] += 1
                for number in range(40):
                    await self.outbox.send(value=b"%d.%02d" % (value, number) + bytes(1_000))

        return app

    async def cut(self) -> None:
        """Let the app, which must be running, store the beginning of a transaction."""
        await self.outbox.declare()
        await self.inbox.send(key="a", value=1)
        await until(lambda: self.begun, "the event is begun")
        await self.server.fill(self.client, room=20_000)
        self.gate.set()

        async def stored_in_part() -> bool:
            return 0 < (await counts(self.client, self.prefix))["out"] < 40

        await until(stored_in_part, "the beginning of the transaction is stored")

    async def make_room(self) -> None:
        await self.client.jetstream().purge_stream("filler")

    async def stored(self) -> list[bytes]:
        """Return what it has sent, in order."""
        found = await values(self.client, self.prefix, "out")
        return [value[:4] for value in found if value is not None]


@pytest.fixture
async def cut(new_exact: NewApp, prefix: str, tmp_path: Path) -> AsyncIterator[Cut]:
    with SmallServer(tmp_path / "small") as server:
        client = await connect(parse_url(server.url), name="test")
        yield Cut(new_exact, server, prefix, client)
        await client.close()


@pytest.mark.faults
@pytest.mark.parametrize("session", [3.0, 60.0])
async def test_a_transaction_that_a_limit_has_cut_in_two_is_completed(
    cut: Cut, session: float
) -> None:
    app = cut.build(session)
    async with running(app):
        await cut.cut()
        # Without a lease it gives up its partitions, but not before the rest is stored.
        await until(lambda: app.rebalancing or session > 3, "the lease lapses")
        await cut.make_room()
        await holds(cut.client, cut.prefix, {"out": 40})
        await cut.inbox.send(key="a", value=2)
        await holds(cut.client, cut.prefix, {"out": 80})
        assert cut.table["a"] == 2
    assert cut.begun == [1, 2]
    wanted = [b"%d.%02d" % (value, number) for value in (1, 2) for number in range(40)]
    assert await cut.stored() == wanted
    assert (await values(cut.client, cut.prefix, "app-seen-changelog"))[-1] == b"2"


@pytest.mark.faults
async def test_nothing_is_lost_if_a_transaction_that_was_cut_in_two_cannot_be_completed(
    cut: Cut, caplog: pytest.LogCaptureFixture
) -> None:
    app = cut.build(60.0)
    async with running(app):
        await cut.cut()
        await until(lambda: "transaction: not stored" in caplog.text, "it knows")
    assert "the beginning of a transaction is stored" in caplog.text
    before = await cut.stored()
    await cut.make_room()
    async with running(cut.build(60.0)):
        await holds(cut.client, cut.prefix, {"out": len(before) + 40})
    assert cut.begun == [1, 1]
    assert await cut.stored() == before + [b"1.%02d" % number for number in range(40)]


@pytest.mark.faults
@pytest.mark.parametrize(
    "settings",
    [
        {"STORE": "memory://", "CONCURRENCY": "2"},
        {"STORE": "rocksdb://", "CONCURRENCY": "2"},
        {"TAKE": "30"},  # of several partitions, whose offsets must be stored together
    ],
    ids=["memory", "rocksdb", "together"],
)
async def test_workers_killed_at_any_moment(
    nats_url: str, prefix: str, start_worker: StartWorker, settings: dict[str, str]
) -> None:
    guarantee = "exactly_once"
    chance = random.Random(str(settings))

    def start(name: str) -> Worker:
        return start_worker(DATA=name, GUARANTEE=guarantee, **settings)

    async with feeding(nats_url, prefix, guarantee) as feed:
        workers = [start(name) for name in "ab"]
        await together(*workers)
        for _ in range(4):
            await feed.send(750)
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            victim = chance.randrange(2)
            workers[victim].kill()
            workers[victim] = start("ab"[victim])
        await feed.check()
        await together(*workers)
        assert [worker.stop() for worker in workers] == [0, 0]
