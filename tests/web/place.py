"""A mesh with its pages, shared by a module's tests: it can be broken and mended."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from streams.gateway import Gateway
from streams.message import Message
from streams.operators.audit import Entry, entries
from streams.operators.letters import Wanted, find
from streams.settings import Settings
from tests.streams.operators.letters import bury, turn
from tests.streams.small_mesh import TO_THE_BREAKABLE, BreakableMesh, connected, settings_apart
from tests.waiting import until
from tests.web.operators import bearer
from tests.web.served import served
from web import create_web

EMAIL = "ann@example.com"


@dataclass
class Place:
    """A mesh with its pages, and a program that may operate."""

    settings: Settings
    small: BreakableMesh
    gateway: Gateway
    url: str
    http: ClientSession

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        """Return status and JSON of a request below `/api/streams`."""
        sent = body if method == "POST" else None
        url = f"{self.url}/api/streams{path}"
        async with self.http.request(method, url, json=sent) as answer:
            return answer.status, await answer.json()

    async def bury(self, message: Message | bytes, reason: str = "it broke") -> int:
        value = message.encode() if isinstance(message, Message) else message
        return await bury(self.gateway.client, self.settings, value, reason)

    async def fail(self, session_id: str, text: str = "hello") -> int:
        """Send a turn that the broken mesh buries; return its letter."""
        self.small.broken = True
        message = turn(secrets.token_hex(4), text, slip=TO_THE_BREAKABLE)
        await self.gateway.send(message.model_copy(update={"session_id": session_id}))

        async def letters() -> list[int]:
            page = await find(self.gateway.client, self.settings, Wanted())
            return [letter.offset for letter in page.letters if letter.session_id == session_id]

        return int((await until(letters, "its letter"))[0])

    async def audit(self, target: str) -> list[Entry]:
        return await entries(self.gateway.client, self.settings, target=target)


@asynccontextmanager
async def running_place(nats_url: str, data_dir: Path) -> AsyncIterator[Place]:
    """Run the mesh and its pages."""
    settings = settings_apart(nats_url, data_dir)
    small = BreakableMesh(settings)
    async with (
        small.running(),
        connected(settings) as gateway,
        served(create_web(settings, gateway)) as url,
        ClientSession(headers=bearer(settings)) as http,
    ):
        yield Place(settings, small, gateway, url, http)
