"""What Faust's user guide offers, on the bridge: several features in each running app."""
# Apps are made by a fixture without a type, as tests look into them.
# mypy: disable-error-code="untyped-decorator"

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import aiohttp
import faust
from faust.models.fields import NumberField
from faust.serializers import codecs
from faust.serializers.codecs import Codec
from faust.types import TP, StreamT
from mode import Service
from nats.aio.client import Client

from mocks.servers import free_port
from streams.bridge.topics import describe
from tests.faust_apps import running
from tests.waiting import until

NewApp = Callable[..., Any]


async def test_agents_answer_and_pass_on(new_app: NewApp) -> None:
    app = new_app()
    seen: list[Any] = []
    answers = app.topic("answers", value_type=int)
    numbers = app.topic("numbers", key_type=str, value_type=int)

    @app.agent(app.topic("listened"))
    async def listener(stream: StreamT[Any]) -> None:
        async for value in stream:
            seen.append(("agent", value))

    def note(value: int) -> None:
        seen.append(("function", value))

    async def note_later(value: int) -> None:
        seen.append(("coroutine", value))

    @app.agent(numbers, sink=[note, note_later, answers, listener])
    async def double(stream: StreamT[int]) -> Any:
        async for value in stream:
            yield value * 2

    @app.agent(answers)
    async def collect(stream: StreamT[int]) -> None:
        async for value in stream:
            seen.append(("topic", value))

    @app.agent(app.topic("wrong", value_type=int))
    async def fails(stream: StreamT[int]) -> None:
        async for value in stream:
            if value == 13:
                raise ValueError(value)
            note(value)

    def of_kind(kind: str) -> list[Any]:
        return sorted(value for what, value in seen if what == kind)

    async with running(app):
        await double.cast(1, key="k")
        await until(lambda: len(seen) == 4)
        assert {what for what, value in seen if value == 2} == {
            "function",
            "coroutine",
            "topic",
            "agent",
        }
        async with asyncio.timeout(30):
            assert await double.ask(21) == 42
            assert await double.join([1, 2, 3, 4]) == [2, 4, 6, 8]
            assert await double.kvjoin([("a", 5), ("b", 6)]) == [10, 12]
            assert sorted([value async for value in double.map([7, 8])]) == [14, 16]
            assert sorted([v async for v in double.kvmap([("a", 9), ("b", 10)])]) == [18, 20]
            promise = await double.ask_nowait(50, reply_to=listener, key="k")
            await until(
                lambda: any(
                    what == "agent" and promise.correlation_id in str(value) for what, value in seen
                )
            )
        await double.send(value=60, key="k", partition=2, headers={"a": b"b"}, timestamp=5.0)
        await until(lambda: 120 in of_kind("topic"))
        seen.clear()
        for value in (12, 13, 14):
            await fails.send(value=value, key=b"k")
        await until(lambda: of_kind("function") == [12, 14])


