"""The shop's world: customers, orders, products, parcels and past issues that fit together.

Either `generate` invents one from a seed, or `load` reads customers, orders and products from a
folder and derives what such a folder lacks. Every date is relative to the day of `now`: the same
seed on the same day gives the same world, and on another day the same world moved to that day.
"""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from mocks import cast as stage
from mocks import parcels, people
from mocks.catalogue import catalogue
from mocks.parcels import Dates, Journey
from mocks.shapes import (
    Address,
    Customer,
    Fulfillment,
    Issue,
    Item,
    Order,
    OrderStatus,
    Parcel,
    Payment,
    PaymentMethod,
    Product,
    Variant,
)
from mocks.units import cents, dice, digits, dollars, stamp

_T = TypeVar("_T")

CUSTOMERS = 320
LABEL_URL = "https://labels.example.com/{}.pdf"

_Money = Literal["once", "twice", "held", "twice_held"]
"""How an order was paid: once; twice by mistake; held (not settled yet); once and once held."""

_MONEY: tuple[_Money, ...] = ("once", "twice", "held", "twice_held")
_CAST_ORDERS = {order_id for who in stage.CAST.values() for order_id in who.order_ids}


@dataclass(frozen=True)
class _Fate:
    """One course that an order can take, how its parcels travel, and how often it happens."""

    status: OrderStatus
    journey: Journey | None
    weight: int


_FATES: tuple[_Fate, ...] = (
    _Fate("pending", None, 18),
    _Fate("processed", "label_created", 8),
    _Fate("shipped", "in_transit", 14),
    _Fate("shipped", "out_for_delivery", 5),
    _Fate("shipped", "delayed", 8),
    _Fate("shipped", "exception", 4),
    _Fate("shipped", "lost", 3),
    _Fate("delivered", "delivered", 30),
    _Fate("delivered", "delivered_late", 6),
    _Fate("cancelled", None, 6),
    _Fate("return requested", "delivered", 4),
    _Fate("returned", "delivered", 3),
    _Fate("exchange requested", "delivered", 3),
)


@dataclass
class World:
    """Everything the shop knows at one moment, each kind of document by its id."""

    customers: dict[str, Customer] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    parcels: dict[str, Parcel] = field(default_factory=dict)
    issues: dict[str, Issue] = field(default_factory=dict)


def generate(seed: int, now: datetime, customers: int = CUSTOMERS) -> World:
    """Return an invented world: the cast, and so many other customers with their orders."""
    today = _day(now)
    world = World(products=catalogue())
    _admit_cast(world, seed, today)

    rng = dice("world", seed)
    counts = [rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)) for _ in range(customers)]
    fates = iter(_mixed(_FATES, [fate.weight for fate in _FATES], sum(counts), rng))
    tiers = _mixed(people.TIERS, people.TIER_WEIGHTS, customers, rng)
    order_numbers = iter(rng.sample(range(1_000_000, 7_000_000), sum(counts)))
    for number, (tier, count) in enumerate(zip(tiers, counts, strict=True), start=1001):
        customer = people.stranger(dice("customer", seed, number), today, tier, number)
        world.customers[customer["id"]] = customer
        for _ in range(count):
            order_id = f"#W{next(order_numbers)}"
            luck = dice("order", seed, order_id)
            _place(world, customer, order_id, next(fates), today, luck)
        _remember_issues(world, customer, today, dice("issues", seed, number))
    return world


def load(folder: Path, now: datetime) -> World:
    """Return the world of a folder with `users.json`, `orders.json` and `products.json`.

    Tiers, dates, parcels and issues are not in such a folder: they follow from each id, so that
    they are the same in every process, and agree with each order's status.
    """
    today = _day(now)
    world = World(products=_read_products(folder / "products.json"))
    for user_id, user in _read(folder / "users.json").items():
        rng = dice("user", user_id)
        (tier,) = rng.choices(people.TIERS, people.TIER_WEIGHTS)
        methods = cast(list[PaymentMethod], list(user["payment_methods"].values()))
        world.customers[user_id] = {
            "id": user_id,
            "name": user["name"],
            "email": user["email"],
            "phone": people.phone(rng),
            "tier": tier,
            "since": people.since(today, rng),
            "address": _address(user["address"]),
            "payment_methods": methods,
            "orders": list(user["orders"]),
            "credit_balance": 0.0,
        }
    for order_id, raw in _read(folder / "orders.json").items():
        _adopt(world, order_id, raw, today, dice("order", order_id))
    for customer in world.customers.values():
        _remember_issues(world, customer, today, dice("issues", customer["id"]))
    return world


