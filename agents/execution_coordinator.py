"""Does in the shop what the plan says, each action once, and tells what became of it.

Whether an action is allowed was decided before. Still nothing is done here to an order that is not
the customer's own, nor without the yes that an action waits for: a plan may come from anywhere.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from agents.particulars import confirmed_by
from agents.shop import (
    Shop,
    cents,
    customer_key,
    issues_key,
    orders_key,
    parcels_key,
    payment_method,
    tracking_ids,
)
from streams.errors import MeshError, ShopRefused
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import (
    ActionResult,
    Context,
    Customer,
    Execution,
    Json,
    Order,
    Payload,
    PlannedAction,
)
from streams.slip import EXECUTION_COORDINATOR
from streams.trace import note
from tables.cache import Cache


class NotAllowed(MeshError):
    """An action that must not be done, whoever planned it."""


@dataclass(frozen=True)
class _Errand:
    """One action with all that it takes to do it."""

    shop: Shop
    action: PlannedAction
    customer: Customer
    order: Order | None

    @property
    def key(self) -> str:
        """The idempotency key: a second try, in this turn or after a crash, changes nothing."""
        return self.action.id

    def own_order(self) -> Order:
        """Return the order that the action is about."""
        if self.order is None:
            raise NotAllowed("which order it is about is not said")
        return self.order

    def argument(self, name: str) -> Any:
        """Return an argument that must be there."""
        if name not in self.action.arguments:
            raise NotAllowed(f"{name} is not said")
        return self.action.arguments[name]

    def parcel(self) -> str:
        """Return the tracking number that the action is about, one of the order's own."""
        tracking_id = str(self.argument("tracking_id"))
        if tracking_id not in tracking_ids(self.own_order()):
            raise NotAllowed(f"parcel {tracking_id} does not belong to order {self.own_order().id}")
        return tracking_id


async def execute(shop: Shop, cache: Cache, payload: Payload) -> Execution:
    """Do the plan's actions in order. What the shop refuses is a result; ShopUnavailable is not.

    When the shop cannot be reached, all is tried again from the start, with the same keys.
    """
    actions = payload.plan.actions if payload.plan else []
    return Execution(results=[await _result(shop, cache, payload, action) for action in actions])


async def _result(
    shop: Shop, cache: Cache, payload: Payload, action: PlannedAction
) -> ActionResult:
    context = payload.context or Context()
    result = ActionResult(
        action_id=action.id,
        kind=action.kind,
        ok=False,
        order_id=action.order_id,
        idempotency_key=action.id,
    )
    try:
        errand = _errand(shop, payload, action)
        do = _DO.get(action.kind)
        if do is None:
            raise NotAllowed(f"there is no such action as {action.kind}")
        try:
            detail = await do(errand)
        finally:
            # Whatever came of it, what we knew before may no longer be true.
            await cache.delete(*_touched(context, action))
    except (ShopRefused, NotAllowed) as error:
        note(f"{action.kind} was not done: {error}")
        return result.model_copy(update={"error": str(error)})
    return result.model_copy(update={"ok": True, "detail": detail})


def _errand(shop: Shop, payload: Payload, action: PlannedAction) -> _Errand:
    context = payload.context or Context()
    if context.customer is None:
        raise NotAllowed("who is asking is not known")
    order = next((order for order in context.orders if order.id == action.order_id), None)
    if action.order_id is not None and order is None:
        raise NotAllowed(f"order {action.order_id} is not one of the customer's")
    if (action.confirm or action.kind in _NEEDS_A_YES) and not _confirmed(payload, action):
        raise NotAllowed("the customer has not agreed to it")
    return _Errand(shop, action, context.customer, order)


def _confirmed(payload: Payload, action: PlannedAction) -> bool:
    """Say whether this very action was asked for, and the customer said yes."""
    return confirmed_by(payload) == "yes" and action in payload.awaiting


