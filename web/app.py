"""The web room put together."""

from aiohttp import web

from streams.gateway import Gateway
from streams.observability.tracing import Tracing
from streams.settings import Settings
from web import (
    browse,
    chat,
    conversations,
    dead_letters,
    events,
    health,
    lookout,
    mesh,
    metrics,
    operator,
    publish,
    replay,
    topics,
)
from web.errors import json_errors
from web.room import ROOM, Room, StartReplay, body_limit
from web.security import add_headers
from web.socket import close_all


def create_web(
    settings: Settings,
    gateway: Gateway,
    tracing: Tracing | None = None,
    start_replay: StartReplay | None = None,
) -> web.Application:
    """Return the pages and their API; `gateway` and `tracing` are the caller's to close.

    `start_replay` begins a replay and returns the name of its run; without it pages only show them.
    """
    app = web.Application(middlewares=[json_errors], client_max_size=body_limit(settings))
    app[ROOM] = Room.create(settings, gateway, tracing, start_replay)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(close_all)
    chat.setup(app)
    health.setup(app)
    operator.setup(app)
    metrics.setup(app)
    events.setup(app)
    lookout.setup(app)
    topics.setup(app)
    browse.setup(app)
    conversations.setup(app)
    mesh.setup(app)
    dead_letters.setup(app)
    publish.setup(app)
    replay.setup(app)
    return app
