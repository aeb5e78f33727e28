"""The mock shop over real HTTP, with weather that a test can make."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import web

from agents.shop import Shop
from mocks.outside import create_apps
from streams.observability.tracing import Tracing
from streams.settings import Settings
from tests.collector import Collector, collector

NOW = datetime(2025, 6, 18, 12, 0, tzinfo=UTC)

Trouble = Literal["503", "503 after", "drop", "drop after", "hang", "garbage", "wrong shape", "418"]


@dataclass
class Call:
    """One request as the shop saw it."""

    service: str
    method: str
    path: str
    key: str | None
    traceparent: str | None
    peer: Any


@dataclass
class ShopFront:
    """The shop's services as a test sees them: what was asked, and what goes wrong next."""

    settings: Settings
    calls: list[Call] = field(default_factory=list)
    _troubles: list[tuple[str, str, Trouble]] = field(default_factory=list)
    _always: dict[str, Trouble] = field(default_factory=dict)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self, service: str, *troubles: Trouble, key: str = "") -> None:
        """Let the next requests to a service go wrong, those with an idempotency key if given."""
        self._troubles += [(service, key, trouble) for trouble in troubles]

    def always(self, service: str, trouble: Trouble | None) -> None:
        """Let every request to a service go wrong from now on, or none."""
        if trouble is None:
            self._always.pop(service, None)
        else:
            self._always[service] = trouble

    def asked(self, service: str | None = None, method: str | None = None) -> list[str]:
        """Return the paths that were asked for."""
        return [
            call.path
            for call in self.calls
            if service in (None, call.service) and method in (None, call.method)
        ]

    def release(self) -> None:
        """Let go of the requests that hang, so that the servers can stop."""
        self._released.set()

    def trouble(self, call: Call) -> Trouble | None:
        for one in self._troubles:
            service, key, trouble = one
            if service == call.service and key in ("", call.key):
                self._troubles.remove(one)
                return trouble
        return self._always.get(call.service)

    async def pass_on(
        self,
        service: str,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        assert request.transport is not None
        call = Call(
            service,
            request.method,
            request.path,
            request.headers.get("Idempotency-Key"),
            request.headers.get("traceparent"),
            request.transport.get_extra_info("peername"),
        )
        self.calls.append(call)
        trouble = self.trouble(call)
        if trouble is None:
            return await handler(request)
        if trouble.endswith(" after"):
            await handler(request)
        if trouble.startswith("drop"):
            request.transport.close()
        if trouble == "hang":
            await self._released.wait()
        if trouble == "garbage":
            return web.Response(text="<html>", content_type="text/html")
        if trouble == "wrong shape":
            return web.json_response({"orders": [{"no": "id"}], "customers": 7})
        if trouble == "418":
            return web.Response(status=418, text="teapot")
        body = {"error": {"code": "unavailable", "message": "away"}}
        return web.json_response(body, status=503)


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncIterator[ShopFront]:
    apps = create_apps(
        data_dir=folder,
        seed=7,
        world_folder=None,
        latency_ms=0,
        failure_rate=0,
        llm_latency_ms=0,
        llm_failure_rate=0,
        llm_api_key=None,
        clock=lambda: NOW,
    )
    front = ShopFront(Settings())
    urls: dict[str, Any] = {}
    runners: list[web.AppRunner] = []
    for service in ("customers", "orders", "tracking"):

        @web.middleware
        async def outer(
            request: web.Request,
            handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
            service: str = service,
        ) -> web.StreamResponse:
            return await front.pass_on(service, request, handler)

        apps[service].middlewares.insert(0, outer)
        runner = web.AppRunner(apps[service])
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        urls[f"{service}_url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    front.settings = Settings(shop_timeout=60, **urls)
    try:
        yield front
    finally:
        front.release()
        for runner in runners:
            await runner.cleanup()


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[ShopFront]:
    """The shop's services on free ports, in a world of their own."""
    async with open_shop(tmp_path / "shop") as opened:
        yield opened


@pytest.fixture
async def shop(front: ShopFront, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """The client under test; it does not wait between tries."""
    monkeypatch.setattr("agents.shop.RETRY_DELAY", 0.0)
    client = Shop(front.settings)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
async def spans() -> AsyncIterator[tuple[Tracing, Collector]]:
    """A way out for spans, and where they come to once it is closed."""
    with collector() as received:
        opened = await Tracing.open(Settings(otel_endpoint=received.url), "worker")
        assert opened is not None
        yield opened, received
        await opened.close()
