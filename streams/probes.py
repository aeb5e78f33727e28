"""What an orchestrator asks a worker: whether it lives, and whether it is ready.

On Faust's own web server, which is up before the group is joined and the tables are read back.
No token: the answers say nothing about anybody.
"""

from typing import Any, Final

import faust
import faust.web
from aiohttp import web

from streams.bridge.consumer import Consumer

LIVE: Final = "/health/live"
READY: Final = "/health/ready"


def setup(app: faust.App) -> None:
    """Offer `/health/live` and `/health/ready` on the worker's port."""

    @app.page(LIVE, name="live")
    async def live(view: faust.web.View, request: Any) -> Any:
        # That the event loop comes to answer is all: a worker that reads its tables back, waits
        # for NATS or has lost its partitions would only begin anew if it were killed.
        return web.json_response({"status": "alive"})

    @app.page(READY, name="ready")
    async def ready(view: faust.web.View, request: Any) -> Any:
        if reason := unready(app):
            return web.json_response({"status": "unready", "reasons": [reason]}, status=503)
        return web.json_response({"status": "ready"})


def unready(app: faust.App) -> str | None:
    """Return why the worker does not work on turns just now; None if it does.

    One that was assigned nothing, as there are more workers than partitions, is ready to step in.
    """
    if app.should_stop:
        return "It is stopping."
    if not app.started:
        return "It is starting."
    if app.in_recovery:
        return "It reads its tables back."
    if app.rebalancing:
        return "The group shares out its partitions."
    if not isinstance(app.consumer, Consumer) or app.consumer.generation is None:
        return "It has no share of the partitions yet."
    return None