def _touched(context: Context, action: PlannedAction) -> list[str]:
    """Return the cache keys of all that an action may have changed."""
    customer = context.customer
    if customer is None:
        return []
    keys = [customer_key(customer.email), issues_key(customer.id), orders_key(customer.id)]
    if email := action.arguments.get("email"):
        keys.append(customer_key(str(email)))
    if action.order_id is not None:
        keys.append(parcels_key(action.order_id))
    return keys


# The actions


async def _cancel_order(errand: _Errand) -> Json:
    before = errand.own_order()
    reason = str(errand.action.arguments.get("reason") or "no longer needed")
    after = await errand.shop.cancel_order(before.id, reason, errand.key)
    return {"status": after.status, **_refunds(errand, before, after)}


async def _modify_address(errand: _Errand) -> Json:
    address = errand.argument("address")
    after = await errand.shop.modify_order(errand.own_order().id, {"address": address}, errand.key)
    return {"status": after.status, "address": after.address}


async def _modify_items(errand: _Errand) -> Json:
    before = errand.own_order()
    swaps = errand.argument("items")
    after = await errand.shop.modify_order(before.id, {"items": swaps}, errand.key)
    return {
        "status": after.status,
        "items": [_item(item) for item in after.items],
        "total": after.total,
        "price_difference": (cents(after.total) - cents(before.total)) / 100,
    }


async def _modify_payment(errand: _Errand) -> Json:
    method_id = errand.argument("payment_method_id")
    changes = {"payment_method_id": method_id}
    after = await errand.shop.modify_order(errand.own_order().id, changes, errand.key)
    return {"status": after.status, "payment_method": payment_method(errand.customer, method_id)}


async def _return_items(errand: _Errand) -> Json:
    item_ids = [str(item_id) for item_id in errand.argument("item_ids")]
    order = errand.own_order()
    after = await errand.shop.return_items(
        order.id,
        item_ids,
        str(errand.action.arguments.get("reason") or "no longer wanted"),
        errand.action.arguments.get("payment_method_id"),
        errand.key,
    )
    told = _told(after, "return")
    return {
        "status": after.status,
        "return_id": told.get("id"),
        "items": [_item(item) for item in order.items if str(item.get("item_id")) in item_ids],
        "label_url": told.get("label_url"),
        "refund_amount": told.get("refund_amount"),
        "refund_to": payment_method(errand.customer, told.get("refund_to")),
    }


async def _exchange_items(errand: _Errand) -> Json:
    swaps = errand.argument("items")
    after = await errand.shop.exchange_items(errand.own_order().id, swaps, errand.key)
    told = _told(after, "exchange")
    return {
        "status": after.status,
        "exchange_id": told.get("id"),
        "label_url": told.get("label_url"),
        "price_difference": told.get("price_difference"),
        "payment_method": payment_method(errand.customer, told.get("payment_method_id")),
    }


async def _refund_amount(errand: _Errand) -> Json:
    before = errand.own_order()
    amount = errand.argument("amount")
    reason = str(errand.action.arguments.get("reason") or "refund")
    after = await errand.shop.refund(before.id, amount, reason, errand.key)
    return {"status": after.status, **_refunds(errand, before, after)}


async def _open_dispute(errand: _Errand) -> Json:
    order, payment_id = errand.own_order(), errand.argument("payment_id")
    payment = next((p for p in order.payments if p.get("id") == payment_id), None)
    if payment is None:
        raise NotAllowed(f"payment {payment_id} does not belong to order {order.id}")
    reason = str(errand.action.arguments.get("reason") or "The customer asks for a check.")
    dispute = await errand.shop.open_dispute(order.id, payment_id, reason, errand.key)
    return {
        "dispute_id": dispute.dispute_id,
        "payment_id": payment_id,
        "amount": payment.get("amount"),
        "payment_method": payment_method(errand.customer, payment.get("method_id")),
        "repeated": dispute.repeated,
    }


async def _trace_parcel(errand: _Errand) -> Json:
    reason = str(errand.action.arguments.get("reason") or "The customer asks where it is.")
    opened = await errand.shop.investigate(errand.parcel(), reason, errand.key)
    return {
        "investigation_id": opened.investigation_id,
        "tracking_id": opened.tracking_id,
        "answer_by": opened.answer_by,
        "repeated": opened.repeated,
    }


