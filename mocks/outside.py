"""The whole outside world at once: the shop's three services and the model's server."""

import hashlib
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from mocks import customers, llm, orders, tracking
from mocks.service import Clock, error_response, unavailable
from mocks.store import Store
from mocks.units import utc_now
from mocks.weather import add_stopping, weather
from mocks.world import generate, load


def create_apps(
    *,
    data_dir: Path,
    seed: int,
    world_folder: Path | None,
    latency_ms: float,
    failure_rate: float,
    llm_latency_ms: float,
    llm_failure_rate: float,
    llm_api_key: str | None,
    clock: Clock = utc_now,
) -> dict[str, web.Application]:
    """Return the applications `customers`, `orders`, `tracking` and `llm`, ready to be served.

    The three shop services share one file under `data_dir`, one for each seed or folder: whatever
    was changed there is still changed after a restart. To begin anew, delete the file.
    """
    path = data_dir / _file_name(seed, world_folder)
    now = clock()
    store = Store(path)
    try:
        store.fill(generate(seed, now) if world_folder is None else load(world_folder, now))
    finally:
        store.close()

    def outside(name: str) -> tuple[Middleware, ...]:
        if not latency_ms and not failure_rate:
            return ()
        return (weather(latency_ms, failure_rate, f"{name} {seed}", unavailable),)

    model_weather: tuple[Middleware, ...] = ()
    if llm_latency_ms or llm_failure_rate:
        model_weather = (
            weather(llm_latency_ms, llm_failure_rate, f"llm {seed}", llm.failing(seed)),
        )
    apps = {
        "customers": customers.create_app(path, clock=clock, middlewares=outside("customers")),
        "orders": orders.create_app(path, clock=clock, middlewares=outside("orders")),
        "tracking": tracking.create_app(path, clock=clock, middlewares=outside("tracking")),
        "llm": llm.create_app(api_key=llm_api_key, middlewares=model_weather),
    }
    if world_folder is None:
        _add_begin_anew(apps["customers"], path, seed, clock)
    for app in apps.values():
        add_stopping(app)
    return apps


def _add_begin_anew(app: web.Application, path: Path, seed: int, clock: Clock) -> None:
    """Let demos tell a customer's story again: `POST /cast/{customer_id}/begin-anew`.

    No real shop has this; the mesh does not know of it.
    """

    async def begin_anew(request: web.Request) -> web.Response:
        store = Store(path)
        try:
            known = store.begin_anew(generate(seed, clock()), request.match_info["customer_id"])
        finally:
            store.close()
        if not known:
            return error_response(404, "not_found", "There is no such customer in this world.")
        return web.json_response({"status": "as it began"})

    app.router.add_post("/cast/{customer_id}/begin-anew", begin_anew)


def _file_name(seed: int, world_folder: Path | None) -> str:
    """Return the name of the file that holds a world: changes to one never meet another."""
    if world_folder is None:
        return f"shop-seed-{seed}.sqlite3"
    content = hashlib.sha256()
    for name in ("users.json", "orders.json", "products.json"):
        content.update((world_folder / name).read_bytes())
    return f"shop-folder-{content.hexdigest()[:12]}.sqlite3"
