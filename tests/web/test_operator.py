"""Signing in: who gets to the operators' pages, and who does not."""

from http.cookies import SimpleCookie
from itertools import cycle
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect
from pydantic import SecretStr
from yarl import URL

from mocks.servers import free_port
from streams.gateway import Gateway
from streams.settings import Settings
from tests.browser import needs_browser
from tests.web.conftest import Clients, Web
from tests.web.operators import NAME, bearer
from web import create_web
from web.address import FORWARDED_FOR
from web.operator import COOKIE, TRIES_PER_MINUTE, Operator, operator, operator_page

TOKEN = "a token of the operators"


def create(settings: Settings) -> web.Application:
    """The room with a page and an API for operators in it."""

    async def change(request: web.Request) -> web.Response:
        return web.json_response({"by": operator(request).name})

    app = create_web(settings, Gateway(settings))
    # The login page stands for any page: what is behind the door does not matter here.
    app.router.add_get("/streams/test", operator_page("login.html"))
    app.router.add_post("/api/streams/test", change)
    return app


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"operator_token": SecretStr(TOKEN)})


@pytest.fixture
async def client(settings: Settings, aiohttp_client: Clients) -> Web:
    return Web(await aiohttp_client(create(settings)))


async def sign_in(client: Web, token: str = TOKEN, **other: Any) -> tuple[int, dict[str, Any]]:
    body = {"token": token, "name": NAME} | other
    async with client.http.post("/api/operator", json=body) as answer:
        return answer.status, await answer.json()


async def change(client: Web, **headers: str) -> tuple[int, dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.http.post("/api/streams/test", headers=named) as answer:
        return answer.status, await answer.json()


async def test_a_stranger_is_led_to_the_login_and_the_api_says_what_is_missing(
    client: Web,
) -> None:
    async with client.http.get("/streams/test?at=3&x=%2F", allow_redirects=False) as answer:
        assert answer.status == 302
        location = URL(answer.headers["Location"])
    assert (location.path, location.query["next"]) == ("/login", "/streams/test?at=3&x=/")
    status, told = await change(client)
    assert status == 401
    assert "/login" in told["error"]["message"]


async def test_who_signs_in_stays_in_until_they_sign_out(client: Web) -> None:
    assert await sign_in(client, f"  {TOKEN}\n", name="  Ines   Marlow ") == (200, {"name": NAME})
    assert await client.get("/api/operator") == (200, {"name": NAME})
    assert await change(client) == (200, {"by": NAME})
    async with client.http.get("/streams/test") as answer:
        assert answer.status == 200
    async with client.http.delete("/api/operator") as answer:
        assert answer.status == 200
    assert (await change(client))[0] == 401


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(client: Web) -> None:
    body = {"token": TOKEN, "name": NAME}
    async with client.http.post("/api/operator", json=body) as answer:
        cookie = SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert not cookie["secure"]
    assert 0 < int(cookie["max-age"]) <= 24 * 3600
    proxied = {"X-Forwarded-Proto": "https"}
    async with client.http.post("/api/operator", json=body, headers=proxied) as answer:
        assert SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]["secure"]


async def test_a_cookie_ends_with_the_token_and_cannot_be_made_up(
    settings: Settings, client: Web, aiohttp_client: Clients
) -> None:
    await sign_in(client)
    cookie = client.http.session.cookie_jar.filter_cookies(client.http.make_url("/"))[COOKIE].value
    other = settings.model_copy(update={"operator_token": SecretStr("another token of theirs")})
    elsewhere = Web(await aiohttp_client(create(other)))
    assert (await change(client, Cookie=f"{COOKIE}={cookie}"))[0] == 200
    assert (await change(elsewhere, Cookie=f"{COOKIE}={cookie}"))[0] == 401
    client.http.session.cookie_jar.clear()
    # What was signed as a chat's session is no operator's cookie.
    _, session_token = await client.session()
    for forged in ("", "x", "e30.e30", cookie[:-2], session_token):
        assert (await change(client, Cookie=f"{COOKIE}={forged}"))[0] == 401


async def test_a_program_sends_the_token_and_may_name_itself(
    client: Web, settings: Settings
) -> None:
    assert await change(client, Authorization=f"Bearer {TOKEN}") == (200, {"by": "token"})
    assert await change(client, **bearer(settings, "nightly")) == (200, {"by": "nightly"})
    for wrong in ("Bearer no", "Bearer", "Basic " + TOKEN, ""):
        assert (await change(client, Authorization=wrong))[0] == 401


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\x00b", "a\u202eb", 7, None])
async def test_a_name_that_cannot_be_read_is_refused(client: Web, name: Any) -> None:
    status, told = await sign_in(client, name=name)
    assert (status, told["error"]["field"]) == (422, "name")


