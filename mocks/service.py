"""What the three shop services have in common: errors, JSON in and out, keys, health.

A change is an ordinary function from a checked body to a document. Around it, in one place, stand
the rules of the contract: the body is checked, a repeated Idempotency-Key is answered with the
first answer, and whatever goes wrong becomes `{"error": {"code", "message"}}`.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import BaseModel, ConfigDict, ValidationError

from mocks.store import Answer, KeyReused, Store
from mocks.units import utc_now

Clock = Callable[[], datetime]

KEY_HEADER = "Idempotency-Key"
REPLAY_HEADER = "Idempotent-Replay"
MAX_KEY_LENGTH = 255

STORE = web.AppKey("store", Store)
CLOCK: web.AppKey[Clock] = web.AppKey("clock")

log = logging.getLogger(__name__)


class ShopError(Exception):
    """Something the shop says no to; the text is for the caller to read."""

    status = 500
    code = "unavailable"


class NotFound(ShopError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class Conflict(ShopError):
    """The thing is there, but not in a state in which this can be done."""

    status = 409
    code = "conflict"


class Invalid(ShopError):
    """The request itself is wrong."""

    status = 422
    code = "invalid"


class Body(BaseModel):
    """The body of a request: an unknown field is a mistake that the caller wants to hear of."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True)
class Visit:
    """What a change may use: the store, the time, and the ids in the path."""

    store: Store
    now: datetime
    ids: Mapping[str, str]


_B = TypeVar("_B", bound=Body)
Read = Callable[[web.Request, Store], object]
Change = Callable[[Visit, _B], object]


def error_body(code: str, message: str) -> str:
    """Return the body of every error."""
    return json.dumps({"error": {"code": code, "message": message}})


def error_response(status: int, code: str, message: str) -> web.Response:
    """Return an error as a response."""
    return _json(status, error_body(code, message))


def unavailable(request: web.Request) -> web.Response:
    """Return the answer of a service that is down for the moment."""
    return error_response(503, "unavailable", "The service is unavailable for the moment.")


def order_number(text: str) -> str:
    """Return an order id as the shop writes it, from one with or without its `#`."""
    return "#" + text.strip().lstrip("#").upper()


def query(request: web.Request, name: str) -> str:
    """Return a parameter of the address that must be there."""
    value = request.query.get(name, "").strip()
    if not value:
        raise Invalid(f"{name}: this parameter is missing")
    return value


def create_service(
    name: str, path: Path, *, clock: Clock = utc_now, middlewares: tuple[Middleware, ...] = ()
) -> web.Application:
    """Return an application without routes yet, whose store opens when it starts."""
    app = web.Application(middlewares=[*middlewares, _speak_json])
    app[CLOCK] = clock

    async def open_store(app: web.Application) -> AsyncIterator[None]:
        app[STORE] = Store(path)
        yield
        app[STORE].close()

    app.cleanup_ctx.append(open_store)
    add_health(app, name)
    return app


def add_health(app: web.Application, name: str) -> None:
    """Add `GET /health`."""

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": name})

    app.router.add_get("/health", health)


def add_read(app: web.Application, path: str, read: Read) -> None:
    """Add a `GET` route; `read` returns the document to answer with."""

    async def handle(request: web.Request) -> web.Response:
        return _json(200, _dump(read(request, request.app[STORE])))

    app.router.add_get(path, handle)


def add_change(
    app: web.Application,
    method: str,
    path: str,
    model: type[_B],
    change: Change[_B],
    *,
    status: int = 200,
) -> None:
    """Add a route that changes something, at most once for each Idempotency-Key."""

    async def handle(request: web.Request) -> web.Response:
        store = request.app[STORE]
        raw = await request.read()
        key = request.headers.get(KEY_HEADER, "").strip() or None
        if key is not None and len(key) > MAX_KEY_LENGTH:
            raise Invalid(f"{KEY_HEADER}: longer than {MAX_KEY_LENGTH} characters")
        visit = Visit(store, request.app[CLOCK](), request.match_info)

        def work() -> Answer:
            try:
                with store.attempt():
                    return Answer(status, _dump(change(visit, _checked(model, raw))))
            except ShopError as no:
                # A "no" is an answer too, and the same key gets the same "no" again.
                return Answer(no.status, error_body(no.code, str(no)))

        # `/orders/%23W1` and `/orders/W1` are one path.
        scope = f"{request.method} {request.path.replace('#', '')}"
        try:
            answer, repeated = store.once(scope, key, _canonical(raw), work)
        except KeyReused:
            raise Invalid(f"{KEY_HEADER}: this key came with another body before") from None
        return _json(answer.status, answer.body, {REPLAY_HEADER: "true"} if repeated else None)

    app.router.add_route(method, path, handle)


@web.middleware
async def _speak_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every failure into the contract's error."""
    try:
        return await handler(request)
    except ShopError as no:
        return error_response(no.status, no.code, str(no))
    except web.HTTPException as no:
        code = "not_found" if no.status == 404 else "invalid"
        return error_response(no.status, code, f"{request.method} {request.path}: {no.reason}")
    except Exception:
        # Ours, not the caller's: they get the answer of a broken service, we get the traceback.
        log.exception("%s %s failed", request.method, request.path)
        return unavailable(request)


def _checked(model: type[_B], raw: bytes) -> _B:
    """Return a body that fits its model, or say which field does not."""
    try:
        content: Any = json.loads(raw) if raw.strip() else {}
    except ValueError as error:
        raise Invalid(f"body: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise Invalid("body: a JSON object is expected")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}"
            for one in error.errors(include_url=False)
        ]
        raise Invalid("; ".join(problems)) from None


def _canonical(raw: bytes) -> str:
    """Return a body so that two bodies which say the same are the same text."""
    try:
        return json.dumps(json.loads(raw) if raw.strip() else {}, sort_keys=True)
    except ValueError:
        return repr(raw)


def _dump(document: object) -> str:
    """Return a document as it travels."""
    return json.dumps(document)


def _json(status: int, body: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON response."""
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)
