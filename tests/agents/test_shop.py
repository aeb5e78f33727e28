"""The shop's client against the mock shop over real HTTP, in good and in bad weather."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from agents import shop as shop_module
from agents.shop import (
    Shop,
    days_late,
    delivered_on,
    double_charges,
    is_delayed,
    is_late,
    payment_method,
    refundable,
    tracking_ids,
)
from mocks.cast import ANGRY, CAST, CONFUSED, POLITE, RETURNER, VIP
from mocks.servers import free_port
from streams.errors import ShopRefused, ShopUnavailable
from streams.message import Hop
from streams.observability.tracing import Tracing
from streams.payload import Customer, Json, Order, Parcel
from streams.settings import Settings
from streams.trace import recording
from tests.agents.conftest import NOW, ShopFront, Trouble
from tests.collector import Collector

TODAY = NOW.date()


def hop() -> Hop:
    return Hop(actor="test", started_at=NOW)


async def test_the_shop_is_told_which_trace_a_call_belongs_to(
    shop: Shop, front: ShopFront, spans: tuple[Tracing, Collector]
) -> None:
    tracing, received = spans
    with tracing.span("context_retriever", "consumer", {"mark": "1"}):
        await shop.order("W7000502")
    await shop.order("W7000502")
    await tracing.close()
    within, without = front.calls
    (asked,) = [s for s in received.trace(lambda s: len(s) == 2, mark="1") if "ask" in s.name]
    assert (within.traceparent or "").startswith(f"00-{asked.trace}-{asked.id}-")
    assert without.traceparent is None


# In good weather


async def test_a_customer_is_found_by_email_in_any_case(shop: Shop) -> None:
    found = await shop.customer_by_email("Dagny.OKAFOR@example.com")
    assert found is not None
    assert found.id == CAST[ANGRY].customer_id
    assert found == await shop.customer(found.id)
    assert await shop.customer_by_email("nobody@example.com") is None


async def test_orders_parcels_and_issues(shop: Shop) -> None:
    who = CAST[CONFUSED]
    orders = await shop.orders_of(who.customer_id)
    assert {order.id for order in orders} == set(who.order_ids)
    placed = [order.placed_at for order in orders if order.placed_at]
    assert placed == sorted(placed, reverse=True)
    assert await shop.order("#W7000502") == await shop.order("W7000502")
    (parcel,) = await shop.parcels_of("#W7000502")
    assert parcel == await shop.parcel(parcel.tracking_id)
    assert parcel.promised_delivery == date(2025, 6, 16)
    (issue,) = [i for i in await shop.issues(CAST[ANGRY].customer_id) if i.order_id]
    assert issue.status == "closed"


async def test_products(shop: Shop) -> None:
    found = await shop.products("rain jacket")
    assert found[0].name == "Fernhill Rain Jacket"
    assert await shop.product(found[0].id) == found[0]


async def test_every_change(shop: Shop) -> None:
    pending, late = CAST[CONFUSED].order_ids
    address = {
        "address1": "1 Elm St",
        "address2": "",
        "city": "Reno",
        "state": "NV",
        "zip": "89501",
        "country": "USA",
    }
    changed = await shop.modify_order(pending, {"address": address}, "k1")
    assert changed.address == address
    assert (await shop.cancel_order(pending, "ordered by mistake", "k2")).status == "cancelled"
    customer_id = CAST[CONFUSED].customer_id
    assert (await shop.update_customer(customer_id, {"phone": "555-010-2030"}, "k3")).phone
    assert (await shop.open_ticket(customer_id, "Hello", "There", late, "k4")).order_id == late
    assert (await shop.reset_password(customer_id, "k5")).sent_to == "m***@example.com"
    assert (await shop.give_credit(customer_id, 5, "late", "k6")).balance == 5
    (parcel,) = await shop.parcels_of(late)
    assert (await shop.investigate(parcel.tracking_id, "late", "k7")).answer_by
    assert (await shop.redeliver(parcel.tracking_id, {}, "k8")).tracking_id == parcel.tracking_id
    paid = CAST[VIP].order_ids[0]
    order = await shop.order(paid)
    assert (await shop.open_dispute(paid, order.payments[1]["id"], "twice", "k9")).dispute_id
    assert (await shop.refund(paid, 1.25, "sorry", "k10")).payments[-1]["amount"] == 1.25


async def test_a_return_and_an_exchange_keep_what_only_they_have(shop: Shop) -> None:
    order = await shop.order(CAST[RETURNER].order_ids[0])
    first = str(order.items[0]["item_id"])
    returned = await shop.return_items(order.id, [first], "does not fit", None, "k1")
    assert returned.model_extra is not None
    assert returned.model_extra["return"]["item_ids"] == [first]
    delivered = await shop.order(CAST[VIP].order_ids[0])
    item = delivered.items[0]
    variants = (await shop.product(item["product_id"])).variants
    other = next(v for v in variants if v["available"] and v["item_id"] != item["item_id"])
    swap = {"item_id": item["item_id"], "new_item_id": other["item_id"]}
    exchanged = await shop.exchange_items(delivered.id, [swap], "k2")
    assert exchanged.model_extra is not None
    assert exchanged.model_extra["exchange"]["items"] == [swap]


async def test_the_same_key_again_does_nothing_again(shop: Shop) -> None:
    customer_id = CAST[VIP].customer_id
    first = await shop.give_credit(customer_id, 10, "late", "goodwill-1")
    second = await shop.give_credit(customer_id, 10, "late", "goodwill-1")
    assert (first.repeated, second.repeated) == (False, True)
    assert second.credit_id == first.credit_id
    customer = await shop.customer(customer_id)
    assert customer.credit_balance == 10


async def test_all_turns_share_their_connections(front: ShopFront, shop: Shop) -> None:
    for _ in range(10):
        await shop.orders_of(CAST[VIP].customer_id)
        await shop.customer(CAST[VIP].customer_id)
    assert len({(call.service, call.peer) for call in front.calls}) == 2


async def test_it_starts_twice_and_closes_twice(front: ShopFront) -> None:
    client = Shop(front.settings)
    await client.start()
    await client.start()
    await client.customer(CAST[VIP].customer_id)
    await client.close()
    await client.close()
    with pytest.raises(RuntimeError):
        await client.customer(CAST[VIP].customer_id)


def test_without_urls_it_asks_the_mocks() -> None:
    urls = Shop(Settings(customers_url="", orders_url="https://shop/api/", tracking_url=""))._urls
    assert str(urls["customers"]) == "http://127.0.0.1:6067"
    assert str(urls["orders"]) == "https://shop/api"


# No


@pytest.mark.parametrize(
    ("ask", "status", "code"),
    [
        (lambda shop: shop.customer("nobody"), 404, "not_found"),
        (lambda shop: shop.order("#W0000000"), 404, "not_found"),
        (lambda shop: shop.cancel_order("#W7000201", "x", "k"), 409, "conflict"),
        (lambda shop: shop.update_customer(CAST[VIP].customer_id, {}, "k"), 422, "invalid"),
    ],
)
async def test_a_no_is_told_in_the_shops_words_and_not_tried_again(
    front: ShopFront,
    shop: Shop,
    ask: Callable[[Shop], Awaitable[object]],
    status: int,
    code: str,
) -> None:
    with pytest.raises(ShopRefused) as refused:
        await ask(shop)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert str(refused.value)
    assert len(front.calls) == 1


@pytest.mark.parametrize(
    "wicked",
    ["", ".", "..", "#", "../customers", "a/b", "a?b=c", "W1%2f..", "a b", "é", "x\r\nHost: y"],
)
async def test_an_id_cannot_climb_out_of_its_path(
    front: ShopFront, shop: Shop, wicked: str
) -> None:
    for ask in (shop.order, shop.parcel, shop.customer, shop.product, shop.issues):
        with pytest.raises(ShopRefused) as refused:
            await ask(wicked)
        assert refused.value.status == 404
    assert front.calls == []


async def test_other_peoples_rows_are_left_out_whatever_the_shop_sends(shop: Shop) -> None:
    assert await shop.parcels_of("w7000502") == [], "the shop forgives the case, we do not"


# In bad weather


@pytest.mark.parametrize("trouble", ["503", "drop", "garbage"])
async def test_a_passing_failure_is_tried_again(
    front: ShopFront, shop: Shop, trouble: Trouble
) -> None:
    front.next("orders", trouble, trouble)
    with recording(hop()) as told:
        order = await shop.order("#W7000201")
    assert order.customer_id == CAST[POLITE].customer_id
    assert len(told.exchanges) == 1, "one question, however many tries"
    assert "answered after" in told.notes[0]


@pytest.mark.parametrize("trouble", ["503", "drop", "garbage"])
async def test_a_lasting_failure_is_told(front: ShopFront, shop: Shop, trouble: Trouble) -> None:
    front.always("orders", trouble)
    with recording(hop()) as told, pytest.raises(ShopUnavailable, match=r"GET /orders/W7000201"):
        await shop.order("#W7000201")
    assert len(front.calls) >= 1 + front.settings.shop_retries
    assert told.exchanges[0].error is not None


@pytest.mark.parametrize("trouble", ["503 after", "drop after"])
async def test_a_failure_after_the_deed_does_it_once(
    front: ShopFront, shop: Shop, trouble: Trouble
) -> None:
    front.next("customers", trouble)
    credit = await shop.give_credit(CAST[VIP].customer_id, 10, "late", "goodwill-2")
    assert credit.balance == 10
    posts = [call for call in front.calls if call.method == "POST"]
    assert [call.key for call in posts] == ["goodwill-2", "goodwill-2"]


async def test_a_shop_that_hangs_is_given_up(front: ShopFront) -> None:
    settings = front.settings.model_copy(update={"shop_timeout": 0.05, "shop_retries": 1})
    client = Shop(settings)
    await client.start()
    front.always("orders", "hang")
    with pytest.raises(ShopUnavailable, match="tried 2 times"):
        await client.order("#W7000201")
    await client.close()


async def test_a_shop_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_module, "RETRY_DELAY", 0.0)
    client = Shop(Settings(orders_url=f"http://127.0.0.1:{free_port()}", shop_retries=1))
    await client.start()
    with pytest.raises(ShopUnavailable, match=r"orders: GET /orders/W1.*tried 2 times"):
        await client.order("#W1")
    await client.close()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("wrong shape", "something unexpected"), ("418", "not as this shop says no")],
)
async def test_an_answer_that_makes_no_sense_is_unavailable(
    front: ShopFront, shop: Shop, trouble: Trouble, reason: str
) -> None:
    front.next("orders", trouble)
    with recording(hop()) as told, pytest.raises(ShopUnavailable, match=reason):
        await shop.orders_of(CAST[VIP].customer_id)
    assert told.exchanges[0].response is not None, "what came is there for people to see"


async def test_no_retries_means_one_try(front: ShopFront, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Shop(front.settings.model_copy(update={"shop_retries": 0}))
    await client.start()
    front.always("orders", "503")
    with pytest.raises(ShopUnavailable):
        await client.order("#W7000201")
    assert len(front.calls) == 1
    await client.close()


async def test_exchanges_are_enough_to_answer_again(shop: Shop) -> None:
    with recording(hop()) as told:
        await asyncio.gather(
            shop.customer_by_email("ines.valcourt@example.com"),
            shop.give_credit(CAST[VIP].customer_id, 3, "x", "secret-key"),
        )
        with pytest.raises(ShopRefused):
            await shop.order("W0000000")
    got = {(e.target, e.request["method"], e.request["path"]): e for e in told.exchanges}
    asked = got["customers", "GET", "/customers"]
    assert asked.request["params"] == {"email": "ines.valcourt@example.com"}
    assert asked.response["status"] == 200
    given = got["customers", "POST", f"/customers/{CAST[VIP].customer_id}/credits"]
    assert given.request["body"] == {"amount": 3, "reason": "x"}
    assert given.response["status"] == 201
    refused = got["orders", "GET", "/orders/W0000000"]
    assert refused.response["status"] == 404
    assert refused.response["body"]["error"]["code"] == "not_found"


# What the answers mean


def parcel(**fields: Any) -> Parcel:
    base: Json = {"tracking_id": "1", "order_id": "#W1", "carrier": "C", "status": "in_transit"}
    return Parcel.model_validate(base | fields)


def order(**fields: Any) -> Order:
    base: Json = {"id": "#W1", "customer_id": "c", "status": "delivered", "total": 100}
    return Order.model_validate(base | fields)


@pytest.mark.parametrize(
    ("fields", "late", "delayed", "days"),
    [
        ({"promised_delivery": "2025-06-18"}, False, False, 0),
        ({"promised_delivery": "2025-06-17"}, True, True, 1),
        ({"promised_delivery": "2025-06-20", "status": "delayed"}, False, True, 0),
        ({"promised_delivery": "2025-06-20", "status": "exception"}, False, True, 0),
        ({"promised_delivery": "2025-06-10", "status": "delivered"}, False, False, 8),
        ({"status": "lost"}, True, True, 0),
        ({}, False, False, 0),
    ],
)
def test_late(fields: Json, late: bool, delayed: bool, days: int) -> None:
    one = parcel(**fields)
    assert (is_late(one, TODAY), is_delayed(one, TODAY)) == (late, delayed)
    assert days_late(one, TODAY) == days


def test_an_order_is_delivered_with_its_last_parcel() -> None:
    one = order(fulfillments=[{"tracking_ids": ["1", "2"]}, {"tracking_ids": None}])
    arrived = [
        parcel(tracking_id="1", delivered_at=datetime(2025, 6, 1, tzinfo=UTC)),
        parcel(tracking_id="2", delivered_at=datetime(2025, 6, 3, tzinfo=UTC)),
        parcel(tracking_id="3", order_id="#W2", delivered_at=datetime(2025, 6, 9, tzinfo=UTC)),
    ]
    assert tracking_ids(one) == ["1", "2"]
    assert delivered_on(one, arrived) == date(2025, 6, 3)
    assert delivered_on(one, arrived[2:]) is None


def pay(amount: float, method: str = "m", kind: str = "payment", status: str = "settled") -> Json:
    return {
        "id": f"{kind}-{amount}-{method}-{status}",
        "type": kind,
        "amount": amount,
        "method_id": method,
        "status": status,
    }


@pytest.mark.parametrize(
    ("payments", "doubles", "left"),
    [
        ([pay(100)], 0, 100),
        ([pay(100), pay(100)], 1, 200),
        ([pay(100), pay(100), pay(100)], 2, 300),
        ([pay(50), pay(50)], 0, 100),
        ([pay(100), pay(100, "other")], 0, 200),
        ([pay(100), pay(100, status="pending")], 0, 200),
        ([pay(100), pay(100), pay(100, kind="refund")], 0, 100),
        ([pay(100), pay(100, kind="refund")], 0, 0),
        ([pay(0), pay(0)], 0, 0),
        ([{}, {}], 0, 0),
    ],
)
def test_double_charges(payments: list[Json], doubles: int, left: float) -> None:
    one = order(payments=payments)
    assert len(double_charges(one)) == doubles
    assert refundable(one) == left


def test_ways_to_pay_in_words() -> None:
    customer = Customer.model_validate(
        {
            "id": "c",
            "name": {},
            "email": "e",
            "payment_methods": [
                {"id": "v", "source": "credit_card", "brand": "visa", "last_four": "1234"},
                {"id": "p", "source": "paypal"},
                {"id": "g", "source": "gift_card", "balance": 3},
                {"id": "x", "source": "credit_card"},
            ],
        }
    )
    words = [payment_method(customer, one) for one in "vpgx?"]
    assert words == [
        "the Visa card ending in 1234",
        "the PayPal account",
        "the gift card",
        "the Credit card",
        "the original payment method",
    ]
