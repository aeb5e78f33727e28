"""Operators in tests: programs that send the token, and browsers that have signed in."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from streams.settings import Settings

NAME = "Ines Marlow"


def bearer(settings: Settings, name: str = NAME) -> dict[str, str]:
    """Return the headers of a program that may operate."""
    token = settings.operators_token().decode()
    return {"Authorization": f"Bearer {token}", "X-Operator": name}


async def signed_in(browser: Browser, url: str, settings: Settings, **options: Any) -> Page:
    """Return a tab on the operators' page at `url`, come to through the login.

    Any error of the page's own scripts fails the test.
    """
    page = await (await browser.new_context(**options)).new_page()
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
    await page.goto(url)
    await page.get_by_label("Your name").fill(NAME)
    await page.get_by_label("The operators' token").fill(settings.operators_token().decode())
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(url)
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page
