"""What is done in the shop: once, only the customer's own, and told as it came out."""

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from agents.context_retriever import retrieve
from agents.decision_router import decide
from agents.execution_coordinator import execute
from agents.shop import Shop
from mocks.cast import ANGRY, CAST, CONFUSED, RETURNER, VIP
from streams.errors import ShopUnavailable
from streams.message import Hop
from streams.payload import (
    ActionResult,
    Entity,
    Intent,
    IntentName,
    Payload,
    Plan,
    PlannedAction,
)
from streams.trace import recording
from tables.cache import Cache
from tests.agents.conftest import NOW, ShopFront, Trouble

SECONDS = 300


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Cache]:
    made = Cache(redis_url, prefix=f"execution-{secrets.token_hex(4)}")
    yield made
    await made.close()


def wants(name: str, **fields: Any) -> Intent:
    return Intent(name=IntentName(name), confidence=0.9, **fields)


async def known(shop: Shop, cache: Cache, who: str, text: str, intent: Intent) -> Payload:
    payload = Payload(text=text, email=CAST[who].email, at=NOW, intent=intent)
    payload.context = await retrieve(shop, cache, payload, SECONDS)
    return payload


async def talk(
    shop: Shop, cache: Cache, who: str, text: str, intent: Intent, *, agree: bool = True
) -> Sequence[ActionResult]:
    """Do what a turn comes to, and, if it waits for a yes, what the yes comes to."""
    payload = await known(shop, cache, who, text, intent)
    payload.plan = decide(payload, "turn-1")
    if payload.plan.confirm and agree:
        yes = intent.model_copy(update={"confirmation": "yes"})
        awaiting = payload.plan.confirm
        payload = await known(shop, cache, who, "Yes", yes)
        payload.awaiting = awaiting
        payload.plan = decide(payload, "turn-2")
    return (await execute(shop, cache, payload)).results


async def refused(
    shop: Shop, cache: Cache, who: str, action: PlannedAction, *, yes: bool = True
) -> ActionResult:
    """Return what becomes of one action of a plan that came from anywhere."""
    payload = await known(shop, cache, who, "Yes", wants("other", confirmation="yes"))
    payload.awaiting = [action] if yes else []
    payload.plan = Plan(actions=[action])
    (result,) = (await execute(shop, cache, payload)).results
    assert not result.ok
    return result


# What is done


async def test_cancelling_tells_the_refund(shop: Shop, cache: Cache) -> None:
    (result,) = await talk(shop, cache, CONFUSED, "Cancel my order", wants("cancel_order"))
    order = await shop.order("#W7000501")
    assert (result.ok, result.kind, result.order_id) == (True, "cancel_order", "#W7000501")
    assert result.idempotency_key == result.action_id == "turn-1-1"
    assert result.detail == {
        "status": "cancelled",
        "refund_amount": order.total,
        "refund_to": "the Visa card ending in 7005",
    }


async def test_a_return_tells_label_and_refund(shop: Shop, cache: Cache) -> None:
    text = "I want to return the rain jacket"
    (result,) = await talk(shop, cache, RETURNER, text, wants("return_request"))
    assert result.ok
    assert result.detail["label_url"].startswith("https://")
    assert [item["name"] for item in result.detail["items"]] == ["Fernhill Rain Jacket"]
    assert result.detail["refund_amount"] == result.detail["items"][0]["price"]
    assert result.detail["refund_to"] == "the Visa card ending in 7004"


async def test_an_exchange_tells_the_difference(shop: Shop, cache: Cache) -> None:
    jacket = next(p for p in await shop.products("rain jacket"))
    order = await shop.order("#W7000401")
    own = next(item for item in order.items if item["name"] == jacket.name)
    other = next(v for v in jacket.variants if v["available"] and v["item_id"] != own["item_id"])
    text = f"Exchange the rain jacket for {other['item_id']}"
    (result,) = await talk(shop, cache, RETURNER, text, wants("exchange"))
    assert result.ok
    assert result.detail["status"] == "exchange requested"
    assert result.detail["price_difference"] == pytest.approx(other["price"] - own["price"])


async def test_changing_an_order(shop: Shop, cache: Cache) -> None:
    text = "Send it to 12 Elm St, Reno, NV 89501"
    (result,) = await talk(shop, cache, CONFUSED, text, wants("modify_order"))
    assert result.ok
    assert result.detail["address"]["city"] == "Reno"
    lamp = next(p for p in await shop.products("reading lamp"))
    order = await shop.order("#W7000501")
    own = next(item for item in order.items if item["name"] == lamp.name)
    other = next(v for v in lamp.variants if v["available"] and v["item_id"] != own["item_id"])
    text = f"I want {other['item_id']} for the reading lamp"
    payload = await known(shop, cache, CONFUSED, text, wants("modify_order"))
    (offer,) = decide(payload, "turn-9").confirm
    payload = await known(shop, cache, CONFUSED, "Yes", wants("modify_order", confirmation="yes"))
    payload.awaiting = [offer]
    payload.plan = decide(payload, "turn-10")
    (result,) = (await execute(shop, cache, payload)).results
    assert result.ok
    assert other["item_id"] in [item["item_id"] for item in result.detail["items"]]


