import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from mocks.servers import free_port
from streams.bridge.layout import encode_headers, subject
from streams.gateway import Gateway
from streams.inspection import tail as tailing
from streams.inspection.tail import AT_ONCE
from streams.operators.audit import entries
from streams.settings import Settings
from tests.browser import needs_browser
from tests.waiting import until
from tests.web.conftest import Clients, Web
from tests.web.operators import NAME, bearer, signed_in
from web import create_web
from web.browse import SEARCHES_AT_ONCE

TOPIC = "mesh.journal"
RECORDS = f"/api/streams/{TOPIC}/records"


async def put(
    gateway: Gateway, number: int, value: bytes | None = None, partition: int = 0
) -> None:
    document = {"number": number, "email": "ann@example.com", "session_id": f"s{number}"}
    await gateway.client.jetstream().publish(
        subject(gateway.settings.prefix, TOPIC, partition),
        json.dumps(document).encode() if value is None else value,
        headers=encode_headers(b"s%d" % number, b"", {"Origin": b"here"}),
    )


@pytest.fixture
async def filled(gateway: Gateway) -> None:
    """Ten records, in turn on two partitions."""
    for number in range(10):
        await put(gateway, number, partition=number % 2)


async def search(client: Web, settings: Settings, **query: Any) -> list[dict[str, Any]]:
    """Return the lines of a search."""
    async with client.http.get(RECORDS, params=query, headers=bearer(settings)) as answer:
        assert answer.status == 200, await answer.text()
        return [json.loads(line) async for line in answer.content]


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return [int(line["record"]["columns"][0]) for line in lines if line["type"] == "record"]


async def unmasked_targets(gateway: Gateway) -> list[tuple[str, str]]:
    found = await entries(gateway.client, gateway.settings)
    return [(entry.operator, entry.target) for entry in found if entry.action == "unmask"]


async def test_records_are_for_operators(client: Web) -> None:
    for path in (RECORDS, f"{RECORDS}/1", f"/api/streams/{TOPIC}/tail"):
        assert (await client.get(path))[0] == 401
    async with client.http.get(f"/streams/{TOPIC}", allow_redirects=False) as answer:
        assert answer.status == 302


@pytest.mark.usefixtures("filled")
async def test_searching_with_filters_and_going_on(client: Web, settings: Settings) -> None:
    lines = await search(client, settings, column="number", limit=4)
    assert numbers(lines) == [9, 8, 7, 6]
    end = lines[-1]
    assert (end["type"], end["reason"], end["progress"]["found"]) == ("end", "limit", 4)
    lines = await search(client, settings, column="number", offset=end["go_on"])
    assert numbers(lines) == [5, 4, 3, 2, 1, 0]
    assert lines[-1]["go_on"] is None
    lines = await search(
        client, settings, column="number", order="oldest", partition=1, where="number > `4`"
    )
    assert numbers(lines) == [5, 7, 9]
    assert numbers(await search(client, settings, column="number", key="s3")) == [3]
    for piece in ('"number": 7', '"number":7', '"NUMBER":7,"email"', "origin: HERE"):
        found = numbers(await search(client, settings, column="number", text=piece))
        assert found == (list(range(9, -1, -1)) if "origin" in piece else [7]), piece
    future = "2100-01-01T00:00:00Z"
    assert numbers(await search(client, settings, column="number", order="oldest", at=future)) == []


@pytest.mark.usefixtures("filled")
async def test_personal_data_is_masked_unless_asked_for_and_asking_is_audited(
    client: Web, gateway: Gateway, settings: Settings
) -> None:
    lines = await search(client, settings, column="email", limit=1)
    assert lines[0]["record"]["columns"] == ["a•••@example.com"]
    assert "ann@" not in json.dumps(lines)
    _, shown = await client.get(f"{RECORDS}/3", headers=bearer(settings))
    assert (shown["value"]["email"], shown["raw"]) == ("a•••@example.com", None)
    assert await unmasked_targets(gateway) == []

    lines = await search(client, settings, column="email", limit=1, unmask=1)
    assert lines[0]["record"]["columns"] == ["ann@example.com"]
    _, shown = await client.get(f"{RECORDS}/3?unmask=1", headers=bearer(settings))
    assert shown["value"]["email"] == "ann@example.com"
    assert json.loads(base64.b64decode(shown["raw"])) == shown["value"]
    assert sorted(await unmasked_targets(gateway)) == [
        (NAME, f"{TOPIC}/0/3"),
        (NAME, f"topic {TOPIC}"),
    ]


