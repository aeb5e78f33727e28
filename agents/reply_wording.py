"""How things are said to customers: the state of an order, an action, a product, what goes back."""

from typing import Final

from agents.language import words
from agents.particulars import dollars, options_of, series, variants_of
from streams.payload import ActionResult, Json, Order, PlannedAction

ITEMS_NAMED: Final = 3

STATUS: Final = {
    "pending": "is pending: it has not left us yet",
    "processed": "is being prepared for shipping",
    "shipped": "has been shipped",
    "delivered": "has been delivered",
    "cancelled": "has been cancelled",
    "return requested": "is on its way back: a return was set up",
    "returned": "has been returned",
    "exchange requested": "is being exchanged",
}
_ALREADY: Final = {
    "cancelled": "Order {id} has been cancelled already.",
    "return requested": "A return of order {id} is set up already.",
    "returned": "Order {id} has been returned already.",
    "exchange requested": "An exchange for order {id} is set up already.",
}
_NOT_ANY_MORE: Final = {
    "processed": "is being prepared for shipping",
    "shipped": "has been shipped",
    "delivered": "has been delivered",
}


def refused(order_id: str, status: str, wish: str) -> str:
    """Return why an order's state does not allow a wish: `wish` as in "cannot be cancelled"."""
    if status in _ALREADY:
        told = _ALREADY[status].format(id=order_id)
        done = status == wish or (status, wish) in (
            ("return requested", "returned"),
            ("exchange requested", "exchanged"),
        )
        return told if done else f"{told[:-1]}, so it cannot be {wish}."
    if wish in ("returned", "exchanged"):
        return f"Order {order_id} has not been delivered yet, so it cannot be {wish} yet."
    state = _NOT_ANY_MORE.get(status, f"is {status}")
    return f"Order {order_id} {state}, so it can no longer be {wish}."


_KINDS: Final = {
    "cancel_order": "cancel",
    "modify_address": "change the delivery address of",
    "modify_items": "change the items of",
    "modify_payment": "change the payment method of",
    "return_items": "set up the return for",
    "exchange_items": "set up the exchange for",
    "refund_amount": "refund",
    "open_dispute": "have the billing team check",
    "trace_parcel": "have the carrier look for the parcel of",
    "redeliver": "arrange a new delivery of",
}


def action(action: PlannedAction | ActionResult) -> str:
    """Return what an action is, where the plan has no words for it."""
    if action.kind in _KINDS and action.order_id:
        return f"{_KINDS[action.kind]} order {action.order_id}"
    return action.kind.replace("_", " ")


def number(value: object) -> str:
    """Return how to name the number of what was opened, if it has one."""
    return f" under the number {value}" if value else ""


def label(detail: Json) -> str:
    """Return where the label for sending something back is, if there is one."""
    return f" Your label: {detail['label_url']}" if detail.get("label_url") else ""


def refunds(detail: Json) -> str:
    """Return what goes back, and where to."""
    amount = detail.get("refund_amount")
    if not amount:
        return ""
    return f"{dollars(amount)} goes back to {detail.get('refund_to') or 'where it came from'}."


def items(order: Order) -> str:
    """Return what an order has in it, the first few by name."""
    names = [str(item.get("name") or "item") for item in order.items]
    if not names:
        return "no items"
    more = len(names) - ITEMS_NAMED
    return series([*names[:ITEMS_NAMED], f"{more} more"] if more > 0 else names)


def product(product: Json, asked: set[str]) -> str:
    """Return a product's options, prices and what can be had now, in one sentence."""
    variants = variants_of(product)
    options: dict[str, list[str]] = {}
    for variant in variants:
        for option, value in options_of(variant).items():
            if str(value) not in options.setdefault(str(option), []):
                options[str(option)].append(str(value))
    prices = sorted(p for v in variants if isinstance(p := v.get("price"), int | float))
    told = f"The {product.get('name')}"
    if options:
        told += " comes in " + "; ".join(
            f"{option}: {series(values)}" for option, values in options.items()
        )
    if prices:
        low, high = dollars(prices[0]), dollars(prices[-1])
        told += f", for {low}" if low == high else f", from {low} to {high}"
    available = [variant for variant in variants if variant.get("available")]
    named = [v for v in available if _named(v, asked)]
    if not available:
        return f"{told}. It is sold out at the moment."
    if named and len(named) < len(available):
        some = series(
            f"{', '.join(str(v) for v in variant['options'].values())} "
            f"({dollars(variant.get('price'))})"
            for variant in named[:4]
        )
        return f"{told}. In stock of those you named: {some}."
    return f"{told}. {len(available)} of {len(variants)} variants are in stock."


def _named(variant: Json, asked: set[str]) -> bool:
    said = (set(words(str(value))) for value in options_of(variant).values())
    return any(value <= asked for value in said if value)


def lower(text: str) -> str:
    """Return a text that may follow a colon: `There is no …` and not `#W…` or `USPS …`."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text