async def test_streams_are_shaped(new_app: NewApp) -> None:
    app = new_app()
    source = app.topic("source", key_type=str, value_type=int)
    seen: dict[str, list[Any]] = {}

    def note(what: str, value: Any) -> None:
        seen.setdefault(what, []).append(value)

    @app.agent(source)
    async def filtered(stream: Any) -> None:
        async for value in stream.filter(lambda value: value % 2).echo("echoed"):
            note("odd", value)

    @app.agent(app.topic("echoed", value_type=int))
    async def echoed(stream: Any) -> None:
        async for value in stream:
            note("echoed", value)

    @app.agent(source)
    async def regrouped(stream: Any) -> None:
        async for key, value in stream.group_by(
            lambda value: f"{value % 3}", name="thirds"
        ).items():
            note("thirds", (key, value))

    @app.agent(source)
    async def through(stream: Any) -> None:
        async for value in stream.through("beyond"):
            note("through", value)

    @app.agent(source)
    async def batches(stream: Any) -> None:
        async for values in stream.take(4, within=0.5):
            note("taken", values)

    @app.agent(source)
    async def event_batches(stream: Any) -> None:
        async for events in stream.take_events(100, within=0.3):
            note("events", [(event.key, event.value) for event in events])

    @app.agent(app.topic("objects"))
    async def timed(stream: Any) -> None:
        async for values in stream.take_with_timestamp(2, 1, "at"):
            note("timed", values)

    @app.agent(source)
    async def numbered(stream: Any) -> None:
        async for number, value in stream.enumerate():
            note("numbered", (number, value))

    @app.agent(source)
    async def by_hand(stream: Any) -> None:
        async for event in stream.noack().events():
            note("by hand", event.value)
            event.ack()

    @app.agent(app.topic("left", "right", value_type=int))
    async def both(stream: Any) -> None:
        async for event in stream.events():
            note("both", (event.message.topic, event.value))

    @app.agent(source)
    async def batches_by_hand(stream: Any) -> None:
        async for events in stream.noack_take(3, within=0.3):
            for event in events:
                note("batches by hand", event.value)
                event.ack()

    async with running(app):
        ends: dict[int, int] = {}
        for value in range(8):
            sent = await (await source.send(key=f"k{value}", value=value))
            ends[sent.partition] = sent.offset + 1
        await app.topic("left").send(value=1)
        await app.topic("right").send(value=2)
        for value in range(2):
            await app.topic("objects").send(value={"n": value}, timestamp=50.0 + value, partition=0)
        await until(lambda: len(seen.get("timed", [])) and sum(map(len, seen["timed"])) == 2)
        everything = list(range(8))
        await until(lambda: sorted(seen.get("odd", [])) == [1, 3, 5, 7])
        await until(lambda: sorted(seen.get("echoed", [])) == [1, 3, 5, 7])
        await until(
            lambda: sorted(seen.get("thirds", [])) == sorted((f"{v % 3}", v) for v in everything)
        )
        await until(lambda: sorted(seen.get("through", [])) == everything)
        await until(lambda: sorted(chain(*seen.get("taken", []))) == everything)
        await until(
            lambda: sorted(chain(*seen.get("events", []))) == [(f"k{v}", v) for v in everything]
        )
        await until(lambda: sorted(v for _, v in seen.get("numbered", [])) == everything)
        await until(lambda: sorted(seen.get("by hand", [])) == everything)
        await until(lambda: sorted(seen.get("both", [])) == [("left", 1), ("right", 2)])
        await until(lambda: sorted(seen.get("batches by hand", [])) == everything)
        assert max(len(values) for values in seen["taken"]) <= 4
        at = {value["n"]: value["at"] for values in seen["timed"] for value in values}
        assert at == {0: 50.0, 1: 51.0}
        await until(lambda: ends.items() <= committed(app, "source").items(), "all is committed")


def committed(app: Any, topic: str) -> dict[int, int]:
    offsets = app.consumer._committed_offset.items()
    return {tp.partition: offset for tp, offset in offsets if tp.topic == topic and offset}


class Address(faust.Record, coerce=True):
    street: str
    since: datetime


class Person(faust.Record, coerce=True, validation=True):
    name: str
    age: int = NumberField(min_value=0)
    addresses: list[Address]
    balance: Decimal = Decimal("0.00")


class Cat(faust.Record, serializer="json"):
    name: str


class Shouted(Codec):
    """A codec of the user's own."""

    def _loads(self, raw: bytes) -> Any:
        return raw.decode().lower()

    def _dumps(self, value: Any) -> bytes:
        return str(value).upper().encode()


class Marked(faust.Schema):  # type: ignore[type-arg]
    """A schema of the user's own, which writes and reads a header."""

    def on_dumps_value_prepare_headers(self, value: Any, headers: Any) -> Any:
        return {**dict(headers or {}), "marked": b"yes"}


