"""The mesh's page and its API, on a mesh that really runs."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser import chromium, needs_browser
from tests.web.looked_at import PHONE, SIDEWAYS, WIDE, Room, looked_at, read_events
from tests.web.operators import bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    async with looked_at(nats_url, tmp_path_factory.mktemp("room")) as room:
        session = await room.stage.play("hello", "flaky", "doomed", "loop")
        await room.ended(session, 4)
        yield room


async def test_it_is_for_operators_alone(room: Room) -> None:
    for path in ("/api/streams/mesh", "/api/streams/mesh/live"):
        async with room.http.get(f"{room.url}{path}") as answer:
            assert answer.status == 401
    async with room.http.get(f"{room.url}/streams/mesh", allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/login?next=/streams/mesh"


async def test_the_graph_holds_figures_and_nothing_that_anybody_wrote(room: Room) -> None:
    status, view = await room.get("/api/streams/mesh")
    assert status == 200
    assert view["turns"] >= 4
    ways = {(edge["source"], edge["target"]) for edge in view["edges"]}
    assert ("conversation", "sentiment_analyzer") in ways
    assert set(view["nodes"][0]) == {
        "name", "topic", "last_minute", "lag", "behind", "hops", "worked", "waited", "retries",
        "failures",
    }  # fmt: skip


async def test_a_session_is_followed_hop_by_hop(room: Room) -> None:
    session = secrets.token_hex(6)
    url = f"{room.url}/api/streams/mesh/live?session={session}"
    room.stage.release.clear()
    told: list[tuple[str, Any]] = []
    async with (
        asyncio.timeout(60),
        room.http.get(url, headers=bearer(room.stage.settings)) as answer,
    ):
        async for event, data in read_events(answer):
            told.append((event, data))
            if event == "session":
                await room.stage.say("hold", session)
            elif data.get("actor") == "sentiment_analyzer":
                room.stage.release.set()
            elif event == "reply":
                break
    assert told[0] == ("session", {"session_id": session})
    # The reply may overtake the news of the last hop.
    assert [data["actor"] for _, data in told[1:3]] == ["conversation", "sentiment_analyzer"]
    assert told[-1][1]["state"] == "answered"


async def test_who_writes_next_is_followed_from_the_first_hop_if_nobody_is_named(
    room: Room,
) -> None:
    url = f"{room.url}/api/streams/mesh/live"
    room.stage.release.clear()
    told: list[tuple[str, Any]] = []
    async with (
        asyncio.timeout(60),
        room.http.get(url, headers=bearer(room.stage.settings)) as answer,
    ):
        # It listens a moment after the answer has begun: whoever writes until then is missed.
        writing = asyncio.ensure_future(_write(room))
        async for event, data in read_events(answer):
            told.append((event, data))
            if data.get("actor") == "sentiment_analyzer":
                break
        writing.cancel()
    room.stage.release.set()
    assert told[0][0] == "session"
    assert [data["actor"] for _, data in told[1:]] == ["conversation", "sentiment_analyzer"]


async def _write(room: Room) -> None:
    while True:
        await room.stage.say("hold")
        await asyncio.sleep(0.05)


async def test_what_is_no_session_is_refused(room: Room) -> None:
    status, told = await room.get("/api/streams/mesh/live", session="a b")
    assert status == 404
    assert told["error"]["message"] == "This is not the id of a session."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.mark.browser
@needs_browser[1]
class TestPage:
    async def test_actors_and_ways_are_drawn_and_tell_more_when_chosen(
        self, room: Room, browser: Browser
    ) -> None:
        page = await room.visit(browser, "/streams/mesh", viewport=WIDE)
        analyzer = page.locator('.node[data-name="sentiment_analyzer"]')
        await expect(analyzer.locator(".rate")).to_contain_text("/min")
        await expect(page.locator('.node[data-name="dead_letters"]')).to_be_visible()
        await expect(page.locator('.edge[data-kind="retry"]')).to_have_count(1)
        await analyzer.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#aside h2")).to_have_text("sentiment analyzer")
        await expect(page.locator("#aside")).to_contain_text("1 failed, 2 were tried again")
        way = page.get_by_role("button", name="conversation to sentiment analyzer")
        await way.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#aside h2")).to_have_text("conversation → sentiment analyzer")

    async def test_a_new_look_changes_figures_and_redraws_nothing(
        self, room: Room, browser: Browser
    ) -> None:
        page = await room.visit(browser, "/streams/mesh", viewport=WIDE)
        rate = page.locator('.node[data-name="conversation"] .rate')
        await expect(rate).to_contain_text("/min")
        before = await rate.text_content()
        await page.evaluate("window.drawn = document.querySelector('.graph')")
        await room.stage.play("hello", "hello", "hello")
        await expect(rate).not_to_have_text(before or "")
        assert await page.evaluate("window.drawn === document.querySelector('.graph')")

    async def test_a_conversation_is_followed_as_it_hops(
        self, room: Room, browser: Browser
    ) -> None:
        session = secrets.token_hex(6)
        page = await room.visit(
            browser, f"/streams/mesh?session={session}", viewport=WIDE, reduced_motion="reduce"
        )
        await expect(page.locator("#followed")).to_contain_text(f"Following {session}")
        room.stage.release.clear()
        await room.stage.say("hold", session)
        await expect(page.locator(".node.here")).to_have_attribute(
            "data-name", "sentiment_analyzer"
        )
        room.stage.release.set()
        await expect(page.locator("#hopped li").last).to_contain_text("reply")
        await expect(page.locator("#followed")).to_contain_text("answered")
        await expect(page.locator(".node.here")).to_have_count(0)
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator("#followed")).to_have_text("Stopped.")

    async def test_on_a_phone_the_way_runs_downwards_and_nothing_scrolls_sideways(
        self, room: Room, browser: Browser
    ) -> None:
        page = await room.visit(
            browser, "/streams/mesh", viewport=PHONE, has_touch=True, is_mobile=True
        )
        await expect(page.locator(".graph.tall .node").first).to_be_visible()
        assert await page.evaluate(SIDEWAYS) == 0
        boxes = [
            await page.locator(f'.node[data-name="{name}"]').bounding_box()
            for name in ("customer", "conversation", "response_aggregator")
        ]
        tops = [box["y"] for box in boxes if box is not None]
        assert tops == sorted(tops)
