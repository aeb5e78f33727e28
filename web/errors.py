"""What goes wrong in an answer to a browser or a program, said in one form.

Every error of the API is `{"error": {"code", "message", "field"?}}` with the status that fits.
"""

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from streams.errors import GatewayUnavailable

log = logging.getLogger(__name__)

RETRY_SECONDS = 2

_CODES = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}
_MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The request is too large.",
}

AWAY = "The message service cannot be reached at the moment. Nothing is lost: please try again."


class ApiError(Exception):
    """An error with everything that its answer says; also turned into WebSocket frames."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after: int | None = None,
        also: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.retry_after = retry_after
        self.also = dict(also or {})

    def response(self) -> web.Response:
        """Return the HTTP answer."""
        told = {"code": self.code, "message": self.message}
        if self.field is not None:
            told["field"] = self.field
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return web.json_response({"error": told, **self.also}, status=self.status, headers=headers)


def unavailable(also: Mapping[str, Any] | None = None) -> ApiError:
    """Return the error for a broker that is away."""
    return ApiError(503, "unavailable", AWAY, retry_after=RETRY_SECONDS, also=also)


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure in the one form, and never with a traceback."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except GatewayUnavailable:
        return unavailable().response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = _CODES.get(error.status, error.reason.lower().replace(" ", "_"))
        message = _MESSAGES.get(error.status, error.reason)
        answer = ApiError(error.status, code, message).response()
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception:
        # The reference lets whoever reports the failure and whoever reads the log meet.
        reference = secrets.token_hex(4)
        log.exception("%s %s failed, reference %s", request.method, request.path, reference)
        message = f"Something went wrong on our side (reference {reference}). Please try again."
        return ApiError(500, "internal", message).response()