async def test_topics_models_codecs_and_schemas(
    new_app: NewApp, client: Client, prefix: str
) -> None:
    codecs.register("shouted", Shouted())
    person = Person(
        name="Ann", age=41, addresses=[Address("Main St", datetime(2020, 1, 2, 3, 4, 5))]
    )

    def with_topics() -> tuple[Any, dict[str, Any], dict[str, list[Any]]]:
        app = new_app()
        seen: dict[str, list[Any]] = {}
        topics = {
            "people": app.topic("people", key_type=Cat, value_type=Person),
            "binary": app.topic("binary", value_serializer="json|binary"),
            "shouted": app.topic("shouted", value_serializer="shouted", acks=False),
            "marked": app.topic("marked", schema=Marked(value_type=str, value_serializer="json")),
            "empty": app.topic("empty", allow_empty=True, internal=True, partitions=3),
            "either": app.topic("either"),
            "compacted": app.topic(
                "compacted", compacting=True, key_type=str, value_type=int, partitions=1
            ),
            "kept": app.topic("kept", retention=timedelta(hours=1), deleting=True),
        }
        for name, topic in topics.items():

            async def collect(stream: Any, name: str = name) -> None:
                async for event in stream.events():
                    seen.setdefault(name, []).append(event)

            app.agent(topic, name=f"collect-{name}")(collect)
        return app, topics, seen

    def values(seen: dict[str, list[Any]], name: str) -> list[Any]:
        return [event.value for event in seen.get(name, [])]

    app, topics, seen = with_topics()
    async with running(app):
        await topics["people"].send(key=Cat("Tom"), value=person)
        await topics["binary"].send(value=[1, {"two": 3}])
        await topics["shouted"].send(value="hello")
        await topics["marked"].send(value="x")
        await topics["empty"].send(key="k", value=None)
        await topics["either"].send(value=person)
        await topics["either"].send(value=Cat("Tim"))
        for number in range(5):
            await topics["compacted"].send(key="k", value=number)
        await topics["kept"].send(value=1)
        await until(lambda: len(values(seen, "compacted")) and values(seen, "compacted")[-1] == 4)
        await until(lambda: len(seen) == len(topics) and len(seen["either"]) == 2)
        got = seen["people"][0]
        assert got.key == Cat("Tom")
        assert got.value == person
        assert isinstance(got.value.addresses[0].since, datetime)
        assert values(seen, "binary") == [[1, {"two": 3}]]
        assert values(seen, "shouted") == ["hello"]
        assert values(seen, "marked") == ["x"]
        assert seen["marked"][0].headers["marked"] == b"yes"
        assert values(seen, "empty") == [None]
        assert sorted(values(seen, "either"), key=str) == sorted([person, Cat("Tim")], key=str)
        derived = topics["people"].derive(suffix="-derived", partitions=5)
        await derived.maybe_declare()
        await until(lambda: any(offset > 1 for offset in committed(app, "people").values()))
        assert set(committed(app, "shouted").values()) == {1}
    described = {topic.topic: topic for topic in await describe(client.jetstream(), prefix)}
    assert described["people-derived"].partitions == 5
    assert described["empty"].partitions == 3
    assert described["compacted"].messages == 1
    assert described["kept"].max_age == 3600
    app, topics, seen = with_topics()
    async with running(app):
        await until(lambda: values(seen, "shouted") == ["hello"], "read again without acks")
        await topics["people"].send(key=Cat("Tom"), value=person)
        await until(lambda: seen.get("people"))
        assert len(seen["people"]) == 1


