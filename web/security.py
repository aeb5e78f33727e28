"""What browsers are told not to do, and which pages may talk to us from a browser."""

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from web.errors import ApiError

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Give every response the security headers (an `on_response_prepare` signal)."""
    response.headers.update(HEADERS)
    response.headers.pop("Server", None)
    # Conversations are nobody's to keep; files are asked for again, and are mostly unchanged.
    private = request.path.startswith(("/api/", "/health"))
    response.headers.setdefault("Cache-Control", "no-store" if private else "no-cache")


def require_same_origin(request: web.Request) -> None:
    """Refuse a browser that acts for another site; programs send no Origin and may pass."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    try:
        sent_from = urlsplit(origin).netloc
    except ValueError:
        sent_from = ""
    # Only host and port: behind a proxy that ends TLS we do not see the browser's scheme.
    if sent_from.lower() != request.host.lower():
        raise ApiError(403, "forbidden", "Requests from other sites are not accepted.")
