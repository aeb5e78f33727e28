"""The model helper against a real little HTTP server."""

import asyncio
import importlib
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web

from agents.llm import Model, uses_mock
from streams.errors import ModelUnavailable
from streams.message import Hop
from streams.observability.tracing import Tracing
from streams.settings import Settings
from streams.trace import recording
from tests.collector import Collector
from tests.waiting import until

SECRET = "sk-very-secret-4711"


@dataclass
class Server:
    """An OpenAI-like server that does what a test tells it, and remembers what it saw."""

    answer: str = "Hello."
    mode: str = "answer"
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    traceparents: list[str | None] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    port: int = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername")[1])
        self.authorizations.add(request.headers.get("Authorization", ""))
        self.traceparents.append(request.headers.get("traceparent"))
        self.requests.append(await request.json())
        match self.mode:
            case "error":
                return web.json_response({"error": {"message": f"bad {SECRET}"}}, status=500)
            case "denied":
                return web.json_response(
                    {"error": {"message": f"Incorrect API key provided: {SECRET}"}}, status=401
                )
            case "hang":
                await asyncio.Event().wait()
            case "garbage":
                return web.Response(text="<html>not json", content_type="text/html")
            case "no choices":
                return web.json_response({"id": "x", "object": "chat.completion", "choices": []})
            case "slow body":
                response = web.StreamResponse(headers={"Content-Type": "application/json"})
                await response.prepare(request)
                await response.write(b'{"id"')
                await asyncio.Event().wait()
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": "mesh-mock-2026",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "length" if self.mode == "cut" else "stop",
                        "message": {"role": "assistant", "content": self.answer},
                    }
                ],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
            }
        )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    it = Server()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", it.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.port = runner.addresses[0][1]
    yield it
    await runner.cleanup()


def settings(server: Server, **changes: Any) -> Settings:
    # The first call of a run also waits for litellm to load.
    given: dict[str, Any] = {"llm_port": server.port, "llm_timeout": 150, **changes}
    return Settings(_env_file=None, **given)


@pytest.fixture
async def model(server: Server) -> AsyncIterator[Model]:
    it = Model(settings(server))
    await it.start()
    yield it
    await it.close()


async def ask(model: Model, text: str = "Hi", **options: Any) -> str:
    return await model.complete(
        system="You are brief.", messages=[{"role": "user", "content": text}], **options
    )


def hop() -> Hop:
    return Hop(actor="test", started_at=datetime(2026, 1, 1, tzinfo=UTC))


async def test_an_empty_base_url_means_the_mock_and_a_dummy_key(
    server: Server, model: Model
) -> None:
    assert await ask(model, "Where is it?") == "Hello."
    asked = server.requests[0]
    assert asked["messages"] == [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Where is it?"},
    ]
    assert asked["model"] == "mesh-mock"
    assert "response_format" not in asked
    assert all(value.startswith("Bearer ") for value in server.authorizations)


async def test_json_is_asked_for(server: Server, model: Model) -> None:
    await ask(model, json=True, max_tokens=50)
    assert server.requests[0]["response_format"] == {"type": "json_object"}
    assert 50 in (
        server.requests[0].get("max_tokens"),
        server.requests[0].get("max_completion_tokens"),
    )


async def test_a_given_base_url_and_key_are_used(server: Server) -> None:
    model = Model(
        settings(
            server,
            llm_port=1,
            llm_api_base=f"http://127.0.0.1:{server.port}/v1",
            llm_api_key=SECRET,
        )
    )
    try:
        await ask(model)
    finally:
        await model.close()
    assert server.authorizations == {f"Bearer {SECRET}"}


async def test_the_exchange_is_recorded_with_usage(model: Model) -> None:
    with recording(hop()) as record:
        await ask(model)
    (seen,) = record.exchanges
    assert seen.target == "llm"
    assert seen.request["model"] == "hosted_vllm/mesh-mock"
    assert seen.request["messages"][1] == {"role": "user", "content": "Hi"}
    assert seen.response["text"] == "Hello."
    assert seen.response["model"] == "mesh-mock-2026"
    assert (seen.response["prompt_tokens"], seen.response["completion_tokens"]) == (7, 3)
    assert seen.error is None


@pytest.mark.parametrize("mode", ["error", "denied", "garbage", "no choices", "cut"])
async def test_every_failure_is_model_unavailable_and_is_recorded(
    server: Server, mode: str
) -> None:
    server.mode = mode
    model = Model(settings(server, llm_api_key=SECRET))
    try:
        with recording(hop()) as record, pytest.raises(ModelUnavailable) as caught:
            await ask(model)
    finally:
        await model.close()
    assert record.exchanges[0].error is not None
    assert len(server.requests) == 1, "the model helper must not retry"
    assert SECRET not in str(caught.value)
    assert SECRET not in json.dumps(record.model_dump(mode="json"))


