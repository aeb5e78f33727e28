"""The chat: its page, and the API for programs that talk to the mesh without a page."""

import asyncio
from contextlib import aclosing
from typing import Any

from aiohttp import web

from streams.errors import GatewayUnavailable
from streams.message import Message
from streams.reply import Reply
from web.errors import ApiError, unavailable
from web.inbox import inbox
from web.inputs import MAX_SEQUENCE, ChatRequest, SessionRequest, read, read_json
from web.room import ROOM, STATIC, Room, unknown_session, watch_key, with_human
from web.security import require_same_origin
from web.session import Holder
from web.signed import BadToken
from web.socket import websocket


def setup(app: web.Application) -> None:
    """Offer the page, its files, the API and the WebSocket."""
    app.router.add_get("/", page)
    app.router.add_static("/static", STATIC)
    app.router.add_post("/api/session", open_session)
    app.router.add_post("/api/chat", chat)
    app.router.add_get("/api/chat/{session_id}/replies", replies)
    app.router.add_get("/ws", websocket)


async def page(request: web.Request) -> web.StreamResponse:
    """`GET /`: the chat page."""
    return web.FileResponse(STATIC / "chat.html")


async def open_session(request: web.Request) -> web.Response:
    """`POST /api/session`: open a session, or come back to one, and get its token."""
    require_same_origin(request)
    room = request.app[ROOM]
    asked = read(SessionRequest, await _body(request), room.settings.max_text)
    holder = room.enter(asked.session_id, asked.email)
    token = room.sessions.token(holder.session_id, holder.email)
    return web.json_response({"session_id": holder.session_id, "token": token})


async def chat(request: web.Request) -> web.Response:
    """`POST /api/chat`: say something and wait for the reply."""
    require_same_origin(request)
    room = request.app[ROOM]
    asked = read(ChatRequest, await _body(request), room.settings.max_text)
    holder = room.enter(asked.session_id, asked.email)
    message = room.turn(holder, asked.message, asked.message_id, "http")
    with room.about(message, "POST /api/chat"):
        reply = await _turn(room, message, new_session=asked.session_id is None)
    return web.json_response(_answer(reply))


async def replies(request: web.Request) -> web.Response:
    """`GET /api/chat/{session_id}/replies?after=N`: read back a session's replies."""
    room = request.app[ROOM]
    holder = _bearer(request, room)
    if holder.session_id != request.match_info["session_id"]:
        raise unknown_session()
    after = request.query.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 17) or int(after) > MAX_SEQUENCE:
        raise ApiError(422, "invalid", "after: must be a whole number from 0", field="after")
    found = await room.gateway.replies(holder.session_id, int(after))
    return web.json_response(
        {
            "session_id": holder.session_id,
            "replies": [reply.model_dump(mode="json") for reply in found],
        }
    )


async def _turn(room: Room, message: Message, *, new_session: bool) -> Reply:
    """Send `message` and return its reply, also if it was sent and answered before."""
    key = watch_key(message.session_id, message.id)
    accepted = False
    try:
        async with (
            asyncio.timeout(room.settings.turn_timeout),
            inbox(room.gateway, message.session_id, 0) as box,
            aclosing(box.news()) as news,
        ):
            earlier = [] if new_session else await box.missed()
            for reply in reversed(earlier):  # a redriven turn is answered again
                if reply.message_id == message.id:
                    return reply
            await room.gateway.send(message)
            accepted = True
            if not with_human(earlier):
                room.watch.sent(key)
            async for item in news:
                if isinstance(item, Reply) and item.message_id == message.id:
                    room.watch.answered(key)
                    return item
    except (GatewayUnavailable, TimeoutError):
        if accepted:
            room.watch.gave_up(key)
            raise _late(room, message) from None
    # The ids let the client send the very same turn again.
    room.watch.forget([key])
    raise unavailable(also={"session_id": message.session_id, "message_id": message.id})


def _late(room: Room, message: Message) -> ApiError:
    """Return the error for a reply that takes too long, with the way to get it later."""
    email = message.payload.email or ""
    return ApiError(
        504,
        "late",
        "Your message was accepted, but its reply takes longer than usual. It is not lost: "
        "fetch it later as `fetch` says, or send the same message_id again.",
        also={
            "session_id": message.session_id,
            "message_id": message.id,
            "fetch": {
                "method": "GET",
                "path": f"/api/chat/{message.session_id}/replies?after=0",
                "headers": {
                    "Authorization": f"Bearer {room.sessions.token(message.session_id, email)}"
                },
            },
        },
    )


def _answer(reply: Reply) -> dict[str, Any]:
    kept = {
        "session_id",
        "message_id",
        "response",
        "state",
        "intent",
        "sentiment",
        "route",
        "actions",
    }
    return reply.model_dump(mode="json", include=kept)


async def _body(request: web.Request) -> Any:
    return read_json(await request.read())


def _bearer(request: web.Request, room: Room) -> Holder:
    """Return who the request's `Authorization: Bearer …` says it is; 401 if nobody."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise BadToken
        return room.sessions.read(token.strip())
    except BadToken:
        message = "This needs `Authorization: Bearer` with a token from POST /api/session."
        raise ApiError(401, "unauthorized", message) from None
