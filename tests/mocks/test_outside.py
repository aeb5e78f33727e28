from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from mocks.cast import ANGRY, CAST, CONFUSED, RETURNER
from mocks.outside import create_apps
from mocks.world import World

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]


def outside(data_dir: Path, **more: Any) -> dict[str, web.Application]:
    settings: dict[str, Any] = {
        "data_dir": data_dir,
        "seed": 7,
        "world_folder": None,
        "latency_ms": 0,
        "failure_rate": 0,
        "llm_latency_ms": 0,
        "llm_failure_rate": 0,
        "llm_api_key": None,
    }
    return create_apps(**{**settings, **more})


async def get(client: Client, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.json()


async def test_four_applications_that_are_well(aiohttp_client: Starts, tmp_path: Path) -> None:
    apps = outside(tmp_path / "new" / "folder")
    assert list(apps) == ["customers", "orders", "tracking", "llm"]
    for name, app in apps.items():
        client = await aiohttp_client(app)
        assert await get(client, "/health") == {"status": "ok", "service": name}


async def test_the_services_see_one_world(aiohttp_client: Starts, tmp_path: Path) -> None:
    apps = outside(tmp_path)
    clients = {name: await aiohttp_client(app) for name, app in apps.items()}
    for who in CAST.values():
        (customer,) = (await get(clients["customers"], f"/customers?email={who.email}"))[
            "customers"
        ]
        orders = (await get(clients["orders"], f"/orders?customer_id={customer['id']}"))["orders"]
        assert {order["id"] for order in orders} == set(who.order_ids)
        for order in orders:
            path = f"/parcels?order_id={order['id'].lstrip('#')}"
            parcels = (await get(clients["tracking"], path))["parcels"]
            listed = [number for one in order["fulfillments"] for number in one["tracking_ids"]]
            assert sorted(parcel["tracking_id"] for parcel in parcels) == sorted(listed)


async def test_a_refund_reaches_the_gift_card_in_the_other_service(
    aiohttp_client: Starts, tmp_path: Path, world: World
) -> None:
    apps = outside(tmp_path)
    customers = await aiohttp_client(apps["customers"])
    orders = await aiohttp_client(apps["orders"])
    # Any pending order that was paid by gift card, alone or in part.
    order = next(
        order
        for order in world.orders.values()
        if order["status"] == "pending"
        and any(p["method_id"].startswith("gift_card") for p in order["payments"])
    )
    paid = next(p for p in order["payments"] if p["method_id"].startswith("gift_card"))

    async def balance() -> float:
        customer = await get(customers, f"/customers/{order['customer_id']}")
        methods = customer["payment_methods"]
        left: float = next(m["balance"] for m in methods if m["id"] == paid["method_id"])
        return left

    before = await balance()
    path = f"/orders/{order['id'].lstrip('#')}/cancel"
    async with orders.post(path, json={"reason": "a"}) as response:
        assert response.status == 200
    assert await balance() == round(before + paid["amount"], 2)


async def test_changes_and_keys_survive_into_another_day(tmp_path: Path, now: datetime) -> None:
    pending = CAST[CONFUSED].order_ids[0].lstrip("#")
    returned = CAST[RETURNER].order_ids[0].lstrip("#")
    late = CAST[ANGRY].order_ids[0].lstrip("#")

    async def run(day: datetime, changes: bool) -> list[Any]:
        apps = outside(tmp_path, clock=lambda: day)
        async with (
            TestServer(apps["orders"]) as orders,
            TestServer(apps["tracking"]) as tracking,
            ClientSession() as session,
        ):
            if changes:
                for order_id, what in ((pending, "cancel"), (returned, "return")):
                    async with session.post(
                        orders.make_url(f"/orders/{order_id}/{what}"),
                        json={"reason": "a"},
                        headers={"Idempotency-Key": "k"},
                    ) as response:
                        assert response.status == 200
            urls = [orders.make_url(f"/orders/{one}") for one in (pending, returned, late)]
            urls += [
                tracking.make_url("/parcels").with_query(order_id=one) for one in (returned, late)
            ]
            answers = []
            for url in urls:
                async with session.get(url) as response:
                    answers.append(await response.json())
            return answers

    today = await run(now, changes=True)
    assert [today[0]["status"], today[1]["status"]] == ["cancelled", "return requested"]
    same_day = await run(now + timedelta(hours=2), changes=True)
    assert same_day == today
    later = await run(now + timedelta(days=20), changes=True)
    # What was changed stays as it was, its parcels with it; the rest has moved to the new day.
    assert later[0] == today[0]
    assert later[1] == today[1]
    assert later[3] == today[3]
    assert later[2] != today[2]
    promised = [
        datetime.fromisoformat(one[4]["parcels"][0]["promised_delivery"]) for one in (today, later)
    ]
    assert promised[1] - promised[0] == timedelta(days=20)


def test_seeds_do_not_mix(tmp_path: Path) -> None:
    outside(tmp_path, seed=1)
    outside(tmp_path, seed=2)
    assert sorted(path.name for path in tmp_path.glob("*.sqlite3")) == [
        "shop-seed-1.sqlite3",
        "shop-seed-2.sqlite3",
    ]


async def test_a_folders_world(aiohttp_client: Starts, tmp_path: Path, repository: Path) -> None:
    folder = repository.parent / "shared" / "data" / "retail_db"
    if not (folder / "orders.json").is_file():
        pytest.skip(f"the data set is not at {folder}")
    apps = outside(tmp_path, world_folder=folder)
    client = await aiohttp_client(apps["orders"])
    order = await get(client, "/orders/W2611340")
    assert order["status"] == "processed"
    parcels = await get(await aiohttp_client(apps["tracking"]), "/parcels?order_id=W2611340")
    assert [parcel["tracking_id"] for parcel in parcels["parcels"]] == ["357962501027"]


async def test_weather_and_key_reach_the_services(aiohttp_client: Starts, tmp_path: Path) -> None:
    apps = outside(
        tmp_path, latency_ms=0.01, failure_rate=1, llm_latency_ms=0.01, llm_api_key="sk-one"
    )
    for name in ("customers", "orders", "tracking"):
        assert len(apps[name].middlewares) == 2
    client = await aiohttp_client(apps["llm"])
    async with client.get("/v1/models") as response:
        assert response.status == 401
