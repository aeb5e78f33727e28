import asyncio
import json
import re
from typing import Any

import pytest

from streams.message import ID_PATTERN
from streams.settings import Settings
from tests.waiting import until
from tests.web.conftest import EMAIL, Clients, Web
from tests.web.responder import Responder
from web import create_web
from web.inputs import clean

KEYS = {
    "session_id",
    "message_id",
    "response",
    "state",
    "intent",
    "sentiment",
    "route",
    "actions",
}


async def test_a_message_gets_its_reply(client: Web, responder: Responder) -> None:
    status, body = await client.chat("hello")
    assert status == 200
    assert set(body) == KEYS
    assert (body["response"], body["state"]) == ("HELLO", "answered")
    assert re.match(ID_PATTERN, body["session_id"])
    turn = responder.turns[0]
    assert (turn.payload.text, turn.payload.email, turn.payload.channel) == ("hello", EMAIL, "http")
    assert turn.payload.at.utcoffset() is not None


async def test_a_session_goes_on(client: Web, responder: Responder) -> None:
    _, first = await client.chat("one")
    status, second = await client.chat("two", session_id=first["session_id"], email=EMAIL.upper())
    assert (status, second["response"]) == (200, "TWO")
    assert second["session_id"] == first["session_id"]
    assert [turn.session_id for turn in responder.turns] == [first["session_id"]] * 2


async def test_the_same_message_sent_again_is_harmless_and_gets_the_same_reply(
    client: Web, responder: Responder
) -> None:
    session_id, _ = await client.session()
    bodies = [
        (await client.chat("hello", session_id=session_id, message_id="m-1"))[1] for _ in range(3)
    ]
    together = await asyncio.gather(
        *(client.chat("again", session_id=session_id, message_id="m-2") for _ in range(5))
    )
    assert bodies[0] == bodies[1] == bodies[2]
    assert [status for status, _ in together] == [200] * 5
    assert len({body["response"] for _, body in together}) == 1
    assert [turn.id for turn in responder.turns] == ["m-1", "m-2"]


async def test_a_turn_that_was_answered_again_has_its_last_reply(
    client: Web, responder: Responder
) -> None:
    session_id, _ = await client.session()
    for text in ("an apology", "the reply to the redriven turn"):
        await responder.publish(responder.next_reply(session_id, "m1", text))
    status, told = await client.chat("hello", session_id=session_id, message_id="m1")
    assert (status, told["response"]) == (200, "the reply to the redriven turn")
    assert responder.turns == []


async def test_two_sessions_may_use_the_same_message_id(client: Web, responder: Responder) -> None:
    _, first = await client.chat("one", message_id="1")
    _, second = await client.chat("two", message_id="1")
    assert (first["response"], second["response"]) == ("ONE", "TWO")
    assert first["session_id"] != second["session_id"]


async def test_many_sessions_at_once_each_get_their_own_reply(
    client: Web, responder: Responder
) -> None:
    answers = await asyncio.gather(*(client.chat(f"customer {n}") for n in range(30)))
    assert [body["response"] for _, body in answers] == [f"CUSTOMER {n}" for n in range(30)]


