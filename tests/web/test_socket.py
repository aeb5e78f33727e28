import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from streams.gateway import Gateway, Listener
from streams.reply import Reply
from streams.settings import Settings
from tests.waiting import until
from tests.web import responder as mesh
from tests.web.conftest import EMAIL, Clients, Socket, Web
from tests.web.responder import Responder
from web import create_web


async def test_replies_over_websocket_arrive_because_somebody_listens_on_their_subject(
    client: Web, responder: Responder
) -> None:
    session_id, token = await client.session()
    socket = await client.socket(token)
    assert socket.welcome == {"type": "welcome", "session_id": session_id, "replies": []}
    await socket.say("hello", "m-1")
    assert (await socket.receive("accepted"))["message_id"] == "m-1"
    reply = await socket.receive("reply")
    assert (reply["message_id"], reply["response"], reply["sequence"]) == ("m-1", "HELLO", 1)
    turn = responder.turns[0]
    assert (turn.session_id, turn.payload.email, turn.payload.channel) == (
        session_id,
        EMAIL,
        "websocket",
    )


async def test_the_actors_at_work_are_named_while_they_work(
    client: Web, responder: Responder
) -> None:
    _, token = await client.session()
    socket = await client.socket(token)
    responder.pause = 0.05
    await socket.say("hello", "m-1")
    progress = [frame for frame in await socket.until_reply() if frame["type"] == "progress"]
    assert progress == [
        {"type": "progress", "message_id": "m-1", "actor": actor} for actor in mesh.ROUTE
    ]


async def test_a_reconnect_misses_no_reply_and_repeats_none(
    client: Web, responder: Responder
) -> None:
    session_id, token = await client.session()
    socket = await client.socket(token)
    await socket.say("one", "m-1")
    seen = [await socket.receive("reply")]
    responder.going_on.clear()
    await socket.say("two", "m-2")
    await socket.receive("accepted")
    await socket.close()
    responder.going_on.set()
    await until(lambda: len(responder.replies[session_id]) == 2)
    await responder.publish(responder.next_reply(session_id, "h-1", "a human", author="human"))

    socket = await client.socket(token, after=seen[-1]["sequence"])
    seen += socket.welcome["replies"]
    for number, text in enumerate(("three", "four"), start=3):
        await socket.say(text, f"m-{number}")
        seen.append(await socket.receive("reply"))
    assert [reply["response"] for reply in seen] == ["ONE", "TWO", "a human", "THREE", "FOUR"]
    assert [reply["sequence"] for reply in seen] == [1, 2, 3, 4, 5]


async def test_reconnecting_again_and_again_under_load_shows_each_reply_once(
    client: Web, responder: Responder
) -> None:
    _, token = await client.session()
    seen: list[dict[str, Any]] = []
    sent = 0

    async def come_and_go() -> bool:
        nonlocal sent
        socket = await client.socket(token, after=len(seen))
        for _ in range(3):
            if sent < 30:
                await socket.say(f"text {sent}", f"m-{sent}")
                await socket.receive("accepted")
                sent += 1
        # Leave at an arbitrary moment, with replies on their way.
        with suppress(TimeoutError):
            while True:
                await socket.next(0.02)
        await socket.close()
        seen.extend(socket.replies)
        return len(seen) >= 30

    await until(come_and_go, "all replies being seen")
    assert [reply["sequence"] for reply in seen] == list(range(1, 31))


async def test_a_reply_that_comes_twice_is_passed_on_once(
    client: Web, responder: Responder
) -> None:
    _, token = await client.session()
    socket = await client.socket(token)
    await socket.say("one", "m-1")
    reply = Reply(**await socket.receive("reply"))
    await responder.publish(reply.model_copy(update={"message_id": "copy"}))
    await responder.publish(
        responder.next_reply(reply.session_id, "next", "another", sequence=reply.sequence + 1)
    )
    assert (await socket.receive("reply"))["response"] == "another"


