"""The dead letters' API, in front of a real mesh."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from streams import slip
from streams.slip import RouteSlip
from tests.streams.operators.letters import turn
from tests.web.operators import NAME, bearer
from tests.web.place import EMAIL, Place, running_place

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with running_place(nats_url, tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/1"),
        ("POST", "/1/check"),
        ("POST", "/1/redrive"),
        ("POST", "/1/aside"),
        ("POST", "/preview"),
    ],
)
async def test_strangers_see_and_change_nothing(place: Place, method: str, path: str) -> None:
    async with (
        ClientSession() as stranger,
        stranger.request(method, f"{place.url}/api/streams/deadletters{path}", json={}) as answer,
    ):
        assert answer.status == 401


async def test_personal_data_is_masked_unless_asked_for_and_asking_is_audited(
    place: Place,
) -> None:
    offset = await place.bury(turn("m1", f"mail me at {EMAIL}"), f"refused for {EMAIL}")
    for path in ("", f"/{offset}"):
        status, told = await place.ask("GET", f"/deadletters{path}")
        assert (status, told["masked"]) == (200, True)
        assert EMAIL not in json.dumps(told)
    assert await place.audit(f"dead letter {offset}") == []
    status, told = await place.ask("GET", f"/deadletters/{offset}?unmask=1")
    assert (status, told["masked"]) == (200, False)
    assert told["text"] == f"mail me at {EMAIL}"
    # Who goes on looking is written down once in a while, and others for themselves.
    await place.ask("GET", f"/deadletters/{offset}?unmask=1")
    (entry,) = await place.audit(f"dead letter {offset}")
    assert (entry.operator, entry.action) == (NAME, "unmask")
    path = f"{place.url}/api/streams/deadletters/{offset}?unmask=1"
    async with ClientSession(headers=bearer(place.settings, "Tom")) as tom, tom.get(path):
        pass
    assert [each.operator for each in await place.audit(f"dead letter {offset}")] == [NAME, "Tom"]


async def test_letters_are_filtered_and_wrong_filters_said(place: Place) -> None:
    offset = await place.bury(turn("f1"), "a very special reason")
    _, told = await place.ask("GET", "/deadletters?reason=very+SPECIAL")
    assert [letter["offset"] for letter in told["letters"]] == [offset]
    assert (await place.ask("GET", f"/deadletters?before={offset}"))[1]["letters"] != told[
        "letters"
    ]
    assert (await place.ask("GET", "/deadletters?since=2026-01-02T00:00:00Z&reason=special"))[1][
        "letters"
    ]
    for wrong in ("since=soon", "before=x", "before=-1", "since=2026-01-02T00:00:00"):
        status, told = await place.ask("GET", f"/deadletters?{wrong}")
        assert (status, told["error"]["field"]) == (422, wrong.partition("=")[0])
    assert (await place.ask("GET", "/deadletters/999999"))[0] == 404


async def test_a_check_names_every_problem_at_its_place_and_sends_nothing(place: Place) -> None:
    offset = await place.bury(turn("c1"))
    status, told = await place.ask("POST", f"/deadletters/{offset}/check")
    assert (status, told["steps"], told["seen"]) == (200, list(slip.NEW_TURN), 0)
    text = turn("c1").encode().decode().replace('"text":"hello"', '\n"text":7')
    status, told = await place.ask("POST", f"/deadletters/{offset}/check", text=text)
    assert (status, told["problems"][0]["path"], told["problems"][0]["line"]) == (
        422,
        "payload.text",
        2,
    )
    assert await place.audit(f"dead letter {offset}") == []


async def test_a_whole_message_may_be_longer_than_a_chats(place: Place) -> None:
    long = turn("l1", "long " * 60_000)
    offset = await place.bury(long)
    text = long.encode().decode()
    assert (await place.ask("POST", f"/deadletters/{offset}/check", text=text))[0] == 200


async def test_who_comes_second_is_told_who_was_first(place: Place) -> None:
    offset = await place.bury(turn("w1", slip=RouteSlip(steps=("mesh.conversation",) * 2)))
    assert (await place.ask("POST", f"/deadletters/{offset}/redrive", seen=0))[0] == 200
    status, told = await place.ask("POST", f"/deadletters/{offset}/redrive", seen=0)
    assert (status, told["error"]["code"]) == (409, "already_redriven")
    assert NAME in told["error"]["message"]
    assert (await place.ask("POST", f"/deadletters/{offset}/redrive"))[0] == 422


async def test_a_preview_tells_of_each_letter_what_would_become_of_it(place: Place) -> None:
    well, ill = await place.bury(turn("p1")), await place.bury(b"?")
    _, told = await place.ask("POST", "/deadletters/preview", letters=[well, ill, 999_999])
    assert [plan["ok"] for plan in told["plans"]] == [True, False, False]
    assert "edit it first" in told["plans"][1]["problem"]


async def test_a_letter_is_set_aside_with_a_reason(place: Place) -> None:
    offset = await place.bury(turn("a1"))
    assert (await place.ask("POST", f"/deadletters/{offset}/aside", note=""))[0] == 422
    assert (await place.ask("POST", f"/deadletters/{offset}/aside", note="known"))[0] == 200
    _, told = await place.ask("GET", f"/deadletters/{offset}")
    assert (told["became"], told["aside"]["operator"], told["aside"]["note"]) == (
        "set aside",
        NAME,
        "known",
    )
