"""The orders service: orders, what may be done to them and when, and the products."""

from pathlib import Path
from typing import Annotated, Literal, Self

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import Field, model_validator

from mocks.forms import AddressForm, Amount, Short, SwapForm, Text
from mocks.reading import stems
from mocks.service import (
    Body,
    Clock,
    Conflict,
    Invalid,
    NotFound,
    Visit,
    add_change,
    add_read,
    create_service,
    order_number,
    query,
)
from mocks.shapes import (
    Dispute,
    Item,
    Order,
    OrderStatus,
    Payment,
    PaymentMethod,
    Product,
    Variant,
)
from mocks.store import Store
from mocks.units import cents, dollars, stamp, utc_now
from mocks.world import LABEL_URL

MAX_PRODUCTS = 20


class CancelForm(Body):
    """Why an order is cancelled."""

    reason: Text


class ModifyForm(Body):
    """What is to change about an order that has not been processed yet."""

    address: AddressForm | None = None
    items: Annotated[list[SwapForm], Field(min_length=1)] | None = None
    payment_method_id: Short | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.address is None and self.items is None and self.payment_method_id is None:
            raise ValueError("at least one of address, items, payment_method_id is needed")
        return self


class ReturnForm(Body):
    """Which items come back (all, if none are named), why, and where the money goes."""

    item_ids: Annotated[list[Short], Field(min_length=1)] | None = None
    reason: Text
    payment_method_id: Short | None = None


class ExchangeForm(Body):
    """Which items are swapped for which, and who pays or gets the difference."""

    items: Annotated[list[SwapForm], Field(min_length=1)]
    payment_method_id: Short | None = None


class RefundForm(Body):
    """How much is given back and why."""

    amount: Amount
    reason: Text


class DisputeForm(Body):
    """Which payment looks wrong and why."""

    payment_id: Short
    reason: Text


def create_app(
    path: Path, *, clock: Clock = utc_now, middlewares: tuple[Middleware, ...] = ()
) -> web.Application:
    """Return the orders service on the shop's file."""
    app = create_service("orders", path, clock=clock, middlewares=middlewares)
    add_read(app, "/orders", of_customer)
    add_read(app, "/orders/{order_id}", show)
    add_read(app, "/products", search_products)
    add_read(app, "/products/{product_id}", show_product)
    add_change(app, "POST", "/orders/{order_id}/cancel", CancelForm, cancel)
    add_change(app, "POST", "/orders/{order_id}/modify", ModifyForm, modify)
    add_change(app, "POST", "/orders/{order_id}/return", ReturnForm, take_back)
    add_change(app, "POST", "/orders/{order_id}/exchange", ExchangeForm, exchange)
    add_change(app, "POST", "/orders/{order_id}/refund", RefundForm, refund)
    add_change(app, "POST", "/orders/{order_id}/disputes", DisputeForm, dispute, status=201)
    return app


# --- reading ------------------------------------------------------------------------------------


def of_customer(request: web.Request, store: Store) -> dict[str, list[Order]]:
    """Return a customer's orders, newest first."""
    found = store.orders.of(query(request, "customer_id"))
    return {"orders": sorted(found, key=lambda one: (one["placed_at"], one["id"]), reverse=True)}


def show(request: web.Request, store: Store) -> Order:
    """Return one order."""
    return _order(store, request.match_info["order_id"])


def search_products(request: web.Request, store: Store) -> dict[str, list[Product]]:
    """Return the products that answer to some words, best match first."""
    words = set(stems(query(request, "q")))

    def score(product: Product) -> int:
        name = set(stems(product["name"]))
        options = set(
            stems(
                " ".join(
                    f"{option} {value}"
                    for variant in product["variants"]
                    for option, value in variant["options"].items()
                )
            )
        )
        # A word of the name says what it is; "red" only says which of many.
        return 10 * len(words & name) + len(words & options)

    scored = [(score(product), product) for product in store.products.all()]
    # Words of the name decide whether something matches at all, if any product is named so.
    least = 10 if any(points >= 10 for points, _ in scored) else 1
    found = [one for one in scored if one[0] >= least]
    found.sort(key=lambda one: (-one[0], one[1]["name"]))
    return {"products": [product for _, product in found[:MAX_PRODUCTS]]}


def show_product(request: web.Request, store: Store) -> Product:
    """Return one product."""
    product_id = request.match_info["product_id"]
    product = store.products.get(product_id)
    if product is None:
        raise NotFound(f"There is no product {product_id}.")
    return product


# --- changing -----------------------------------------------------------------------------------


def cancel(visit: Visit, form: CancelForm) -> Order:
    """Cancel an order that is still pending, and give every payment back."""
    order = _order_that_is(visit, "pending", "cancelled")
    order["status"] = "cancelled"
    _pay_back(visit, order, _paid(order) - _refunded(order), _payments(order))
    visit.store.orders.put(order)
    return order


