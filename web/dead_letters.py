"""The dead letters' page, and its API: find them, look at them, mend them, send them on."""

from datetime import UTC, datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import AwareDatetime, Field

from streams.masking import mask, mask_text
from streams.operators.draft import BadDraft, is_answered
from streams.operators.fates import as_json, fates
from streams.operators.letters import Letter, NoLetter, Wanted, find, read
from streams.operators.redrive import AlreadyRedriven, Change, edited, plan, redrive, set_aside
from streams.payload import Json
from web.drafts import MOST_TEXT, ROUTING, refused
from web.errors import ApiError
from web.inputs import Input
from web.inputs import read as read_input
from web.operator import body, operator, operator_page, unmasked
from web.room import ROOM

MOST_AT_ONCE: Final = 200  # letters in one preview


_Moment = Annotated[AwareDatetime | None, Field(strict=False)]


class Filters(Input):
    """`GET /api/streams/deadletters`: which letters; times are ISO 8601."""

    reason: str = ""
    topic: str = ""
    since: _Moment = None
    until: _Moment = None


class Changed(Input):
    """What to change in a letter before it goes on; nothing: it goes on where it was."""

    text: str | None = None
    steps: list[str] | None = None
    on_error: str | None = None

    def change(self) -> Change:
        """Return it as the redrive takes it."""
        return Change(text=self.text, steps=self.steps, on_error=self.on_error)


class Sent(Changed):
    """`POST …/redrive`: `seen` is how often the letter was redriven when the operator looked."""

    seen: int = Field(ge=0)


class Aside(Input):
    """`POST …/aside`: why nothing is to be done about a letter."""

    note: str = Field(min_length=1, max_length=500)


class Many(Changed):
    """`POST …/preview`: what would become of these letters."""

    letters: list[int] = Field(max_length=MOST_AT_ONCE)


def setup(app: web.Application) -> None:
    """Offer the page and its API."""
    base = "/api/streams/deadletters"
    app.router.add_get("/streams/deadletters", operator_page("dead_letters.html"))
    app.router.add_get(base, listed)
    app.router.add_post(f"{base}/preview", preview)
    app.router.add_get(f"{base}/{{letter:\\d+}}", shown)
    app.router.add_post(f"{base}/{{letter:\\d+}}/check", check)
    app.router.add_post(f"{base}/{{letter:\\d+}}/redrive", send)
    app.router.add_post(f"{base}/{{letter:\\d+}}/aside", aside)


async def listed(request: web.Request) -> web.Response:
    """`GET /api/streams/deadletters?reason=&topic=&since=&until=&before=`: newest first."""
    operator(request)
    unmask = await unmasked(request, "dead letters")
    query = dict(request.query)
    before = _number(query.pop("before", ""), "before")
    room = request.app[ROOM]
    filters = read_input(Filters, query, MOST_TEXT)
    page = await find(
        room.gateway.client, room.settings, Wanted(**filters.model_dump()), before=before
    )
    told = await fates(room.gateway.client, room.settings, page.letters)
    letters = [as_json(letter, fate) for letter, fate in zip(page.letters, told, strict=True)]
    return web.json_response(
        {
            "letters": letters if unmask else mask(letters),
            "before": page.before,
            "looked": page.looked,
            "masked": not unmask,
            **ROUTING,
        }
    )


async def shown(request: web.Request) -> web.Response:
    """`GET /api/streams/deadletters/N`: a letter whole, with the routes that it may be given."""
    operator(request)
    letter = await _letter(request)
    unmask = await unmasked(request, letter.target)
    room = request.app[ROOM]
    (fate,) = await fates(room.gateway.client, room.settings, [letter])
    told = as_json(letter, fate)
    headers = {name: value.decode(errors="replace") for name, value in letter.headers}
    value = letter.text()
    return web.json_response(
        {
            **(told if unmask else mask(told)),
            "key": letter.key.decode(errors="replace") if letter.key is not None else None,
            "headers": headers if unmask else mask(headers),
            "value": value if unmask else mask_text(value),
            "route": _travelled(letter),
            "masked": not unmask,
            **ROUTING,
        }
    )


