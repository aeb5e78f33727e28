import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientTimeout, web
from aiohttp.test_utils import TestClient

from mocks import customers
from mocks.cast import ANGRY, CAST
from mocks.service import unavailable
from mocks.weather import add_stopping, weather

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]


class Log:
    """Stands in for sleeping and remembers how long it would have been."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def service(latency: float, failures: float, log: Log, seed: int = 1) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        done.append(request.path)
        return web.json_response({})

    done: list[str] = []
    app = web.Application(
        middlewares=[weather(latency, failures, seed, unavailable, pause=log.pause)]
    )
    app.router.add_get("/thing", answer)
    app.router.add_get("/health", answer)
    app[DONE] = done
    return app


DONE: web.AppKey[list[str]] = web.AppKey("done")


async def look(client: Client, path: str = "/thing") -> int:
    """What a caller sees: a status, or 0 for a connection that broke."""
    try:
        async with client.get(path) as response:
            return response.status
    except ClientError:
        return 0


async def test_fair_weather_changes_nothing(aiohttp_client: Starts) -> None:
    log = Log()
    client = await aiohttp_client(service(0, 0, log))
    assert [await look(client) for _ in range(20)] == [200] * 20
    assert log.pauses == []


async def test_latency_is_spread_around_its_median(aiohttp_client: Starts) -> None:
    log = Log()
    client = await aiohttp_client(service(200, 0, log))
    for _ in range(300):
        assert await look(client) == 200
    pauses = sorted(log.pauses)
    assert 0.17 < pauses[150] < 0.23
    assert pauses[0] < 0.1
    assert 0.4 < pauses[-1] <= 2.0


async def test_failures_come_as_often_as_asked_and_in_all_kinds(aiohttp_client: Starts) -> None:
    log = Log()
    app = service(0, 0.4, log)
    client = await aiohttp_client(app)
    seen = [await look(client) for _ in range(400)]
    assert 0.3 < 1 - seen.count(200) / 400 < 0.5
    assert seen.count(503) > seen.count(0) > 10
    # Of the broken connections some came after the work, and some hung first.
    assert seen.count(200) < len(app[DONE]) < 400 - seen.count(503)
    assert 0 < len(log.pauses) < seen.count(0)


async def test_the_same_seed_is_the_same_storm(aiohttp_client: Starts) -> None:
    async def storm(seed: int) -> list[int]:
        client = await aiohttp_client(service(0, 0.5, Log(), seed))
        return [await look(client) for _ in range(40)]

    assert await storm(1) == await storm(1) != await storm(2)


async def test_health_is_always_fair(aiohttp_client: Starts) -> None:
    log = Log()
    client = await aiohttp_client(service(500, 1, log))
    assert [await look(client, "/health") for _ in range(20)] == [200] * 20
    assert log.pauses == []
    assert 200 not in [await look(client) for _ in range(20)]


async def test_a_service_that_stops_does_not_wait_for_what_hangs(aiohttp_client: Starts) -> None:
    hanging = asyncio.Event()

    async def pause(seconds: float) -> None:
        hanging.set()
        await asyncio.Event().wait()

    app = web.Application(middlewares=[weather(0, 1, 1, unavailable, pause=pause)])
    app.router.add_get("/thing", unavailable_handler)
    add_stopping(app)
    client = await aiohttp_client(app)

    async def until_it_hangs() -> None:
        while not hanging.is_set():
            await look(client)

    caller = asyncio.create_task(until_it_hangs())
    await hanging.wait()
    await client.server.close()
    await caller


async def unavailable_handler(request: web.Request) -> web.Response:
    return unavailable(request)


async def test_keyed_changes_come_through_a_storm_exactly_once(
    aiohttp_client: Starts, shop: Path
) -> None:
    async def pause(seconds: float) -> None:
        """Do not wait."""

    storm = weather(0, 0.6, 3, unavailable, pause=pause)
    client = await aiohttp_client(customers.create_app(shop, middlewares=(storm,)))
    path = f"/customers/{CAST[ANGRY].customer_id}/credits"
    tries = 0

    async def credit(key: str) -> float:
        nonlocal tries
        while True:
            tries += 1
            try:
                async with client.post(
                    path,
                    json={"amount": 1, "reason": "a"},
                    headers={"Idempotency-Key": key},
                    timeout=ClientTimeout(total=30),
                ) as response:
                    if response.status == 201:
                        balance: float = (await response.json())["balance"]
                        return balance
            except ClientError:
                continue

    balances = await asyncio.gather(*(credit(f"k{number}") for number in range(30)))
    assert sorted(balances) == [float(number) for number in range(1, 31)]
    assert tries > 40


@pytest.mark.parametrize(("latency", "failures"), [(-1, 0), (0, -0.1), (0, 1.1)])
def test_impossible_weather_is_refused(latency: float, failures: float) -> None:
    with pytest.raises(ValueError, match=r"latency_ms|failure_rate"):
        weather(latency, failures, 1, unavailable)