def modify(visit: Visit, form: ModifyForm) -> Order:
    """Change the address, the items or the payment of an order that is still pending."""
    order = _order_that_is(visit, "pending", "modified")
    if form.address is not None:
        order["address"] = form.address.document()
    if form.items is not None:
        difference = _swap(visit, order, form.items)
        method = _method(visit, order, form.payment_method_id)
        if difference > 0:
            _charge(visit, order, difference, method)
        elif difference < 0:
            _add_refund(visit, order, -difference, method)
    elif form.payment_method_id is not None:
        method = _method(visit, order, form.payment_method_id)
        if all(payment["method_id"] == method["id"] for payment in _payments(order)):
            raise Conflict(f"{order['id']} is paid by {method['id']} already.")
        earlier = list(_payments(order))
        owed = _paid(order) - _refunded(order)
        _charge(visit, order, owed, method)
        _pay_back(visit, order, owed, earlier)
    visit.store.orders.put(order)
    return order


def take_back(visit: Visit, form: ReturnForm) -> Order:
    """Ask for items of a delivered order to be taken back."""
    order = _order_that_is(visit, "delivered", "returned")
    item_ids = form.item_ids or [item["item_id"] for item in order["items"]]
    items = _lines(order, item_ids, "item_ids")
    method = _method(visit, order, form.payment_method_id)
    return_id = visit.store.number("return", "RT")
    order["status"] = "return requested"
    order["return"] = {
        "id": return_id,
        "item_ids": item_ids,
        "label_url": LABEL_URL.format(return_id),
        "refund_amount": dollars(sum(cents(item["price"]) for item in items)),
        "refund_to": method["id"],
    }
    visit.store.orders.put(order)
    return order


def exchange(visit: Visit, form: ExchangeForm) -> Order:
    """Ask for items of a delivered order to be swapped for other variants of the same products."""
    order = _order_that_is(visit, "delivered", "exchanged")
    lines = _lines(order, [one.item_id for one in form.items], "items")
    pairs = zip(lines, form.items, strict=True)
    difference = sum(
        cents(_replacement(visit, line, swap)["price"]) - cents(line["price"])
        for line, swap in pairs
    )
    method = _method(visit, order, form.payment_method_id)
    if difference > 0:
        _check_balance(method, difference)
    exchange_id = visit.store.number("exchange", "EX")
    order["status"] = "exchange requested"
    order["exchange"] = {
        "id": exchange_id,
        "items": [one.document() for one in form.items],
        "label_url": LABEL_URL.format(exchange_id),
        "price_difference": dollars(difference),
        "payment_method_id": method["id"],
    }
    visit.store.orders.put(order)
    return order


def refund(visit: Visit, form: RefundForm) -> Order:
    """Give money back: never more than what was paid and not given back yet."""
    order = _order(visit.store, visit.ids["order_id"])
    amount = int(form.amount * 100)
    settled = [payment for payment in _payments(order) if payment["status"] == "settled"]
    left = sum(cents(payment["amount"]) for payment in settled) - _refunded(order)
    if amount > left:
        raise Conflict(
            f"amount: {dollars(amount):.2f} is more than the {dollars(max(0, left)):.2f} that was "
            f"paid for {order['id']} and not refunded yet."
        )
    # The latest payment first: of two charges for one order, the second is the wrong one.
    _pay_back(visit, order, amount, settled[::-1])
    visit.store.orders.put(order)
    return order


def dispute(visit: Visit, form: DisputeForm) -> Dispute:
    """Ask the billing team to check a payment."""
    order = _order(visit.store, visit.ids["order_id"])
    if form.payment_id not in {payment["id"] for payment in order["payments"]}:
        raise Invalid(f"payment_id: {form.payment_id} is not a payment of {order['id']}")
    opened: Dispute = {
        "dispute_id": visit.store.number("dispute", "DP"),
        "order_id": order["id"],
        "payment_id": form.payment_id,
        "status": "open",
    }
    visit.store.disputes.put(opened)
    return opened


# --- rules --------------------------------------------------------------------------------------