BAD = [
    ({"message": "", "email": EMAIL}, 422, "message"),
    ({"message": " \n\t ", "email": EMAIL}, 422, "message"),
    ({"message": "\x00\x07", "email": EMAIL}, 422, "message"),
    ({"message": "\u200b\u2060", "email": EMAIL}, 422, "message"),
    ({"message": "x" * 4001, "email": EMAIL}, 422, "message"),
    ({"message": 7, "email": EMAIL}, 422, "message"),
    ({"message": None, "email": EMAIL}, 422, "message"),
    ({"message": ["hi"], "email": EMAIL}, 422, "message"),
    ({"message": {"text": "hi"}, "email": EMAIL}, 422, "message"),
    ({"message": "\ud800", "email": EMAIL}, 422, "message"),
    ({"email": EMAIL}, 422, "message"),
    ({"message": "hi"}, 422, "email"),
    ({"message": "hi", "email": ""}, 422, "email"),
    ({"message": "hi", "email": "nobody"}, 422, "email"),
    ({"message": "hi", "email": "a@b"}, 422, "email"),
    ({"message": "hi", "email": "a b@example.com"}, 422, "email"),
    ({"message": "hi", "email": "A <a@example.com>"}, 422, "email"),
    ({"message": "hi", "email": "a@example.com\r\nBcc: b@example.com"}, 422, "email"),
    ({"message": "hi", "email": "x" * 300 + "@example.com"}, 422, "email"),
    ({"message": "hi", "email": 1}, 422, "email"),
    ({"message": "hi", "email": EMAIL, "session_id": 5}, 422, "session_id"),
    ({"message": "hi", "email": EMAIL, "session_id": "s1"}, 404, "session_id"),
    ({"message": "hi", "email": EMAIL, "session_id": ""}, 404, "session_id"),
    ({"message": "hi", "email": EMAIL, "session_id": "*.>"}, 404, "session_id"),
    ({"message": "hi", "email": EMAIL, "message_id": "no spaces"}, 422, "message_id"),
    ({"message": "hi", "email": EMAIL, "message_id": "x" * 65}, 422, "message_id"),
    ({"message": "hi", "email": EMAIL, "message_id": ""}, 422, "message_id"),
    ({"message": "hi", "email": EMAIL, "message_id": 5}, 422, "message_id"),
    ([], 422, None),
    ("hi", 422, None),
    (None, 422, None),
]


@pytest.mark.parametrize(("body", "status", "field"), BAD)
async def test_bad_input_is_refused_with_the_field_and_goes_nowhere(
    client: Web, responder: Responder, body: Any, status: int, field: str | None
) -> None:
    async with client.http.post("/api/chat", data=json.dumps(body)) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error.get("field")) == (status, field)
        assert error["message"]
    # What came after it is the first that the mesh hears of.
    await client.chat("first")
    assert [turn.payload.text for turn in responder.turns] == ["first"]


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"{", b'{"message": "hi",}', b"\xff\xfe\x00", b"[" * 60_000, b"9" * 5000],
)
async def test_what_is_not_json_is_a_bad_request(client: Web, body: bytes) -> None:
    async with client.http.post("/api/chat", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "not_json"


async def test_a_megabyte_is_too_large(client: Web) -> None:
    status, body = await client.chat("x" * 1_000_000)
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_the_longest_text_is_not_too_large_however_it_is_written(
    client: Web, responder: Responder
) -> None:
    text = "\U0001f600" * 4000  # twelve bytes each as JSON escapes
    status, _ = await client.chat(text)
    assert status == 200
    assert responder.turns[0].payload.text == text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "'; DROP TABLE sessions; --",
        "{{7*7}} ${jndi:ldap://x} %s %n",
        "naïve 日本語 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u202ertl",
        "two\nlines\tand a tab",
    ],
)
async def test_text_is_just_text(client: Web, responder: Responder, text: str) -> None:
    responder.script[text] = {"response": text}
    status, body = await client.chat(text)
    assert (status, body["response"]) == (200, text)
    assert responder.turns[0].payload.text == text


def test_control_characters_are_taken_out_and_line_ends_made_plain() -> None:
    assert clean(" a\x00b\x1b[31m\r\nc\rd\x85\x7f\te ") == "ab[31m\nc\nd\te"


async def test_another_persons_session_is_unknown(client: Web, responder: Responder) -> None:
    session_id, _ = await client.session("owner@example.com")
    for email in ("other@example.com", "owner@example.co"):
        status, body = await client.chat("hi", email=email, session_id=session_id)
        assert (status, body["error"]["code"]) == (404, "unknown_session")
        async with client.http.post(
            "/api/session", json={"email": email, "session_id": session_id}
        ) as answer:
            assert answer.status == 404
    assert responder.turns == []