def _day(now: datetime) -> datetime:
    """Return the first moment of a day: nothing in a fresh world happens after it."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _mixed(
    choices: Iterable[_T], weights: Iterable[int], count: int, rng: random.Random
) -> list[_T]:
    """Return so many choices in a random order, each at least once if there is room for it."""
    pool = list(choices)
    rest = rng.choices(pool, list(weights), k=max(0, count - len(pool)))
    picked = (pool + rest)[:count]
    rng.shuffle(picked)
    return picked


# --- the cast -----------------------------------------------------------------------------------


def _admit_cast(world: World, seed: int, today: datetime) -> None:
    """Put the people whom demos know by name into the world."""
    for key, who in stage.CAST.items():
        world.customers[who.customer_id] = people.member(who, dice("cast", seed, key), today)

    def order(
        key: str,
        number: int,
        fate: _Fate,
        products: tuple[str, ...],
        *,
        age: int | None = None,
        days_left: int | None = None,
        money: _Money = "once",
    ) -> None:
        who = stage.CAST[key]
        order_id = who.order_ids[number]
        rng = dice("cast", seed, order_id)
        items = [
            _item(product, product["variants"][0])
            for name in products
            for product in world.products.values()
            if product["name"] == name
        ]
        when = _dates(fate, today, rng, age)
        if days_left is not None:
            estimated = today.date() + timedelta(days=days_left)
            promised = when.promised if fate.journey == "delayed" else estimated
            when = Dates(when.placed, when.last, promised, estimated)
        customer = world.customers[who.customer_id]
        _place(world, customer, order_id, fate, today, rng, items=items, when=when, money=money)

    pending = _Fate("pending", None, 0)
    on_time = _Fate("shipped", "in_transit", 0)
    late = _Fate("shipped", "delayed", 0)
    delivered = _Fate("delivered", "delivered", 0)
    order(stage.ANGRY, 0, late, ("Vesper Noise-Free Headset",), age=4, days_left=2)
    order(stage.POLITE, 0, on_time, ("Hearthstone Kettle", "Willowmere Tea Sampler"), days_left=2)
    order(stage.VIP, 0, delivered, ("Longhaul Cabin Case",), age=6, money="twice")
    order(stage.VIP, 1, delivered, ("Summit Flask", "Ridgeline Day Pack"), age=40)
    order(stage.RETURNER, 0, delivered, ("Tindra Trail Shoes", "Fernhill Rain Jacket"), age=3)
    order(stage.CONFUSED, 0, pending, ("Brightwick Reading Lamp", "Moonharbor Jigsaw Puzzle"))
    order(stage.CONFUSED, 1, late, ("Biscuit Dog Bed",), age=2, days_left=3)

    angry = stage.CAST[stage.ANGRY]
    _open_issue(
        world,
        world.customers[angry.customer_id],
        "Where is my parcel?",
        f"The customer asked where the parcel of {angry.order_ids[0]} is. We told her that it was "
        "delayed and would arrive within a day.",
        opened=today - timedelta(days=2, hours=7),
        closed=today - timedelta(days=2, hours=6),
        order_id=angry.order_ids[0],
    )


# --- orders -------------------------------------------------------------------------------------


def _dates(fate: _Fate, today: datetime, rng: random.Random, age: int | None = None) -> Dates:
    """Return the dates of an order that takes this course."""
    if fate.journey is not None:
        return parcels.dates(fate.journey, today, rng, age)
    if fate.status == "pending":
        placed = today - timedelta(minutes=rng.randint(5, 30 * 60))
    else:
        placed = today - timedelta(days=rng.randint(2, 60), minutes=rng.randint(0, 600))
    promised = placed.date() + timedelta(days=6)
    return Dates(placed, placed, promised, promised)


def _item(product: Product, variant: Variant) -> Item:
    """Return a line of an order."""
    return {
        "item_id": variant["item_id"],
        "product_id": product["id"],
        "name": product["name"],
        "price": variant["price"],
        "options": dict(variant["options"]),
    }


def _basket(world: World, rng: random.Random) -> list[Item]:
    """Return one to four different things that somebody bought."""
    products = rng.sample(list(world.products.values()), rng.choice((1, 1, 2, 2, 3, 4)))
    return [_item(product, rng.choice(product["variants"])) for product in products]


def _place(
    world: World,
    customer: Customer,
    order_id: str,
    fate: _Fate,
    today: datetime,
    rng: random.Random,
    *,
    items: list[Item] | None = None,
    when: Dates | None = None,
    money: _Money | None = None,
) -> None:
    """Put an order, its payments and its parcels into the world."""
    items = items or _basket(world, rng)
    when = when or _dates(fate, today, rng)
    total = sum(cents(item["price"]) for item in items)
    order: Order = {
        "id": order_id,
        "customer_id": customer["id"],
        "status": fate.status,
        "placed_at": stamp(when.placed),
        "total": dollars(total),
        "items": items,
        "address": cast(Address, dict(customer["address"])),
        "fulfillments": [],
        "payments": _payments(order_id, customer, total, when.placed, fate, rng, money),
    }
    if fate.journey is not None:
        _ship(world, order, fate.journey, when, rng)
    _aftermath(world, customer, order, fate, today, rng)
    world.orders[order_id] = order
    customer["orders"].append(order_id)


def _payments(
    order_id: str,
    customer: Customer,
    total: int,
    placed: datetime,
    fate: _Fate,
    rng: random.Random,
    money: _Money | None,
) -> list[Payment]:
    """Return what was paid for an order, and what was given back if it was cancelled."""
    methods = customer["payment_methods"]
    if money is None:
        if fate.status == "pending":
            money = "held" if rng.random() < 0.3 else "once"
        elif fate.status in ("shipped", "delivered"):
            (money,) = rng.choices(_MONEY, (91, 4, 2, 3))
        else:
            money = "once"
    settled: Literal["settled", "pending"] = "pending" if money == "held" else "settled"
    payments: list[Payment] = []

    def add(kind: Literal["payment", "refund"], amount: int, method: str, at: datetime) -> Payment:
        payment: Payment = {
            "id": f"pay_{digits(10, order_id, len(payments))}",
            "type": kind,
            "amount": dollars(amount),
            "method_id": method,
            "at": stamp(at),
            "status": settled,
        }
        payments.append(payment)
        return payment

    if len(methods) > 1 and money == "once" and rng.random() < 0.12:
        # A part from the gift card or second method, the rest from the first.
        part = rng.randrange(total // 10, total // 2)
        add("payment", part, methods[-1]["id"], placed)
        add("payment", total - part, methods[0]["id"], placed)
    else:
        add("payment", total, methods[0]["id"], placed)
    if money in ("twice", "twice_held"):
        again = add("payment", total, methods[0]["id"], placed + timedelta(minutes=3))
        again["status"] = "pending" if money == "twice_held" else "settled"
    if fate.status == "cancelled":
        at = placed + timedelta(minutes=rng.randint(20, 1200))
        for payment in list(payments):
            add("refund", cents(payment["amount"]), payment["method_id"], at)
    return payments


def _ship(world: World, order: Order, journey: Journey, when: Dates, rng: random.Random) -> None:
    """Send an order's items away in one parcel, or sometimes two."""
    item_ids = [item["item_id"] for item in order["items"]]
    split = len(item_ids) > 1 and rng.random() < 0.2 and order["id"] not in _CAST_ORDERS
    for number, ids in enumerate([item_ids[:1], item_ids[1:]] if split else [item_ids]):
        tracking_id = digits(12, "parcel", order["id"], number)
        order["fulfillments"].append({"tracking_ids": [tracking_id], "item_ids": ids})
        if number == 1 and journey in ("delayed", "exception", "lost"):
            # "Half of my order has come": the second parcel went through.
            arrived = when.placed + timedelta(days=4)
            through = Dates(when.placed, arrived, when.promised, arrived.date())
            _send(world, order, tracking_id, "delivered", through, rng)
        else:
            _send(world, order, tracking_id, journey, when, rng)


