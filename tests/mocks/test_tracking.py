import copy
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from pydantic import TypeAdapter

from mocks.cast import ANGRY, CAST, POLITE, RETURNER
from mocks.shapes import Parcel, ParcelStatus
from mocks.tracking import create_app
from mocks.units import moment
from mocks.world import World

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]
ReadError = Callable[[ClientResponse], Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def client(aiohttp_client: Starts, shop: Path, clock: Callable[[], datetime]) -> Client:
    return await aiohttp_client(create_app(shop, clock=clock))


def parcel_of(world: World, order_id: str) -> Parcel:
    (found,) = (one for one in world.parcels.values() if one["order_id"] == order_id)
    return copy.deepcopy(found)


def parcel_that_is(world: World, status: ParcelStatus) -> Parcel:
    return next(copy.deepcopy(p) for p in world.parcels.values() if p["status"] == status)


async def read(client: Client, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.json()


async def test_show(client: Client, world: World) -> None:
    parcel = parcel_of(world, CAST[ANGRY].order_ids[0])
    found = await read(client, f"/parcels/{parcel['tracking_id']}")
    assert found == parcel
    TypeAdapter(Parcel).validate_python(found, strict=True, extra="forbid")


@pytest.mark.parametrize("form", ["W7000101", "%23W7000101", "w7000101"])
async def test_of_an_order(client: Client, world: World, form: str) -> None:
    found = await read(client, f"/parcels?order_id={form}")
    assert found == {"parcels": [parcel_of(world, "#W7000101")]}


async def test_an_order_without_parcels(client: Client) -> None:
    assert await read(client, "/parcels?order_id=W0") == {"parcels": []}


async def test_an_order_id_is_needed(client: Client, error: ReadError) -> None:
    status, code, message = await error(await client.get("/parcels"))
    assert (status, code) == (422, "invalid")
    assert "order_id" in message


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("POST", "/investigations", {"reason": "a"}),
        ("POST", "/redelivery", {}),
    ],
)
async def test_an_unknown_parcel(
    client: Client, error: ReadError, method: str, path: str, body: object
) -> None:
    response = await client.request(method, f"/parcels/000{path}", json=body)
    assert (await error(response))[:2] == (404, "not_found")


async def test_investigate(client: Client, world: World) -> None:
    parcel = parcel_of(world, CAST[ANGRY].order_ids[0])
    path = f"/parcels/{parcel['tracking_id']}"
    async with client.post(f"{path}/investigations", json={"reason": "late"}) as response:
        assert response.status == 201
        assert await response.json() == {
            "investigation_id": "IN-0000001",
            "tracking_id": parcel["tracking_id"],
            "status": "open",
            "answer_by": "2026-03-16T17:00:00Z",  # three working days after a Wednesday
        }
    after = await read(client, path)
    last = after["events"].pop()
    assert after == parcel
    assert last["status"] == parcel["status"]
    assert "IN-0000001" in last["text"]


async def test_investigate_a_delivery_only_for_thirty_days(
    client: Client, world: World, now: datetime, error: ReadError
) -> None:
    recent = parcel_of(world, CAST[RETURNER].order_ids[0])
    async with client.post(
        f"/parcels/{recent['tracking_id']}/investigations", json={"reason": "a"}
    ) as response:
        assert response.status == 201
    old = next(
        parcel
        for parcel in world.parcels.values()
        if parcel["delivered_at"] and now - moment(parcel["delivered_at"]) > timedelta(days=30)
    )
    response = await client.post(
        f"/parcels/{old['tracking_id']}/investigations", json={"reason": "a"}
    )
    assert (await error(response))[:2] == (409, "conflict")


async def test_redeliver_late_is_still_delayed(client: Client, world: World) -> None:
    parcel = parcel_of(world, CAST[ANGRY].order_ids[0])
    path = f"/parcels/{parcel['tracking_id']}"
    async with client.post(f"{path}/redelivery", json={"date": "2026-03-14"}) as response:
        assert response.status == 200
        after = await response.json()
    TypeAdapter(Parcel).validate_python(after, strict=True, extra="forbid")
    assert (after["status"], after["estimated_delivery"]) == ("delayed", "2026-03-14")
    assert len(after["events"]) == len(parcel["events"]) + 1
    assert after["events"][-1]["status"] == "delayed"
    assert await read(client, path) == after


async def test_redeliver_in_time_elsewhere(client: Client, world: World) -> None:
    parcel = parcel_of(world, CAST[POLITE].order_ids[0])
    address = {
        "address1": "4 Mill Race",
        "address2": "Apt 2",
        "city": "Boise",
        "state": "ID",
        "zip": "83702",
    }
    async with client.post(
        f"/parcels/{parcel['tracking_id']}/redelivery", json={"address": address}
    ) as response:
        after = await response.json()
    # Nothing said about the day: the next working day.
    assert (after["status"], after["estimated_delivery"]) == ("in_transit", "2026-03-12")
    assert "4 Mill Race, Apt 2, Boise, ID 83702" in after["events"][-1]["text"]


@pytest.mark.parametrize("status", ["delivered", "lost", "label_created"])
async def test_no_redelivery_of_what_is_not_on_its_way(
    client: Client, world: World, error: ReadError, status: ParcelStatus
) -> None:
    path = f"/parcels/{parcel_that_is(world, status)['tracking_id']}/redelivery"
    assert (await error(await client.post(path, json={})))[:2] == (409, "conflict")


@pytest.mark.parametrize("status", ["in_transit", "out_for_delivery", "delayed", "exception"])
async def test_redelivery_of_what_is_on_its_way(
    client: Client, world: World, status: ParcelStatus
) -> None:
    path = f"/parcels/{parcel_that_is(world, status)['tracking_id']}/redelivery"
    async with client.post(path, json={}) as response:
        assert response.status == 200


@pytest.mark.parametrize("date", ["2026-03-11", "2025-01-01", "soon"])
async def test_a_bad_date(client: Client, world: World, error: ReadError, date: str) -> None:
    parcel = parcel_of(world, CAST[ANGRY].order_ids[0])
    response = await client.post(
        f"/parcels/{parcel['tracking_id']}/redelivery", json={"date": date}
    )
    status, code, message = await error(response)
    assert (status, code) == (422, "invalid")
    assert message.startswith("date")
