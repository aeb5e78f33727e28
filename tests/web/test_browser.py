"""The page in a real browser, against the room on a real port with a real broker."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from mocks.servers import NatsServer, free_port
from streams.gateway import Gateway
from streams.settings import Settings
from tests.browser import needs_browser
from tests.waiting import until
from tests.web.conftest import EMAIL, Clients
from tests.web.responder import Responder
from web import create_web

pytestmark = needs_browser


@pytest.fixture
def settings(own_broker: NatsServer, prefix: str, tmp_path: Path) -> Settings:
    return Settings(broker_url=own_broker.url, prefix=prefix, data_dir=tmp_path)


@pytest.fixture
async def address(
    settings: Settings, gateway: Gateway, responder: Responder, aiohttp_server: Clients
) -> str:
    server = await aiohttp_server(create_web(settings, gateway), port=free_port())
    return str(server.make_url("/"))


async def open_page(browser: Browser, address: str, **options: Any) -> Page:
    """Return a fresh tab on the page; anything it complains of fails the test."""
    page = await (await browser.new_context(**options)).new_page()
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
    await page.goto(address)
    return page


async def begin(page: Page, email: str = EMAIL) -> None:
    """Tell the address with the keyboard alone: the field has the focus already."""
    await expect(page.locator("#email")).to_be_focused()
    await page.keyboard.type(email)
    await page.keyboard.press("Enter")
    await expect(page.locator("#link-state")).to_have_text("Connected")


async def test_a_message_is_sent_and_its_answer_read_with_the_keyboard_alone(
    browser: Browser, address: str, responder: Responder
) -> None:
    page = await open_page(browser, address)
    await begin(page)
    await expect(page.locator("#say")).to_be_focused()
    await page.keyboard.type("first line")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second line")
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs .text")).to_have_text("FIRST LINE\nSECOND LINE")
    await expect(page.locator("#say")).to_be_focused()
    await expect(page.locator("#say")).to_have_value("")
    assert responder.turns[0].payload.text == "first line\nsecond line"


async def test_the_line_names_what_the_mesh_is_doing(
    browser: Browser, address: str, responder: Responder
) -> None:
    responder.pause = 0.2
    page = await open_page(browser, address)
    await begin(page)
    await page.evaluate(
        """() => {
            window.shown = [];
            const phrase = document.querySelector(".phrase");
            const stops = document.querySelector(".stops");
            const look = () => shown.push([phrase.textContent, stops.childElementCount]);
            new MutationObserver(look).observe(phrase, { childList: true });
        }"""
    )
    await page.keyboard.type("where is it?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs")).to_be_visible()
    shown = await page.evaluate("shown.filter(([, stops]) => stops)")
    distinct = [pair for pair, before in zip(shown, [None, *shown], strict=False) if pair != before]
    assert distinct == [
        ["Opening your conversation", 1],
        ["Working out what you need", 2],
        ["Looking up your orders", 3],
        ["Writing your answer", 4],
    ]
    await expect(page.locator("#working")).to_be_hidden()
    await expect(page.locator(".travelled summary")).to_contain_text("4 steps")


@pytest.mark.parametrize("width", [320, 375])
async def test_a_phone_has_no_sideways_scroll(
    browser: Browser, address: str, responder: Responder, width: int
) -> None:
    page = await open_page(
        browser, address, viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True
    )
    await begin(page, "a.very.long.address.that.does.not.fit@some.very.long.domain.example.com")
    await page.keyboard.type("W" * 300)
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs")).to_be_visible()
    for box in ("document.documentElement", "document.getElementById('scroll')"):
        assert await page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") == 0
    assert await page.evaluate("document.documentElement.scrollHeight - innerHeight") == 0


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=document.title='bad'>",
        "<script>document.title='bad'</script>",
        "<b>x</b>",
    ],
)
async def test_markup_is_shown_as_the_text_it_is(
    browser: Browser, address: str, responder: Responder, text: str
) -> None:
    responder.script[text] = {
        "response": text,
        "intent": text,
        "route": [text],
        "actions": [{"action_id": "a", "kind": text, "ok": False, "order_id": text, "error": text}],
    }
    page = await open_page(browser, address)
    await begin(page)
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs .text")).to_have_text(text)
    await expect(page.locator(".mine .text")).to_have_text(f"You: {text}")
    await page.reload()
    await expect(page.locator(".theirs .text")).to_have_text(text)
    assert await page.locator(".log").locator("img, script, .text b").count() == 0
    assert await page.title() == "Customer support"


async def test_a_reload_keeps_the_conversation_and_brings_what_was_missed(
    browser: Browser, address: str, responder: Responder
) -> None:
    page = await open_page(browser, address)
    await begin(page)
    await page.keyboard.type("one")
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs")).to_have_count(1)
    responder.going_on.clear()
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await expect(page.locator("#working .stop")).not_to_have_count(0)
    await page.goto("about:blank")
    responder.going_on.set()
    session_id = responder.turns[0].session_id
    await until(lambda: len(responder.replies[session_id]) == 2)
    await page.go_back()
    await expect(page.locator(".theirs .text")).to_have_text(["ONE", "TWO"])
    await page.reload()
    await expect(page.locator(".theirs .text")).to_have_text(["ONE", "TWO"])
    await expect(page.locator(".mine")).to_have_count(2)


async def test_two_tabs_are_two_conversations(
    browser: Browser, address: str, responder: Responder
) -> None:
    context = await browser.new_context()
    left, right = await context.new_page(), await context.new_page()
    for page, text in ((left, "left"), (right, "right")):
        await page.goto(address)
        await begin(page)
        await page.keyboard.type(text)
        await page.keyboard.press("Enter")
    await expect(left.locator(".theirs .text")).to_have_text(["LEFT"])
    await expect(right.locator(".theirs .text")).to_have_text(["RIGHT"])
    assert len({turn.session_id for turn in responder.turns}) == 2


async def test_a_duplicated_tab_begins_its_own_conversation(
    browser: Browser, address: str, responder: Responder
) -> None:
    page = await open_page(browser, address)
    await begin(page)
    await page.keyboard.type("one")
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs")).to_have_count(1)
    # A tab that a page opens starts with a copy of its storage, as a duplicated one does.
    async with page.expect_popup() as opened:
        await page.evaluate("void window.open(location.href)")
    copy = await opened.value
    await expect(copy.locator("#link-state")).to_have_text("Connected")
    await expect(copy.locator(".mine")).to_have_count(0)
    await expect(copy.locator("#owner-mail")).to_have_text(EMAIL)


async def test_a_confirmation_is_answered_with_a_button(
    browser: Browser, address: str, responder: Responder
) -> None:
    responder.script["cancel it"] = {"response": "Shall I?", "state": "awaiting_confirmation"}
    action = {"action_id": "a", "kind": "cancel_order", "ok": True, "order_id": "#W1", "detail": {}}
    responder.script["Yes"] = {"response": "Done.", "actions": [action]}
    page = await open_page(browser, address)
    await begin(page)
    await page.keyboard.type("cancel it")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Yes, please do").click()
    await expect(page.locator(".card")).to_contain_text("Order cancelled")
    await expect(page.locator(".choices")).to_have_count(0)
    await expect(page.locator("#say")).to_be_focused()
    assert responder.turns[1].payload.text == "Yes"


async def test_what_is_written_while_the_broker_is_away_is_sent_when_it_is_back(
    browser: Browser, address: str, responder: Responder, own_broker: NatsServer
) -> None:
    page = await open_page(browser, address)
    await begin(page)
    own_broker.kill()
    await page.keyboard.type("during")
    await page.keyboard.press("Enter")
    await expect(page.locator("#banner")).to_contain_text("cannot be reached")
    await expect(page.locator(".sent")).to_have_text("not sent yet")
    own_broker.start()
    await expect(page.locator(".theirs .text")).to_have_text("DURING")
    await expect(page.locator("#banner")).to_be_hidden()
    assert len(responder.turns) == 1


async def test_what_is_written_without_a_connection_is_sent_once_there_is_one(
    browser: Browser, address: str, responder: Responder
) -> None:
    page = await open_page(browser, address)
    cut = False
    servers: list[Any] = []

    def relay(socket: Any) -> None:
        servers.append(socket)
        if not cut:
            socket.connect_to_server()

    await page.route_web_socket(re.compile("/ws$"), relay)
    await page.reload()
    await begin(page)
    cut = True
    await servers[-1].close()
    await expect(page.locator("#banner")).to_contain_text("reconnecting")
    await page.keyboard.type("offline")
    await page.keyboard.press("Enter")
    await page.keyboard.type("and more")
    await page.keyboard.press("Enter")
    await expect(page.locator(".sent")).to_have_text(["not sent yet", "not sent yet"])
    cut = False
    for server in servers[1:]:
        await server.close()
    await expect(page.locator(".theirs .text")).to_have_text(["OFFLINE", "AND MORE"])
    await expect(page.locator("#banner")).to_be_hidden()


async def test_a_refused_message_says_why_and_can_be_edited(
    browser: Browser, address: str, responder: Responder
) -> None:
    page = await open_page(browser, address)
    await begin(page)
    await page.locator("#say").fill("x" * 4001)
    await page.keyboard.press("Enter")
    await expect(page.locator(".refused")).to_contain_text(
        "This message must not have more than 4000 characters"
    )
    await page.get_by_role("button", name="Edit it").click()
    await expect(page.locator("#say")).to_have_value("x" * 4001)
    await expect(page.locator(".mine")).to_have_count(0)
    assert responder.turns == []


async def test_a_bad_address_is_explained_beside_its_field(browser: Browser, address: str) -> None:
    page = await open_page(browser, address)
    for typed, said in (
        ("", "type your"),
        ("nobody", "not a complete"),
        ("a@b", "how it is written"),
    ):
        await page.locator("#email").fill(typed)
        await page.keyboard.press("Enter")
        await expect(page.locator("#email-error")).to_contain_text(said)
        await expect(page.locator("#email")).to_be_focused()
        await expect(page.locator("#email")).to_have_attribute("aria-invalid", "true")


async def test_a_new_conversation_asks_first_and_keeps_the_address(
    browser: Browser, address: str, responder: Responder
) -> None:
    page = await open_page(browser, address)
    await begin(page)
    await page.keyboard.type("one")
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs")).to_have_count(1)
    await page.get_by_role("button", name="New conversation").click()
    await page.get_by_role("button", name="Stay here").click()
    await expect(page.locator(".theirs")).to_have_count(1)
    await page.get_by_role("button", name="New conversation").click()
    await page.get_by_role("button", name="Begin anew").click()
    await expect(page.locator(".log li")).to_have_count(0)
    await page.locator("#say").fill("two")
    await page.keyboard.press("Enter")
    await expect(page.locator(".theirs .text")).to_have_text(["TWO"])
    assert len({turn.session_id for turn in responder.turns}) == 2
    assert {turn.payload.email for turn in responder.turns} == {EMAIL}


async def test_an_ended_session_says_what_to_do(
    browser: Browser, address: str, settings: Settings
) -> None:
    page = await open_page(browser, address)
    await begin(page)
    await page.evaluate(
        """() => {
            const kept = JSON.parse(sessionStorage.conversation);
            sessionStorage.conversation = JSON.stringify({ ...kept, session: "gone", token: "x" });
        }"""
    )
    await page.reload()
    await expect(page.locator("#banner")).to_contain_text("begin a new one")
    await page.keyboard.press("Enter")  # the button has the focus
    await expect(page.locator("#link-state")).to_have_text("Connected")