def _send(
    world: World, order: Order, tracking_id: str, journey: Journey, when: Dates, rng: random.Random
) -> None:
    """Put one parcel of an order into the world."""
    destination = f"{order['address']['city']}, {order['address']['state']}"
    world.parcels[tracking_id] = parcels.parcel(
        tracking_id, order["id"], destination, journey, when, rng
    )


def _aftermath(
    world: World,
    customer: Customer,
    order: Order,
    fate: _Fate,
    today: datetime,
    rng: random.Random,
) -> None:
    """Add what followed a delivery: a return, the money for it, or an exchange."""
    method_id = order["payments"][0]["method_id"]
    item = rng.choice(order["items"])
    number = order["id"].removeprefix("#W")
    if fate.status in ("return requested", "returned"):
        order["return"] = {
            "id": f"RT-{number}",
            "item_ids": [item["item_id"]],
            "label_url": LABEL_URL.format(f"RT-{number}"),
            "refund_amount": item["price"],
            "refund_to": method_id,
        }
    if fate.status == "returned":
        order["payments"].append(
            {
                "id": f"pay_{digits(10, order['id'], 'returned')}",
                "type": "refund",
                "amount": item["price"],
                "method_id": method_id,
                "at": stamp(today - timedelta(minutes=rng.randint(5, 600))),
                "status": rng.choice(("settled", "pending")),
            }
        )
    if fate.status == "exchange requested":
        product = world.products[item["product_id"]]
        other = next(v for v in product["variants"] if v["item_id"] != item["item_id"])
        order["exchange"] = {
            "id": f"EX-{number}",
            "items": [{"item_id": item["item_id"], "new_item_id": other["item_id"]}],
            "label_url": LABEL_URL.format(f"EX-{number}"),
            "price_difference": dollars(cents(other["price"]) - cents(item["price"])),
            "payment_method_id": method_id,
        }


