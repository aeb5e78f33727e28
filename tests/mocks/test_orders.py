import asyncio
import copy
import shutil
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mocks import orders
from mocks.cast import ANGRY, CAST, CONFUSED, POLITE, RETURNER, VIP
from mocks.service import ShopError, Visit
from mocks.shapes import Customer, Order, OrderStatus, Product
from mocks.store import Answer, Store
from mocks.units import cents
from mocks.world import World

Client = TestClient[web.Request, web.Application]
Starts = Callable[[web.Application], Awaitable[Client]]
ReadError = Callable[[ClientResponse], Awaitable[tuple[int, str, str]]]

PENDING = CAST[CONFUSED].order_ids[0]
SHIPPED = CAST[ANGRY].order_ids[0]
DELIVERED = CAST[RETURNER].order_ids[0]
TWICE = CAST[VIP].order_ids[0]
CARD = "credit_card_7005001"
ADDRESS = {
    "address1": "4 Mill Race",
    "address2": "",
    "city": "Boise",
    "state": "ID",
    "zip": "83702",
    "country": "USA",
}
ORDER = TypeAdapter(Order)


@pytest.fixture
async def client(aiohttp_client: Starts, shop: Path, clock: Callable[[], datetime]) -> Client:
    return await aiohttp_client(orders.create_app(shop, clock=clock))


def path(order_id: str, what: str = "") -> str:
    return f"/orders/{order_id.lstrip('#')}{what and '/'}{what}"


async def read(client: Client, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.json()


async def change(client: Client, order_id: str, what: str, body: object) -> Any:
    """Make a change that must succeed; the order after it, seen twice."""
    async with client.post(path(order_id, what), json=body) as response:
        order = await response.json()
        assert response.status == 200, order
    ORDER.validate_python(order, strict=True, extra="forbid")
    assert await read(client, path(order_id)) == order
    return order


def money(order: Any, kind: str) -> list[tuple[float, str, str]]:
    return [
        (p["amount"], p["method_id"], p["status"]) for p in order["payments"] if p["type"] == kind
    ]


def other_variant(world: World, item: Any, *, available: bool = True) -> Any:
    return next(
        variant
        for variant in world.products[item["product_id"]]["variants"]
        if variant["item_id"] != item["item_id"] and variant["available"] == available
    )


def set_up(shop: Path, update: Callable[[Store], None]) -> None:
    """Bring the shop into a state of this test's own."""
    store = Store(shop)

    def work() -> Answer:
        update(store)
        return Answer(200, "{}")

    store.once("SETUP", None, "", work)
    store.close()


def give_gift_card(shop: Path, customer_id: str, balance: float) -> None:
    def update(store: Store) -> None:
        customer = store.customers.get(customer_id)
        assert customer is not None
        customer["payment_methods"].append(
            {"id": "gift_card_1", "source": "gift_card", "balance": balance}
        )
        store.customers.put(customer)

    set_up(shop, update)


def gift_balance(shop: Path, customer_id: str) -> float:
    store = Store(shop)
    customer = store.customers.get(customer_id)
    store.close()
    assert customer is not None
    (card,) = (m for m in customer["payment_methods"] if m["source"] == "gift_card")
    return card["balance"]


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["W7000501", "%23W7000501", "w7000501"])
async def test_show(client: Client, world: World, form: str) -> None:
    assert await read(client, f"/orders/{form}") == world.orders["#W7000501"]


async def test_of_a_customer_newest_first(client: Client, world: World) -> None:
    for customer in list(world.customers.values())[:40]:
        found = (await read(client, f"/orders?customer_id={customer['id']}"))["orders"]
        assert {order["id"] for order in found} == set(customer["orders"])
        placed = [order["placed_at"] for order in found]
        assert placed == sorted(placed, reverse=True)
    assert await read(client, "/orders?customer_id=nobody") == {"orders": []}