async def test_coming_back_to_a_session_gives_a_token_for_it(client: Web) -> None:
    session_id, _ = await client.session()
    async with client.http.post(
        "/api/session", json={"email": EMAIL, "session_id": session_id}
    ) as answer:
        told = await answer.json()
    assert set(told) == {"session_id", "token"}
    assert told["session_id"] == session_id


async def test_a_late_reply_is_fetched_later(
    settings: Settings, gateway: Any, responder: Responder, aiohttp_client: Clients
) -> None:
    hasty = settings.model_copy(update={"turn_timeout": 0.5})
    client = Web(await aiohttp_client(create_web(hasty, gateway)))
    responder.going_on.clear()
    status, body = await client.chat("slow", message_id="m-1")
    responder.going_on.set()
    assert (status, body["message_id"], body["error"]["code"]) == (504, "m-1", "late")
    fetch = body["fetch"]
    await until(lambda: bool(responder.replies))
    status, later = await client.get(fetch["path"], headers=fetch["headers"])
    assert (status, later["session_id"]) == (200, body["session_id"])
    assert [reply["response"] for reply in later["replies"]] == ["SLOW"]
    after = fetch["path"].replace("after=0", "after=1")
    assert (await client.get(after, headers=fetch["headers"]))[1]["replies"] == []


async def test_replies_are_read_by_their_owner_only(client: Web, responder: Responder) -> None:
    _, mine = await client.chat("secret")
    path = f"/api/chat/{mine['session_id']}/replies"
    _, other_token = await client.session("other@example.com")
    assert (await client.get(path))[0] == 401
    for credential in ("Bearer x.y", "Basic abc", "Bearer", other_token):
        assert (await client.get(path, headers={"Authorization": credential}))[0] == 401
    headers = {"Authorization": f"Bearer {other_token}"}
    assert (await client.get(path, headers=headers))[0] == 404


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "", "9" * 30, "٣"])
async def test_a_bad_place_to_read_from_is_named(client: Web, after: str) -> None:
    session_id, token = await client.session()
    status, body = await client.get(
        f"/api/chat/{session_id}/replies",
        params={"after": after},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (status, body["error"]["field"]) == (422, "after")


async def test_too_many_messages_in_a_minute_have_to_wait(
    settings: Settings, gateway: Any, responder: Responder, aiohttp_client: Clients
) -> None:
    strict = settings.model_copy(update={"turns_per_minute": 2})
    client = Web(await aiohttp_client(create_web(strict, gateway)))
    session_id, token = await client.session()
    for n in range(2):
        assert (await client.chat("hi", session_id=session_id, message_id=f"m{n}"))[0] == 200
    async with client.http.post(
        "/api/chat", json={"message": "hi", "email": EMAIL, "session_id": session_id}
    ) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert (await client.chat("hi", session_id=session_id, message_id="m0"))[0] == 200
    assert (await client.chat("hi"))[0] == 200  # somebody else

    socket = await client.socket(token)
    await socket.say("one more", "m9")
    error = await socket.receive("error")
    assert (error["code"], error["message_id"]) == ("rate_limited", "m9")
    assert 0 < error["retry_after"] <= 60
    assert len(responder.turns) == 3


async def test_a_browser_on_another_site_is_refused(client: Web) -> None:
    body = {"message": "hi", "email": EMAIL}
    for path in ("/api/chat", "/api/session"):
        for origin in ("https://elsewhere.example", "null", "http://[", "file://"):
            async with client.http.post(path, json=body, headers={"Origin": origin}) as answer:
                assert answer.status == 403
    ours = f"http://{client.http.host}:{client.http.port}"
    async with client.http.post("/api/session", json=body, headers={"Origin": ours}) as answer:
        assert answer.status == 200
