"""What holds for all three services: errors, keys, health. Told with credits and a broken route."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from mocks import customers, orders, tracking
from mocks.cast import ANGRY, CAST
from mocks.service import Body, Visit, add_change, add_read, create_service, order_number
from mocks.store import Store

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]
ReadError = Callable[[ClientResponse], Awaitable[tuple[int, str, str]]]
Clock = Callable[[], datetime]

CREDITS = f"/customers/{CAST[ANGRY].customer_id}/credits"


@pytest.fixture
async def client(aiohttp_client: Starts, shop: Path, clock: Clock) -> Client:
    return await aiohttp_client(customers.create_app(shop, clock=clock))


async def credit(client: Client, key: str | None, amount: object = 5) -> tuple[int, Any, bool]:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"amount": amount, "reason": "sorry"}
    async with client.post(CREDITS, json=body, headers=headers) as response:
        return (
            response.status,
            await response.json(),
            response.headers.get("Idempotent-Replay") == "true",
        )


@pytest.mark.parametrize("service", [customers, orders, tracking])
async def test_health(aiohttp_client: Starts, shop: Path, service: Any) -> None:
    client = await aiohttp_client(service.create_app(shop))
    response = await client.get("/health")
    name = service.__name__.removeprefix("mocks.")
    assert (response.status, await response.json()) == (200, {"status": "ok", "service": name})
    assert response.content_type == "application/json"


async def test_a_repeated_key_gets_the_first_answer(client: Client) -> None:
    first = await credit(client, "k1")
    again = await credit(client, "k1")
    assert (first[0], first[2], again[0], again[2]) == (201, False, 201, True)
    assert again[1] == first[1]
    assert (await credit(client, "k2"))[1]["balance"] == 10.0


async def test_without_a_key_each_request_counts(client: Client) -> None:
    assert (await credit(client, None))[1]["balance"] == 5.0
    assert (await credit(client, None))[1]["balance"] == 10.0


async def test_twenty_at_once_with_one_key_count_once(client: Client) -> None:
    answers = await asyncio.gather(*(credit(client, "same") for _ in range(20)))
    assert sum(not repeated for _, _, repeated in answers) == 1
    assert {json.dumps(body) for _, body, _ in answers} == {json.dumps(answers[0][1])}
    assert (await credit(client, "next"))[1]["balance"] == 10.0


async def test_a_key_with_another_body_is_invalid(client: Client, error: ReadError) -> None:
    await credit(client, "k", 5)
    response = await client.post(
        CREDITS, json={"amount": 6, "reason": "sorry"}, headers={"Idempotency-Key": "k"}
    )
    status, code, message = await error(response)
    assert (status, code) == (422, "invalid")
    assert "Idempotency-Key" in message
    assert (await credit(client, "k", 5))[0] == 201


async def test_a_body_written_otherwise_is_the_same_body(client: Client) -> None:
    await credit(client, "k", 5)
    response = await client.post(
        CREDITS,
        data='{ "reason" : "sorry",\n "amount": 5 }',
        headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
    )
    assert response.status == 201
    assert response.headers["Idempotent-Replay"] == "true"


async def test_a_no_is_repeated_too(client: Client) -> None:
    first = await credit(client, "k", -1)
    again = await credit(client, "k", -1)
    assert (first[0], again[0], again[2]) == (422, 422, True)
    assert first[1] == again[1]


async def test_keys_and_changes_survive_a_restart(
    aiohttp_client: Starts, shop: Path, clock: Clock
) -> None:
    before = await aiohttp_client(customers.create_app(shop, clock=clock))
    first = await credit(before, "k")
    await before.close()
    after = await aiohttp_client(customers.create_app(shop, clock=clock))
    again = await credit(after, "k")
    assert (again[1], again[2]) == (first[1], True)
    assert (await credit(after, "k2"))[1] == {
        "credit_id": "CR-0000002",
        "amount": 5.0,
        "reason": "sorry",
        "balance": 10.0,
    }


async def test_a_too_long_key_is_invalid(client: Client) -> None:
    assert (await credit(client, "k" * 255))[0] == 201
    assert (await credit(client, "k" * 256))[0] == 422


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "body: not JSON"),
        (b"\xff\xfe", "body: not JSON"),
        (b"[]", "body: a JSON object"),
        (b"", "amount: Field required; reason: Field required"),
        (b'{"amount": 1, "reason": ""}', "reason: "),
        (b'{"amount": 1, "reason": "  "}', "reason: "),
        (b'{"amount": 1.005, "reason": "a"}', "amount: "),
        (b'{"amount": NaN, "reason": "a"}', "amount: "),
        (b'{"amount": 1e12, "reason": "a"}', "amount: "),
        (b'{"amount": "much", "reason": "a"}', "amount: "),
        (b'{"amount": 1, "reason": "a", "currency": "EUR"}', "currency: Extra"),
    ],
)
async def test_a_bad_body_names_its_field(
    client: Client, error: ReadError, body: bytes, told: str
) -> None:
    status, code, message = await error(await client.post(CREDITS, data=body))
    assert (status, code) == (422, "invalid")
    assert message.startswith(told)


async def test_odd_text_travels_unharmed(client: Client) -> None:
    reason = "naïve 🙂 \u2028 '; --"
    response = await client.post(CREDITS, json={"amount": 1, "reason": reason})
    assert (await response.json())["reason"] == reason
    # Half of a surrogate pair is not a character, but JSON can carry it.
    lone = b'{"amount": 1, "reason": "\\ud800"}'
    response = await client.post(CREDITS, data=lone, headers={"Idempotency-Key": "k"})
    assert response.status == 422


async def test_unknown_paths_and_methods_are_errors_of_the_contract(
    client: Client, error: ReadError
) -> None:
    assert (await error(await client.get("/nowhere")))[:2] == (404, "not_found")
    assert (await error(await client.delete("/customers")))[:2] == (405, "invalid")


class Empty(Body):
    """Nothing."""


async def test_a_mistake_of_ours_is_unavailable_and_keeps_no_key(
    aiohttp_client: Starts, shop: Path, error: ReadError, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [True]

    def change(visit: Visit, body: Empty) -> dict[str, str]:
        if broken:
            raise RuntimeError("a bug")
        return {"id": visit.store.number("issue", "TK")}

    def read(request: web.Request, store: Store) -> object:
        raise RuntimeError("another bug")

    app = create_service("broken", shop)
    add_change(app, "POST", "/change", Empty, change)
    add_read(app, "/read", read)
    client = await aiohttp_client(app)
    headers = {"Idempotency-Key": "k"}
    assert (await error(await client.get("/read")))[:2] == (503, "unavailable")
    assert (await error(await client.post("/change", headers=headers)))[:2] == (503, "unavailable")
    assert "a bug" in caplog.text
    broken.clear()
    response = await client.post("/change", headers=headers)
    assert (response.status, await response.json()) == (200, {"id": "TK-0000001"})


@pytest.mark.parametrize("text", ["#W12", "W12", "w12", " #w12 "])
def test_an_order_number_in_any_form(text: str) -> None:
    assert order_number(text) == "#W12"
