import re
from typing import Any

from playwright.async_api import Browser, expect

from mocks.servers import free_port
from streams.bridge.layout import subject
from streams.gateway import Gateway
from streams.settings import Settings
from tests.browser import needs_browser
from tests.web.conftest import Clients, Web
from tests.web.operators import bearer, signed_in
from web import create_web


async def put(gateway: Gateway, topic: str, partition: int, value: bytes = b"{}") -> None:
    place = subject(gateway.settings.prefix, topic, partition)
    await gateway.client.jetstream().publish(place, value)


async def test_topics_are_for_operators(client: Web) -> None:
    status, told = await client.get("/api/streams")
    assert (status, told["error"]["code"]) == (401, "unauthorized")
    async with client.http.get("/streams", allow_redirects=False) as answer:
        assert answer.status == 302


async def test_the_api_tells_every_topic(client: Web, gateway: Gateway, settings: Settings) -> None:
    await put(gateway, "mesh.conversation", 2)
    status, told = await client.get("/api/streams", headers=bearer(settings))
    assert status == 200
    topics: dict[str, Any] = {topic["name"]: topic for topic in told["topics"]}
    assert topics["mesh.journal"]["kind"] == "journal"
    assert [p["messages"] for p in topics["mesh.conversation"]["partitions"]] == [0, 0, 1, 0]


async def test_without_a_broker_the_api_says_so(
    settings: Settings, aiohttp_client: Clients
) -> None:
    client = Web(await aiohttp_client(create_web(settings, Gateway(settings))))
    status, told = await client.get("/api/streams", headers=bearer(settings))
    assert (status, told["error"]["code"]) == (503, "unavailable")


class TestInABrowser:
    pytestmark = needs_browser

    async def test_the_page_looks_again_by_itself_and_opens_a_topic(
        self, browser: Browser, settings: Settings, gateway: Gateway, aiohttp_server: Clients
    ) -> None:
        server = await aiohttp_server(create_web(settings, gateway), port=free_port())
        page = await signed_in(browser, str(server.make_url("/streams")), settings)
        row = page.get_by_role("row", name=re.compile(r"^mesh\.conversation "))
        await expect(row.get_by_role("cell").nth(1)).to_have_text("0")
        await put(gateway, "mesh.conversation", 2)
        await expect(row.get_by_role("cell").nth(1)).to_have_text("1")
        toggle = page.get_by_role("button", name="Partitions of mesh.conversation")
        await toggle.focus()
        await page.keyboard.press("Enter")
        await expect(toggle).to_have_attribute("aria-expanded", "true")
        inner = page.locator(".inner tbody tr")
        await expect(inner).to_have_count(4)
        await expect(inner.nth(2).get_by_role("cell").nth(1)).to_have_text("1")
        # What is open and has the focus keeps both when the page looks again.
        await put(gateway, "mesh.conversation", 2)
        await expect(inner.nth(2).get_by_role("cell").nth(1)).to_have_text("2")
        await expect(toggle).to_be_focused()
        await page.get_by_role("button", name="Records").click()
        await page.get_by_role("button", name="Records").click()
        await expect(page.locator("tr.topic").last.get_by_role("link")).to_have_text(
            "mesh.conversation"
        )
        link = page.get_by_role("link", name="mesh.conversation")
        await expect(link).to_have_attribute("href", "/streams/mesh.conversation")
