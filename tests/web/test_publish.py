"""Publishing by hand: the API and the page, in front of a real mesh."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from playwright.async_api import Page, expect

from streams import slip
from streams.message import Message
from streams.topics import JOURNAL
from tests.browser import chromium, needs_browser
from tests.faust_apps import records
from tests.streams.operators.letters import turn
from tests.waiting import until
from tests.web.operators import NAME, signed_in
from tests.web.place import EMAIL, Place, running_place

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with running_place(nats_url, tmp_path_factory.mktemp("publish")) as place:
        yield place


async def finished(place: Place, session: str) -> list[Message]:
    """Return a session's turns in the journal, which is written after the replies."""
    journal = await records(place.settings.broker_url, place.settings.prefix, JOURNAL)
    turns = [Message.decode(record.value or b"") for record in journal]
    return [turn for turn in turns if turn.session_id == session]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", ""), ("POST", "/check"), ("GET", "/copy"), ("GET", "/reply")],
)
async def test_strangers_publish_and_see_nothing(place: Place, method: str, path: str) -> None:
    url = f"{place.url}/api/streams/publish{path}"
    async with ClientSession() as stranger, stranger.request(method, url, json={}) as answer:
        assert answer.status == 401


async def test_the_form_is_made_from_the_schema(place: Place) -> None:
    _, told = await place.ask("GET", "/publish")
    assert told["schema"] == Message.model_json_schema()
    assert told["draft"]["slip"]["steps"] == list(slip.NEW_TURN)


async def test_every_problem_is_named_at_its_place(place: Place) -> None:
    text = '{"id": "t",\n"session_id": "s s",\n"payload": {"text": "x", "at": 1, "email": 2}}'
    status, told = await place.ask("POST", "/publish/check", text=text)
    places = [(problem["path"], problem["line"]) for problem in told["problems"]]
    assert (status, places) == (422, [("session_id", 2), ("payload.email", 3)])
    assert (await place.ask("POST", "/publish", text=text))[0] == 422


async def test_a_copy_is_written_down_as_asking_for_personal_data(place: Place) -> None:
    offset = await place.bury(turn("k1", f"I am {EMAIL}"))
    copy = f"/publish/copy?topic=mesh.dead_letters&offset={offset}"
    status, told = await place.ask("GET", copy)
    assert (status, told["draft"]["payload"]["text"]) == (200, f"I am {EMAIL}")
    (entry,) = await place.audit(f"mesh.dead_letters {offset}")
    assert (entry.operator, entry.action) == (NAME, "unmask")
    for path, expected in (("topic=mesh.x&offset=1", 404), ("topic=mesh.journal&offset=x", 422)):
        assert (await place.ask("GET", f"/publish/copy?{path}"))[0] == expected


async def test_a_reply_is_masked_unless_asked_for(place: Place) -> None:
    document = json.loads(turn("q1", f"write to {EMAIL}").encode()) | {"session_id": "masked"}
    assert (await place.ask("POST", "/publish", text=json.dumps(document)))[0] == 200

    async def reply() -> Any:
        return (await place.ask("GET", "/publish/reply?session=masked&turn=q1"))[1]["reply"]

    told = await until(reply)
    assert told["state"] == "answered"
    assert EMAIL not in told["response"]
    shown = (await place.ask("GET", "/publish/reply?session=masked&turn=q1&unmask=1"))[1]["reply"]
    assert shown["response"] == f"|write to {EMAIL}"


