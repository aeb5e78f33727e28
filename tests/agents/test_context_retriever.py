"""The context: what is fetched, whose data, what is cached, and what is missing."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.context_retriever import focus, foreign, retrieve
from agents.shop import Shop, customer_key, orders_key
from mocks.cast import ANGRY, CAST, CONFUSED, POLITE, RETURNER, VIP
from streams.errors import ShopUnavailable
from streams.message import Hop
from streams.payload import (
    Entity,
    Intent,
    IntentName,
    Json,
    Order,
    Parcel,
    Payload,
    PlannedAction,
    Utterance,
)
from streams.trace import recording
from tables.cache import Cache
from tests.agents.conftest import NOW, ShopFront

SECONDS = 30


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Cache]:
    made = Cache(redis_url, prefix=f"context-{secrets.token_hex(4)}")
    yield made
    await made.close()


@pytest.fixture
async def no_cache() -> AsyncIterator[Cache]:
    """A cache that is down."""
    made = Cache("redis://127.0.0.1:1/0")
    yield made
    await made.close()


def entity(kind: Any, value: str) -> Entity:
    return Entity(type=kind, value=value, start=0, end=len(value))


def intent(name: str, *entities: Entity, **fields: Any) -> Intent:
    return Intent(name=IntentName(name), confidence=0.9, entities=list(entities), **fields)


def turn(who: str | None, text: str, wish: Intent | None = None, **fields: Any) -> Payload:
    email = CAST[who].email if who in CAST else who
    return Payload(text=text, email=email, at=NOW, intent=wish, **fields)


def hop() -> Hop:
    return Hop(actor="context_retriever", started_at=NOW)


# What is fetched


async def test_the_whole_context_of_a_late_parcel(shop: Shop, no_cache: Cache) -> None:
    payload = turn(ANGRY, "Where is my headset?", intent("delivery_status"))
    context = await retrieve(shop, no_cache, payload, SECONDS)
    assert context.customer is not None
    assert context.customer.email == CAST[ANGRY].email
    assert [order.id for order in context.orders] == ["#W7000101"]
    assert [parcel.order_id for parcel in context.parcels] == ["#W7000101"]
    assert [issue.order_id for issue in context.past_issues] == ["#W7000101"]
    assert context.focus == ["#W7000101"]
    assert (context.foreign, context.missing, context.cached, context.products) == ([], [], [], [])


async def test_pending_orders_have_no_parcels_to_ask_for(
    front: ShopFront, shop: Shop, no_cache: Cache
) -> None:
    payload = turn(CONFUSED, "Please cancel my order", intent("cancel_order"))
    context = await retrieve(shop, no_cache, payload, SECONDS)
    assert context.focus == ["#W7000501"]
    assert front.asked("tracking") == []
    assert {order.id for order in context.orders} == {"#W7000501", "#W7000502"}


async def test_an_exchange_comes_with_the_variants_of_the_thing(
    shop: Shop, no_cache: Cache
) -> None:
    payload = turn(RETURNER, "I want to exchange the rain jacket", intent("exchange"))
    context = await retrieve(shop, no_cache, payload, SECONDS)
    assert [product["name"] for product in context.products] == ["Fernhill Rain Jacket"]
    assert context.products[0]["variants"]


async def test_a_product_question_needs_no_account(shop: Shop, no_cache: Cache) -> None:
    wish = intent("product_question", entity("product", "rain jacket"))
    context = await retrieve(shop, no_cache, turn(None, "Is the jacket warm?", wish), SECONDS)
    assert context.customer is None
    assert context.products[0]["name"] == "Fernhill Rain Jacket"


@pytest.mark.parametrize("email", [None, "", "  ", "nobody@example.com"])
async def test_who_is_not_known_gets_nothing(
    front: ShopFront, shop: Shop, no_cache: Cache, email: str | None
) -> None:
    wish = intent("order_status", entity("order_id", "#W7000101"))
    payload = turn(email, "Where is #W7000101?", wish)
    context = await retrieve(shop, no_cache, payload, SECONDS)
    assert context.customer is None
    assert (context.orders, context.parcels) == ([], [])
    assert context.foreign == ["#W7000101"]
    assert front.asked("orders") == []


# Whose data


async def test_what_belongs_to_somebody_else_is_not_even_asked_for(
    front: ShopFront, shop: Shop, no_cache: Cache
) -> None:
    (parcel,) = await shop.parcels_of("#W7000101")
    front.calls.clear()
    wish = intent(
        "order_status",
        entity("order_id", "w7000101"),
        entity("tracking_number", parcel.tracking_id),
        entity("order_id", "#W9999999"),
    )
    payload = turn(POLITE, "What about w7000101?", wish)
    context = await retrieve(shop, no_cache, payload, SECONDS)
    assert context.foreign == ["w7000101", "#W9999999", parcel.tracking_id]
    assert context.focus == [], "no other order takes its place"
    assert [order.id for order in context.orders] == ["#W7000201"]
    assert "W7000101" not in context.model_dump_json(exclude={"foreign"})
    assert all("W7000101" not in path for path in front.asked())
    assert parcel.tracking_id not in context.model_dump_json(exclude={"foreign"})


async def test_own_numbers_in_any_spelling(shop: Shop, no_cache: Cache) -> None:
    (parcel,) = await shop.parcels_of("#W7000502")
    for named in (
        entity("order_id", "#W7000502"),
        entity("order_id", "w7000502"),
        entity("order_id", "7000502"),
        entity("tracking_number", parcel.tracking_id),
        entity("tracking_number", f"{parcel.tracking_id[:4]}-{parcel.tracking_id[4:]}"),
    ):
        payload = turn(CONFUSED, "It is this one", intent("order_status", named))
        context = await retrieve(shop, no_cache, payload, SECONDS)
        assert context.focus == ["#W7000502"], named
        assert context.foreign == []


# The cache


async def test_the_second_turn_is_answered_from_the_cache(
    front: ShopFront, shop: Shop, cache: Cache
) -> None:
    payload = turn(ANGRY, "Where is my headset?", intent("delivery_status"))
    first = await retrieve(shop, cache, payload, SECONDS)
    front.calls.clear()
    with recording(hop()) as told:
        second = await retrieve(shop, cache, payload, SECONDS)
    assert front.calls == []
    assert set(second.cached) == {"customer", "orders", "past_issues", "parcels of #W7000101"}
    assert second.model_copy(update={"cached": []}) == first
    assert {e.target for e in told.exchanges} == {"cache"}
    assert all(e.response for e in told.exchanges), "a replay needs no cache"


async def test_no_cache_seconds_no_cache(front: ShopFront, shop: Shop, cache: Cache) -> None:
    payload = turn(ANGRY, "Where is my headset?", intent("delivery_status"))
    await retrieve(shop, cache, payload, 0)
    asked = len(front.calls)
    context = await retrieve(shop, cache, payload, 0)
    assert len(front.calls) == 2 * asked
    assert context.cached == []


async def test_one_customers_cache_is_not_anothers(shop: Shop, cache: Cache) -> None:
    await retrieve(shop, cache, turn(ANGRY, "Hello"), SECONDS)
    context = await retrieve(shop, cache, turn(VIP, "Hello"), SECONDS)
    assert context.customer is not None
    assert context.customer.id == CAST[VIP].customer_id
    assert {order.customer_id for order in context.orders} == {CAST[VIP].customer_id}


@pytest.mark.parametrize("kept", [{}, {"rows": 7}, {"rows": [{"id": 1}]}, {"rows": [None]}])
async def test_what_another_version_cached_is_a_miss(shop: Shop, cache: Cache, kept: Json) -> None:
    await cache.set(customer_key(CAST[ANGRY].email), kept, SECONDS)
    await cache.set(orders_key(CAST[ANGRY].customer_id), kept, SECONDS)
    context = await retrieve(shop, cache, turn(ANGRY, "Hello"), SECONDS)
    assert context.focus == ["#W7000101"]
    assert context.cached == []


async def test_an_unknown_customer_is_asked_for_again(
    front: ShopFront, shop: Shop, cache: Cache
) -> None:
    for _ in range(2):
        await retrieve(shop, cache, turn("nobody@example.com", "Hello"), SECONDS)
    assert front.asked("customers") == ["/customers", "/customers"]


# What is missing


async def test_a_source_that_fails_leaves_a_gap_that_is_told(
    front: ShopFront, shop: Shop, no_cache: Cache
) -> None:
    front.always("tracking", "503")
    payload = turn(ANGRY, "Where is my headset?", intent("delivery_status"))
    with recording(hop()) as told:
        context = await retrieve(shop, no_cache, payload, SECONDS)
    assert context.focus == ["#W7000101"]
    assert context.parcels == []
    (missing,) = context.missing
    assert missing.startswith("parcels of #W7000101: tracking: GET /parcels: HTTP 503")
    assert any("the context lacks parcels of #W7000101" in note for note in told.notes)


async def test_without_the_orders_nobody_can_say_whose_a_number_is(
    front: ShopFront, shop: Shop, no_cache: Cache
) -> None:
    front.always("orders", "503")
    wish = intent("order_status", entity("order_id", "#W7000101"))
    context = await retrieve(shop, no_cache, turn(ANGRY, "#W7000101?", wish), SECONDS)
    assert context.foreign == []
    assert [source.partition(":")[0] for source in context.missing] == ["orders"]
    assert context.past_issues


async def test_a_failure_is_not_cached(front: ShopFront, shop: Shop, cache: Cache) -> None:
    front.always("orders", "503")
    payload = turn(ANGRY, "Hello")
    assert (await retrieve(shop, cache, payload, SECONDS)).missing
    front.always("orders", None)
    context = await retrieve(shop, cache, payload, SECONDS)
    assert context.missing == []
    assert [order.id for order in context.orders] == ["#W7000101"]


async def test_without_the_customer_there_is_no_going_on(
    front: ShopFront, shop: Shop, no_cache: Cache
) -> None:
    front.always("customers", "503")
    with pytest.raises(ShopUnavailable):
        await retrieve(shop, no_cache, turn(ANGRY, "Hello"), SECONDS)


# The focus


def order(number: int, status: str, *names: str, days_ago: int = 5, **fields: Any) -> Order:
    items = [{"item_id": f"{number}{n}", "name": name} for n, name in enumerate(names)]
    base: Json = {
        "id": f"#W{number:07}",
        "customer_id": "c",
        "status": status,
        "placed_at": NOW - timedelta(days=days_ago),
        "total": 10,
        "items": items,
    }
    return Order.model_validate(base | fields)


def parcel(number: int, **fields: Any) -> Parcel:
    base: Json = {
        "tracking_id": str(number),
        "order_id": f"#W{number:07}",
        "carrier": "C",
        "status": "in_transit",
        "promised_delivery": NOW.date() + timedelta(days=1),
    }
    return Parcel.model_validate(base | fields)


def says(text: str) -> list[Utterance]:
    return [Utterance(role="bot", text=text, at=NOW)]


PAYMENT = {"type": "payment", "amount": 10, "method_id": "m", "status": "settled"}
WARDROBE = [
    order(1, "pending", "Rain Jacket"),
    order(2, "shipped", "Desk Lamp", "Wool Sweater", days_ago=8),
    order(3, "shipped", "Dog Bed", days_ago=9),
    order(4, "delivered", "Rain Jacket", days_ago=20),
    order(5, "delivered", "Kettle", days_ago=200, payments=[PAYMENT, PAYMENT]),
    order(6, "cancelled", "Radio", days_ago=300),
]
LATE = [parcel(2), parcel(3, status="delayed")]


@pytest.mark.parametrize(
    ("text", "wish", "history", "expected"),
    [
        ("Where is it?", intent("delivery_status"), [], [2, 3]),
        ("It is late", intent("delivery_delay"), [], [3]),
        ("Any news?", intent("order_status"), [], [1, 2, 3]),
        ("Cancel it", intent("cancel_order"), [], [1]),
        ("Another address", intent("modify_order"), [], [1]),
        ("I want to return it", intent("return_request"), [], [4]),
        ("Can I swap it", intent("exchange"), [], [1, 4]),
        ("Where is my money", intent("refund_status"), [], [6]),
        ("Charged twice!", intent("billing_issue"), [], [5]),
        ("This is a joke", intent("complaint"), [], [3]),
        ("Hello", intent("other"), [], [1]),
        ("Hello", None, [], [1]),
        # The things it names
        ("Where is my lamp?", intent("delivery_status"), [], [2]),
        ("Cancel the dog bed", intent("cancel_order"), [], [3]),
        ("I want to return the jacket", intent("return_request"), [], [4]),
        ("Cancel the jacket", intent("cancel_order"), [], [1]),
        ("Tell me about the kettle", intent("other"), [], [5]),
        # What was spoken of
        ("Where is it?", intent("delivery_status"), says("Order #W0000003 is late."), [3]),
        ("And now?", intent("other"), says("Your order #W0000004 has arrived."), [4]),
        ("And now?", intent("other"), says("#W0000003 or #W0000004?"), [1]),
        ("And now?", intent("other"), says("Order #W9999999 is not yours."), [1]),
        ("Cancel it", intent("cancel_order"), says("Order #W0000003 is late."), [1]),
        ("and the other one?", intent("delivery_status"), says("#W0000003 is late."), [2]),
        ("show me my orders", intent("other"), [], [1, 2, 3, 4, 5, 6]),
        ("both", intent("other"), says("#W0000003 or #W0000004?"), [3, 4]),
        # Numbers
        ("Can I have the invoice for #W0000002?", intent("billing_issue"), [], [2]),
        ("x", intent("cancel_order", entity("order_id", "0000003")), [], [3]),
        ("x", intent("order_status", entity("order_id", "#W0000009")), [], []),
        (
            "x",
            intent(
                "order_status", entity("order_id", "#W0000009"), entity("order_id", "#W0000002")
            ),
            [],
            [2],
        ),
        # Several wishes
        (
            "Cancel one and return the other",
            intent("cancel_order", also=[IntentName.RETURN_REQUEST]),
            [],
            [1, 4],
        ),
    ],
)
def test_focus(
    text: str, wish: Intent | None, history: list[Utterance], expected: list[int]
) -> None:
    payload = turn(None, text, wish, history=history)
    found = focus(payload, WARDROBE, LATE)
    assert [order.id for order in found] == [f"#W{number:07}" for number in expected]


def test_a_yes_is_about_what_was_asked() -> None:
    awaiting = [PlannedAction(id="a", kind="return_items", order_id="#W0000005", confirm=True)]
    wish = intent("return_request", confirmation="yes")
    payload = turn(None, "Yes", wish, awaiting=awaiting)
    assert [order.id for order in focus(payload, WARDROBE, [])] == ["#W0000005"]


def test_no_orders_no_focus() -> None:
    assert focus(turn(None, "Where is my jacket?", intent("delivery_status")), [], []) == []


numbers = st.sampled_from(["#W0000001", "w0000002", "0000003", "#W0000042", "1Z", "", "?", "#"])
kinds = st.sampled_from(["order_id", "tracking_number", "product"])


@given(
    st.sampled_from(list(IntentName)),
    st.lists(st.tuples(kinds, numbers), max_size=4),
    st.text(max_size=60),
    st.lists(st.sampled_from(WARDROBE), unique_by=lambda order: order.id),
)
def test_the_focus_is_always_among_the_own_orders_and_never_foreign(
    name: IntentName, named: list[tuple[str, str]], text: str, orders: list[Order]
) -> None:
    wish = intent(name, *(entity(kind, value) for kind, value in named))
    found = focus(turn(None, text, wish), orders, [])
    assert all(order in orders for order in found)
    strangers = foreign(wish, orders)
    assert "#W0000042" not in {order.id for order in found}
    asked = {value for kind, value in named if kind != "product"}
    assert set(strangers) <= asked
    if asked and asked == set(strangers):
        assert found == []
