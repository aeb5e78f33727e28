"""Fixtures of the web room's tests: the room on a real port, with a real broker behind it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient
from playwright.async_api import Browser

from mocks.servers import NatsServer
from streams.gateway import Gateway
from streams.settings import Settings
from tests.browser import chromium
from tests.waiting import until
from tests.web.responder import Responder
from web import create_web

Clients = Callable[..., Awaitable[Any]]

EMAIL = "yusuf.rossi@example.com"


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path) -> Settings:
    """Settings for one test, on the shared broker."""
    return Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path, turn_timeout=60)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A connected gateway."""
    gateway = Gateway(settings)
    await gateway.start()
    await until(lambda: gateway.declared)
    yield gateway
    await gateway.close()


@pytest.fixture
async def responder(settings: Settings, gateway: Gateway) -> AsyncIterator[Responder]:
    """Something that answers turns."""
    async with Responder(settings) as responder:
        yield responder


@pytest.fixture
async def client(settings: Settings, gateway: Gateway, aiohttp_client: Clients) -> "Web":
    """The room on a port of its own."""
    return Web(await aiohttp_client(create_web(settings, gateway)))


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser of one test's own; modules that share one have theirs."""
    async with chromium() as browser:
        yield browser


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker that this test may kill."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


class Web:
    """A client of the room, in the words of its API."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.http = client

    async def session(self, email: str = EMAIL) -> tuple[str, str]:
        """Open a session; return its id and token."""
        async with self.http.post("/api/session", json={"email": email}) as answer:
            told = await answer.json()
            return told["session_id"], told["token"]

    async def chat(self, text: str, **other: Any) -> tuple[int, dict[str, Any]]:
        """Say something over HTTP; return status and body."""
        body = {"message": text, "email": EMAIL} | other
        async with self.http.post("/api/chat", json=body) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of a GET."""
        async with self.http.get(path, **options) as answer:
            return answer.status, await answer.json()

    async def socket(self, token: str, after: int = 0) -> "Socket":
        """Return a socket that has said hello, and its welcome."""
        socket = Socket(await self.http.ws_connect("/ws"))
        await socket.send(type="hello", token=token, after=after)
        socket.welcome = await socket.receive("welcome")
        return socket


class Socket:
    """One WebSocket of a page."""

    def __init__(self, raw: ClientWebSocketResponse) -> None:
        self.raw = raw
        self.welcome: dict[str, Any] = {}
        self.replies: list[dict[str, Any]] = []  # all that came, the welcome's included

    async def send(self, **frame: Any) -> None:
        await self.raw.send_json(frame)

    async def say(self, text: str, message_id: str) -> None:
        await self.send(type="message", message_id=message_id, text=text)

    async def next(self, seconds: float = 30) -> dict[str, Any]:
        frame: dict[str, Any] = await self.raw.receive_json(timeout=seconds)
        if frame["type"] == "welcome":
            self.replies += frame["replies"]
        elif frame["type"] == "reply":
            self.replies.append(frame)
        return frame

    async def receive(self, *kinds: str) -> dict[str, Any]:
        """Return the next frame of one of these kinds; others before it are dropped."""
        while True:
            frame = await self.next()
            if frame["type"] in kinds:
                return frame

    async def until_reply(self) -> list[dict[str, Any]]:
        """Return all that comes, up to the next reply."""
        frames = [await self.next()]
        while frames[-1]["type"] != "reply":
            frames.append(await self.next())
        return frames

    async def close(self) -> None:
        await self.raw.close()