async def test_a_late_parcel(shop: Shop, cache: Cache) -> None:
    (result,) = await talk(shop, cache, ANGRY, "Where is it?", wants("delivery_delay"))
    assert result.ok
    assert result.detail["investigation_id"]
    assert result.detail["answer_by"]
    assert not result.detail["repeated"]


async def test_a_double_charge(shop: Shop, cache: Cache) -> None:
    (result,) = await talk(shop, cache, VIP, "Charged twice!", wants("billing_issue"))
    order = await shop.order("#W7000301")
    assert result.ok
    assert result.detail["payment_id"] == order.payments[1]["id"]
    assert result.detail["amount"] == order.total
    assert result.detail["dispute_id"]


async def test_the_account(shop: Shop, cache: Cache) -> None:
    (reset,) = await talk(shop, cache, VIP, "Lost my password", wants("account_access"))
    assert reset.ok
    assert reset.detail["sent_to"] == "i***@example.com"
    phone = Entity(type="phone", value="555-010-7777", start=0, end=12)
    wish = wants("profile_update", entities=[phone])
    (changed,) = await talk(shop, cache, VIP, "555-010-7777", wish)
    assert (changed.ok, changed.detail) == (True, {"phone": "555-010-7777"})
    (ticket,) = await talk(shop, cache, RETURNER, "You are rude", wants("complaint"))
    assert ticket.ok
    assert ticket.detail["ticket"]


async def test_without_a_plan_nothing_is_done(front: ShopFront, shop: Shop, cache: Cache) -> None:
    payload = await known(shop, cache, VIP, "Hello", wants("other"))
    assert (await execute(shop, cache, payload)).results == []
    assert front.asked(method="POST") == []


# Once


async def test_a_turn_that_is_worked_on_twice_acts_once(shop: Shop, cache: Cache) -> None:
    payload = await known(shop, cache, VIP, "x", wants("other"))
    reason = {"amount": 10.0, "reason": "late"}
    payload.plan = Plan(actions=[_credit("t-1", **reason)])
    first = await execute(shop, cache, payload)
    second = await execute(shop, cache, payload)
    assert first.results[0].detail["credit_id"] == second.results[0].detail["credit_id"]
    assert (await shop.customer(CAST[VIP].customer_id)).credit_balance == 10


@pytest.mark.parametrize("trouble", ["503 after", "drop after"])
async def test_a_shop_that_fails_after_doing_it(
    front: ShopFront, shop: Shop, cache: Cache, trouble: Trouble
) -> None:
    payload = await known(shop, cache, VIP, "x", wants("other"))
    payload.plan = Plan(
        actions=[_credit("t-1", amount=1.0, reason="a"), _credit("t-2", amount=2.0, reason="b")]
    )
    # The first action is done; the second is done too, but nobody hears of it.
    for _ in range(1 + front.settings.shop_retries):
        front.next("customers", trouble, key="t-2")
    with pytest.raises(ShopUnavailable):
        await execute(shop, cache, payload)
    # The mailbox tries the whole hop again.
    results = (await execute(shop, cache, payload)).results
    assert [result.ok for result in results] == [True, True]
    assert (await shop.customer(CAST[VIP].customer_id)).credit_balance == 3


async def test_a_trace_in_a_second_turn_is_the_first_one(shop: Shop, cache: Cache) -> None:
    (first,) = await talk(shop, cache, ANGRY, "Where is it?", wants("delivery_delay"))
    payload = await known(shop, cache, ANGRY, "Where is it?", wants("delivery_delay"))
    payload.plan = Plan(
        actions=[
            PlannedAction(
                id=first.action_id,
                kind="trace_parcel",
                order_id=first.order_id,
                arguments={
                    "tracking_id": first.detail["tracking_id"],
                    "reason": "It has not arrived by the promised day.",
                },
            )
        ]
    )
    (second,) = (await execute(shop, cache, payload)).results
    assert second.detail == {**first.detail, "repeated": True}
    assert decide(payload, "t").actions == [], "and the plan knows that it is looked for"


# No