@pytest.mark.usefixtures("filled")
async def test_whole_records_as_a_file(client: Web, settings: Settings) -> None:
    params = {"download": "1", "order": "oldest"}
    async with client.http.get(RECORDS, params=params, headers=bearer(settings)) as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="mesh.journal.jsonl"'
        lines = [json.loads(line) async for line in answer.content]
    assert [line["value"]["number"] for line in lines] == list(range(10))
    assert lines[0]["headers"] == [["Origin", "here"]]
    lines = await search(client, settings, full=1, limit=1)
    assert lines[0]["record"]["value"]["number"] == 9


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"where": "a..b"}, 422, "at character 3"),
        ({"column": "nope(a)"}, 422, "no function nope"),
        ({"partition": 9}, 422, "has 4 partitions"),
        ({"offset": -1}, 422, "offset"),
        ({"order": "sideways"}, 422, "order"),
        ({"limit": 10**9}, 422, "limit"),
        ({"at": "noon"}, 422, "at"),
    ],
)
async def test_what_is_wrong_is_said_with_its_field(
    client: Web, settings: Settings, query: dict[str, Any], status: int, said: str
) -> None:
    got, told = await client.get(RECORDS, params=query, headers=bearer(settings))
    assert got == status
    assert said in told["error"]["message"]
    assert told["error"]["field"] == next(iter(query))


async def test_topics_and_offsets_that_are_not_there(client: Web, settings: Settings) -> None:
    for path in ("/api/streams/nothing/records", f"{RECORDS}/77", f"{RECORDS}/x"):
        status, told = await client.get(path, headers=bearer(settings))
        assert (status, told["error"]["code"]) == (404, "not_found"), path


async def busy(client: Web, settings: Settings) -> bool:
    async with client.http.get(f"{RECORDS}?limit=1", headers=bearer(settings)) as answer:
        return answer.status == 429


async def test_closing_the_request_stops_the_search(
    client: Web, gateway: Gateway, settings: Settings
) -> None:
    """As many as there may be at once are given up half way; then there is room again."""
    js = gateway.client.jetstream()
    value = json.dumps({"text": "x" * 50_000}).encode()
    for number in range(400):  # far more than a connection takes that nobody reads from
        await js.publish_async(subject(settings.prefix, TOPIC, number % 4), value)
    await js.publish_async_completed()
    params: dict[str, Any] = {"full": 1, "limit": 1000}
    open_ones = []
    for _ in range(SEARCHES_AT_ONCE):
        answer = await client.http.get(RECORDS, params=params, headers=bearer(settings))
        assert answer.status == 200
        open_ones.append(answer)
    assert await busy(client, settings)
    for answer in open_ones:
        answer.close()

    async def room() -> bool:
        return not await busy(client, settings)

    await until(room)


async def news(socket: Any) -> dict[str, Any]:
    frame: dict[str, Any] = await socket.receive_json(timeout=30)
    return frame


async def test_a_live_tail_shows_what_comes_and_says_what_it_drops(
    client: Web, gateway: Gateway, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailing, "LOOK_SECONDS", 0.01)
    await put(gateway, 0)
    path = f"/api/streams/{TOPIC}/tail?column=number&where=number"
    async with client.http.ws_connect(path, headers=bearer(settings)) as socket:
        assert (await news(socket))["records"] == []
        await put(gateway, 1)
        await put(gateway, 2, b"no JSON")
        shown: list[str] = []
        seen = 0
        while seen < 2:
            frame = await news(socket)
            seen += frame["seen"]
            shown += [record["columns"][0] for record in frame["records"]]
        assert shown == ["1"]
        # More than is looked at in one go: the rest is counted, and nobody waits.
        place = subject(settings.prefix, TOPIC, 1)
        sent = dropped = seen = 0
        while not dropped:
            for _ in range(6 * AT_ONCE):
                await gateway.client.publish(place, b'{"number": %d}' % (10 + sent))
                sent += 1
            await gateway.client.flush()
            while dropped + seen < sent:
                frame = await news(socket)
                seen, dropped = seen + frame["seen"], dropped + frame["dropped"]
        assert dropped + seen == sent


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"/api/streams/{TOPIC}/tail?where=a..b", "at character 3"),
        ("/api/streams/nothing/tail", "no topic"),
    ],
)
async def test_a_tail_that_cannot_be_is_said_on_the_socket(
    client: Web, settings: Settings, path: str, said: str
) -> None:
    async with client.http.ws_connect(path, headers=bearer(settings)) as socket:
        frame = await news(socket)
        assert frame["type"] == "error"
        assert said in frame["message"]
        assert (await socket.receive(timeout=30)).data == 1000


