"""The pages of replays in a real browser, in front of runs as a player writes them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from streams.message import Message
from streams.payload import Payload
from streams.replay.request import ReplayRequest
from tables.run import About, Stopped
from tests.browser import chromium, needs_browser
from tests.streams.replay.whole_turn import AT
from tests.web.looked_at import PHONE, SIDEWAYS, WIDE
from tests.web.operators import NAME, signed_in
from tests.web.replays import NAMES, Room, result, running_room
from tests.web.served import served
from web import create_web

pytestmark = [pytest.mark.asyncio(loop_scope="module"), *needs_browser]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    async with running_room(nats_url, tmp_path_factory.mktemp("replays")) as room:
        yield room


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def test_from_the_totals_to_the_hop_that_leads(room: Room, browser: Browser) -> None:
    run = room.run(*NAMES).name
    page = await room.visit(browser, "/replay", viewport=WIDE)
    await page.locator(f'[data-run="{run}"] a').click()
    await expect(page.locator(".turn-row")).to_have_count(4)
    await expect(page.locator("#bad-title")).to_have_text("1 line held no turn")

    await page.get_by_role("button", name="2 different").click()
    await expect(page.locator(".turn-row")).to_have_count(2)
    await page.get_by_role("button", name="intent analyzer").click()
    await expect(page.locator(".turn-row")).to_have_count(1)
    await page.get_by_role("link", name="turn 1").click()

    first = page.locator(".pairs > .first")
    await expect(first).to_contain_text("Here it begins to differ")
    await expect(first.locator(".pair")).to_contain_text("intent analyzer")
    await expect(first.locator(".change code")).to_have_text("intent.name")
    await page.get_by_role("link", name="All turns of this replay").click()
    await expect(page.locator(".turn-row")).to_have_count(1)
    await page.context.close()


async def test_the_replies_are_shown_word_by_word(room: Room, browser: Browser) -> None:
    run = room.run(*NAMES).name
    page = await room.visit(browser, f"/replay/{run}/2", viewport=WIDE)

    await expect(page.locator("#replies ins").first).to_contain_text("Please wait")
    gone = await page.locator("#replies del").all_inner_texts()
    assert any("refunded" in text for text in gone)
    await page.context.close()


async def test_attempts_lead_to_each_other(room: Room, browser: Browser) -> None:
    with room.runs.create(About(source="x")) as run:
        run.add([result(0, "same"), result(0, "intent", attempt=2)])
        run.end()
    page = await room.visit(browser, f"/replay/{run.name}", viewport=WIDE)
    await page.get_by_role("link", name="turn 0").click()
    await expect(page.locator("#spread")).to_contain_text("50 % took the most frequent way")
    await expect(page.locator("h1")).to_contain_text("different")
    await page.get_by_role("link", name="attempt 1").click()
    await expect(page.locator("h1")).to_contain_text("same")
    await page.context.close()


async def test_what_if_with_the_keyboard(room: Room, browser: Browser) -> None:
    run = room.run(*NAMES).name
    page = await room.visit(browser, f"/replay/{run}/1", viewport=WIDE)
    hop = page.locator(".pair", has_text="decision router")
    await hop.press("Enter")
    await page.get_by_role("button", name="What if decision router said").press("Enter")
    editor = page.locator("#slots")
    await expect(editor).to_be_focused()
    await editor.fill("{")
    await page.get_by_role("button", name="See what follows").press("Enter")
    await expect(page.locator("#slots-problem")).to_contain_text("This is not JSON")
    await editor.fill('{"plan": {"ask": "Which order?"}}')
    await page.get_by_role("button", name="See what follows").press("Enter")
    # Who asks what would follow is led to that one turn.
    await expect(page.get_by_text("This was edited")).to_be_visible()
    asked = room.asked[-1].what_if
    assert asked is not None
    assert asked.slots == {"plan": {"ask": "Which order?"}}
    assert asked.steps is not None
    assert asked.steps[0] == "mesh.execution_coordinator"

    # What is masked would be sent back as it is shown: it is edited by who sees it.
    await page.goto(f"{room.url}/replay/{run}/1")
    await page.locator(".pair", has_text="context retriever").press("Enter")
    button = page.get_by_role("button", name="What if context retriever said")
    await expect(button).to_be_disabled()
    await page.get_by_label("Personal data").check()
    await expect(button).to_be_enabled()
    await page.context.close()


async def test_one_is_started_compared_and_deleted_from_the_list(
    room: Room, browser: Browser
) -> None:
    first, second = room.run("same").name, room.run("intent").name
    page = await room.visit(browser, "/replay", viewport=WIDE)
    await page.locator("#starting summary").click()
    await page.get_by_role("textbox", name="Conversation").fill("no such id!")
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.locator("#notice")).to_contain_text("session: String should match pattern")
    await expect(page.get_by_role("textbox", name="Conversation")).to_be_focused()
    await page.get_by_role("textbox", name="Conversation").fill("s5")
    await page.get_by_label("but some actors ask for real").check()
    await page.get_by_label("intent analyzer").check()
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.locator("#verdicts")).to_contain_text("1 different")
    asked = room.asked[-1]
    assert (asked.session, asked.live) == ("s5", ["intent_analyzer"])
    assert asked.since is not None

    await page.goto(f"{room.url}/replay")
    for run in (second, first):
        await page.locator(f'[data-run="{run}"] input').check()
    await page.get_by_role("button", name="Compare two").click()
    await expect(page.locator("h1")).to_contain_text(f"replay {first}")
    await expect(page.locator(".turn-row")).to_have_count(1)

    await page.goto(f"{room.url}/replay")
    await page.locator(f'[data-run="{first}"] button').click()
    await page.get_by_role("button", name="Keep it").click()
    await expect(page.locator(f'[data-run="{first}"]')).to_have_count(1)
    await page.locator(f'[data-run="{first}"] button').click()
    await page.get_by_role("button", name="Delete it").click()
    await expect(page.locator(f'[data-run="{first}"]')).to_have_count(0)
    await page.context.close()


async def test_a_conversation_is_replayed_with_one_click_from_the_inspector(
    room: Room, browser: Browser
) -> None:
    payload = Payload(text="hello", at=AT)
    await room.gateway.send(Message(id="m1", session_id="one-click", payload=payload))
    page = await room.visit(browser, "/streams/conversation/one-click", viewport=WIDE)
    await page.get_by_role("button", name="Replay this conversation").click()
    await expect(page.locator("#verdicts")).to_contain_text("1 different")
    assert "/replay/" in page.url
    assert room.asked[-1] == ReplayRequest(session="one-click")
    await page.context.close()


async def test_progress_is_shown_while_it_goes_on(room: Room, browser: Browser) -> None:
    with room.runs.create(About(source="the journal")) as run:
        page = await room.visit(browser, f"/replay/{run.name}", viewport=WIDE)
        await expect(page.locator("#pace")).to_contain_text("0 turns")
        run.add([result(0, "same"), result(1, "intent")], done=0.5)
        await expect(page.locator("#pace")).to_contain_text("50 % read")
        await expect(page.locator("#pace")).to_contain_text("2 turns, ")
        await expect(page.locator(".turn-row")).to_have_count(1)
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator("#pace")).to_contain_text("it stops")
        run.say(done=0.75)
        await expect(page.locator("#pace")).to_contain_text("75 % read, it stops")
        with pytest.raises(Stopped):
            run.add([result(2, "same")])
        run.end("interrupted", f"It was stopped by {NAME}.")
    await expect(page.locator("#under-way")).to_be_hidden()
    await expect(page.locator("#lead")).to_contain_text(f"It was stopped by {NAME}.")
    await page.context.close()


async def test_everything_is_read_on_a_phone(room: Room, browser: Browser) -> None:
    run = room.run(*NAMES).name
    page = await room.visit(browser, "/replay", viewport=PHONE)
    for path, there in (
        ("/replay", ".run"),
        (f"/replay/{run}", ".turn-row"),
        (f"/replay/{run}/1", ".pair"),
        (f"/replay/{run}/3", ".pair"),
        (f"/replay/{run}/4", "#said"),
    ):
        await page.goto(f"{room.url}{path}")
        await expect(page.locator(there).first).to_be_visible()
        assert await page.evaluate(SIDEWAYS) == 0, path
    await page.context.close()


async def test_pages_that_begin_no_replays_say_who_does(room: Room, browser: Browser) -> None:
    async with served(create_web(room.settings, room.gateway, None)) as url:
        page = await signed_in(browser, f"{url}/replay", room.settings, viewport=PHONE)
        await expect(page.locator("#elsewhere")).to_contain_text("python app.py replay journal")
        await expect(page.locator("#starting")).to_be_hidden()
        await expect(page.get_by_role("button", name="Replay The journal")).to_be_hidden()
        await page.context.close()
    page = await room.visit(browser, "/replay", viewport=PHONE)
    await expect(page.locator("#starting")).to_be_visible()
    await expect(page.locator("#elsewhere")).to_be_hidden()
    await page.context.close()
