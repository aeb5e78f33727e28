from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from pydantic import TypeAdapter

from mocks.cast import ANGRY, CAST, POLITE, VIP
from mocks.customers import create_app
from mocks.shapes import Customer, Issue
from mocks.world import World

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]
ReadError = Callable[[ClientResponse], Awaitable[tuple[int, str, str]]]

ME = f"/customers/{CAST[ANGRY].customer_id}"
ADDRESS = {
    "address1": "4 Mill Race",
    "address2": "",
    "city": "Boise",
    "state": "ID",
    "zip": "83702",
    "country": "USA",
}


@pytest.fixture
async def client(aiohttp_client: Starts, shop: Path, clock: Callable[[], datetime]) -> Client:
    return await aiohttp_client(create_app(shop, clock=clock))


async def read(client: Client, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.json()


@pytest.mark.parametrize("email", [CAST[VIP].email, CAST[VIP].email.upper()])
async def test_find_by_email(client: Client, world: World, email: str) -> None:
    found = await read(client, f"/customers?email={email}")
    assert found == {"customers": [world.customers[CAST[VIP].customer_id]]}
    TypeAdapter(Customer).validate_python(found["customers"][0], strict=True, extra="forbid")


async def test_an_unknown_email_is_nobody(client: Client) -> None:
    assert await read(client, "/customers?email=no@example.com") == {"customers": []}


@pytest.mark.parametrize("path", ["/customers", "/customers?email=%20"])
async def test_an_email_is_needed(client: Client, error: ReadError, path: str) -> None:
    status, code, message = await error(await client.get(path))
    assert (status, code) == (422, "invalid")
    assert "email" in message


async def test_show(client: Client, world: World) -> None:
    assert await read(client, ME) == world.customers[CAST[ANGRY].customer_id]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"phone": "+1 208 555 0100"}),
        ("GET", "/issues", None),
        ("POST", "/issues", {"subject": "a", "text": "b"}),
        ("POST", "/password-reset", {}),
        ("POST", "/credits", {"amount": 1, "reason": "a"}),
    ],
)
async def test_a_stranger_is_not_found(
    client: Client, error: ReadError, method: str, path: str, body: object
) -> None:
    response = await client.request(method, f"/customers/nobody{path}", json=body)
    status, code, message = await error(response)
    assert (status, code) == (404, "not_found")
    assert "nobody" in message


async def test_change_the_profile(client: Client) -> None:
    before = await read(client, ME)
    changes = {"email": "D.Okafor@example.org", "phone": "+1 208 555 0100", "address": ADDRESS}
    async with client.patch(ME, json=changes) as response:
        assert response.status == 200
        assert await response.json() == {**before, **changes}
    assert await read(client, ME) == {**before, **changes}
    found = await read(client, "/customers?email=d.okafor@EXAMPLE.org")
    assert [one["id"] for one in found["customers"]] == [before["id"]]
    assert await read(client, f"/customers?email={before['email']}") == {"customers": []}


async def test_a_part_of_the_profile_leaves_the_rest(client: Client) -> None:
    before = await read(client, ME)
    address = {key: ADDRESS[key] for key in ("address1", "city", "state", "zip")}
    async with client.patch(ME, json={"address": address}) as response:
        assert await response.json() == {**before, "address": ADDRESS}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email, phone, address"),
        ({"email": "not an address"}, "email"),
        ({"phone": "call me"}, "phone"),
        ({"address": {"address1": "4 Mill Race"}}, "address.city"),
        ({"address": {**ADDRESS, "planet": "Mars"}}, "address.planet"),
        ({"tier": "vip"}, "tier"),
    ],
)
async def test_a_bad_profile_names_its_field(
    client: Client, error: ReadError, body: object, field: str
) -> None:
    status, code, message = await error(await client.patch(ME, json=body))
    assert (status, code) == (422, "invalid")
    assert field in message


async def test_an_email_belongs_to_one_customer(client: Client, error: ReadError) -> None:
    taken = {"email": CAST[POLITE].email.title()}
    assert (await error(await client.patch(ME, json=taken)))[:2] == (409, "conflict")
    async with client.patch(ME, json={"email": CAST[ANGRY].email.title()}) as response:
        assert response.status == 200


async def test_issues_newest_first(client: Client) -> None:
    (past,) = (await read(client, f"{ME}/issues"))["issues"]
    assert past["status"] == "closed"
    order_id = CAST[ANGRY].order_ids[0]
    body = {"subject": "Late", "text": "Still not here.", "order_id": order_id.lstrip("#")}
    async with client.post(f"{ME}/issues", json=body) as response:
        assert response.status == 201
        issue = await response.json()
    TypeAdapter(Issue).validate_python(issue, strict=True, extra="forbid")
    assert issue == {
        "id": "TK-0000001",
        "customer_id": CAST[ANGRY].customer_id,
        "opened_at": "2026-03-11T15:30:00Z",
        "closed_at": None,
        "subject": "Late",
        "text": "Still not here.",
        "status": "open",
        "order_id": order_id,
    }
    assert await read(client, f"{ME}/issues") == {"issues": [issue, past]}


async def test_an_issue_without_an_order(client: Client) -> None:
    async with client.post(f"{ME}/issues", json={"subject": "a", "text": "b"}) as response:
        assert (await response.json())["order_id"] is None


async def test_an_issue_about_a_strangers_order(client: Client, error: ReadError) -> None:
    body = {"subject": "a", "text": "b", "order_id": CAST[VIP].order_ids[0]}
    status, code, message = await error(await client.post(f"{ME}/issues", json=body))
    assert (status, code) == (422, "invalid")
    assert message.startswith("order_id")


async def test_a_reset_tells_only_a_masked_address(client: Client) -> None:
    async with client.post(f"{ME}/password-reset", json={}) as response:
        assert response.status == 202
        assert await response.json() == {
            "sent_to": "d***@example.com",
            "expires_at": "2026-03-11T16:30:00Z",
        }


async def test_credits_add_up_to_the_cent(client: Client) -> None:
    balance = 0.0
    for _ in range(3):
        async with client.post(f"{ME}/credits", json={"amount": 0.1, "reason": "a"}) as response:
            assert response.status == 201
            balance = (await response.json())["balance"]
    assert balance == 0.3
    assert (await read(client, ME))["credit_balance"] == 0.3
