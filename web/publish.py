"""Publishing by hand: the page with its form, and the API behind it."""

from datetime import UTC, datetime

from aiohttp import web

from streams.masking import mask
from streams.message import Message
from streams.operators.audit import Entry, append
from streams.operators.draft import BadDraft, is_answered
from streams.operators.publish import NoRecord, blank, copied, publish, reply_to, sealed
from streams.payload import Json
from web.drafts import MOST_TEXT, ROUTING, refused
from web.errors import ApiError
from web.inputs import Input, read
from web.operator import body, operator, operator_page, unmasked
from web.room import ROOM


class Draft(Input):
    """`POST /api/streams/publish`: the whole message, as a text of JSON."""

    text: str


def setup(app: web.Application) -> None:
    """Offer the page and its API."""
    base = "/api/streams/publish"
    app.router.add_get("/streams/publish", operator_page("publish.html"))
    app.router.add_get(base, form)
    app.router.add_post(base, send)
    app.router.add_post(f"{base}/check", check)
    app.router.add_get(f"{base}/copy", copy)
    app.router.add_get(f"{base}/reply", reply)


async def form(request: web.Request) -> web.Response:
    """`GET /api/streams/publish`: what the form is made of, and a message to begin with."""
    operator(request)
    return web.json_response(
        {
            "schema": Message.model_json_schema(),
            "draft": blank(),
            **ROUTING,
        }
    )


async def check(request: web.Request) -> web.Response:
    """`POST …/check`: say where the message would go, or 422 with all that is wrong and where."""
    asks = operator(request)
    draft = read(Draft, await body(request), MOST_TEXT)
    try:
        message = sealed(draft.text, asks.name, datetime.now(UTC))
    except BadDraft as bad:
        raise refused(bad) from bad
    return web.json_response(_told(message))


async def send(request: web.Request) -> web.Response:
    """`POST /api/streams/publish`: publish; the same turn's id again is published once."""
    asks = operator(request)
    draft = read(Draft, await body(request), MOST_TEXT)
    room = request.app[ROOM]
    try:
        done = await publish(room.gateway.client, room.settings, asks.name, draft.text)
    except BadDraft as bad:
        raise refused(bad) from bad
    return web.json_response(
        {**_told(done.message), "offset": done.offset, "repeated": done.repeated}
    )


async def copy(request: web.Request) -> web.Response:
    """`GET …/copy?topic=T&offset=N`: a message to publish, copied from one that is there.

    A copy to be published needs its personal data; asking for it is written down.
    """
    asks = operator(request)
    room = request.app[ROOM]
    topic, offset = request.query.get("topic", ""), request.query.get("offset", "")
    if not (offset.isascii() and offset.isdigit() and 0 < len(offset) < 17):
        raise ApiError(422, "invalid", "offset: must be a whole number from 0", field="offset")
    try:
        draft = await copied(room.gateway.client, room.settings, topic, int(offset))
    except NoRecord as error:
        raise ApiError(404, "not_found", f"{error}.") from error
    entry = Entry(
        operator=asks.name,
        action="unmask",
        target=f"{topic} {int(offset)}",
        detail={"for": "a copy to publish"},
    )
    await append(room.gateway.client, room.settings, entry)
    return web.json_response({"draft": draft})


async def reply(request: web.Request) -> web.Response:
    """`GET …/reply?session=S&turn=T`: what a turn was answered; null if nothing yet."""
    operator(request)
    room = request.app[ROOM]
    session, turn = request.query.get("session", ""), request.query.get("turn", "")
    unmask = await unmasked(request, f"replies of {session}")
    found = await reply_to(room.gateway.client, room.settings, session, turn)
    told = found.model_dump(mode="json") if found else None
    return web.json_response({"reply": told if unmask else mask(told)})


def _told(message: Message) -> Json:
    return {
        "session_id": message.session_id,
        "turn": message.id,
        "topic": message.slip.steps[0],
        "steps": list(message.slip.steps),
        "answered": is_answered(message.slip),
    }
