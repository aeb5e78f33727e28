import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from pydantic import ValidationError

from mocks.servers import free_port
from streams import slip
from streams.bridge.connection import connect, parse_url
from streams.errors import ShopUnavailable
from streams.mailbox import Work
from streams.message import Message
from streams.observability import tracing
from streams.observability.tracing import TRACEPARENT, Tracing
from streams.operators.redrive import Change, redrive
from streams.settings import Settings
from streams.topics import JOURNAL, declare_topics
from streams.trace import exchange, note
from tests.collector import Collector, Span, collector
from tests.streams.actors import ENDING, open_bench, pass_on, turn

STEPS = (slip.SENTIMENT_ANALYZER, slip.CONTEXT_RETRIEVER, slip.RESPONSE_AGGREGATOR)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def received() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path, received: Collector) -> Settings:
    return Settings(
        broker_url=nats_url,
        prefix=prefix,
        data_dir=tmp_path,
        retry_delay=0.01,
        partitions=2,
        otel_endpoint=received.url,
    )


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    connection = await connect(parse_url(nats_url), name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def spans(settings: Settings) -> AsyncIterator[Tracing]:
    """Spans on their way to the collector, which gets them when the test closes this."""
    opened = await Tracing.open(settings, "worker")
    assert opened is not None
    yield opened
    await opened.close()


def tree(trace: list[Span]) -> dict[str, str]:
    """Return each span's name with that of the span it is below."""
    names = {span.id: span.name for span in trace}
    return {span.name: names.get(span.parent, span.parent) for span in trace}


async def ended(count: int, settings: Settings, actors: dict[str, Work], *turns: Message) -> None:
    """Let turns run through a mesh until the journal has so many."""
    opened = await Tracing.open(settings, "worker")
    assert opened is not None
    async with open_bench(settings, actors, opened) as mesh:
        for message in turns:
            await mesh.mesh.send(message)
        await mesh.journal(count)
        for record in await mesh.on(JOURNAL):
            assert TRACEPARENT in dict(record.headers)
    await opened.close()


async def test_a_turn_is_one_trace_hop_below_hop_with_what_each_has_asked(
    settings: Settings, received: Collector
) -> None:
    async def retrieve(message: Message) -> Message:
        note("rules answered dagny.okafor@example.com")
        async with exchange("orders", {"method": "GET", "path": "/orders/W1"}) as answer:
            carried = tracing.headers()
            answer.response = {"status": 200, "body": carried}
        assert tracing.headers() != carried  # the call had a span of its own
        return message

    message = turn(*STEPS)
    actors = {slip.SENTIMENT_ANALYZER: pass_on, slip.CONTEXT_RETRIEVER: retrieve, **ENDING}
    await ended(1, settings, actors, message)
    trace = received.trace(lambda spans: len(spans) == 4, mesh_turn=message.id)
    assert tree(trace) == {
        "sentiment_analyzer": "",
        "context_retriever": "sentiment_analyzer",
        "ask orders": "context_retriever",
        "response_aggregator": "context_retriever",
    }
    (asked,) = (span for span in trace if span.name == "ask orders")
    assert asked.attributes["http.response.status_code"] == 200
    assert not any("W1" in str(value) for value in asked.attributes.values())
    hops = [span for span in trace if span is not asked]
    assert {span.attributes["mesh.session"] for span in hops} == {message.session_id}
    assert {span.service for span in trace} == {"mesh-worker"}
    (remark,) = [text for span in trace for text in span.notes]
    assert remark.startswith("rules answered d")
    assert "dagny.okafor" not in remark


async def test_a_trace_goes_on_where_the_records_header_says(
    settings: Settings, received: Collector, spans: Tracing
) -> None:
    message = turn(slip.RESPONSE_AGGREGATOR)
    async with open_bench(settings, ENDING, spans) as mesh:
        await mesh.mesh.topics[slip.RESPONSE_AGGREGATOR].send(
            key=b"s1", value=message, headers={TRACEPARENT: PARENT.encode()}
        )
        await mesh.journal()
    await spans.close()
    (span,) = received.trace(lambda spans: len(spans) == 1, mesh_turn=message.id)
    assert f"00-{span.trace}-{span.parent}-01" == PARENT


async def test_tries_and_failures_stay_in_the_trace_and_show(
    settings: Settings, received: Collector
) -> None:
    tries = 0

    async def flaky(message: Message) -> Message:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ShopUnavailable("no answer for dagny.okafor@example.com")
        raise KeyError("oops")

    message = turn(slip.CONTEXT_RETRIEVER, slip.RESPONSE_AGGREGATOR)
    await ended(1, settings, {slip.CONTEXT_RETRIEVER: flaky, **ENDING}, message)
    trace = received.trace(lambda spans: len(spans) == 5, mesh_turn=message.id)
    below = {span.parent: span for span in trace}
    chain = [below[""]]
    while chain[-1].id in below:
        chain.append(below[chain[-1].id])
    assert [(span.name, span.attributes["mesh.outcome"]) for span in chain] == [
        ("context_retriever", "retry"),
        ("context_retriever", "retry"),
        ("context_retriever", "failed"),
        ("escalation_router", "rerouted"),
        ("response_aggregator", "done"),
    ]
    assert [span.failed for span in chain] == [True, True, True, False, False]
    assert chain[0].attributes["error.type"] == "ShopUnavailable"
    assert "no answer" in chain[0].status
    assert "dagny" not in chain[0].status


async def test_a_turn_that_waited_for_another_goes_on_in_its_own_trace(
    settings: Settings, received: Collector
) -> None:
    """It is sent on out of a hop of the turn before it."""
    kept: list[Message] = []

    async def enter(message: Message) -> Message | None:
        if not kept:
            kept.append(message.model_copy(deep=True))
            return None
        first = Message.decode(kept[0].encode())  # as a table brings it back
        first.slip = first.slip.reroute((slip.RESPONSE_AGGREGATOR,))
        await mesh.mesh.send(first)
        return message

    first, second = (turn(slip.CONVERSATION, slip.RESPONSE_AGGREGATOR) for _ in range(2))
    opened = await Tracing.open(settings, "worker")
    async with open_bench(settings, {slip.CONVERSATION: enter, **ENDING}, opened) as mesh:
        for message in (first, second):
            await mesh.mesh.send(message)
        await mesh.journal(2)
    assert opened is not None
    await opened.close()
    ways = {"conversation": "", "response_aggregator": "conversation"}
    for message in (first, second):
        trace = received.trace(lambda spans: len(spans) == 2, mesh_turn=message.id)
        assert tree(trace) == ways
        assert {span.attributes["mesh.turn"] for span in trace} == {message.id}


async def test_a_redriven_dead_letter_goes_on_in_its_trace(
    settings: Settings, received: Collector, spans: Tracing, client: Client
) -> None:
    message = turn(slip.INTENT_ANALYZER)
    actors = {slip.CONVERSATION: pass_on, **ENDING}
    async with open_bench(settings, actors, spans) as mesh:
        await declare_topics(client.jetstream(), settings)
        await mesh.mesh.topics[slip.RESPONSE_AGGREGATOR].send(
            key=b"s1", value=message, headers={TRACEPARENT: PARENT.encode()}
        )
        (letter,) = await mesh.dead_letters()
        assert dict(letter.headers)[TRACEPARENT] == PARENT.encode()
        change = Change(steps=[slip.RESPONSE_AGGREGATOR])
        await redrive(client, settings, "ines", letter.offset, change, seen=0)
        await mesh.journal()
    await spans.close()
    trace = received.spans(mesh_turn=message.id)
    _, trace_id, parent, _ = PARENT.split("-")
    assert {span.trace for span in trace} == {trace_id}
    assert tree(trace) == {"conversation": parent, "response_aggregator": "conversation"}


async def test_a_root_does_not_take_what_it_finds_around_it(
    spans: Tracing, received: Collector
) -> None:
    mark = secrets.token_hex(8)
    with spans.span("outer", "server", {"mark": mark}), spans.span("inner", "server", {}):
        inner = tracing.trace_id()
    await spans.close()
    (outer,) = received.trace(lambda spans: len(spans) == 1, mark=mark)
    assert outer.name == "outer"
    assert outer.trace != inner


async def test_a_trace_that_is_not_sampled_is_not_pointed_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    opened = await Tracing.open(settings, "worker")
    assert opened is not None
    with opened.span("a", "consumer", {}):
        assert tracing.trace_id() is None
        assert tracing.headers()[TRACEPARENT].endswith(("-00", "-02"))
    await opened.close()


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://collector", "http://"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="otel_endpoint"):
        Settings(otel_endpoint=endpoint)


async def test_without_an_endpoint_there_are_no_spans_and_no_headers(tmp_path: Path) -> None:
    assert await Tracing.open(Settings(data_dir=tmp_path), "worker") is None
    with tracing.root(None, "web", "server", {}):
        async with exchange("cache", {"command": "get"}):
            tracing.annotate({"a": 1})
            tracing.failed(KeyError())
            assert tracing.headers() == {}
            assert tracing.trace_id() is None


def test_without_an_endpoint_no_exporter_is_imported(tmp_path: Path) -> None:
    looked = """
import asyncio, sys
import app
from streams.settings import Settings
from streams.observability.tracing import Tracing
made = app.create_app(Settings(broker_url="nats://127.0.0.1:1", redis_url="redis://127.0.0.1:1"))
asyncio.run(Tracing.open(Settings(), "worker"))
parts = ("opentelemetry.exporter", "opentelemetry.sdk.trace", "google.protobuf")
sys.exit([name for name in parts if name in sys.modules] or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", looked], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


async def test_a_collector_that_is_away_stops_nobody_and_is_spoken_of_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # milliseconds between batches
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")  # seconds of tries of one
    port = free_port()
    away = settings.model_copy(update={"otel_endpoint": f"http://127.0.0.1:{port}"})
    opened = await Tracing.open(away, "worker")
    assert opened is not None

    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if "spans" in record.getMessage()]

    async def speak(times: int, *, since: int = 0) -> None:
        while len(said()) <= since:
            with opened.span("x", "consumer", {}):
                await asyncio.sleep(0.02)
        for _ in range(times):
            with opened.span("x", "consumer", {}):
                await asyncio.sleep(0.02)

    async with open_bench(away, ENDING, opened) as mesh:
        await mesh.mesh.send(turn(slip.RESPONSE_AGGREGATOR))
        await mesh.journal()
        await speak(50)
        with collector(port):
            await speak(10, since=1)
            await opened.close()
    gone, back = said()
    assert "takes no spans" in gone
    assert "takes spans again" in back


async def test_closing_does_not_wait_for_a_collector_that_is_away(settings: Settings) -> None:
    away = settings.model_copy(update={"otel_endpoint": f"http://127.0.0.1:{free_port()}"})
    opened = await Tracing.open(away, "worker")
    assert opened is not None
    with opened.span("x", "consumer", {}):
        pass
    await asyncio.wait_for(opened.close(), 20)  # OpenTelemetry by itself: half a minute