async def test_tasks_services_signals_and_the_monitor(new_app: NewApp) -> None:
    app = new_app()
    topic = app.topic("in", key_type=str, value_type=int)
    outbox = app.topic("out", key_type=str, value_type=int)
    happened: list[str] = []

    @app.task
    async def once() -> None:
        happened.append("task")

    @app.task(on_leader=True)
    async def led() -> None:
        happened.append("leader's task")

    @app.timer(0.1)
    async def tick() -> None:
        await topic.send(key="t", value=1)

    @app.crontab("* * * * * */1")
    async def chime() -> None:
        happened.append("crontab")

    @app.service
    class Beside(Service):
        async def on_start(self) -> None:
            happened.append("service")

        @Service.task
        async def work(self) -> None:
            happened.append("service's task")

    @app.agent(topic)
    async def forward(stream: StreamT[int]) -> None:
        async for event in stream.events():
            await event.forward(outbox)

    @app.task
    async def follow() -> None:
        async for event in outbox.stream().events():
            happened.append(f"followed {event.value}")

    @app.on_partitions_assigned.connect
    async def assigned(app: Any, assigned: Any, **kwargs: Any) -> None:
        happened.append(f"assigned {TP('in', 0) in assigned}")

    @app.on_partitions_revoked.connect
    async def revoked(app: Any, revoked: Any, **kwargs: Any) -> None:
        happened.append("revoked")

    @app.on_rebalance_complete.connect
    async def complete(app: Any, **kwargs: Any) -> None:
        happened.append("rebalanced")

    @app.on_before_shutdown.connect
    async def before(app: Any, **kwargs: Any) -> None:
        happened.append("before shutdown")

    @app.on_produce_message.connect
    def produced(app: Any, key: bytes, headers: list[tuple[str, bytes]], **kwargs: Any) -> None:
        headers.append(("added", b"by a signal"))

    async with running(app):
        await until(lambda: happened.count("crontab") >= 2 and "followed 1" in happened)
        assert {"task", "leader's task", "service", "service's task"} <= set(happened)
        assert {"assigned True", "rebalanced"} <= set(happened)
        monitor = app.monitor
        assert monitor.messages_received_by_topic["in"] >= 1
        assert monitor.messages_sent_by_topic["out"] >= 1
        assert monitor.events_total >= 2
        await until(lambda: monitor.tp_committed_offsets and monitor.tp_read_offsets)
        await until(lambda: monitor.tp_end_offsets)
    assert "before shutdown" in happened


async def test_where_reading_begins_and_where_records_go(new_app: NewApp) -> None:
    def to_the_last(key: bytes | None, every: Sequence[int], available: Any) -> int:
        return max(every)

    def collecting(**settings: Any) -> tuple[Any, Any, list[int]]:
        app = new_app(producer_partitioner=to_the_last, topic_disable_leader=True, **settings)
        topic, copies = app.topic("in", value_type=int), app.topic("copies", value_type=int)
        seen: list[int] = []

        @app.agent(topic)
        async def copy(stream: StreamT[int]) -> None:
            async for value in stream:
                await copies.send(value=value)

        @app.agent(copies)
        async def collect(stream: StreamT[int]) -> None:
            async for value in stream:
                seen.append(value)

        return app, topic, seen

    app, topic, seen = collecting()
    async with running(app):
        for value in range(4):
            sent = await (await topic.send(key=b"k", value=value))
            assert sent.partition == 3
        await until(lambda: seen == [0, 1, 2, 3])
        tp = TP("in", 3)
        assert await app.consumer.highwaters(tp) == {tp: 5}
        assert (await app.consumer.earliest_offsets(tp, TP("in", 0)))[TP("in", 0)] is None
        await app.consumer.seek(tp, 3)
        await until(lambda: app.monitor.messages_received_by_topic["in"] == 6)
        await until(lambda: committed(app, "in")[3] == 5)
        assert seen == [0, 1, 2, 3], "what was read again is not sent again"
    app, topic, seen = collecting(
        name="another", consumer_auto_offset_reset="latest", stream_publish_on_commit=True
    )
    async with running(app):
        await topic.send(value=9)
        await until(lambda: seen == [9])