async def test_a_customer_id_is_needed(client: Client, error: ReadError) -> None:
    status, code, message = await error(await client.get("/orders"))
    assert (status, code) == (422, "invalid")
    assert "customer_id" in message


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("cancel", {"reason": "a"}),
        ("modify", {"address": ADDRESS}),
        ("return", {"reason": "a"}),
        ("exchange", {"items": [{"item_id": "1", "new_item_id": "2"}]}),
        ("refund", {"amount": 1, "reason": "a"}),
        ("disputes", {"payment_id": "1", "reason": "a"}),
    ],
)
async def test_an_unknown_order(client: Client, error: ReadError, what: str, body: object) -> None:
    assert (await error(await client.get("/orders/W1")))[:2] == (404, "not_found")
    response = await client.post(path("#W1", what), json=body)
    assert (await error(response))[:2] == (404, "not_found")


async def test_products_by_words(client: Client) -> None:
    found = (await read(client, "/products?q=rain+jackets"))["products"]
    assert [product["name"] for product in found] == ["Fernhill Rain Jacket"]
    TypeAdapter(Product).validate_python(found[0], strict=True, extra="forbid")
    assert await read(client, f"/products/{found[0]['id']}") == found[0]
    assert await read(client, "/products?q=submarine") == {"products": []}
    best = (await read(client, "/products?q=desk+lamp+or+reading+lamp"))["products"]
    assert best[0]["name"] == "Brightwick Reading Lamp"
    assert 1 < len((await read(client, "/products?q=black"))["products"]) <= 20


async def test_an_unknown_product(client: Client, error: ReadError) -> None:
    assert (await error(await client.get("/products/1")))[:2] == (404, "not_found")
    assert (await error(await client.get("/products")))[:2] == (422, "invalid")


# --- cancel -------------------------------------------------------------------------------------


async def test_cancel_gives_everything_back(client: Client, world: World) -> None:
    total = world.orders[PENDING]["total"]
    order = await change(client, PENDING, "cancel", {"reason": "no longer needed"})
    assert order["status"] == "cancelled"
    assert order["payments"][:-1] == world.orders[PENDING]["payments"]
    assert money(order, "refund") == [(total, CARD, "pending")]
    assert order["payments"][-1]["at"] == "2026-03-11T15:30:00Z"


async def test_cancel_gives_to_each_what_it_gave(client: Client, shop: Path) -> None:
    give_gift_card(shop, CAST[CONFUSED].customer_id, 1.5)

    def split(store: Store) -> None:
        order = store.orders.get(PENDING)
        assert order is not None
        (first,) = order["payments"]
        part = copy.copy(first)
        part.update({"id": "pay_2", "method_id": "gift_card_1", "amount": 20.0})
        first["amount"] = round(first["amount"] - 20, 2)
        order["payments"].append(part)
        store.orders.put(order)

    set_up(shop, split)
    order = await change(client, PENDING, "cancel", {"reason": "a"})
    assert money(order, "refund") == [
        (round(order["total"] - 20, 2), CARD, "pending"),
        (20.0, "gift_card_1", "settled"),
    ]
    assert gift_balance(shop, CAST[CONFUSED].customer_id) == 21.5


async def test_cancel_after_a_partial_refund_gives_the_rest(client: Client, shop: Path) -> None:
    def settle(store: Store) -> None:
        order = store.orders.get(PENDING)
        assert order is not None
        order["payments"][0]["status"] = "settled"
        store.orders.put(order)

    set_up(shop, settle)
    await change(client, PENDING, "refund", {"amount": 10, "reason": "a"})
    order = await change(client, PENDING, "cancel", {"reason": "a"})
    assert sum(cents(amount) for amount, *_ in money(order, "refund")) == cents(order["total"])


@pytest.mark.parametrize(
    "status",
    [
        "processed",
        "shipped",
        "delivered",
        "cancelled",
        "return requested",
        "returned",
        "exchange requested",
    ],
)
@pytest.mark.parametrize(
    ("what", "body"), [("cancel", {"reason": "a"}), ("modify", {"address": ADDRESS})]
)
async def test_only_pending_orders_change(
    client: Client, world: World, error: ReadError, status: OrderStatus, what: str, body: object
) -> None:
    order = next(one for one in world.orders.values() if one["status"] == status)
    code, name, message = await error(await client.post(path(order["id"], what), json=body))
    assert (code, name) == (409, "conflict")
    assert status in message
    assert await read(client, path(order["id"])) == order


