"""Conversations for operators: the newest ones, and one over all topics, as it happens."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Final

from aiohttp import web

from streams.inspection.assembly import Known, Mask, conversation
from streams.inspection.recent import recent
from streams.inspection.sequence import mermaid
from streams.inspection.trail import MOST, Trail
from streams.masking import mask
from streams.reply import Progress
from tables.history import journal_offsets
from web.errors import ApiError
from web.events import Events, events
from web.inputs import session_id
from web.operator import operator, operator_page, unmasked
from web.room import ROOM

SETTLE: Final = 0.15  # seconds in which news is collected before another look
LOOK_EVERY: Final = 5.0  # seconds after which we look without news: not everything tells
MOST_ALLOWED: Final = 1_000_000  # records of each topic


def setup(app: web.Application) -> None:
    """Offer the pages and their API."""
    page = operator_page("conversations.html")
    app.router.add_get("/streams/conversation", page)
    app.router.add_get("/streams/conversation/{session}", page)
    app.router.add_get("/api/streams/conversation", newest)
    app.router.add_get("/api/streams/conversation/{session}", whole)
    app.router.add_get("/api/streams/conversation/{session}/live", live)


async def newest(request: web.Request) -> web.Response:
    """`GET /api/streams/conversation`: the sessions of the newest messages."""
    operator(request)
    room = request.app[ROOM]
    found = await recent(room.gateway.client, room.settings.prefix)
    return web.json_response({"sessions": [each.model_dump(mode="json") for each in found]})


async def whole(request: web.Request) -> web.Response:
    """`GET /api/streams/conversation/SESSION`: all of it; `?format=mermaid` as a diagram.

    `?most=N` looks through so many records of each topic, from the newest on.
    """
    operator(request)
    trail, masking = await _asked(request)
    await trail.look()
    found = await asyncio.to_thread(conversation, trail, masking)
    if request.query.get("format") == "mermaid":
        return web.Response(text=mermaid(found), content_type="text/plain", charset="utf-8")
    return web.json_response(text=found.model_dump_json())


async def live(request: web.Request) -> web.StreamResponse:
    """`GET /api/streams/conversation/SESSION/live`: the same as events, while it goes on.

    `conversation` holds all of it but the turns that were told before; their `order` is that of
    their message ids. `progress` says that an actor has begun to work.
    """
    operator(request)
    trail, masking = await _asked(request)
    gateway = request.app[ROOM].gateway
    async with gateway.listen(trail.session_id) as listener:
        await trail.look()
        async with events(request) as page:
            told = _Told(page, trail, masking)
            await told.tell()
            while True:
                due = time.monotonic() + LOOK_EVERY
                with suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(max(0.0, due - time.monotonic())):
                            heard = await anext(listener)
                        if isinstance(heard, Progress):
                            await page.send("progress", heard.model_dump_json())
                        due = min(due, time.monotonic() + SETTLE)
                if await trail.look():
                    await told.tell()
                else:
                    await page.keep_alive()
    return page.response


class _Told:
    """What a page has been told of a conversation: what is as it was is not told again."""

    def __init__(self, page: Events, trail: Trail, masking: Mask | None) -> None:
        self._page = page
        self._trail = trail
        self._masking = masking
        self._known: Known = {}
        self._turns: dict[str, str] = {}

    async def tell(self) -> None:
        """Send what is new; `order` names all turns."""
        found = await asyncio.to_thread(conversation, self._trail, self._masking, self._known)
        turns = {turn.message_id: turn.model_dump_json() for turn in found.turns}
        news = [turn for name, turn in turns.items() if self._turns.get(name) != turn]
        self._turns = turns
        rest = found.model_dump_json(exclude={"turns"})
        order = json.dumps(list(turns))
        await self._page.send(
            "conversation", f'{rest[:-1]},"order":{order},"turns":[{",".join(news)}]}}'
        )


async def _asked(request: web.Request) -> tuple[Trail, Mask | None]:
    """Return the trail that is asked for, and what to put over what people wrote."""
    session = session_id(request.match_info["session"])
    most = request.query.get("most", str(MOST))
    if not (most.isdecimal() and 1 <= int(most) <= MOST_ALLOWED):
        raise ApiError(
            422, "invalid", f"most: must be a number up to {MOST_ALLOWED:,}", field="most"
        )
    room = request.app[ROOM]
    shown = await unmasked(request, f"conversation {session}")
    ends = await asyncio.to_thread(journal_offsets, room.settings.data_dir, session)
    trail = Trail(room.gateway.client, room.settings.prefix, session, most=int(most), ends=ends)
    return trail, None if shown else mask
