import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from streams.errors import GatewayUnavailable
from web import events
from web.events import Events


class Stand:
    """A page of events that does what the test says, and remembers how it ended."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()
        self.coming: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.app = web.Application()
        events.setup(self.app)
        self.app.router.add_get("/", self.page)

    async def page(self, request: web.Request) -> web.StreamResponse:
        try:
            async with events.events(request) as page:
                self.opened.set()
                await self.talk(page)
            return page.response
        finally:
            self.ended.set()

    async def talk(self, page: Events) -> None:
        await page.send("first", {"text": "a\nb"})
        await page.send("second", await page.wait(self.coming))


@pytest.fixture
async def stand() -> Stand:
    return Stand()


async def client(stand: Stand) -> TestClient[Any, Any]:
    client = TestClient(TestServer(stand.app))
    await client.start_server()
    return client


async def test_each_event_has_its_name_and_json_on_one_line(stand: Stand) -> None:
    http = await client(stand)
    stand.coming.set_result('{"told": 1}')
    async with http.get("/") as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        text = await answer.text()
    assert text == ('event: first\ndata: {"text": "a\\nb"}\n\nevent: second\ndata: {"told": 1}\n\n')
    await http.close()


async def test_a_page_that_left_is_noticed_without_news(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.02)
    http = await client(stand)
    answer = await http.get("/")
    await stand.opened.wait()
    answer.close()
    await asyncio.wait_for(stand.ended.wait(), 30)
    assert stand.coming.cancelled()
    await http.close()


async def test_what_is_under_way_ends_when_the_process_stops(stand: Stand) -> None:
    http = await client(stand)
    async with http.get("/"):
        await stand.opened.wait()
        await asyncio.wait_for(http.server.close(), 30)
        assert stand.ended.is_set()
    await http.close()


async def test_a_broker_that_goes_away_ends_it_quietly(stand: Stand) -> None:
    http = await client(stand)
    stand.coming.set_exception(GatewayUnavailable("away"))
    async with http.get("/") as answer:
        assert answer.status == 200
        assert (await answer.text()).startswith("event: first")
    await http.close()
