"""The mesh as a live graph, and one conversation followed through it as it hops."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from streams.gateway import Gateway
from streams.inspection.mesh import MeshObserver, MeshView, next_turn
from streams.inspection.overview import Overview
from streams.reply import Progress, Reply
from web.events import Events, events
from web.inputs import session_id
from web.lookout import FRESH, LOOKOUT
from web.operator import operator, operator_page
from web.room import ROOM


class Watch:
    """Looks at the mesh at most once a second, however many pages are open."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = asyncio.Lock()
        self._observer: MeshObserver | None = None
        self._seen: tuple[float, MeshView] | None = None

    async def look(self, overview: Overview) -> MeshView:
        """Return the graph; GatewayUnavailable while the broker is away."""
        async with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] >= FRESH:
                if self._observer is None:
                    self._observer = MeshObserver(self._gateway.client, self._gateway.settings)
                self._seen = time.monotonic(), await self._observer.look(overview)
            return self._seen[1]


WATCH: Final = web.AppKey("mesh_watch", Watch)


def setup(app: web.Application) -> None:
    """Offer the page and its API."""
    app[WATCH] = Watch(app[ROOM].gateway)
    app.router.add_get("/streams/mesh", operator_page("mesh.html"))
    app.router.add_get("/api/streams/mesh", graph)
    app.router.add_get("/api/streams/mesh/live", follow)


async def graph(request: web.Request) -> web.Response:
    """`GET /api/streams/mesh`: actors and the ways between them, with rates, times and lag."""
    operator(request)
    seen = await request.app[WATCH].look(await request.app[LOOKOUT].look())
    return web.json_response(text=seen.model_dump_json())


async def follow(request: web.Request) -> web.StreamResponse:
    """`GET /api/streams/mesh/live?session=`: a session's hops as events.

    Without a session: that of the next turn that begins. `session` names it, `progress` says that
    an actor has begun to work, `reply` that a turn has ended.
    """
    operator(request)
    gateway = request.app[ROOM].gateway
    asked = request.query.get("session")
    session = None if asked is None else session_id(asked)
    begun: list[Progress] = []
    async with events(request) as page, AsyncExitStack() as stack:
        if session is None:
            async with next_turn(gateway.client, gateway.settings.prefix) as turn:
                session, begun = await page.wait(turn.session()), turn.progress
                listener = await stack.enter_async_context(gateway.listen(session))
        else:
            listener = await stack.enter_async_context(gateway.listen(session))
        await page.send("session", {"session_id": session})
        for heard in begun:
            await _tell(page, heard)
        known = {(heard.message_id, heard.hop) for heard in begun}
        while True:
            news = await page.wait(anext(listener))
            if isinstance(news, Reply) or (news.message_id, news.hop) not in known:
                await _tell(page, news)
    return page.response


async def _tell(page: Events, news: Progress | Reply) -> None:
    told = {"message_id", "actor", "hop", "state"}
    await page.send(news.type, news.model_dump(mode="json", include=told))
