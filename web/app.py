"""The web room put together."""

from aiohttp import web

from streams.gateway import Gateway
from streams.settings import Settings
from web import chat, dead_letters, health, metrics, operator, topics
from web.errors import json_errors
from web.room import ROOM, Room, body_limit
from web.security import add_headers
from web.socket import close_all


def create_web(settings: Settings, gateway: Gateway) -> web.Application:
    """Return the pages and their API; starting and closing `gateway` is the caller's."""
    app = web.Application(middlewares=[json_errors], client_max_size=body_limit(settings))
    app[ROOM] = Room.create(settings, gateway)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(close_all)
    chat.setup(app)
    health.setup(app)
    operator.setup(app)
    metrics.setup(app)
    topics.setup(app)
    dead_letters.setup(app)
    return app