@pytest.mark.parametrize(("order_id", "what"), [(PENDING, "cancel"), (DELIVERED, "return")])
async def test_a_reason_is_needed(
    client: Client, error: ReadError, order_id: str, what: str
) -> None:
    response = await client.post(path(order_id, what), json={})
    assert await error(response) == (422, "invalid", "reason: Field required")


async def test_two_cancels_at_once_refund_once(client: Client) -> None:
    async def once() -> int:
        async with client.post(path(PENDING, "cancel"), json={"reason": "a"}) as response:
            return response.status

    assert sorted(await asyncio.gather(*(once() for _ in range(5)))) == [200, 409, 409, 409, 409]
    assert len(money(await read(client, path(PENDING)), "refund")) == 1


async def test_a_key_holds_for_both_forms_of_an_order_id(client: Client) -> None:
    headers = {"Idempotency-Key": "turn-1/cancel"}
    for form, repeated in (("W7000501", None), ("%23W7000501", "true")):
        async with client.post(
            f"/orders/{form}/cancel", json={"reason": "a"}, headers=headers
        ) as response:
            assert response.status == 200
            assert response.headers.get("Idempotent-Replay") == repeated
            assert len(money(await response.json(), "refund")) == 1


# --- modify -------------------------------------------------------------------------------------


async def test_modify_the_address(client: Client, world: World) -> None:
    order = await change(client, PENDING, "modify", {"address": ADDRESS})
    assert order == {**world.orders[PENDING], "address": ADDRESS}


async def test_modify_items_settles_the_difference(client: Client, world: World) -> None:
    before = world.orders[PENDING]
    new = {item["item_id"]: other_variant(world, item) for item in before["items"]}
    swaps = [
        {"item_id": item_id, "new_item_id": variant["item_id"]} for item_id, variant in new.items()
    ]
    order = await change(client, PENDING, "modify", {"items": swaps})
    assert [item["item_id"] for item in order["items"]] == [v["item_id"] for v in new.values()]
    assert [item["options"] for item in order["items"]] == [v["options"] for v in new.values()]
    assert cents(order["total"]) == sum(cents(item["price"]) for item in order["items"])
    paid = sum(cents(amount) for amount, *_ in money(order, "payment"))
    back = sum(cents(amount) for amount, *_ in money(order, "refund"))
    assert paid - back == cents(order["total"])
    assert order["status"] == "pending"


async def test_modify_to_another_way_to_pay(client: Client, shop: Path, world: World) -> None:
    total = world.orders[PENDING]["total"]
    give_gift_card(shop, CAST[CONFUSED].customer_id, total + 5)
    order = await change(client, PENDING, "modify", {"payment_method_id": "gift_card_1"})
    assert [method for _, method, _ in money(order, "payment")] == [CARD, "gift_card_1"]
    assert money(order, "refund") == [(total, CARD, "pending")]
    assert gift_balance(shop, CAST[CONFUSED].customer_id) == 5.0


async def test_modify_to_the_same_way_to_pay(client: Client, error: ReadError) -> None:
    response = await client.post(path(PENDING, "modify"), json={"payment_method_id": CARD})
    assert (await error(response))[:2] == (409, "conflict")


async def test_an_empty_gift_card_pays_nothing_and_changes_nothing(
    client: Client, shop: Path, world: World, error: ReadError
) -> None:
    give_gift_card(shop, CAST[CONFUSED].customer_id, 0.01)
    body = {"address": ADDRESS, "payment_method_id": "gift_card_1"}
    response = await client.post(path(PENDING, "modify"), json=body)
    assert (await error(response))[:2] == (409, "conflict")
    assert await read(client, path(PENDING)) == world.orders[PENDING]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "address, items, payment_method_id"),
        ({"items": []}, "items"),
        ({"items": [{"item_id": "1", "new_item_id": "2"}]}, "items"),
        ({"payment_method_id": "paypal_of_somebody"}, "payment_method_id"),
        ({"address": {**ADDRESS, "zip": ""}}, "address.zip"),
    ],
)
async def test_a_bad_modification_names_its_field(
    client: Client, error: ReadError, body: object, field: str
) -> None:
    status, code, message = await error(await client.post(path(PENDING, "modify"), json=body))
    assert (status, code) == (422, "invalid")
    assert field in message


