import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.gateway import Gateway
from streams.observability.tracing import TRACEPARENT, Tracing
from streams.settings import Settings
from streams.slip import CONVERSATION
from tests.collector import Collector, Span, collector
from tests.faust_apps import records
from tests.web.conftest import Clients, Web
from tests.web.responder import Responder
from web import create_web

CLAIMED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traced:
    """The room with spans that come to a collector."""

    def __init__(self, client: Web, tracing: Tracing, received: Collector) -> None:
        self.web = client
        self._tracing = tracing
        self._received = received

    async def span(self, turn: str) -> Span:
        """Return the one span that the room has made for a turn."""
        await self._tracing.close()
        (span,) = self._received.spans(mesh_turn=turn)
        return span


@pytest.fixture
async def traced(
    settings: Settings, gateway: Gateway, aiohttp_client: Clients
) -> AsyncIterator[Traced]:
    with collector() as received:
        tracing = await Tracing.open(
            settings.model_copy(update={"otel_endpoint": received.url}), "web"
        )
        assert tracing is not None
        client: Any = await aiohttp_client(create_web(settings, gateway, tracing))
        yield Traced(Web(client), tracing, received)
        await tracing.close()


async def carried(settings: Settings) -> str | None:
    """Return what the one turn on the broker has in its header."""
    (record,) = await records(settings.broker_url, settings.prefix, CONVERSATION)
    value = dict(record.headers).get(TRACEPARENT)
    return None if value is None else value.decode()


async def test_a_request_is_the_root_of_its_turns_trace(
    traced: Traced, settings: Settings, responder: Responder
) -> None:
    _, answer = await traced.web.chat("hello")
    span = await traced.span(answer["message_id"])
    assert (span.name, span.parent, span.service) == ("POST /api/chat", "", "mesh-web")
    assert (await carried(settings) or "").startswith(f"00-{span.trace}-{span.id}-")
    assert "hello" not in str(span.attributes)


async def test_a_websockets_message_is_a_root_too(
    traced: Traced, settings: Settings, responder: Responder
) -> None:
    _, token = await traced.web.session()
    socket = await traced.web.socket(token)
    turn = secrets.token_hex(4)
    await socket.say("hello", turn)
    await socket.receive("reply")
    span = await traced.span(turn)
    assert (span.name, span.parent) == ("WebSocket message", "")
    assert span.attributes["mesh.channel"] == "websocket"
    assert (await carried(settings) or "").startswith(f"00-{span.trace}-{span.id}-")


async def test_a_browser_cannot_choose_the_trace(traced: Traced, responder: Responder) -> None:
    body = {"message": "hello", "email": "ann@example.com"}
    headers = {TRACEPARENT: CLAIMED}
    async with traced.web.http.post("/api/chat", json=body, headers=headers) as answer:
        turn = (await answer.json())["message_id"]
    assert (await traced.span(turn)).trace not in CLAIMED


async def test_without_tracing_a_turn_has_no_such_header(
    client: Web, settings: Settings, responder: Responder
) -> None:
    await client.chat("hello")
    assert await carried(settings) is None
