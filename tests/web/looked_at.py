"""The operators' pages of a small mesh that does what it is told."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page

from streams.topics import JOURNAL
from tests.faust_apps import records
from tests.streams.inspection.stage import Stage
from tests.streams.small_mesh import settings_apart
from tests.waiting import until
from tests.web.operators import bearer, signed_in
from tests.web.served import served
from web import create_web

WIDE = {"width": 1500, "height": 900}
PHONE = {"width": 360, "height": 740}

#: How far a page scrolls sideways.
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Room:
    """The pages, and the mesh behind them."""

    stage: Stage
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        """Return status and JSON of what an operator asks for."""
        headers = bearer(self.stage.settings)
        async with self.http.get(f"{self.url}{path}", params=query, headers=headers) as answer:
            return answer.status, await answer.json()

    async def visit(self, browser: Browser, path: str, **options: Any) -> Page:
        """Return a tab on a page, come to through the login."""
        return await signed_in(browser, f"{self.url}{path}", self.stage.settings, **options)

    async def ended(self, session: str, turns: int) -> None:
        """Wait until the journal has the session's turns: it is written after the replies."""
        settings = self.stage.settings

        async def there() -> bool:
            found = await records(settings.broker_url, settings.prefix, JOURNAL)
            return sum(record.key == session.encode() for record in found) >= turns

        await until(there, f"the journal having {turns} turns")


@asynccontextmanager
async def looked_at(nats_url: str, folder: Path) -> AsyncIterator[Room]:
    """Run the mesh and its pages."""
    settings = settings_apart(nats_url, folder)
    async with (
        Stage.set_up(settings) as stage,
        aiohttp.ClientSession() as http,
        served(create_web(settings, stage.gateway)) as url,
    ):
        yield Room(stage, url, http)


async def read_events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Yield the server-sent events of an answer, with their values."""
    event = ""
    async for raw in answer.content:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)