# --- past issues --------------------------------------------------------------------------------


def _open_issue(
    world: World,
    customer: Customer,
    subject: str,
    text: str,
    *,
    opened: datetime,
    closed: datetime | None,
    order_id: str | None,
) -> None:
    """Put a past issue into the world."""
    number = sum(issue["customer_id"] == customer["id"] for issue in world.issues.values()) + 1
    issue_id = f"IS-{digits(7, 'issue', customer['id'], number)}"
    world.issues[issue_id] = {
        "id": issue_id,
        "customer_id": customer["id"],
        "opened_at": stamp(opened),
        "closed_at": stamp(closed) if closed else None,
        "subject": subject,
        "text": text,
        "status": "closed" if closed else "open",
        "order_id": order_id,
    }


def _remember_issues(world: World, customer: Customer, today: datetime, rng: random.Random) -> None:
    """Give a customer the issues that their orders would have led to."""
    for order_id in customer["orders"]:
        order = world.orders[order_id]
        parcels_of = [
            world.parcels[tracking_id]
            for fulfillment in order["fulfillments"]
            for tracking_id in fulfillment["tracking_ids"]
        ]
        told = _complaint(order, parcels_of)
        if told is None or rng.random() < 0.4:
            continue
        subject, text, is_open, since = told
        opened = min(since + timedelta(hours=rng.randint(2, 20)), today - timedelta(minutes=1))
        closed = None if is_open else min(opened + timedelta(hours=rng.randint(1, 40)), today)
        _open_issue(world, customer, subject, text, opened=opened, closed=closed, order_id=order_id)
    if rng.random() < 0.1:
        opened = today - timedelta(days=rng.randint(20, 150))
        _open_issue(
            world,
            customer,
            "Cannot sign in",
            "The customer could not sign in after changing phones; a password reset solved it.",
            opened=opened,
            closed=opened + timedelta(hours=rng.randint(1, 30)),
            order_id=None,
        )


def _complaint(order: Order, parcels_of: list[Parcel]) -> tuple[str, str, bool, datetime] | None:
    """Return subject, text, whether it is open, and since when, of an order's likely issue."""
    order_id = order["id"]
    for parcel in parcels_of:
        last = datetime.fromisoformat(parcel["events"][-1]["at"])
        if parcel["status"] == "lost":
            text = f"The parcel of {order_id} has not come and has had no scan for a long time."
            return "Parcel missing", text, True, last
        if parcel["status"] == "exception":
            text = (
                f"The parcel of {order_id} could not be delivered: {parcel['events'][-1]['text']}."
            )
            return "Delivery problem", text, True, last
        if parcel["delivered_at"] and parcel["delivered_at"][:10] > parcel["promised_delivery"]:
            text = f"The parcel of {order_id} came later than promised; we apologised."
            return "Late delivery", text, False, last
    paid = [payment for payment in order["payments"] if payment["type"] == "payment"]
    if sum(cents(payment["amount"]) for payment in paid) > cents(order["total"]):
        at = datetime.fromisoformat(paid[-1]["at"])
        text = f"The customer sees two charges for {order_id} and asks which one is right."
        return "Charged twice?", text, True, at + timedelta(days=1)
    return None