@pytest.mark.parametrize(("order_id", "what"), [(PENDING, "modify"), (DELIVERED, "exchange")])
async def test_swaps_stay_within_the_product_and_the_stock(
    client: Client, world: World, error: ReadError, shop: Path, order_id: str, what: str
) -> None:
    one, two = world.orders[order_id]["items"]
    foreign = {"item_id": one["item_id"], "new_item_id": two["item_id"]}
    response = await client.post(path(order_id, what), json={"items": [foreign]})
    assert (await error(response))[:2] == (422, "invalid")

    new_id = other_variant(world, one)["item_id"]
    swap = {"item_id": one["item_id"], "new_item_id": new_id}
    response = await client.post(path(order_id, what), json={"items": [swap, swap]})
    assert (await error(response))[:2] == (422, "invalid")

    def sell_out(store: Store) -> None:
        product = store.products.get(one["product_id"])
        assert product is not None
        for variant in product["variants"]:
            variant["available"] = variant["item_id"] != new_id
        store.products.put(product)

    set_up(shop, sell_out)
    response = await client.post(path(order_id, what), json={"items": [swap]})
    assert (await error(response))[:2] == (409, "conflict")
    assert await read(client, path(order_id)) == world.orders[order_id]


# --- return, exchange ---------------------------------------------------------------------------


async def test_return_everything(client: Client, world: World) -> None:
    before = world.orders[DELIVERED]
    order = await change(client, DELIVERED, "return", {"reason": "does not fit"})
    assert order == {
        **before,
        "status": "return requested",
        "return": {
            "id": "RT-0000001",
            "item_ids": [item["item_id"] for item in before["items"]],
            "label_url": "https://labels.example.com/RT-0000001.pdf",
            "refund_amount": before["total"],
            "refund_to": before["payments"][0]["method_id"],
        },
    }


async def test_return_one_item_to_a_gift_card(client: Client, shop: Path, world: World) -> None:
    give_gift_card(shop, CAST[RETURNER].customer_id, 3.0)
    item = world.orders[DELIVERED]["items"][1]
    body = {"item_ids": [item["item_id"]], "reason": "a", "payment_method_id": "gift_card_1"}
    order = await change(client, DELIVERED, "return", body)
    assert order["return"]["item_ids"] == [item["item_id"]]
    assert order["return"]["refund_amount"] == item["price"]
    assert order["return"]["refund_to"] == "gift_card_1"
    # The money comes when the items are back.
    assert gift_balance(shop, CAST[RETURNER].customer_id) == 3.0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "a", "item_ids": []}, "item_ids"),
        ({"reason": "a", "item_ids": ["1"]}, "item_ids"),
        ({"reason": "a", "payment_method_id": "x"}, "payment_method_id"),
    ],
)
async def test_a_bad_return_names_its_field(
    client: Client, error: ReadError, body: object, field: str
) -> None:
    status, code, message = await error(await client.post(path(DELIVERED, "return"), json=body))
    assert (status, code) == (422, "invalid")
    assert message.startswith(field)


async def test_an_item_comes_back_as_often_as_it_was_bought(
    client: Client, world: World, error: ReadError
) -> None:
    item_id = world.orders[DELIVERED]["items"][0]["item_id"]
    body = {"reason": "a", "item_ids": [item_id, item_id]}
    response = await client.post(path(DELIVERED, "return"), json=body)
    assert (await error(response))[:2] == (422, "invalid")


