"""What the pages of one process share."""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Final, Literal, Self
from weakref import WeakSet

from aiohttp import web

from streams.gateway import Gateway
from streams.message import Message
from streams.observability.logs import about
from streams.observability.tracing import Tracing, root
from streams.payload import Payload
from streams.replay.request import ReplayRequest
from streams.reply import Reply
from streams.settings import Settings
from web.errors import ApiError
from web.limits import RateLimit
from web.session import Holder, Sessions, UnknownSession
from web.turns import TurnWatch

STATIC: Final = Path(__file__).parent / "static"
DAY: Final = 86_400.0

StartReplay = Callable[[ReplayRequest], Awaitable[str]]


@dataclass
class Room:
    """The settings, the way into the mesh, and what this process remembers meanwhile."""

    settings: Settings
    gateway: Gateway
    sessions: Sessions
    limit: RateLimit
    watch: TurnWatch
    tracing: Tracing | None = None
    start_replay: StartReplay | None = None
    """Begins a replay and returns the name of its run; None where replays cannot be begun."""
    sockets: WeakSet[web.WebSocketResponse] = field(default_factory=WeakSet)

    @classmethod
    def create(
        cls,
        settings: Settings,
        gateway: Gateway,
        tracing: Tracing | None,
        start_replay: StartReplay | None = None,
    ) -> Self:
        """Return the room for these settings."""
        return cls(
            settings,
            gateway,
            # Past the time that replies are kept a token would find nothing to read.
            Sessions(settings.signing_key(), lifetime=settings.reply_days * DAY),
            RateLimit(settings.turns_per_minute),
            TurnWatch(settings.turn_timeout),
            tracing,
            start_replay,
        )

    def enter(self, session_id: str | None, email: str) -> Holder:
        """Return the session that was asked for, or a new one; 404 if it is not this person's."""
        if session_id is None:
            return Holder(self.sessions.open(email), email)
        try:
            self.sessions.check(session_id, email)
        except UnknownSession:
            raise unknown_session() from None
        return Holder(session_id, email)

    def turn(
        self,
        holder: Holder,
        text: str,
        message_id: str | None,
        channel: Literal["http", "websocket"],
    ) -> Message:
        """Return a new turn of the holder's session, or the error for one turn too many."""
        message_id = message_id or secrets.token_hex(12)
        wait = ceil(self.limit.take(holder.session_id, message_id))
        if wait > 0:
            most = self.settings.turns_per_minute
            raise ApiError(
                429,
                "rate_limited",
                f"That was more than {most} messages in a minute. "
                f"Please wait {wait} second{'s' if wait > 1 else ''}.",
                retry_after=wait,
                also={"session_id": holder.session_id, "message_id": message_id},
            )
        payload = Payload(text=text, email=holder.email, at=datetime.now(UTC), channel=channel)
        return Message(id=message_id, session_id=holder.session_id, payload=payload)

    @contextmanager
    def about(self, turn: Message, name: str) -> Iterator[None]:
        """Work for `turn`: log lines say so, and its trace begins with a span of this name.

        Whatever trace a browser or program claims to be in is its own affair.
        """
        attributes = {
            "mesh.session": turn.session_id,
            "mesh.turn": turn.id,
            "mesh.channel": turn.payload.channel,
        }
        with (
            about(turn.session_id, turn.id, "web"),
            root(self.tracing, name, "server", attributes),
        ):
            yield


ROOM: Final = web.AppKey("room", Room)


def watch_key(session_id: str, message_id: str) -> str:
    """Return what the turn is called in the watch: message ids are unique in a session only."""
    return f"{session_id}/{message_id}"


def with_human(replies: list[Reply], before: bool = False) -> bool:
    """Say whether a human has the conversation, who answers when it suits, not in seconds."""
    if not replies:
        return before
    return replies[-1].state == "escalated" or replies[-1].author == "human"


def body_limit(settings: Settings) -> int:
    r"""Return how many bytes a request or frame may have: the longest text, all in \uXXXX pairs."""
    return max(65_536, settings.max_text * 12 + 4096)


def unknown_session() -> ApiError:
    """Return the error for a session that is not there, or not this person's."""
    return ApiError(
        404,
        "unknown_session",
        "There is no such conversation. Start a new one.",
        field="session_id",
    )
