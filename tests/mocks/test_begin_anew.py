"""Demos tell a story again: one customer's part of the world goes back to its beginning."""

from pathlib import Path

from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from mocks.cast import ANGRY, CAST, RETURNER
from mocks.outside import create_apps


def shop(tmp_path: Path) -> dict[str, web.Application]:
    return create_apps(
        data_dir=tmp_path,
        seed=3,
        world_folder=None,
        latency_ms=0,
        failure_rate=0,
        llm_latency_ms=0,
        llm_failure_rate=0,
        llm_api_key=None,
    )


async def test_what_a_customer_did_is_undone_and_others_keep_theirs(
    tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    apps = shop(tmp_path)
    customers = await aiohttp_client(apps["customers"])
    orders = await aiohttp_client(apps["orders"])
    who, other = CAST[RETURNER], CAST[ANGRY]
    number = who.order_ids[0].removeprefix("#")
    before = await (await orders.get(f"/orders/{number}")).json()
    returned = await orders.post(f"/orders/{number}/return", json={"reason": "too small"})
    assert returned.status == 200
    for member in (who, other):
        opened = await customers.post(
            f"/customers/{member.customer_id}/issues", json={"subject": "s", "text": "t"}
        )
        assert opened.status == 201
    again = await customers.post(f"/cast/{who.customer_id}/begin-anew")
    assert again.status == 200
    assert await (await orders.get(f"/orders/{number}")).json() == before
    issues = await (await customers.get(f"/customers/{who.customer_id}/issues")).json()
    assert all(issue["subject"] != "s" for issue in issues["issues"])
    theirs = await (await customers.get(f"/customers/{other.customer_id}/issues")).json()
    assert theirs["issues"][0]["subject"] == "s"


async def test_a_stranger_has_no_story(tmp_path: Path, aiohttp_client: AiohttpClient) -> None:
    customers = await aiohttp_client(shop(tmp_path)["customers"])
    assert (await customers.post("/cast/nobody/begin-anew")).status == 404