async def test_exchange(client: Client, world: World) -> None:
    before = world.orders[DELIVERED]
    item = before["items"][0]
    new = other_variant(world, item)
    swap = {"item_id": item["item_id"], "new_item_id": new["item_id"]}
    order = await change(client, DELIVERED, "exchange", {"items": [swap]})
    assert order == {
        **before,
        "status": "exchange requested",
        "exchange": {
            "id": "EX-0000001",
            "items": [swap],
            "label_url": "https://labels.example.com/EX-0000001.pdf",
            "price_difference": round(new["price"] - item["price"], 2),
            "payment_method_id": before["payments"][0]["method_id"],
        },
    }


@pytest.mark.parametrize("order_id", [PENDING, SHIPPED])
async def test_only_delivered_orders_come_back(
    client: Client, world: World, error: ReadError, order_id: str
) -> None:
    item = world.orders[order_id]["items"][0]
    swap = {"item_id": item["item_id"], "new_item_id": other_variant(world, item)["item_id"]}
    for what, body in (("return", {"reason": "a"}), ("exchange", {"items": [swap]})):
        response = await client.post(path(order_id, what), json=body)
        assert (await error(response))[:2] == (409, "conflict")


async def test_an_order_comes_back_once(client: Client, error: ReadError) -> None:
    await change(client, DELIVERED, "return", {"reason": "a"})
    response = await client.post(path(DELIVERED, "return"), json={"reason": "a"})
    assert (await error(response))[:2] == (409, "conflict")


# --- refund, disputes ---------------------------------------------------------------------------


async def test_the_second_charge_goes_back_and_no_more(
    client: Client, world: World, error: ReadError
) -> None:
    total = world.orders[TWICE]["total"]
    order = await change(client, TWICE, "refund", {"amount": total, "reason": "charged twice"})
    assert [amount for amount, *_ in money(order, "refund")] == [total]
    order = await change(client, TWICE, "refund", {"amount": total, "reason": "goodwill"})
    assert [amount for amount, *_ in money(order, "refund")] == [total, total]
    response = await client.post(path(TWICE, "refund"), json={"amount": 0.01, "reason": "a"})
    status, code, message = await error(response)
    assert (status, code) == (409, "conflict")
    assert "0.01 is more than the 0.00" in message


async def test_a_refund_over_two_payments(client: Client, world: World) -> None:
    total = cents(world.orders[TWICE]["total"])
    order = await change(client, TWICE, "refund", {"amount": (total + 250) / 100, "reason": "a"})
    assert [cents(amount) for amount, *_ in money(order, "refund")] == [total, 250]


async def test_what_was_not_settled_is_not_given_back(
    client: Client, shop: Path, error: ReadError
) -> None:
    def hold(store: Store) -> None:
        order = store.orders.get(SHIPPED)
        assert order is not None
        order["payments"][0]["status"] = "pending"
        store.orders.put(order)

    set_up(shop, hold)
    response = await client.post(path(SHIPPED, "refund"), json={"amount": 1, "reason": "a"})
    assert (await error(response))[:2] == (409, "conflict")


@pytest.mark.parametrize("amount", [0, -1, 0.001, "x", None, True, 10**9])
async def test_a_bad_amount(client: Client, error: ReadError, amount: object) -> None:
    body = {"amount": amount, "reason": "a"}
    status, code, message = await error(await client.post(path(TWICE, "refund"), json=body))
    assert (status, code) == (422, "invalid")
    assert message.startswith("amount")


async def test_dispute_a_payment(client: Client, world: World, error: ReadError) -> None:
    payment_id = world.orders[TWICE]["payments"][1]["id"]
    body = {"payment_id": payment_id, "reason": "charged twice"}
    async with client.post(path(TWICE, "disputes"), json=body) as response:
        assert response.status == 201
        assert await response.json() == {
            "dispute_id": "DP-0000001",
            "order_id": TWICE,
            "payment_id": payment_id,
            "status": "open",
        }
    body["payment_id"] = world.orders[SHIPPED]["payments"][0]["id"]
    status, code, message = await error(await client.post(path(TWICE, "disputes"), json=body))
    assert (status, code) == (422, "invalid")
    assert message.startswith("payment_id")


