"""A shop on a file of its own for each test, with a clock that stands still."""

import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from mocks.store import Store
from mocks.world import World, generate

NOW = datetime(2026, 3, 11, 15, 30, tzinfo=UTC)  # a Wednesday

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def clock() -> Callable[[], datetime]:
    return lambda: NOW


@pytest.fixture(scope="session")
def world() -> World:
    """The world that the shop's file was filled with; tests only look at it."""
    return generate(7, NOW)


@pytest.fixture(scope="session")
def filled(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world") / "shop.sqlite3"
    store = Store(path)
    store.fill(world)
    store.close()
    return path


@pytest.fixture
def shop(filled: Path, tmp_path: Path) -> Path:
    """A shop's file that this test may change."""
    return Path(shutil.copy(filled, tmp_path / "shop.sqlite3"))


@pytest.fixture
def error() -> Callable[[ClientResponse], Awaitable[tuple[int, str, str]]]:
    """Reads an error of the contract: status, code, message."""

    async def read(response: ClientResponse) -> tuple[int, str, str]:
        body: dict[str, Any] = await response.json()
        assert set(body) == {"error"}
        assert set(body["error"]) == {"code", "message"}
        return response.status, body["error"]["code"], body["error"]["message"]

    return read
