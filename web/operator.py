"""Who may look into the mesh: operators, who sign in with the mesh's token and their own name.

A page keeps a signed cookie; a program sends the token itself with each request. The name is what
the audit shows: everybody who has the token may choose it, so it tells colleagues apart and proves
nothing.
"""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Final
from urllib.parse import quote

from aiohttp import web
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from streams.operators.audit import Entry, append
from streams.settings import Settings
from web.address import client_address
from web.errors import ApiError
from web.inputs import Input, read, read_json
from web.limits import RateLimit
from web.room import ROOM, STATIC
from web.security import require_same_origin
from web.signed import BadToken, Signer

COOKIE: Final = "mesh_operator"
SIGNED_IN_FOR: Final = 12 * 3600.0  # seconds: a working day
TRIES_PER_MINUTE: Final = 10  # different tokens that one address may try
PROGRAM: Final = "token"  # who a program is that names nobody
MAX_NAME: Final = 64  # characters
LARGEST_BODY: Final = 4 * 1024 * 1024  # bytes
ASKED_AGAIN: Final = 300.0  # seconds after which looking at personal data is written down again

_NOT_IT: Final = "This is not the operators' token."


@dataclass(frozen=True)
class Operator:
    """Who asks, as the audit names them."""

    name: str


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise PydanticCustomError("empty", "must say who you are")
    if len(name) > MAX_NAME or not name.isprintable():
        raise PydanticCustomError(
            "name",
            "must be at most {most} characters that can be read",
            {"most": MAX_NAME},
        )
    return name


class SignIn(Input):
    """`POST /api/operator`."""

    token: str
    name: Annotated[str, AfterValidator(_named)]


class Named(Input):
    """The name in a program's `X-Operator`."""

    name: Annotated[str, AfterValidator(_named)]


class Door:
    """Checks tokens and cookies. Signed cookies end when the token changes."""

    def __init__(self, settings: Settings, signer: Signer) -> None:
        self._token = settings.operators_token()
        self._signer = signer
        self._purpose = b"operator " + hashlib.sha256(self._token).hexdigest().encode()
        self._tries = RateLimit(TRIES_PER_MINUTE)
        #: When who last asked for personal data of what, by this process's clock.
        self.asked: dict[tuple[str, str], float] = {}

    def check(self, token: str, address: str) -> None:
        """Raise ApiError unless `token` is right: 401, or 429 after too many different ones."""
        given = token.strip().encode(errors="surrogateescape")
        # Who shows the right token, or one and the same wrong one, a thousand times has tried one.
        wait = self._tries.take(address, self._signer.code(b"tried", given).hex())
        if wait > 0:
            raise ApiError(
                429,
                "rate_limited",
                f"Too many wrong tokens were tried. Please wait {ceil(wait)} seconds.",
                retry_after=ceil(wait),
            )
        if not self._token or not hmac.compare_digest(given, self._token):
            raise ApiError(401, "unauthorized", _NOT_IT, field="token")

    def cookie(self, operator: Operator) -> str:
        """Return the cookie's value for an operator who showed the token."""
        return self._signer.token(self._purpose, [operator.name], SIGNED_IN_FOR)

    def holder(self, cookie: str) -> Operator:
        """Return who holds `cookie`; BadToken if it is not valid now."""
        return Operator(*self._signer.read(self._purpose, cookie))


DOOR: Final = web.AppKey("door", Door)


def setup(app: web.Application) -> None:
    """Offer the login page, and signing in and out."""
    settings = app[ROOM].settings
    app[DOOR] = Door(settings, Signer(settings.signing_key()))
    app.router.add_get("/login", login_page)
    app.router.add_post("/api/operator", sign_in)
    app.router.add_get("/api/operator", who)
    app.router.add_delete("/api/operator", sign_out)


def operator(request: web.Request) -> Operator:
    """Return which operator asks.

    For anybody else: pages (`/streams…`) lead to the login, and the API (`/api/…`) raises
    ApiError 401. Also refuses a browser that acts for another site (403).
    """
    require_same_origin(request)
    door = request.app[DOOR]
    if "Authorization" in request.headers:
        return _program(request, door)
    try:
        return door.holder(request.cookies.get(COOKIE, ""))
    except BadToken:
        if not request.path.startswith("/api/"):
            raise web.HTTPFound(f"/login?next={quote(request.path_qs, safe='/')}") from None
        raise ApiError(
            401,
            "unauthorized",
            "This is for operators: sign in at /login, or send `Authorization: Bearer` with the "
            "operators' token.",
        ) from None


def _program(request: web.Request, door: Door) -> Operator:
    scheme, _, token = request.headers["Authorization"].partition(" ")
    if scheme.lower() != "bearer":
        raise ApiError(401, "unauthorized", "This needs `Authorization: Bearer`.")
    door.check(token, client_address(request))
    name = request.headers.get("X-Operator", PROGRAM)
    return Operator(read(Named, {"name": name}, MAX_NAME).name)


async def unmasked(request: web.Request, target: str) -> bool:
    """Say whether an operator asks for personal data (`?unmask=1`), and write down that they do.

    `target` is what they look at, in words. A page that asks for the same again and again is
    written down once in a while. GatewayUnavailable if it cannot be written: then show nothing.
    """
    if request.query.get("unmask") != "1":
        return False
    room, name, now = request.app[ROOM], operator(request).name, time.monotonic()
    asked = request.app[DOOR].asked
    if asked.get((name, target), float("-inf")) < now - ASKED_AGAIN:
        entry = Entry(operator=name, action="unmask", target=target)
        await append(room.gateway.client, room.settings, entry)
        for old in [key for key, at in asked.items() if at < now - ASKED_AGAIN]:
            del asked[old]
        asked[name, target] = now
    return True


async def body(request: web.Request) -> Any:
    """Return the JSON that an operator sent: it may be a whole message, longer than a chat's."""
    return read_json(await request.clone(client_max_size=LARGEST_BODY).read())


def operator_page(file: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler of a page in `static/` that operators alone may see."""

    async def page(request: web.Request) -> web.StreamResponse:
        operator(request)
        return web.FileResponse(STATIC / file)

    return page


async def login_page(request: web.Request) -> web.StreamResponse:
    """`GET /login`: the login page; it leads to `?next=` afterwards."""
    return web.FileResponse(STATIC / "login.html")


async def sign_in(request: web.Request) -> web.Response:
    """`POST /api/operator`: show the token, say who you are, and get the cookie."""
    require_same_origin(request)
    asked = read(SignIn, read_json(await request.read()), MAX_NAME)
    door = request.app[DOOR]
    door.check(asked.token, client_address(request))
    entered = Operator(asked.name)
    answer = web.json_response({"name": entered.name})
    answer.set_cookie(
        COOKIE,
        door.cookie(entered),
        max_age=int(SIGNED_IN_FOR),
        httponly=True,
        samesite="Strict",
        # A proxy that ends TLS says so; a browser would not send a secure cookie without TLS.
        secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
    )
    return answer


async def who(request: web.Request) -> web.Response:
    """`GET /api/operator`: tell who is signed in."""
    return web.json_response({"name": operator(request).name})


async def sign_out(request: web.Request) -> web.Response:
    """`DELETE /api/operator`: take the cookie back; harmless without one."""
    require_same_origin(request)
    answer = web.json_response({})
    answer.del_cookie(COOKIE, httponly=True, samesite="Strict")
    return answer
