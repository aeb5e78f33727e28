"""The conversation's page and its API, on turns that really ran."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from streams.operators.audit import entries
from streams.post import put
from streams.slip import CONVERSATION
from tests.browser import chromium, needs_browser
from tests.streams.inspection.stage import EMAIL
from tests.web.looked_at import PHONE, SIDEWAYS, WIDE, Room, looked_at, read_events
from tests.web.operators import NAME, bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "555-123-4567"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    async with looked_at(nats_url, tmp_path_factory.mktemp("room")) as room:
        yield room


async def test_it_is_for_operators_alone(room: Room) -> None:
    for path in ("", "/s1", "/s1/live"):
        async with room.http.get(f"{room.url}/api/streams/conversation{path}") as answer:
            assert answer.status == 401
    for path in ("", "/s1"):
        url = f"{room.url}/streams/conversation{path}"
        async with room.http.get(url, allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["Location"] == f"/login?next=/streams/conversation{path}"


async def test_the_whole_conversation_as_json_and_as_a_diagram(room: Room) -> None:
    session = await room.stage.play(f"hello {SECRET}", "flaky")
    await room.ended(session, 2)
    status, found = await room.get(f"/api/streams/conversation/{session}")
    assert status == 200
    assert [turn["state"] for turn in found["turns"]] == ["answered", "answered"]
    assert found["complete"]
    assert SECRET not in json.dumps(found)
    assert EMAIL not in json.dumps(found)
    url = f"{room.url}/api/streams/conversation/{session}?format=mermaid"
    async with room.http.get(url, headers=bearer(room.stage.settings)) as answer:
        assert answer.content_type == "text/plain"
        text = await answer.text()
    assert text.startswith("sequenceDiagram")
    assert SECRET not in text


async def test_personal_data_is_shown_to_who_asks_and_that_is_written_down(room: Room) -> None:
    session = await room.stage.play(f"hello {SECRET}")
    await room.ended(session, 1)
    _, found = await room.get(f"/api/streams/conversation/{session}", unmask="1")
    assert SECRET in json.dumps(found)
    audit = await entries(room.stage.client, room.stage.settings, target=f"conversation {session}")
    assert [(entry.operator, entry.action) for entry in audit] == [(NAME, "unmask")]


@pytest.mark.parametrize(
    ("path", "status"), [("/a.b", 404), ("/s1?most=0", 422), ("/s1?most=x", 422)]
)
async def test_nonsense_is_refused_in_words(room: Room, path: str, status: int) -> None:
    answered, told = await room.get(f"/api/streams/conversation{path}")
    assert answered == status
    assert told["error"]["message"]


async def test_the_newest_sessions_with_what_became_of_them(room: Room) -> None:
    done = await room.stage.play("hello")
    held = secrets.token_hex(6)
    room.stage.release.clear()
    await room.stage.say("hold", held)
    _, told = await room.get("/api/streams/conversation")
    room.stage.release.set()
    first, second, *_ = told["sessions"]
    assert (first["session_id"], first["answered"], first["replies"]) == (held, False, 0)
    assert (second["session_id"], second["state"], second["answered"]) == (done, "answered", True)
    await room.stage.replies(held, 1)


async def test_news_come_while_a_turn_is_under_way(room: Room) -> None:
    session = secrets.token_hex(6)
    room.stage.release.clear()
    url = f"{room.url}/api/streams/conversation/{session}/live"
    events: list[tuple[str, Any]] = []
    async with (
        asyncio.timeout(60),
        room.http.get(url, headers=bearer(room.stage.settings)) as answer,
    ):
        assert answer.content_type == "text/event-stream"
        async for event, data in read_events(answer):
            events.append((event, data))
            if len(events) == 1:
                assert data["turns"] == []
                await room.stage.say("hold", session)
            elif event == "conversation":
                (turn,) = data["turns"]
                if turn["steps"][-1]["actor"] == "sentiment_analyzer":
                    room.stage.release.set()
                if turn["journal"] is not None:
                    break
    seen = [data["actor"] for event, data in events if event == "progress"]
    assert seen[:2] == ["conversation", "sentiment_analyzer"]
    states = [data["turns"][0]["state"] for event, data in events[1:] if event == "conversation"]
    assert states[0] == "under way"
    assert states[-1] == "answered"


async def test_turns_that_were_told_are_not_told_again(room: Room) -> None:
    session = await room.stage.play("hello")
    await room.ended(session, 1)
    url = f"{room.url}/api/streams/conversation/{session}/live"
    async with (
        asyncio.timeout(60),
        room.http.get(url, headers=bearer(room.stage.settings)) as answer,
    ):
        told = (data async for event, data in read_events(answer) if event == "conversation")
        first = await anext(told)
        assert first["order"] == [turn["message_id"] for turn in first["turns"]]
        await room.stage.say("again", session, "t2")
        second = await anext(told)
    assert [turn["message_id"] for turn in second["turns"]] == ["t2"]
    assert second["order"] == [*first["order"], "t2"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def visit(room: Room, browser: Browser, session: str, **options: Any) -> Page:
    path = f"/streams/conversation/{session}".removesuffix("/")
    return await room.visit(browser, path, **options)


@pytest.mark.browser
@needs_browser[1]
class TestPage:
    async def test_every_hop_is_an_arrow_and_the_keyboard_reaches_what_it_changed(
        self, room: Room, browser: Browser
    ) -> None:
        session = await room.stage.play("hello", "loop", "doomed")
        await room.ended(session, 3)
        page = await visit(room, browser, session, viewport=WIDE)
        await expect(page.locator(".turn")).to_have_count(3)
        await expect(page.locator("#link")).to_have_text("Live")
        first = page.locator(".turn").first.locator(".hop")
        await expect(first).to_have_count(4)
        await expect(first.locator("svg.strip")).to_have_count(4)
        await first.first.focus()
        await page.keyboard.press("End")
        await expect(page.locator(".hop").last).to_be_focused()
        await page.keyboard.press("Home")
        await page.keyboard.press("ArrowDown")
        await expect(first.nth(1)).to_be_focused()
        await expect(page.locator('.hop[tabindex="0"]')).to_have_count(1)
        await expect(page.locator("#aside h2")).to_have_text("conversation → sentiment analyzer")
        await expect(page.locator("#aside .change code").first).to_have_text("sentiment")
        refused = page.locator('.hop[data-look="bad"]').filter(has_text="refused the reply")
        await expect(refused).to_have_count(1)
        letter = page.locator(".hop").filter(has_text="dead letter")
        await letter.click()
        await expect(page.locator("#aside")).to_contain_text("the last resort is gone too")
        await expect(page.locator("#aside")).to_contain_text("mend and redrive it")

    async def test_pointing_at_a_hop_shows_what_it_changed_and_leaving_shows_the_chosen_one(
        self, room: Room, browser: Browser
    ) -> None:
        session = await room.stage.play("hello")
        await room.ended(session, 1)
        page = await visit(room, browser, session, viewport=WIDE)
        hops = page.locator(".hop")
        await hops.nth(0).click()
        await hops.nth(1).hover()
        await expect(page.locator("#aside h2")).to_have_text("conversation → sentiment analyzer")
        await page.locator("h1").hover()
        await expect(page.locator("#aside h2")).to_have_text("customer → conversation")

    async def test_it_follows_a_turn_while_it_runs(self, room: Room, browser: Browser) -> None:
        session = await room.stage.play("hello")
        page = await visit(room, browser, session, viewport=WIDE)
        await expect(page.locator(".turn")).to_have_count(1)
        room.stage.release.clear()
        await room.stage.say("hold", session)
        await expect(page.locator(".turn")).to_have_count(2)
        await expect(page.locator(".strip .working")).to_have_count(1)
        await expect(page.locator(".turn").last.locator(".tag")).to_have_text("under way")
        room.stage.release.set()
        await expect(page.locator(".turn").last.locator(".tag")).to_have_text("answered")
        await expect(page.locator(".strip .working")).to_have_count(0)

    async def test_on_a_phone_it_is_a_list_and_nothing_scrolls_sideways(
        self, room: Room, browser: Browser
    ) -> None:
        session = await room.stage.play("hello", "flaky " + "W" * 200)
        await room.ended(session, 2)
        page = await visit(room, browser, session, viewport=PHONE, has_touch=True, is_mobile=True)
        hop = page.locator(".hop").nth(1)
        await expect(hop.locator(".strip")).to_be_hidden()
        await expect(hop.locator(".who")).to_contain_text("conversation → sentiment analyzer")
        await hop.tap()
        await expect(page.locator("li > #aside .change code").first).to_have_text("sentiment")
        assert await page.evaluate(SIDEWAYS) == 0
        await hop.tap()
        await expect(page.locator("#aside")).to_be_hidden()

    async def test_what_people_wrote_is_shown_as_the_text_it_is_and_masked(
        self, room: Room, browser: Browser
    ) -> None:
        session = await room.stage.play(f"<img src=x onerror=alert(1)> {SECRET}")
        await room.ended(session, 1)
        page = await visit(room, browser, session, viewport=WIDE)
        await expect(page.locator(".said")).to_contain_text("<img src=x onerror=alert(1)> •••67")
        assert await page.locator(".turn img").count() == 0
        await page.get_by_label("Personal data").check()
        await expect(page.locator(".said")).to_contain_text(SECRET)
        assert "unmask=1" in str(await page.locator("#as-json").get_attribute("href"))

    async def test_a_session_is_found_by_its_id_or_among_the_newest(
        self, room: Room, browser: Browser
    ) -> None:
        session = await room.stage.play("hello")
        page = await visit(room, browser, "", viewport=WIDE)
        await page.get_by_role("link", name=session).click()
        await expect(page.locator(".turn")).to_have_count(1)
        await page.get_by_label("Session").fill("nobody")
        await page.keyboard.press("Enter")
        await expect(page.locator("#lead")).to_have_text(
            "There is nothing of this session on any topic."
        )

    async def test_records_that_hold_no_message_are_listed_with_the_reason(
        self, room: Room, browser: Browser
    ) -> None:
        session = secrets.token_hex(6)
        settings = room.stage.settings
        await put(
            room.stage.client,
            settings,
            CONVERSATION,
            key=session.encode(),
            value=b"rubbish",
            message_id=session,
        )
        page = await visit(room, browser, session, viewport=WIDE)
        await expect(page.locator("#unread li")).to_have_count(2)
        await expect(page.locator("#unread")).to_contain_text("not a version 1 message")
        await expect(page.locator("#lead")).to_contain_text("no turn of this session")

    async def test_what_was_left_out_is_said_and_can_be_looked_through(
        self, room: Room, browser: Browser
    ) -> None:
        session = await room.stage.play("hello")
        await room.stage.play("else")
        page = await visit(room, browser, f"{session}?most=1", viewport=WIDE)
        await expect(page.locator("#coverage")).to_contain_text("only the newest records")
        await page.get_by_role("link", name="Look through more").click()
        await page.wait_for_url("**most=10")