class TestInABrowser:
    pytestmark = needs_browser

    @pytest.fixture
    async def address(self, settings: Settings, gateway: Gateway, aiohttp_server: Clients) -> str:
        server = await aiohttp_server(create_web(settings, gateway), port=free_port())
        return str(server.make_url(f"/streams/{TOPIC}"))

    @pytest.mark.usefixtures("filled")
    async def test_searching_opening_and_unmasking(
        self, browser: Browser, address: str, settings: Settings, tmp_path: Path
    ) -> None:
        page: Page = await signed_in(browser, f"{address}?column=number&column=email", settings)
        rows = page.locator("tr.row")
        await expect(rows).to_have_count(10)
        await expect(rows.first).to_contain_text("a•••@example.com")
        await expect(page.get_by_role("link", name="Topics", exact=True)).to_have_attribute(
            "aria-current", "page"
        )
        # With the keyboard: a filter, then the first record whole.
        await page.get_by_label("Where").fill("number > `7`")
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(2)
        await expect(page.locator("#state")).to_contain_text("Looked at 10 of 10 records")
        assert "where=number" in page.url
        await page.get_by_role("button", name=re.compile(r"^Record 10$")).focus()
        await page.keyboard.press("Enter")
        content = page.get_by_label("Content")
        await expect(content).to_contain_text('"number": 9')
        await expect(content).to_contain_text("a•••@example.com")
        await expect(page.locator(".whole")).to_contain_text("Origin")
        await expect(page.get_by_label("Raw bytes")).to_have_count(0)
        await expect(page.get_by_role("link", name="The whole conversation")).to_have_attribute(
            "href", "/streams/conversation/s9"
        )
        await page.keyboard.press("Escape")
        await expect(content).to_have_count(0)

        await page.get_by_label("Personal data").check()
        await expect(rows.first).to_contain_text("ann@example.com")
        await page.get_by_role("button", name=re.compile(r"^Record 10$")).click()
        await page.get_by_text("Raw bytes, the first").click()
        await expect(page.get_by_label("Raw bytes")).to_contain_text("000000  7b 22 6e 75")

        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="Save as JSONL").click()
        await (await downloading.value).save_as(tmp_path / "saved.jsonl")
        saved = [json.loads(line) for line in (tmp_path / "saved.jsonl").read_text().splitlines()]
        assert [record["value"]["number"] for record in saved] == [9, 8]

        await page.get_by_label("Where").fill("number >> 1")
        await page.keyboard.press("Enter")
        await expect(page.locator("#where-error")).to_contain_text("at character 9")

    @pytest.mark.usefixtures("filled")
    async def test_on_a_phone_the_rarer_filters_are_a_tap_away(
        self, browser: Browser, address: str, settings: Settings
    ) -> None:
        phone = {"width": 360, "height": 740}
        page = await signed_in(browser, address, settings, viewport=phone)
        await expect(page.locator("tr.row")).to_have_count(10)
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        await expect(page.get_by_label("Partition")).to_be_hidden()
        await page.get_by_role("button", name="Offset, time, partition").click()
        await expect(page.get_by_label("Up to offset")).to_be_focused()
        await page.get_by_label("Partition").select_option("1")
        await page.get_by_role("button", name="Search").click()
        await expect(page.locator("tr.row")).to_have_count(5)
        # Whoever comes by a link sees what is chosen.
        await page.reload()
        await expect(page.get_by_label("Partition")).to_have_value("1")
        await expect(page.get_by_label("Partition")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == 360

    async def test_following(
        self, browser: Browser, address: str, gateway: Gateway, settings: Settings
    ) -> None:
        page = await signed_in(browser, f"{address}?column=number", settings)
        await expect(page.locator("#state")).to_have_text("There are no records here.")
        await page.get_by_role("button", name="Follow live").click()
        await expect(page.locator("#state")).to_contain_text("Following: 0 records")
        await put(gateway, 1)
        await put(gateway, 2, b"<img src=x onerror=alert(1)>")
        rows = page.locator("tr.row")
        await expect(rows).to_have_count(2)
        await page.get_by_role("button", name="Record 2").click()
        await expect(page.get_by_label("Content")).to_have_text("<img src=x onerror=alert(1)>")
        await put(gateway, 3)
        await expect(rows).to_have_count(3)
        await expect(page.get_by_label("Content")).to_be_visible()
        await page.get_by_role("button", name="Stop following").click()
        await expect(page.locator("#state")).to_have_text("Stopped following.")

    async def test_a_long_search_shows_how_far_it_is_and_is_stopped(
        self, browser: Browser, address: str, gateway: Gateway, settings: Settings
    ) -> None:
        # Enough to look at for seconds, each with much to mask.
        line = {"text": "call 202-555-0143, 12 Canal Street, ann@example.com. " * 10}
        value = json.dumps({"history": [line] * 20}).encode()
        js = gateway.client.jetstream()
        for number in range(3000):
            await js.publish_async(subject(settings.prefix, TOPIC, number % 4), value)
        await js.publish_async_completed()
        page = await signed_in(browser, f"{address}?where=nothing", settings)
        await expect(page.get_by_label("Searched")).to_be_visible()
        await expect(page.locator("#state")).to_contain_text("of 3,000 records")
        await page.get_by_role("button", name="Stop", exact=True).click()
        await expect(page.locator("#state")).to_contain_text("Stopped: looked at")
        await expect(page.get_by_label("Searched")).to_be_hidden()
        await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
