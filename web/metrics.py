"""`/metrics` of the pages: requests, open sockets, turns that wait for their reply.

For Prometheus, which sends the metrics' token, and for operators who are signed in.
"""

import asyncio
import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.aiohttp import make_aiohttp_handler

from streams.observability.metrics import BUCKETS, PATH, Children, may_scrape, new_registry
from web.errors import ApiError
from web.events import OPEN
from web.operator import operator
from web.room import ROOM, Room

LEFT: Final = 499  # as proxies log it: whoever asked did not wait for the answer
UNKNOWN: Final = "none"  # the route of a request to an address that there is not


def setup(app: web.Application) -> None:
    """Measure every request from here on, and offer `/metrics`."""
    app[ROOM].settings.metrics_bearer()  # in its file: Prometheus reads that before it asks
    registry = new_registry()
    _watch_room(app[ROOM], registry)
    Gauge(
        "mesh_event_streams", "Pages of operators that are told of news.", registry=registry
    ).set_function(lambda: len(app[OPEN]))
    # Outside of what turns errors into answers: it is the answer's status that counts.
    app.middlewares.insert(0, _measure(registry))
    answer = make_aiohttp_handler(registry)

    async def metrics(request: web.Request) -> web.StreamResponse:
        _require_reader(request)
        return await answer(request)

    app.router.add_get(PATH, metrics)


def _require_reader(request: web.Request) -> None:
    if may_scrape(request.app[ROOM].settings, request.headers.get("Authorization", "")):
        return
    try:
        operator(request)
    except web.HTTPFound:
        # A scraper would follow to the login page and complain of its HTML.
        text = "This needs `Authorization: Bearer` with the metrics' token, or a login at /login."
        raise ApiError(401, "unauthorized", text) from None


def _watch_room(room: Room, registry: CollectorRegistry) -> None:
    """Offer what the room knows anyway: looked at when it is asked for."""

    def gauge(name: str, says: str) -> Gauge:
        return Gauge(name, says, registry=registry)

    gauge("mesh_sockets", "Open WebSockets.").set_function(
        lambda: sum(not socket.closed for socket in room.sockets)
    )
    gauge("mesh_broker_connected", "1: the message broker is there.").set_function(
        lambda: float(room.gateway.connected)
    )
    gauge("mesh_turns_waiting", "Turns whose reply somebody waits for.").set_function(
        lambda: room.watch.look().waiting
    )
    gauge("mesh_turns_late", "Turns of the last minute without a reply in time.").set_function(
        lambda: room.watch.look().late
    )


def _measure(registry: CollectorRegistry) -> Middleware:
    labels = ("method", "route")
    requests = Children(
        Counter("mesh_http_requests", "Answers.", (*labels, "status"), registry=registry)
    )
    seconds = Children(
        Histogram(
            "mesh_http_request_seconds",
            "Time of answers, but for WebSockets and event streams.",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )
    )

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        status = 500
        response: web.StreamResponse | None = None
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as answer:
            status = answer.status
            raise
        except asyncio.CancelledError:
            status = LEFT
            raise
        finally:
            resource = request.match_info.route.resource
            known = request.match_info.http_exception is None and resource is not None
            # The pattern, never the path: that may hold a session's id, or anything.
            route = resource.canonical if known and resource else UNKNOWN
            method = request.method if known else UNKNOWN
            requests[method, route, str(status)].inc()
            if status != LEFT and not _stays_open(response):
                seconds[method, route].observe(time.perf_counter() - started)
        return response

    return measure


def _stays_open(response: web.StreamResponse | None) -> bool:
    """Say whether an answer lasts for as long as somebody looks: its time says nothing."""
    return isinstance(response, web.WebSocketResponse) or (
        response is not None and response.content_type == "text/event-stream"
    )