class TestThePage:
    pytestmark = needs_browser

    @pytest_asyncio.fixture(loop_scope="module")
    async def page(self, place: Place) -> AsyncIterator[Page]:
        async with chromium() as browser:
            yield await signed_in(browser, f"{place.url}/streams/publish", place.settings)

    async def test_a_turn_is_published_from_the_form_and_its_reply_shown(
        self, page: Page, place: Place
    ) -> None:
        session = f"session-{secrets.token_hex(4)}"
        await expect(page.locator("#mark")).to_have_text(f"by hand, by {NAME}")
        await expect(page.get_by_role("button", name="Publish")).to_be_disabled()
        await page.get_by_label("Conversation", exact=True).fill("not an id")
        wrong = page.locator("[id='field-session_id-error']")
        await expect(wrong).to_contain_text("letters, digits")
        await page.get_by_label("Conversation", exact=True).fill(session)
        await expect(wrong).to_be_empty()
        await page.get_by_label("What the customer says").fill("said by hand")
        await expect(page.locator("#preview")).to_contain_text("conversation gets it")
        first = await page.get_by_label("Turn", exact=True).input_value()
        await page.get_by_role("button", name="Publish").press("Enter")
        await expect(page.locator("#sent .answer")).to_have_text("|said by hand")
        # The next is another turn, without doing anything for it.
        await expect(page.get_by_label("Turn", exact=True)).not_to_have_value(first)
        (message,) = await until(lambda: finished(place, session), "the journal having it")
        assert (message.id, message.payload.channel) == (first, "operator")
        assert [(hand.kind, hand.operator) for hand in message.by_hand] == [("published", NAME)]
        (entry,) = await place.audit(f"turn {first} of {session}")
        assert entry.operator == NAME

    async def test_form_and_editor_are_two_views_of_one_message(self, page: Page) -> None:
        editor = page.locator("#editor")
        await page.get_by_label("What the customer says").fill('with "quotes"')
        document = json.loads(await editor.input_value())
        assert document["payload"]["text"] == 'with "quotes"'
        document["payload"] |= {"email": "bo@example.com", "turn": "x"}
        document["slip"]["steps"] = [slip.DECISION_ROUTER, "mesh.nowhere"]
        await editor.fill(json.dumps(document, indent=2))
        await expect(page.get_by_label("The customer's e-mail")).to_have_value("bo@example.com")
        await expect(page.locator(".route-steps li")).to_have_count(2)
        await expect(page.locator("#problems")).to_contain_text("payload.turn")
        document["payload"]["turn"] = 1
        await editor.fill(json.dumps(document, indent=2))
        await expect(page.locator("#route-problems")).to_contain_text("mesh.nowhere")
        await page.get_by_role("button", name="Take nowhere out").click()
        await expect(page.locator("#preview")).to_contain_text("decision router gets it")
        await editor.fill("{")
        await expect(page.locator("#problems")).to_contain_text("Line 1")
        await expect(page.get_by_role("button", name="Publish")).to_be_disabled()

    async def test_a_copy_is_changed_and_published(self, page: Page, place: Place) -> None:
        source = turn("y1", "copied words").model_copy(update={"session_id": "copied"})
        offset = await place.bury(source)
        await page.goto(f"{place.url}/streams/publish?topic=mesh.dead_letters&offset={offset}")
        await expect(page.locator("#notice")).to_contain_text("A copy of mesh.dead_letters")
        await expect(page.get_by_label("What the customer says")).to_have_value("copied words")
        await page.get_by_label("What the customer says").fill("changed words")
        await page.get_by_role("button", name="Publish").click()
        await expect(page.locator("#sent .answer")).to_have_text("|changed words")
        await page.get_by_label("Offset").fill("999999")
        await page.get_by_role("button", name="Copy it").click()
        await expect(page.locator("#notice")).to_contain_text("no record 999999")

    async def test_what_a_message_may_hold_is_listed(self, page: Page) -> None:
        await page.get_by_text("What a message may hold").click()
        row = page.locator("#schema tr", has_text="payload.sentiment.label")
        await expect(row).to_contain_text("positive | neutral | negative")

    @pytest.mark.parametrize("width", [360, 1280])
    async def test_it_fits(self, place: Place, width: int) -> None:
        async with chromium() as browser:
            page = await signed_in(
                browser,
                f"{place.url}/streams/publish",
                place.settings,
                viewport={"width": width, "height": 800},
            )
            await expect(page.locator("#problems, #preview p").first).to_be_attached()
            assert await page.evaluate("document.documentElement.scrollWidth") == width