async def test_another_site_cannot_act_for_an_operator(client: Web) -> None:
    await sign_in(client)
    assert (await change(client, Origin="https://evil.example"))[0] == 403
    own = str(client.http.make_url("/")).rstrip("/")
    assert (await change(client, Origin=own))[0] == 200


async def test_wrong_tokens_are_tried_a_few_times_a_minute(client: Web) -> None:
    for number in range(10):
        assert (await sign_in(client, f"guess {number}"))[0] == 401
    # Also the right one now: else the limit would be none.
    status, told = await sign_in(client)
    assert (status, told["error"]["code"]) == (429, "rate_limited")
    assert (await change(client, Authorization="Bearer guess 11"))[0] == 429
    assert (await change(client, Authorization="Bearer guess 9"))[0] == 401


async def use_up(client: Web, *addresses: str) -> None:
    """Try as many wrong tokens as one address may, from these in turn as a proxy names them."""
    for number, address in zip(range(TRIES_PER_MINUTE), cycle(addresses), strict=False):
        wrong = {"Authorization": f"Bearer guess {number}", FORWARDED_FOR: address}
        assert (await change(client, **wrong))[0] == 401


async def test_without_a_proxy_nobody_is_another_by_saying_so(client: Web) -> None:
    await use_up(client, "198.51.100.1", "198.51.100.2")
    status, _ = await change(
        client, **{"Authorization": f"Bearer {TOKEN}", FORWARDED_FOR: "198.51.100.3"}
    )
    assert status == 429
    async with client.http.post(
        "/api/operator",
        json={"token": TOKEN, "name": NAME},
        headers={FORWARDED_FOR: "198.51.100.3"},
    ) as answer:
        assert answer.status == 429


async def test_behind_a_proxy_a_stranger_locks_out_nobody_but_themselves(
    settings: Settings, aiohttp_client: Clients
) -> None:
    settings = settings.model_copy(update={"proxies": 1})
    client = Web(await aiohttp_client(create(settings)))
    # The stranger makes up an address for each try; the proxy adds where they really are.
    await use_up(client, "192.0.2.1, 198.51.100.1", "192.0.2.2, 198.51.100.1")
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert (await change(client, **right, **{FORWARDED_FOR: "192.0.2.3,198.51.100.1"}))[0] == 429
    assert (await change(client, **right, **{FORWARDED_FOR: "198.51.100.2"}))[0] == 200
    assert (await change(client, **right))[0] == 200  # as a neighbour in the cluster asks
    async with client.http.post(
        "/api/operator",
        json={"token": TOKEN, "name": NAME},
        headers={FORWARDED_FOR: "198.51.100.1, 198.51.100.2"},
    ) as answer:
        assert answer.status == 200


async def test_the_right_token_is_not_counted_again_and_again(client: Web) -> None:
    for _ in range(30):
        assert (await change(client, Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_an_emptied_token_file_opens_nothing(
    settings: Settings, aiohttp_client: Clients
) -> None:
    settings = settings.model_copy(update={"operator_token": SecretStr("")})
    settings.operator_token_file.write_text("\n")
    client = Web(await aiohttp_client(create(settings)))
    assert (await sign_in(client, ""))[0] == 401
    assert (await change(client, Authorization="Bearer "))[0] == 401


def test_an_operator_is_who_they_say() -> None:
    assert Operator("a") == Operator("a") != Operator("b")


class TestInABrowser:
    pytestmark = needs_browser

    @pytest.fixture
    async def address(self, settings: Settings, aiohttp_server: Clients) -> str:
        server = await aiohttp_server(create(settings), port=free_port())
        return str(server.make_url("/"))

    async def test_the_login_is_done_with_the_keyboard_and_says_what_is_wrong(
        self, browser: Browser, address: str
    ) -> None:
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{address}streams/test?q=1")
        await expect(page.get_by_label("Your name")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#name-error")).to_have_text("Please type your name.")
        await page.keyboard.type(NAME)
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("The operators' token")).to_be_focused()
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("#token-error")).to_contain_text("not the operators' token")
        await page.keyboard.press("Control+A")
        await page.keyboard.type(TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{address}streams/test?q=1")
        assert "Ines" not in str(await page.context.cookies())
        assert TOKEN not in str(await page.context.storage_state())

    @pytest.mark.parametrize(
        "onward", ["//evil.example/", "https://evil.example", "/\\\\evil.example"]
    )
    async def test_the_login_leads_nowhere_else(
        self, browser: Browser, address: str, onward: str
    ) -> None:
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{address}login?next={onward}")
        await page.get_by_label("Your name").fill(NAME)
        await page.get_by_label("The operators' token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{address}streams")

    @pytest.mark.parametrize("width", [360, 1280])
    async def test_the_login_fits(self, browser: Browser, address: str, width: int) -> None:
        page = await browser.new_page(viewport={"width": width, "height": 740})
        await page.goto(f"{address}login")
        assert await page.evaluate("document.documentElement.scrollWidth") == width