async def _redeliver(errand: _Errand) -> Json:
    wanted: Json = {
        name: errand.action.arguments[name]
        for name in ("date", "address")
        if name in errand.action.arguments
    }
    parcel = await errand.shop.redeliver(errand.parcel(), wanted, errand.key)
    estimated = parcel.estimated_delivery
    return {
        "tracking_id": parcel.tracking_id,
        "estimated_delivery": estimated.isoformat() if estimated else None,
    }


async def _password_reset(errand: _Errand) -> Json:
    sent = await errand.shop.reset_password(errand.customer.id, errand.key)
    expires = sent.expires_at.isoformat() if sent.expires_at else None
    return {"sent_to": sent.sent_to, "expires_at": expires}


async def _update_profile(errand: _Errand) -> Json:
    wanted = errand.action.arguments
    if "email" in wanted:
        raise NotAllowed("an e-mail address is changed by a colleague, who verifies who is asking")
    changes: Json = {name: wanted[name] for name in ("phone", "address") if name in wanted}
    if not changes:
        raise NotAllowed("what to change is not said")
    after = await errand.shop.update_customer(errand.customer.id, changes, errand.key)
    return {name: getattr(after, name) for name in changes}


async def _goodwill_credit(errand: _Errand) -> Json:
    amount, reason = errand.argument("amount"), str(errand.argument("reason"))
    credit = await errand.shop.give_credit(errand.customer.id, amount, reason, errand.key)
    return {
        "credit_id": credit.credit_id,
        "amount": credit.amount,
        "balance": credit.balance,
        "repeated": credit.repeated,
    }


async def _open_ticket(errand: _Errand) -> Json:
    subject, text = str(errand.argument("subject")), str(errand.argument("text"))
    ticket = await errand.shop.open_ticket(
        errand.customer.id, subject, text, errand.action.order_id, errand.key
    )
    return {"ticket": ticket.id, "subject": ticket.subject}


_DO: Final[dict[str, Callable[[_Errand], Awaitable[Json]]]] = {
    "cancel_order": _cancel_order,
    "modify_address": _modify_address,
    "modify_items": _modify_items,
    "modify_payment": _modify_payment,
    "return_items": _return_items,
    "exchange_items": _exchange_items,
    "refund_amount": _refund_amount,
    "open_dispute": _open_dispute,
    "trace_parcel": _trace_parcel,
    "redeliver": _redeliver,
    "password_reset": _password_reset,
    "update_profile": _update_profile,
    "goodwill_credit": _goodwill_credit,
    "open_ticket": _open_ticket,
}

#: What is never done without the customer's yes, whatever the plan says of it.
_NEEDS_A_YES: Final = frozenset(
    {
        "cancel_order",
        "modify_address",
        "modify_items",
        "modify_payment",
        "return_items",
        "exchange_items",
        "refund_amount",
        "redeliver",
        "update_profile",
    }
)


def _refunds(errand: _Errand, before: Order, after: Order) -> Json:
    """Return what an order's change gives back, and whereto."""
    known = {payment.get("id") for payment in before.payments}
    refunds = [
        payment
        for payment in after.payments
        if payment.get("type") == "refund" and payment.get("id") not in known
    ]
    places = {payment_method(errand.customer, refund.get("method_id")): None for refund in refunds}
    return {
        "refund_amount": sum(cents(refund.get("amount")) for refund in refunds) / 100,
        "refund_to": " and ".join(places) or None,
    }


def _told(order: Order, part: str) -> Json:
    """Return the part of an order that only some orders have."""
    told = (order.model_extra or {}).get(part)
    return told if isinstance(told, dict) else {}


def _item(item: Json) -> Json:
    return {name: item.get(name) for name in ("item_id", "name", "price", "options")}


def setup(mesh: Mesh, shop: Shop, cache: Cache) -> None:
    """Register the actor."""

    @mesh.actor(EXECUTION_COORDINATOR)
    async def execution_coordinator(message: Message) -> Message:
        message.payload.execution = await execute(shop, cache, message.payload)
        return message