# --- a folder's world ---------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON file that holds one object."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: an object by id is expected, not {type(content).__name__}")
    return content


def _read_products(path: Path) -> dict[str, Product]:
    """Return the products of a folder."""
    return {
        product_id: {
            "id": product_id,
            "name": raw["name"],
            "variants": [
                {
                    "item_id": variant["item_id"],
                    "options": variant["options"],
                    "available": variant["available"],
                    "price": variant["price"],
                }
                for variant in raw["variants"].values()
            ],
        }
        for product_id, raw in _read(path).items()
    }


def _address(raw: dict[str, str]) -> Address:
    """Return an address of a folder in the shop's shape."""
    return {
        "address1": raw["address1"],
        "address2": raw.get("address2", ""),
        "city": raw["city"],
        "state": raw["state"],
        "zip": raw["zip"],
        "country": raw["country"],
    }


_FOLDER_FATES: dict[str, tuple[tuple[_Fate, ...], tuple[int, ...]]] = {
    "pending": ((_Fate("pending", None, 0),), (1,)),
    # A processed order has left the shop's hands but has no scan of the carrier yet; where that
    # takes too long, it is late already.
    "processed": (
        (_Fate("processed", "label_created", 0), _Fate("processed", "label_delayed", 0)),
        (7, 3),
    ),
    "shipped": (
        (_Fate("shipped", "in_transit", 0), _Fate("shipped", "delayed", 0)),
        (7, 3),
    ),
    "delivered": (
        (_Fate("delivered", "delivered", 0), _Fate("delivered", "delivered_late", 0)),
        (85, 15),
    ),
    "cancelled": ((_Fate("cancelled", "label_voided", 0),), (1,)),
}


def _adopt(
    world: World, order_id: str, raw: dict[str, Any], today: datetime, rng: random.Random
) -> None:
    """Put an order of a folder into the world, with dates and parcels that fit its status."""
    if raw["status"] not in _FOLDER_FATES:
        known = ", ".join(_FOLDER_FATES)
        raise ValueError(f"order {order_id}: status {raw['status']!r} is not one of {known}")
    fates, weights = _FOLDER_FATES[raw["status"]]
    (fate,) = rng.choices(fates, weights)
    if not raw["fulfillments"]:
        fate = _Fate(fate.status, None, 0)
    when = _dates(fate, today, rng)
    items: list[Item] = [
        {
            "item_id": item["item_id"],
            "product_id": item["product_id"],
            "name": item["name"],
            "price": item["price"],
            "options": item["options"],
        }
        for item in raw["items"]
    ]
    fulfillments: list[Fulfillment] = [
        {"tracking_ids": list(one["tracking_id"]), "item_ids": list(one["item_ids"])}
        for one in raw["fulfillments"]
    ]
    held = fate.status == "pending" and rng.random() < 0.15
    order: Order = {
        "id": order_id,
        "customer_id": raw["user_id"],
        "status": fate.status,
        "placed_at": stamp(when.placed),
        "total": dollars(sum(cents(item["price"]) for item in items)),
        "items": items,
        "address": _address(raw["address"]),
        "fulfillments": fulfillments,
        "payments": [
            {
                "id": f"pay_{digits(10, order_id, number)}",
                "type": one["transaction_type"],
                "amount": one["amount"],
                "method_id": one["payment_method_id"],
                "at": stamp(when.placed if one["transaction_type"] == "payment" else when.last),
                "status": "pending" if held else "settled",
            }
            for number, one in enumerate(raw["payment_history"])
        ],
    }
    world.orders[order_id] = order
    if fate.journey is not None:
        for fulfillment in fulfillments:
            for tracking_id in fulfillment["tracking_ids"]:
                _send(world, order, tracking_id, fate.journey, when, rng)