async def test_what_the_shop_refuses_is_a_result_and_the_rest_goes_on(
    shop: Shop, cache: Cache
) -> None:
    payload = await known(shop, cache, VIP, "Yes", wants("cancel_order", confirmation="yes"))
    cancel = PlannedAction(id="t-1", kind="cancel_order", order_id="#W7000301", confirm=True)
    payload.awaiting = [cancel]
    payload.plan = Plan(actions=[cancel, _credit("t-2", amount=1.0, reason="a")])
    with recording(Hop(actor="execution_coordinator", started_at=NOW)) as hop:
        no, yes = (await execute(shop, cache, payload)).results
    assert (no.ok, yes.ok) == (False, True)
    assert no.error is not None
    assert "only a pending order" in no.error
    assert "cancel_order was not done" in hop.notes[0]


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"kind": "cancel_order", "order_id": "#W7000201"}, "not one of the customer's"),
        ({"kind": "trace_parcel", "order_id": "#W7000101"}, "not one of the customer's"),
        ({"kind": "make_coffee"}, "no such action"),
        ({"kind": "cancel_order"}, "which order it is about"),
        ({"kind": "trace_parcel", "order_id": "#W7000301"}, "tracking_id is not said"),
        (
            {
                "kind": "trace_parcel",
                "order_id": "#W7000301",
                "arguments": {"tracking_id": "123456789012"},
            },
            "does not belong to order",
        ),
        (
            {
                "kind": "open_dispute",
                "order_id": "#W7000301",
                "arguments": {"payment_id": "pay_0"},
            },
            "payment pay_0 does not belong",
        ),
        ({"kind": "update_profile"}, "what to change is not said"),
        ({"kind": "update_profile", "arguments": {"email": "new@evil.com"}}, "by a colleague"),
        ({"kind": "goodwill_credit"}, "amount is not said"),
    ],
)
async def test_what_must_not_be_done_is_not(
    front: ShopFront, shop: Shop, cache: Cache, action: dict[str, Any], reason: str
) -> None:
    result = await refused(shop, cache, VIP, PlannedAction(id="t-1", **action))
    assert result.error is not None
    assert reason in result.error
    assert front.asked(method="POST") + front.asked(method="PATCH") == []


@pytest.mark.parametrize(
    "kind",
    [
        "cancel_order",
        "modify_address",
        "modify_items",
        "modify_payment",
        "return_items",
        "exchange_items",
        "refund_amount",
        "redeliver",
        "update_profile",
    ],
)
async def test_without_the_yes_it_is_not_done_whatever_the_plan_says(
    front: ShopFront, shop: Shop, cache: Cache, kind: str
) -> None:
    action = PlannedAction(id="t-1", kind=kind, order_id="#W7000501", confirm=False)
    result = await refused(shop, cache, CONFUSED, action, yes=False)
    assert result.error == "the customer has not agreed to it"
    assert front.asked(method="POST") + front.asked(method="PATCH") == []


async def test_a_yes_to_something_else_is_no_yes(shop: Shop, cache: Cache) -> None:
    asked = PlannedAction(id="t-1", kind="refund_amount", arguments={"amount": 1}, confirm=True)
    done = asked.model_copy(update={"arguments": {"amount": 1000}})
    payload = await known(shop, cache, VIP, "Yes", wants("other", confirmation="yes"))
    payload.awaiting, payload.plan = [asked], Plan(actions=[done])
    (result,) = (await execute(shop, cache, payload)).results
    assert result.error == "the customer has not agreed to it"


async def test_who_is_not_known_gets_nothing_done(shop: Shop, cache: Cache) -> None:
    plan = Plan(actions=[_credit("t-1", amount=1.0, reason="x")])
    payload = Payload(text="x", at=NOW, plan=plan)
    (result,) = (await execute(shop, cache, payload)).results
    assert result.error == "who is asking is not known"


# The cache


async def test_what_was_known_before_an_action_is_forgotten(
    front: ShopFront, shop: Shop, cache: Cache
) -> None:
    before = await known(shop, cache, CONFUSED, "Cancel it", wants("cancel_order"))
    assert before.context is not None
    await talk(shop, cache, CONFUSED, "Cancel it", wants("cancel_order"))
    after = await known(shop, cache, CONFUSED, "And now?", wants("order_status"))
    assert after.context is not None
    status = {order.id: order.status for order in after.context.orders}
    assert status["#W7000501"] == "cancelled"
    assert "orders" not in after.context.cached


async def test_a_failed_action_forgets_too(front: ShopFront, shop: Shop, cache: Cache) -> None:
    payload = await known(shop, cache, CONFUSED, "x", wants("cancel_order", confirmation="yes"))
    cancel = PlannedAction(id="t-1", kind="cancel_order", order_id="#W7000501", confirm=True)
    payload.awaiting, payload.plan = [cancel], Plan(actions=[cancel])
    for _ in range(1 + front.settings.shop_retries):
        front.next("orders", "503 after")
    with pytest.raises(ShopUnavailable):
        await execute(shop, cache, payload)
    after = await known(shop, cache, CONFUSED, "And now?", wants("order_status"))
    assert after.context is not None
    assert after.context.orders[0].status == "cancelled", "it had been done"


def _credit(action_id: str, **arguments: Any) -> PlannedAction:
    return PlannedAction(id=action_id, kind="goodwill_credit", arguments=arguments)