async def test_pages_are_routed_to_the_worker_that_has_the_key(new_app: NewApp) -> None:
    def with_pages() -> tuple[Any, Any, Any]:
        port = free_port()
        app = new_app(
            web_enabled=True,
            web_port=port,
            web_bind="127.0.0.1",
            web_host="127.0.0.1",
            table_standby_replicas=0,
            debug=True,  # which adds pages of its own
        )
        # Requests are routed by the table's key, which is JSON: the topic's must be so too.
        words = app.topic("words", key_type=str, key_serializer="json", value_type=int)
        table = app.Table("count", default=int, key_type=str, value_type=int)

        @app.agent(words)
        async def count(stream: StreamT[int]) -> None:
            async for key, value in stream.items():
                table[key] += value

        @app.page("/count/{word}/")
        @app.table_route(table=table, match_info="word")
        async def page(view: Any, request: Any, word: str) -> Any:
            return view.json({"word": word, "count": table[word], "by": port})

        @app.page("/owner/{word}/")
        @app.topic_route(topic=words, match_info="word")
        async def owner(view: Any, request: Any, word: str) -> Any:
            return view.json({"by": port})

        return app, words, port

    one, words, first = with_pages()
    two, _, second = with_pages()
    async with running(one), running(two), aiohttp.ClientSession() as session:

        async def get(port: int, path: str) -> Any:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return await answer.json(content_type=None) if answer.status == 200 else None

        await until(lambda: one.tables.recovery.completed.is_set() and not one.rebalancing)
        for number in range(12):
            await words.send(key=f"w{number}", value=number + 1)
        owners = set()
        for number in range(12):
            word = f"w{number}"

            async def counted(word: str = word, number: int = number) -> Any:
                return [await get(port, f"/count/{word}/") for port in (first, second)]

            expected = number + 1
            await until(
                partial(_all_counted, counted, expected), f"{word} is counted on both pages"
            )
            here, there = await counted()
            assert here == there
            owners.add(here["by"])
            assert (await get(second, f"/owner/{word}/"))["by"] == here["by"]
            assert await get(first, f"/table/count/{word}/") == expected
        assert owners == {first, second}
        for path in ("/", "/router/", "/table/"):
            async with session.get(f"http://127.0.0.1:{first}{path}") as answer:
                assert answer.status == 200, path


async def _all_counted(pages: Callable[[], Any], count: int) -> bool:
    return all(page is not None and page["count"] == count for page in await pages())


async def run(*command: str, **env: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        env=os.environ | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, output.decode()


async def test_commands_of_faust_and_of_the_app(nats_url: str, prefix: str, tmp_path: Path) -> None:
    env = {
        "BROKER": f"{nats_url}?prefix={prefix}",
        "DATADIR": str(tmp_path / "data"),
        "STORE": "rocksdb://",
    }
    left_over = tmp_path / "data" / "v0" / "tables"
    left_over.mkdir(parents=True)
    faust_command = ("-m", "faust", "-A", "tests.streams.bridge.checked:app")
    results = await asyncio.gather(
        run(*faust_command, "place", "--price", "2.5", **env),
        run(*faust_command, "models", **env),
        run(*faust_command, "model", "Order", **env),
        run(*faust_command, "clean-versions", **env),
        run(*faust_command, "reset", **env),
    )
    for (status, output), expected in zip(
        results,
        ("placed at orders, 1", "Order", "price", "Removing old version", "for table totals"),
        strict=True,
    ):
        assert status == 0, output
        assert expected in output
    assert not left_over.exists()


async def test_a_live_check_follows_an_order(nats_url: str, prefix: str, tmp_path: Path) -> None:
    env = {"BROKER": f"{nats_url}?prefix={prefix}", "DATADIR": str(tmp_path / "data")}
    status, output = await run("-m", "tests.streams.bridge.checked", "check", **env)
    assert status == 0, output
    assert "the live check has passed" in output