async def test_a_reply_that_was_not_heard_is_read_back_before_the_next(
    client: Web, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, token = await client.session()
    socket = await client.socket(token)
    deaf, missed = True, 0
    hear = Listener._on_reply

    async def on_reply(self: Listener, message: Any) -> None:
        nonlocal missed
        if deaf:
            missed += 1
        else:
            await hear(self, message)

    monkeypatch.setattr(Listener, "_on_reply", on_reply)
    socket = await client.socket(token)
    await responder.publish(responder.next_reply(session_id, "a", "first"))
    await until(lambda: missed)
    deaf = False
    await responder.publish(responder.next_reply(session_id, "b", "second"))
    assert (await socket.receive("reply"))["response"] == "first"
    assert (await socket.receive("reply"))["response"] == "second"
    deaf = True
    await responder.publish(responder.next_reply(session_id, "c", "third"))
    # Nothing follows: silence alone makes the socket look.
    assert (await socket.receive("reply"))["response"] == "third"


async def test_two_tabs_with_two_sessions_do_not_hear_each_other(
    client: Web, responder: Responder
) -> None:
    (_, one), (_, two) = await client.session(), await client.session()
    left, right = await client.socket(one), await client.socket(two)
    for socket, text, message_id in (
        (left, "left", "m-1"),
        (right, "right", "m-2"),
        (left, "left again", "m-3"),
    ):
        await socket.say(text, message_id)
        frames = await socket.until_reply()
        assert frames[-1]["response"] == text.upper()
        assert {frame["message_id"] for frame in frames} == {message_id}


async def test_two_tabs_with_one_session_both_see_the_reply(
    client: Web, responder: Responder
) -> None:
    _, token = await client.session()
    left, right = await client.socket(token), await client.socket(token)
    await left.say("hello", "m-1")
    assert (await left.receive("reply"))["response"] == "HELLO"
    assert (await right.receive("reply"))["response"] == "HELLO"


async def test_a_message_sent_again_is_accepted_again_and_worked_on_once(
    client: Web, responder: Responder
) -> None:
    _, token = await client.session()
    socket = await client.socket(token)
    for _ in range(3):
        await socket.say("hello", "m-1")
    await socket.receive("reply")
    await socket.say("hello", "m-1")
    assert (await socket.receive("accepted", "reply"))["type"] == "accepted"
    again = await client.socket(token)
    await again.say("hello", "m-1")
    assert (await again.receive("accepted"))["message_id"] == "m-1"
    assert len(responder.turns) == 1


FRAMES: list[tuple[str | bytes, str]] = [
    ("", "not_json"),
    ("hello", "not_json"),
    ("[" * 50_000, "not_json"),
    ("[]", "bad_frame"),
    ("null", "bad_frame"),
    ("{}", "bad_frame"),
    ('{"type": "shout"}', "bad_frame"),
    ('{"type": ["message"]}', "bad_frame"),
    (b"\x00\x01", "bad_frame"),
    ('{"type": "hello", "token": "x"}', "bad_frame"),
    ('{"type": "message"}', "invalid"),
    ('{"type": "message", "message_id": "m", "text": ""}', "invalid"),
    ('{"type": "message", "message_id": "m", "text": "\\u0000"}', "invalid"),
    ('{"type": "message", "message_id": "m", "text": "\\ud800"}', "invalid"),
    ('{"type": "message", "message_id": "m", "text": 5}', "invalid"),
    ('{"type": "message", "message_id": "m", "text": null}', "invalid"),
    ('{"type": "message", "message_id": "no way", "text": "hi"}', "invalid"),
    ('{"type": "message", "message_id": 5, "text": "hi"}', "invalid"),
    ('{"type": "message", "text": "hi"}', "invalid"),
    (json.dumps({"type": "message", "message_id": "m", "text": "x" * 4001}), "invalid"),
    (json.dumps({"type": "message", "message_id": "m", "text": "x" * 1_000_000}), "too_large"),
]


@pytest.mark.parametrize(("frame", "code"), FRAMES, ids=range(len(FRAMES)))
async def test_a_bad_frame_gets_an_error_and_the_socket_stays_open(
    client: Web, responder: Responder, frame: str | bytes, code: str
) -> None:
    _, token = await client.session()
    socket = await client.socket(token)
    if isinstance(frame, bytes):
        await socket.raw.send_bytes(frame)
    else:
        await socket.raw.send_str(frame)
    error = await socket.next()
    assert (error["type"], error["code"]) == ("error", code)
    assert error["message"]
    if code == "invalid" and '"message_id": "m"' in str(frame):
        assert (error["message_id"], error["field"]) == ("m", "text")
    await socket.say("first", "ok")
    assert (await socket.receive("reply"))["response"] == "FIRST"
    assert [turn.payload.text for turn in responder.turns] == ["first"]


@pytest.mark.parametrize("after", [-1, 1.5, "1", None, 2**60])
async def test_hello_with_a_bad_place_says_so(client: Web, after: Any) -> None:
    _, token = await client.session()
    socket = Socket(await client.http.ws_connect("/ws"))
    await socket.send(type="hello", token=token, after=after)
    assert (await socket.next())["field"] == "after"
    await socket.send(type="hello", token=token)
    assert (await socket.next())["type"] == "welcome"


async def test_nothing_is_done_before_a_valid_hello(client: Web, responder: Responder) -> None:
    session_id, token = await client.session()
    socket = Socket(await client.http.ws_connect("/ws"))
    await socket.say("hi", "m-1")
    assert (await socket.next())["code"] == "unauthorized"
    for forged in ("", session_id, token + "x", token.swapcase()):
        await socket.send(type="hello", token=forged)
        assert (await socket.next())["code"] == "unauthorized"
    await socket.send(type="hello", token=token)
    assert (await socket.next())["type"] == "welcome"
    assert responder.turns == []


async def test_who_guesses_tokens_is_sent_away(client: Web) -> None:
    socket = Socket(await client.http.ws_connect("/ws"))
    for n in range(5):
        await socket.send(type="hello", token=f"guess {n}")
        assert (await socket.next())["code"] == "unauthorized"
    assert (await socket.raw.receive(timeout=30)).type is WSMsgType.CLOSE
    assert socket.raw.close_code == 1008


async def test_who_never_says_hello_is_sent_away(
    client: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.socket.HELLO_WITHIN", 0.2)
    socket = Socket(await client.http.ws_connect("/ws"))
    assert (await socket.raw.receive(timeout=30)).type is WSMsgType.CLOSE


async def test_a_token_opens_its_own_session_and_no_other(
    client: Web, responder: Responder
) -> None:
    _, theirs = await client.chat("secret")
    session_id, token = await client.session("other@example.com")
    socket = Socket(await client.http.ws_connect("/ws"))
    await socket.send(type="hello", token=token, session_id=theirs["session_id"], after=0)
    assert (await socket.next()) == {"type": "welcome", "session_id": session_id, "replies": []}


async def test_a_socket_from_another_site_is_refused(client: Web) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.http.ws_connect("/ws", headers={"Origin": "https://elsewhere.example"})
    assert refused.value.status == 403
    ours = f"http://{client.http.host}:{client.http.port}"
    await (await client.http.ws_connect("/ws", headers={"Origin": ours})).close()


async def test_a_ping_is_answered(client: Web) -> None:
    _, token = await client.session()
    socket = await client.socket(token)
    await socket.send(type="ping")
    assert await socket.next() == {"type": "pong"}


async def test_sockets_are_told_when_the_process_ends(
    settings: Settings, gateway: Gateway, aiohttp_client: Clients
) -> None:
    test_client = await aiohttp_client(create_web(settings, gateway))
    client = Web(test_client)
    _, token = await client.session()
    socket = await client.socket(token)
    closing = asyncio.create_task(test_client.server.close())
    assert (await socket.raw.receive(timeout=30)).type is WSMsgType.CLOSE
    assert socket.raw.close_code == 1001
    await closing