def _order(store: Store, text: str) -> Order:
    """Return an order, or say that there is none."""
    order_id = order_number(text)
    order = store.orders.get(order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.")
    return order


def _order_that_is(visit: Visit, status: OrderStatus, what: str) -> Order:
    """Return an order if it is in the state in which something may be done to it."""
    order = _order(visit.store, visit.ids["order_id"])
    if order["status"] != status:
        raise Conflict(f"{order['id']} is {order['status']}; only a {status} order can be {what}.")
    return order


def _lines(order: Order, item_ids: list[str], field: str) -> list[Item]:
    """Return the lines of an order with these items; an item named twice must be there twice."""
    left = list(order["items"])
    lines: list[Item] = []
    for item_id in item_ids:
        line = next((item for item in left if item["item_id"] == item_id), None)
        if line is None:
            raise Invalid(f"{field}: {item_id} is not in {order['id']}, or not so many times")
        left.remove(line)
        lines.append(line)
    return lines


def _replacement(visit: Visit, line: Item, swap: SwapForm) -> Variant:
    """Return the variant that takes a line's place: of the same product, and to be had."""
    product = visit.store.products.get(line["product_id"])
    variants = product["variants"] if product else []
    variant = next((one for one in variants if one["item_id"] == swap.new_item_id), None)
    if variant is None:
        raise Invalid(f"items: {swap.new_item_id} is not a variant of {line['name']}")
    if not variant["available"]:
        raise Conflict(f"items: {swap.new_item_id} ({line['name']}) is not available.")
    return variant


def _swap(visit: Visit, order: Order, swaps: list[SwapForm]) -> int:
    """Change items of an order; return by how many cents it became dearer."""
    lines = _lines(order, [one.item_id for one in swaps], "items")
    before = cents(order["total"])
    for line, swap in zip(lines, swaps, strict=True):
        variant = _replacement(visit, line, swap)
        line["item_id"] = variant["item_id"]
        line["price"] = variant["price"]
        line["options"] = dict(variant["options"])
    total = sum(cents(item["price"]) for item in order["items"])
    order["total"] = dollars(total)
    return total - before


# --- money --------------------------------------------------------------------------------------


def _payments(order: Order) -> list[Payment]:
    """Return what was charged for an order."""
    return [payment for payment in order["payments"] if payment["type"] == "payment"]


def _paid(order: Order) -> int:
    """Return how many cents were charged for an order."""
    return sum(cents(payment["amount"]) for payment in _payments(order))


def _refunded(order: Order) -> int:
    """Return how many cents of an order were given back."""
    return sum(
        cents(payment["amount"]) for payment in order["payments"] if payment["type"] == "refund"
    )


def _method(visit: Visit, order: Order, method_id: str | None) -> PaymentMethod:
    """Return one of the customer's ways to pay: the one asked for, or the order's first."""
    wanted = method_id or order["payments"][0]["method_id"]
    customer = visit.store.customers.get(order["customer_id"])
    for method in customer["payment_methods"] if customer else []:
        if method["id"] == wanted:
            return method
    raise Invalid(f"payment_method_id: {wanted} is not a payment method of this customer")


def _check_balance(method: PaymentMethod, amount: int) -> None:
    """Say no when a gift card has not enough left."""
    if method["source"] == "gift_card" and cents(method.get("balance", 0.0)) < amount:
        raise Conflict(
            f"payment_method_id: {method['id']} has only {method.get('balance', 0.0):.2f} left."
        )


def _charge(visit: Visit, order: Order, amount: int, method: PaymentMethod) -> None:
    """Take money for an order."""
    _check_balance(method, amount)
    _book(visit, order, "payment", amount, method["id"])


def _add_refund(visit: Visit, order: Order, amount: int, method: PaymentMethod) -> None:
    """Give money back to one way to pay."""
    _book(visit, order, "refund", amount, method["id"])


def _pay_back(visit: Visit, order: Order, amount: int, payments: list[Payment]) -> None:
    """Give money back to where it came from, each way to pay getting no more than it gave."""
    given: dict[str, int] = {}
    for payment in order["payments"]:
        if payment["type"] == "refund":
            given[payment["method_id"]] = given.get(payment["method_id"], 0) + cents(
                payment["amount"]
            )
    rest: list[tuple[str, int]] = []
    for payment in payments:
        back = min(cents(payment["amount"]), given.get(payment["method_id"], 0))
        given[payment["method_id"]] = given.get(payment["method_id"], 0) - back
        rest.append((payment["method_id"], cents(payment["amount"]) - back))
    for method_id, most in rest:
        part = min(amount, most)
        if part > 0:
            _book(visit, order, "refund", part, method_id)
            amount -= part
    if amount > 0:
        # Earlier refunds went elsewhere than the money came from; what is left goes to the first.
        _book(visit, order, "refund", amount, payments[0]["method_id"])


def _book(
    visit: Visit, order: Order, kind: Literal["payment", "refund"], amount: int, method_id: str
) -> None:
    """Write a movement of money down, and move it at once where a gift card is concerned."""
    customer = visit.store.customers.get(order["customer_id"])
    at_once = kind == "payment"
    for method in customer["payment_methods"] if customer else []:
        if customer and method["id"] == method_id and method["source"] == "gift_card":
            sign = 1 if kind == "refund" else -1
            balance = cents(method.get("balance", 0.0)) + sign * amount
            method["balance"] = dollars(balance)
            visit.store.customers.put(customer)
            at_once = True
    order["payments"].append(
        {
            "id": visit.store.number("payment", "pay"),
            "type": kind,
            "amount": dollars(amount),
            "method_id": method_id,
            "at": stamp(visit.now),
            # Banks take days to give money back; a gift card has it at once.
            "status": "settled" if at_once else "pending",
        }
    )