async def check(request: web.Request) -> web.Response:
    """`POST …/N/check`: say what would be sent, or 422 with all that is wrong and where."""
    asks = operator(request)
    changed = read_input(Changed, await body(request), MOST_TEXT)
    letter = await _letter(request)
    return web.json_response(await _plan(request, letter, changed.change(), asks.name))


async def preview(request: web.Request) -> web.Response:
    """`POST …/preview`: say of each of many letters what would be sent, or why nothing could."""
    asks = operator(request)
    many = read_input(Many, await body(request), MOST_TEXT)
    room = request.app[ROOM]
    plans = []
    for offset in many.letters:
        try:
            letter = await read(room.gateway.client, room.settings, offset)
            told = await _plan(request, letter, many.change(), asks.name)
            plans.append({"ok": True, **told})
        except NoLetter as error:
            plans.append({"letter": offset, "ok": False, "problem": str(error)})
        except ApiError as error:
            plans.append({"letter": offset, "ok": False, "problem": error.message})
    return web.json_response({"plans": plans})


async def send(request: web.Request) -> web.Response:
    """`POST …/N/redrive`: send a letter on; 409 if somebody else did meanwhile."""
    asks = operator(request)
    sent = read_input(Sent, await body(request), MOST_TEXT)
    room = request.app[ROOM]
    letter = int(request.match_info["letter"])
    try:
        done = await redrive(
            room.gateway.client, room.settings, asks.name, letter, sent.change(), seen=sent.seen
        )
    except AlreadyRedriven as error:
        raise ApiError(409, "already_redriven", f"{error}. Nothing was sent.") from error
    except NoLetter as error:
        raise ApiError(404, "not_found", str(error)) from error
    except BadDraft as bad:
        raise refused(bad) from bad
    return web.json_response(
        {
            "letter": letter,
            "attempt": done.attempt,
            "topic": done.topic,
            "offset": done.offset,
            "session_id": done.message.session_id,
        }
    )


async def aside(request: web.Request) -> web.Response:
    """`POST …/N/aside`: say that nothing is to be done about a letter; it stays."""
    asks = operator(request)
    note = read_input(Aside, await body(request), MOST_TEXT).note
    letter, room = await _letter(request), request.app[ROOM]
    await set_aside(room.gateway.client, room.settings, asks.name, letter.offset, note)
    return web.json_response({"letter": letter.offset})


async def _letter(request: web.Request) -> Letter:
    room = request.app[ROOM]
    try:
        return await read(room.gateway.client, room.settings, int(request.match_info["letter"]))
    except NoLetter as error:
        raise ApiError(404, "not_found", f"{error}.") from error


async def _plan(request: web.Request, letter: Letter, change: Change, name: str) -> Json:
    room = request.app[ROOM]
    (fate,) = await fates(room.gateway.client, room.settings, [letter])
    seen = len(fate.redrives)
    try:
        message = plan(letter, change, name, seen + 1, datetime.now(UTC))
    except BadDraft as bad:
        raise refused(bad) from bad
    return {
        "letter": letter.offset,
        "session_id": message.session_id,
        "turn": message.id,
        "steps": list(message.slip.steps),
        "on_error": message.slip.on_error,
        "answered": is_answered(message.slip),
        "edited": edited(letter, message),
        "seen": seen,
        "again": seen > 0,
    }


def _travelled(letter: Letter) -> Json | None:
    """Return where the letter's message was and where it was to go; None for unread bytes."""
    if letter.message is None:
        return None
    return {
        "done": [{"actor": hop.actor, "outcome": hop.outcome} for hop in letter.message.trace],
        "steps": list(letter.message.slip.steps),
        "on_error": letter.message.slip.on_error,
    }


def _number(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise ApiError(422, "invalid", f"{name}: must be a whole number from 0", field=name)
    return int(text)
