"""The dead letters' page in a real browser, in front of a real mesh."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from streams import slip
from streams.slip import HOP_LIMIT, RouteSlip
from tests.browser import chromium, needs_browser
from tests.streams.operators.letters import turn
from tests.web.operators import NAME, signed_in
from tests.web.place import EMAIL, Place, running_place

pytestmark = [pytest.mark.asyncio(loop_scope="module"), *needs_browser]

CLOSE = "Close with the reply it has"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with running_place(nats_url, tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, place: Place) -> AsyncIterator[Page]:
    page = await signed_in(browser, f"{place.url}/streams/deadletters", place.settings)
    yield page
    await page.context.close()


async def test_a_turn_that_failed_is_sent_on_and_its_customer_answered(
    page: Page, place: Place
) -> None:
    offset = await place.fail("customer-one")
    await page.reload()
    await page.locator(f'[data-letter="{offset}"]').click()
    sheet = page.locator("#letter")
    await expect(sheet).to_contain_text("ValueError: broken")
    await expect(sheet.locator('[data-state="broken"]')).to_have_text("escalation router")
    place.small.broken = False
    await sheet.get_by_role("button", name="Redrive").click()
    await expect(sheet.locator("#history .tag")).to_have_text("answered")
    replies = await place.gateway.replies("customer-one")
    assert [reply.state for reply in replies] == ["failed", "answered"]
    await page.keyboard.press("Escape")
    await expect(page.locator(f'[data-letter="{offset}"]')).to_be_focused()
    line = page.locator("li", has=page.locator(f'[data-letter="{offset}"]'))
    await expect(line.locator(".tag")).to_have_text("answered")
    assert [entry.operator for entry in await place.audit(f"dead letter {offset}")] == [
        NAME,
        NAME,
    ]


async def test_a_customer_who_stays_on_the_page_gets_the_reply_after_the_apology(
    page: Page, place: Place
) -> None:
    chat = await page.context.new_page()
    await chat.goto(place.url)
    await chat.locator("#email").fill("bo@example.com")
    await chat.keyboard.press("Enter")
    place.small.fails = place.small.broken = True
    await chat.locator("#say").fill("is anybody there?")
    await chat.keyboard.press("Enter")
    await expect(chat.locator(".theirs")).to_have_attribute("data-state", "failed")
    place.small.fails = place.small.broken = False
    await page.reload()
    await page.get_by_role("button", name="is anybody there?").click()
    await page.locator("#redrive").click()
    await expect(chat.locator(".theirs .text").last).to_have_text("mended")
    await expect(chat.locator(".theirs")).to_have_count(2)
    await chat.reload()
    await expect(chat.locator(".theirs")).to_have_count(2)
    # And the conversation goes on.
    await chat.locator("#say").fill("thank you")
    await chat.keyboard.press("Enter")
    await expect(chat.locator(".theirs .text").last).to_have_text("is anybody there?|thank you")


async def test_a_letter_is_set_aside_with_the_keyboard(page: Page, place: Place) -> None:
    offset = await place.bury(turn("z1"), "to be set aside")
    await page.goto(f"{place.url}/streams/deadletters?letter={offset}")
    note = page.get_by_label("Why nothing is to be done")
    await note.press("Enter")
    await expect(page.locator("#letter")).to_contain_text("Please say why")
    await note.fill("a test of ours")
    await note.press("Enter")
    await expect(page.locator("#history")).to_contain_text(f"set aside by {NAME}: a test of ours")
    await page.keyboard.press("Escape")
    await page.get_by_label("Which").select_option("open")
    await expect(page.locator(f'[data-letter="{offset}"]')).to_have_count(0)


async def test_a_broken_message_is_mended_in_the_editor(page: Page, place: Place) -> None:
    value = turn("e1").encode().replace(b'"version":1', b'"version":2')
    offset = await place.bury(value, "not a version 1 message")
    await page.goto(f"{place.url}/streams/deadletters?letter={offset}")
    sheet = page.locator("#letter")
    await expect(sheet.locator("#route-problems")).to_contain_text("edit it first")
    await expect(sheet.locator("#redrive")).to_be_disabled()
    assert EMAIL not in await sheet.inner_text()
    await sheet.get_by_role("button", name="Edit the message").click()
    editor = sheet.locator("#editor")
    text = await editor.input_value()
    assert EMAIL in text
    await editor.fill(text.replace('"version": 2', '"version": "one"'))
    problem = sheet.locator("#editor-problems")
    await expect(problem).to_contain_text("version: Input should be 1")
    await problem.get_by_role("button", name="Line 2").click()
    chosen = "document.activeElement.value.slice(document.activeElement.selectionStart, "
    chosen += "document.activeElement.selectionEnd)"
    assert (await page.evaluate(chosen)).strip() == '"version": "one",'
    await editor.fill(text.replace('"version": 2', '"version": 1'))
    await expect(sheet.locator("#preview")).to_contain_text("Changed: everything")
    await sheet.locator("#redrive").click()
    await expect(sheet.locator(".said")).to_contain_text("On its way")


async def test_a_turn_in_circles_gets_a_route_with_the_keyboard(page: Page, place: Place) -> None:
    circle = RouteSlip(steps=(slip.DECISION_ROUTER,), done=(slip.DECISION_ROUTER,) * HOP_LIMIT)
    offset = await place.bury(turn("r1", slip=circle), "HopLimitExceeded")
    await page.goto(f"{place.url}/streams/deadletters?letter={offset}")
    sheet = page.locator("#letter")
    await expect(sheet.locator("#route-problems")).to_contain_text("choose a route")
    await sheet.locator("#where").focus()
    await page.keyboard.press("ArrowDown")
    await sheet.get_by_label("Take a standard route").select_option("Close with the reply it has")
    await expect(sheet.locator(".route-steps li")).to_have_count(1)
    await sheet.get_by_label("Add a mailbox").select_option(slip.DECISION_ROUTER)
    await sheet.get_by_role("button", name="decision router earlier").click()
    await expect(sheet.locator("#preview .route-line li")).to_have_text(
        ["conversation", "decision router", "response aggregator"]
    )
    await sheet.get_by_role("button", name="Take decision router out").click()
    await sheet.locator("#redrive").press("Enter")
    await expect(sheet.locator(".said")).to_contain_text("On its way")


async def test_many_are_sent_with_a_preview_of_each(page: Page, place: Place) -> None:
    mark = secrets.token_hex(4)
    offsets = [await place.bury(turn(f"n{n}{mark}"), f"many {mark}") for n in range(4)]
    ill = await place.bury(b"?", f"many {mark}")
    await page.get_by_label("Reason holds").fill(mark)
    await expect(page.locator(".letters li", has_text=mark)).to_have_count(5)
    await page.locator("#all").check()
    await page.get_by_role("button", name="Redrive …").click()
    sheet = page.locator("#redrive-many")
    await expect(sheet.locator("#many-said")).to_contain_text("4 letters can be sent. 1 letter")
    await sheet.get_by_role("button", name="Send 4 letters").click()
    await expect(sheet.locator("#many-said")).to_contain_text("4 letters on the way.")
    await page.keyboard.press("Escape")
    await page.get_by_label("Which").select_option("open")
    await expect(page.locator(".letters li")).to_have_count(1)
    await expect(page.locator(f'[data-letter="{ill}"]')).to_be_visible()
    for offset in offsets:
        assert [e.action for e in await place.audit(f"dead letter {offset}")] == [
            "redrive",
            "redriven",
        ]


async def test_personal_data_comes_with_the_switch(page: Page, place: Place) -> None:
    offset = await place.bury(turn("s1", f"please write to {EMAIL}"), "switch")
    await page.get_by_label("Reason holds").fill("switch")
    line = page.locator(f'[data-letter="{offset}"]')
    await expect(line).to_be_visible()
    await expect(line).not_to_contain_text(EMAIL)
    await page.get_by_role("switch", name="Personal data").check()
    await expect(line).to_contain_text(EMAIL)
    assert [e.action for e in await place.audit("dead letters")] == ["unmask"]


async def test_markup_in_a_letter_is_text(page: Page, place: Place) -> None:
    bad = "<img src=x onerror=document.title='bad'><b>x</b>"
    offset = await place.bury(turn("x1", bad), bad)
    await page.goto(f"{place.url}/streams/deadletters?letter={offset}")
    await expect(page.locator("#letter .reason")).to_have_text(bad)
    assert await page.locator("#letter :is(img, b), .letters :is(img, b)").count() == 0


@pytest.mark.parametrize("width", [360, 1280])
async def test_it_fits(browser: Browser, place: Place, width: int) -> None:
    offset = await place.bury(turn("v1", "W" * 300), "R" * 200)
    page = await signed_in(
        browser,
        f"{place.url}/streams/deadletters",
        place.settings,
        viewport={"width": width, "height": 800},
    )
    await page.locator(f'[data-letter="{offset}"]').click()
    await expect(page.locator("#redrive")).to_be_enabled()
    for box in ("documentElement", "querySelector('#letter-body')"):
        wide = f"document.{box}.scrollWidth - document.{box}.clientWidth"
        assert await page.evaluate(wide) == 0
    await page.context.close()
