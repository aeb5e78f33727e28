"""Bad weather for a service: it gets slow, says that it is unavailable, hangs, or hangs up.

Off by default. What goes wrong follows from a seed, so that a test meets the same storm each time.
`/health` is always fair: it tells whether the process is there, not how the day goes.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from mocks.units import dice

Fail = Callable[[web.Request], web.Response]
Pause = Callable[[float], Awaitable[object]]

HANG_SECONDS = 30.0
_SPREAD = 0.5  # sigma of the log-normal: one request in forty takes more than 2.7 times the median
_LONGEST = 10  # times the median; a log-normal has no end of its own
_ROUGH = 0.25  # the share of failures that are no answer at all


def weather(
    latency_ms: float,
    failure_rate: float,
    seed: object,
    fail: Fail,
    *,
    hang_seconds: float = HANG_SECONDS,
    pause: Pause = asyncio.sleep,
) -> Middleware:
    """Return a middleware that makes a service as slow and unreliable as asked for.

    Most failures are answers made by `fail`, before anything was done. Of the rest, half come
    before and half after the work: after a connection that broke, a caller cannot know whether its
    change was made, which is what idempotency keys are for.
    """
    if latency_ms < 0:
        raise ValueError(f"latency_ms: {latency_ms} is negative")
    if not 0 <= failure_rate <= 1:
        raise ValueError(f"failure_rate: {failure_rate} is not between 0 and 1")
    luck = dice("weather", seed)

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path == "/health":
            return await handler(request)
        # All chances are drawn at once: concurrent requests do not change each other's luck.
        fails, rough, hangs, done = (luck.random() for _ in range(4))
        slow = min(math.exp(luck.gauss(0.0, _SPREAD)), _LONGEST)
        if latency_ms:
            await pause(latency_ms * slow / 1000)
        if fails >= failure_rate:
            return await handler(request)
        if rough >= _ROUGH:
            return fail(request)
        if done < 0.5:
            await handler(request)
        if hangs < 0.5:
            await _hang(request, hang_seconds, pause)
        if request.transport is not None:
            request.transport.abort()
        return fail(request)

    return middleware


_STOPPING: web.AppKey[asyncio.Event] = web.AppKey("stopping")


def add_stopping(app: web.Application) -> None:
    """Let a service that stops end its hanging requests instead of waiting for them."""

    async def begin(app: web.Application) -> None:
        app[_STOPPING] = asyncio.Event()

    async def stop(app: web.Application) -> None:
        app[_STOPPING].set()

    app.on_startup.append(begin)
    app.on_shutdown.append(stop)


async def _hang(request: web.Request, seconds: float, pause: Pause) -> None:
    """Do not answer, until the time is over or the service stops."""
    waits = [asyncio.ensure_future(pause(seconds))]
    if _STOPPING in request.app:
        waits.append(asyncio.ensure_future(request.app[_STOPPING].wait()))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        for wait in waits:
            with contextlib.suppress(asyncio.CancelledError):
                await wait