@pytest.mark.parametrize("answer", ["", "  \n "])
async def test_an_empty_answer_is_a_failure(server: Server, model: Model, answer: str) -> None:
    server.answer = answer
    with pytest.raises(ModelUnavailable, match="empty"):
        await ask(model)


@pytest.mark.parametrize(
    ("name", "priced"), [("openai/gpt-4o-mini", True), ("hosted_vllm/our-own", False)]
)
async def test_an_answer_has_a_cost_if_the_models_price_is_known(
    server: Server, name: str, priced: bool
) -> None:
    model = Model(settings(server, llm_model=name))
    hop = Hop(actor="intent_analyzer", started_at=datetime.now(UTC))
    try:
        with recording(hop):
            await ask(model)
    finally:
        await model.close()
    (asked,) = hop.exchanges
    assert ("cost_usd" in asked.response) is priced
    if priced:
        assert 0 < asked.response["cost_usd"] < 1


async def test_the_model_is_told_which_trace_a_question_belongs_to(
    server: Server, model: Model, spans: tuple[Tracing, Collector]
) -> None:
    tracing, received = spans
    hop = Hop(actor="intent_analyzer", started_at=datetime.now(UTC))
    with tracing.span(hop.actor, "consumer", {"mark": "1"}), recording(hop):
        await ask(model)
    await ask(model)
    await tracing.close()
    (asked,) = [s for s in received.trace(lambda s: len(s) == 2, mark="1") if "ask" in s.name]
    within, without = server.traceparents
    assert (within or "").startswith(f"00-{asked.trace}-{asked.id}-")
    assert without is None
    assert asked.attributes["gen_ai.usage.input_tokens"] == 7
    assert not any("brief" in str(value) for value in asked.attributes.values())


@pytest.mark.parametrize("mode", ["hang", "slow body"])
async def test_a_hanging_model_is_given_up_in_time(server: Server, model: Model, mode: str) -> None:
    await ask(model)  # litellm is loaded now
    server.mode = mode
    patience, model.timeout = model.timeout, 0.3
    with pytest.raises(ModelUnavailable, match=r"within 0\.3 s"):
        await ask(model)  # whose answer never comes
    server.mode = "answer"
    model.timeout = patience
    assert await ask(model) == "Hello."


async def test_nobody_listening_is_a_failure(unused_tcp_port: int) -> None:
    model = Model(Settings(_env_file=None, llm_port=unused_tcp_port, llm_timeout=150))
    try:
        with pytest.raises(ModelUnavailable):
            await ask(model)
    finally:
        await model.close()


async def test_a_cancelled_question_stays_cancelled(server: Server, model: Model) -> None:
    await ask(model)
    server.mode = "hang"
    task = asyncio.create_task(ask(model))
    await until(lambda: len(server.requests) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.mode = "answer"
    assert await ask(model) == "Hello."


async def test_turns_do_not_open_new_http_clients(server: Server, model: Model) -> None:
    for number in range(20):
        await ask(model, f"question {number}", json=number % 2 == 0)
    assert len(server.requests) == 20
    assert len(server.connections) == 1


async def test_questions_at_once_share_the_pool(server: Server, model: Model) -> None:
    for _ in range(4):
        await asyncio.gather(*(ask(model, str(number)) for number in range(8)))
    # How many of the first eight overlap is up to the machine; none needs a ninth connection.
    assert len(server.requests) == 32
    assert len(server.connections) <= 8


async def test_a_closed_model_leaves_nothing_open_and_can_start_again(server: Server) -> None:
    model = Model(settings(server))
    for _ in range(2):
        await model.start()
        assert await ask(model) == "Hello."
        await model.close()
    assert len(server.connections) == 2
    await model.close()


async def test_start_does_not_wait_for_litellm(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module, may_load = importlib.import_module, threading.Event()

    def slowly(name: str, package: str | None = None) -> ModuleType:
        if name == "litellm":
            may_load.wait()
        return import_module(name, package)

    monkeypatch.setattr(importlib, "import_module", slowly)
    model = Model(settings(server))
    await model.start()
    may_load.set()  # only now: had it waited, it would wait for ever
    assert await ask(model) == "Hello."
    await model.close()


@pytest.mark.parametrize(
    ("given", "mock"),
    [
        ({}, True),
        ({"llm_api_key": "k"}, True),
        ({"llm_model": "openai/gpt-x"}, True),
        ({"llm_model": "openai/gpt-x", "llm_api_key": "k"}, False),
        ({"llm_api_base": "http://models.internal/v1"}, False),
    ],
)
def test_when_the_mock_answers(given: dict[str, str], mock: bool) -> None:
    assert uses_mock(Settings(_env_file=None, **given)) is mock  # type: ignore[arg-type]
