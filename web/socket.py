"""The chat's WebSocket: hello, welcome, then messages one way, progress and replies the other.

Whatever a client sends, it gets an answer and the socket stays open; only a client that does not
say who it is within a few seconds, or that guesses tokens, is sent away.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any, Final

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMessage, WSMsgType, web

from streams.errors import GatewayUnavailable
from streams.message import ID_PATTERN
from streams.reply import Progress, Reply
from web.errors import ApiError, unavailable
from web.inbox import Inbox, inbox
from web.inputs import Hello, Say, read, read_json
from web.room import ROOM, Room, body_limit, watch_key, with_human
from web.security import require_same_origin
from web.session import Holder
from web.signed import BadToken

log = logging.getLogger(__name__)

HELLO_WITHIN: Final = 20.0  # seconds
HELLO_TRIES: Final = 5
BROKER_WITHIN: Final = 8.0  # seconds
HEARTBEAT: Final = 30.0  # seconds
#: Frames up to this size are told that they are too large; larger ones close the socket.
MAX_FRAME: Final = 2 * 1024 * 1024

_ID = re.compile(ID_PATTERN)


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """`GET /ws`."""
    require_same_origin(request)
    room = request.app[ROOM]
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_FRAME)
    await socket.prepare(request)
    room.sockets.add(socket)
    with suppress(ClientConnectionResetError):  # they left while we were writing
        await Visit(room, socket).receive()
    return socket


async def close_all(app: web.Application) -> None:
    """Tell every client that this process goes away (an `on_shutdown` signal)."""
    sockets = list(app[ROOM].sockets)
    await asyncio.gather(
        *(s.close(code=WSCloseCode.GOING_AWAY, message=b"restarting") for s in sockets)
    )


class Visit:
    """One socket, from the first frame to the last."""

    def __init__(self, room: Room, socket: web.WebSocketResponse) -> None:
        self._room = room
        self._socket = socket
        self._stack = AsyncExitStack()
        self._patience = asyncio.timeout(HELLO_WITHIN)
        self._bad_tokens = 0
        self._holder: Holder | None = None
        self._inbox: Inbox | None = None
        self._answered: set[str] = set()  # messages whose reply this socket has had
        self._waiting: set[str] = set()  # watch keys of turns whose reply it waits for
        self._with_human = False

    async def receive(self) -> None:
        """Answer frames until the client leaves."""
        try:
            async with self._stack:
                box = await self._welcomed()
                if box is None:
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION)
                    return
                teller = asyncio.create_task(self._tell(box))
                try:
                    async for frame in self._socket:
                        await self._answer(frame)
                finally:
                    teller.cancel()
                    await asyncio.wait({teller})
        finally:
            self._room.watch.forget(self._waiting)

    async def _welcomed(self) -> Inbox | None:
        """Answer frames until a hello succeeds; None if it takes too long or they leave."""
        try:
            async with self._patience:
                async for frame in self._socket:
                    await self._answer(frame)
                    if self._inbox is not None or self._bad_tokens >= HELLO_TRIES:
                        break
        except TimeoutError:
            return None
        return self._inbox

    async def _answer(self, frame: WSMessage) -> None:
        message_id = None
        try:
            value = _content(frame, body_limit(self._room.settings))
            message_id = _proposed_id(value)
            await self._handlers(value.get("type"))(value)
        except ApiError as error:
            await self._complain(error, message_id)
        except (GatewayUnavailable, TimeoutError):
            await self._complain(unavailable(), message_id)
        except ClientConnectionResetError:
            raise
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("a WebSocket frame failed, reference %s", reference)
            text = f"Something went wrong on our side (reference {reference}). Please try again."
            await self._complain(ApiError(500, "internal", text), message_id)

    def _handlers(self, kind: Any) -> Callable[[dict[str, Any]], Coroutine[Any, Any, None]]:
        match kind:
            case "hello":
                return self._hello
            case "message":
                return self._message
            case "ping":
                return self._ping
        raise ApiError(400, "bad_frame", "type: must be hello, message or ping", field="type")

    async def _hello(self, value: dict[str, Any]) -> None:
        if self._holder is not None:
            raise ApiError(409, "bad_frame", "You have said hello already.")
        hello = read(Hello, value, self._room.settings.max_text)
        holder = self._identify(hello.token)
        self._patience.reschedule(asyncio.get_running_loop().time() + HELLO_WITHIN)
        async with AsyncExitStack() as opening, asyncio.timeout(BROKER_WITHIN):
            # Listen first, then read back: so nothing falls between the two.
            box = await opening.enter_async_context(
                inbox(self._room.gateway, holder.session_id, hello.after)
            )
            missed = await box.missed()
            self._stack.push_async_exit(opening.pop_all())
        self._holder, self._inbox = holder, box
        self._note(missed)
        await self._socket.send_json(
            {
                "type": "welcome",
                "session_id": holder.session_id,
                "replies": [reply.model_dump(mode="json") for reply in missed],
            }
        )

    def _identify(self, token: str) -> Holder:
        try:
            return self._room.sessions.read(token)
        except BadToken:
            self._bad_tokens += 1
            text = "This token is not valid. Get one from POST /api/session."
            raise ApiError(401, "unauthorized", text) from None

    async def _message(self, value: dict[str, Any]) -> None:
        if self._holder is None or self._inbox is None:
            raise ApiError(401, "unauthorized", "Say hello with your token first.")
        said = read(Say, value, self._room.settings.max_text)
        if said.message_id not in self._answered:
            turn = self._room.turn(self._holder, said.text, said.message_id, "websocket")
            with self._room.about(turn, "WebSocket message"):
                async with asyncio.timeout(BROKER_WITHIN):
                    await self._room.gateway.send(turn)
            self._inbox.expect()
            self._expect(turn.session_id, turn.id)
        await self._socket.send_json({"type": "accepted", "message_id": said.message_id})

    async def _ping(self, value: dict[str, Any]) -> None:
        """Answer a page's own ping: a browser's script cannot see the protocol's."""
        await self._socket.send_json({"type": "pong"})

    async def _tell(self, box: Inbox) -> None:
        """Pass on what the mesh says; close the socket if that ends, the client comes again."""
        try:
            async with aclosing(box.news()) as news:
                async for item in news:
                    if isinstance(item, Reply):
                        self._note([item])
                    await self._socket.send_json(_frame(item))
            await self._socket.close(code=WSCloseCode.GOING_AWAY)
        except ClientConnectionResetError:
            pass  # they left; the reader sees it too
        except Exception:
            log.exception("the news of a WebSocket ended")
            await self._socket.close(code=WSCloseCode.INTERNAL_ERROR)

    def _expect(self, session_id: str, message_id: str) -> None:
        # The reply may have overtaken us; and a human answers when it suits.
        if message_id not in self._answered and not self._with_human:
            key = watch_key(session_id, message_id)
            self._waiting.add(key)
            self._room.watch.sent(key)

    def _note(self, replies: list[Reply]) -> None:
        for reply in replies:
            self._answered.add(reply.message_id)
            key = watch_key(reply.session_id, reply.message_id)
            self._waiting.discard(key)
            self._room.watch.answered(key)
        self._with_human = with_human(replies, before=self._with_human)

    async def _complain(self, error: ApiError, message_id: str | None) -> None:
        frame: dict[str, Any] = {
            "type": "error",
            "code": error.code,
            "message": error.message,
        }
        optional = {
            "message_id": message_id,
            "field": error.field,
            "retry_after": error.retry_after,
        }
        frame |= {name: told for name, told in optional.items() if told is not None}
        await self._socket.send_json(frame)


def _content(frame: WSMessage, limit: int) -> dict[str, Any]:
    """Return the JSON object in a frame, or raise the error that says what it is instead."""
    if frame.type is not WSMsgType.TEXT:
        raise ApiError(400, "bad_frame", "Only text frames with JSON are understood.")
    if len(frame.data) > limit:
        raise ApiError(413, "too_large", "This frame is too large.")
    value = read_json(frame.data)
    if not isinstance(value, dict):
        raise ApiError(400, "bad_frame", "A frame must be a JSON object.")
    return value


def _proposed_id(value: dict[str, Any]) -> str | None:
    """Return the message id in a frame that may be wrong otherwise, for the error to name."""
    proposed = value.get("message_id")
    return proposed if isinstance(proposed, str) and _ID.match(proposed) else None


def _frame(item: Reply | Progress) -> dict[str, Any]:
    if isinstance(item, Reply):
        return item.model_dump(mode="json")
    return {"type": "progress", "message_id": item.message_id, "actor": item.actor}