# --- whatever happens, the money is right -------------------------------------------------------

WHO = CAST[POLITE].customer_id
MINE = CAST[POLITE].order_ids[0]
METHODS = st.sampled_from([None, "credit_card_7002001", "gift_card_1", "paypal_1"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("status"), st.sampled_from(["pending", "delivered"])),
        st.tuples(st.just("cancel"), st.none()),
        st.tuples(st.just("refund"), st.integers(1, 30_000)),
        st.tuples(st.just("pay"), METHODS),
        st.tuples(st.just("swap"), st.tuples(st.integers(0, 1), st.integers(0, 20), METHODS)),
        st.tuples(st.just("return"), METHODS),
        st.tuples(st.just("exchange"), st.tuples(st.integers(0, 1), st.integers(0, 20), METHODS)),
    ),
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, balance=st.integers(0, 30_000))
def test_no_sequence_of_changes_loses_or_makes_money(
    filled: Path, tmp_path: Path, now: datetime, steps: list[tuple[str, Any]], balance: int
) -> None:
    file = Path(shutil.copy(filled, tmp_path / "money.sqlite3"))
    give_gift_card(file, WHO, balance / 100)
    store = Store(file)
    visit = Visit(store, now, MappingProxyType({"order_id": MINE}))

    def step(kind: str, value: Any) -> None:
        order = store.orders.get(MINE)
        assert order is not None
        if kind == "status":
            order["status"] = value
            order.pop("return", None)
            order.pop("exchange", None)
            store.orders.put(order)
        elif kind == "cancel":
            orders.cancel(visit, orders.CancelForm(reason="a"))
        elif kind == "refund":
            form = orders.RefundForm.model_validate({"amount": value / 100, "reason": "a"})
            orders.refund(visit, form)
        elif kind == "pay":
            orders.modify(visit, orders.ModifyForm(payment_method_id=value))
        elif kind == "return":
            orders.take_back(visit, orders.ReturnForm(reason="a", payment_method_id=value))
        else:
            line, variant, method = value
            item = order["items"][line]
            product = store.products.get(item["product_id"])
            assert product is not None
            new = product["variants"][variant % len(product["variants"])]
            swap = {"item_id": item["item_id"], "new_item_id": new["item_id"]}
            body = {"items": [swap], "payment_method_id": method}
            if kind == "swap":
                orders.modify(visit, orders.ModifyForm.model_validate(body))
            else:
                orders.exchange(visit, orders.ExchangeForm.model_validate(body))

    for kind, value in steps:
        before = store.orders.get(MINE), store.customers.get(WHO)

        def work(kind: str = kind, value: Any = value) -> Answer:
            try:
                with store.attempt():
                    step(kind, value)
            except (ShopError, ValidationError):
                return Answer(409, "")
            return Answer(200, "")

        answer, _ = store.once("POST", None, "", work)
        order, customer = store.orders.get(MINE), store.customers.get(WHO)
        assert order is not None
        assert customer is not None
        if answer.status != 200:
            assert (order, customer) == before
        check_books(order, customer, balance)
    store.close()


def check_books(order: Order, customer: Customer, balance: int) -> None:
    ORDER.validate_python(order, strict=True, extra="forbid")
    paid = sum(cents(p["amount"]) for p in order["payments"] if p["type"] == "payment")
    back = sum(cents(p["amount"]) for p in order["payments"] if p["type"] == "refund")
    assert 0 <= back <= paid
    assert cents(order["total"]) == sum(cents(item["price"]) for item in order["items"])
    assert all(p["amount"] > 0 for p in order["payments"])
    if order["status"] == "cancelled":
        assert paid == back
    (gift,) = (m for m in customer["payment_methods"] if m["source"] == "gift_card")
    used = sum(
        cents(p["amount"]) * (1 if p["type"] == "payment" else -1)
        for p in order["payments"]
        if p["method_id"] == "gift_card_1"
    )
    assert cents(gift["balance"]) == balance - used
    assert gift["balance"] >= 0
