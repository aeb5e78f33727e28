"""Health that is true: the broker, a worker that answers, and turns that get their replies."""

import asyncio
import time
from typing import Any, Final, Literal

from aiohttp import web

from streams.errors import GatewayUnavailable
from streams.gateway import Gateway, Health
from web.room import ROOM
from web.turns import Turns, TurnWatch

FRESH: Final = 1.0  # seconds that one look at the mesh serves everybody who asks
LOOK_WITHIN: Final = 4.0  # seconds
NO_BROKER: Final = "The message broker cannot be reached."

Status = Literal["ok", "degraded", "down"]


class HealthCheck:
    """Looks at the mesh at most once a second, however many ask."""

    def __init__(self, gateway: Gateway, watch: TurnWatch) -> None:
        self._gateway = gateway
        self._watch = watch
        self._lock = asyncio.Lock()
        self._seen: Health | None = None
        self._seen_at = float("-inf")

    async def report(self) -> dict[str, Any]:
        """Return the status and what each check found."""
        mesh, turns = await self._look(), self._watch.look()
        checks = {
            "broker": _check(mesh.broker, NO_BROKER),
            "workers": {
                **_check(mesh.ready, "No worker answers that is ready to work."),
                "answered": len(mesh.workers),
                "ready": sum(worker.ready for worker in mesh.workers),
            },
            "turns": {
                **_check(not turns.late, "Turns had no reply in time."),
                "waiting": turns.waiting,
                "late": turns.late,
            },
        }
        return {"status": _status(mesh, turns), "checks": checks}

    async def _look(self) -> Health:
        async with self._lock:
            if self._seen is None or time.monotonic() - self._seen_at >= FRESH:
                try:
                    async with asyncio.timeout(LOOK_WITHIN):
                        self._seen = await self._gateway.ping()
                except (GatewayUnavailable, TimeoutError):
                    self._seen = Health(broker=False)
                self._seen_at = time.monotonic()
            return self._seen


HEALTH: Final = web.AppKey("health", HealthCheck)


def setup(app: web.Application) -> None:
    """Offer `/health/live`, `/health/connected`, `/health/ready` and `/health`."""
    app[HEALTH] = HealthCheck(app[ROOM].gateway, app[ROOM].watch)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/connected", connected)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/health", health)


async def live(request: web.Request) -> web.Response:
    """Say that this process answers; nothing outside it counts, a restart would not mend that."""
    return web.json_response({"status": "alive"})


async def connected(request: web.Request) -> web.Response:
    """Say whether this process can take turns; 503 if not. What workers do does not count.

    It is what a load balancer asks: were all pages taken away whenever the workers restart, nobody
    could be told to wait.
    """
    gateway = request.app[ROOM].gateway
    if gateway.connected and gateway.declared:
        return web.json_response({"status": "connected"})
    reason = "The topics are not declared yet." if gateway.connected else NO_BROKER
    return web.json_response({"status": "unconnected", "reasons": [reason]}, status=503)


async def ready(request: web.Request) -> web.Response:
    """Say whether a message sent now would be answered; 503 if not, with the reasons."""
    report = await request.app[HEALTH].report()
    if report["status"] != "down":
        return web.json_response({"status": "ready"})
    reasons = [check["reason"] for check in report["checks"].values() if not check["ok"]]
    return web.json_response({"status": "unready", "reasons": reasons}, status=503)


async def health(request: web.Request) -> web.Response:
    """Tell everything: ok and degraded (some turns late) are 200, down is 503."""
    report = await request.app[HEALTH].report()
    return web.json_response(report, status=503 if report["status"] == "down" else 200)


def _check(ok: bool, reason: str) -> dict[str, Any]:
    return {"ok": ok} if ok else {"ok": ok, "reason": reason}


def _status(mesh: Health, turns: Turns) -> Status:
    if not mesh.ready or turns.failing:
        return "down"
    return "degraded" if turns.late else "ok"
