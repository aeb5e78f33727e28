import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mocks.cast import ANGRY, CAST, CONFUSED, POLITE, RETURNER, VIP
from mocks.shapes import Customer, Issue, Order, Parcel, Product
from mocks.units import cents, moment
from mocks.world import World, generate, load

SHAPES: list[tuple[str, TypeAdapter[Any]]] = [
    ("customers", TypeAdapter(dict[str, Customer])),
    ("orders", TypeAdapter(dict[str, Order])),
    ("products", TypeAdapter(dict[str, Product])),
    ("parcels", TypeAdapter(dict[str, Parcel])),
    ("issues", TypeAdapter(dict[str, Issue])),
]
STATUSES = {
    "pending",
    "processed",
    "shipped",
    "delivered",
    "cancelled",
    "return requested",
    "returned",
    "exchange requested",
}
GONE = {"shipped", "delivered", "return requested", "returned", "exchange requested"}
ARRIVED = GONE - {"shipped"}

days = st.datetimes(datetime(2024, 1, 1), datetime(2031, 12, 31), timezones=st.just(UTC))


def check(world: World, now: datetime) -> None:
    """Fail if anything in a world contradicts anything else."""
    for kind, shape in SHAPES:
        shape.validate_python(getattr(world, kind), strict=True, extra="forbid")
    variants = {
        variant["item_id"]: (product["id"], variant)
        for product in world.products.values()
        for variant in product["variants"]
    }
    emails = [customer["email"].lower() for customer in world.customers.values()]
    assert len(emails) == len(set(emails))
    listed = [
        (customer["id"], order_id)
        for customer in world.customers.values()
        for order_id in customer["orders"]
    ]
    assert sorted(listed) == sorted((o["customer_id"], o["id"]) for o in world.orders.values())

    shipped_in: Counter[str] = Counter()
    for order_id, order in world.orders.items():
        assert order_id == order["id"]
        customer = world.customers[order["customer_id"]]
        assert customer["since"] <= order["placed_at"][:10]
        assert moment(order["placed_at"]) <= now
        check_money(order, customer)
        for item in order["items"]:
            assert variants[item["item_id"]][0] == item["product_id"]
        parcels = []
        for fulfillment in order["fulfillments"]:
            shipped_in.update(fulfillment["tracking_ids"])
            assert set(fulfillment["item_ids"]) <= {item["item_id"] for item in order["items"]}
            parcels += [world.parcels[number] for number in fulfillment["tracking_ids"]]
        for parcel in parcels:
            assert parcel["order_id"] == order_id
            assert parcel["events"][0]["at"] >= order["placed_at"]
        check_course(order, parcels)
    assert set(shipped_in) == set(world.parcels)
    assert not shipped_in or max(shipped_in.values()) == 1

    for tracking_id, parcel in world.parcels.items():
        assert tracking_id == parcel["tracking_id"]
        check_parcel(parcel, now)
    for issue in world.issues.values():
        customer = world.customers[issue["customer_id"]]
        assert issue["order_id"] is None or issue["order_id"] in customer["orders"]
        assert (issue["status"] == "closed") == (issue["closed_at"] is not None)
        assert issue["opened_at"] <= (issue["closed_at"] or issue["opened_at"])
        assert moment(issue["closed_at"] or issue["opened_at"]) <= now


def check_money(order: Order, customer: Customer) -> None:
    assert cents(order["total"]) == sum(cents(item["price"]) for item in order["items"])
    methods = {method["id"] for method in customer["payment_methods"]}
    ids = [payment["id"] for payment in order["payments"]]
    assert len(ids) == len(set(ids))
    money = {"payment": 0, "refund": 0}
    for payment in order["payments"]:
        assert payment["method_id"] in methods
        assert payment["amount"] > 0
        assert payment["at"] >= order["placed_at"]
        money[payment["type"]] += cents(payment["amount"])
    total = cents(order["total"])
    assert money["payment"] in (total, 2 * total)
    if order["status"] == "cancelled":
        assert money["refund"] == money["payment"]
    elif order["status"] == "returned":
        assert money["refund"] == cents(order["return"]["refund_amount"])
    else:
        assert money["refund"] == 0
    if order["status"] in ("pending", "processed", "cancelled"):
        assert money["payment"] == total


def check_course(order: Order, parcels: list[Parcel]) -> None:
    statuses = {parcel["status"] for parcel in parcels}
    if order["status"] == "pending":
        assert not parcels
    if order["status"] == "processed":
        assert statuses
        assert all(parcel["shipped_at"] is None for parcel in parcels)
    if order["status"] == "shipped":
        assert statuses - {"delivered"}
        assert all(parcel["shipped_at"] for parcel in parcels)
    if order["status"] in GONE:
        sent = [item for one in order["fulfillments"] for item in one["item_ids"]]
        assert sorted(sent) == sorted(item["item_id"] for item in order["items"])
    if order["status"] in ARRIVED:
        assert statuses == {"delivered"}
    assert ("return" in order) == (order["status"] in ("return requested", "returned"))
    assert ("exchange" in order) == (order["status"] == "exchange requested")


def check_parcel(parcel: Parcel, now: datetime) -> None:
    times = [event["at"] for event in parcel["events"]]
    assert times == sorted(set(times))
    assert moment(times[-1]) <= now
    assert parcel["events"][0]["status"] == "label_created"
    assert parcel["events"][-1]["status"] == parcel["status"]
    moving = [event["at"] for event in parcel["events"] if event["status"] == "in_transit"]
    assert parcel["shipped_at"] == (moving[0] if moving else None)
    late = parcel["estimated_delivery"] > parcel["promised_delivery"]
    if parcel["status"] == "delivered":
        assert parcel["delivered_at"] == times[-1]
    else:
        assert parcel["delivered_at"] is None
    if parcel["status"] == "delayed":
        assert late
    if parcel["status"] in ("in_transit", "out_for_delivery", "label_created"):
        assert not late
    if parcel["status"] in ("in_transit", "out_for_delivery", "delayed", "exception"):
        assert parcel["estimated_delivery"] >= now.date().isoformat()
    if parcel["status"] == "lost":
        assert parcel["estimated_delivery"] < now.date().isoformat()


@settings(max_examples=25)
@given(seed=st.integers(), day=days)
def test_every_generated_world_is_consistent(seed: int, day: datetime) -> None:
    check(generate(seed, day, customers=60), day)


@settings(max_examples=5)
@given(seed=st.integers(), day=days)
def test_a_world_of_full_size_has_everything_in_it(seed: int, day: datetime) -> None:
    world = generate(seed, day)
    check(world, day)
    assert len(world.customers) >= 300
    assert len(world.orders) >= 300
    assert {order["status"] for order in world.orders.values()} == STATUSES
    assert {parcel["status"] for parcel in world.parcels.values()} == {
        "label_created",
        "in_transit",
        "out_for_delivery",
        "delivered",
        "delayed",
        "exception",
        "lost",
    }
    assert {customer["tier"] for customer in world.customers.values()} == {
        "standard",
        "silver",
        "gold",
        "vip",
    }
    twice = [
        order
        for order in world.orders.values()
        if sum(cents(p["amount"]) for p in order["payments"] if p["type"] == "payment")
        > cents(order["total"])
    ]
    assert len(twice) > 5
    assert {p["status"] for o in world.orders.values() for p in o["payments"]} == {
        "settled",
        "pending",
    }
    assert {issue["status"] for issue in world.issues.values()} == {"open", "closed"}


@given(seed=st.integers())
@settings(max_examples=5)
def test_a_world_is_the_same_all_day(seed: int) -> None:
    morning = datetime(2026, 5, 4, 0, 0, 1, tzinfo=UTC)
    evening = datetime(2026, 5, 4, 23, 59, tzinfo=UTC)
    assert generate(seed, morning, customers=30) == generate(seed, evening, customers=30)


def test_a_day_is_a_day_in_utc() -> None:
    moment_ = datetime(2026, 5, 4, 23, 30, tzinfo=UTC)
    assert generate(1, moment_, customers=5) == generate(1, moment_.astimezone(), customers=5)


def test_another_seed_is_another_world(now: datetime) -> None:
    one, two = generate(1, now, customers=30), generate(2, now, customers=30)
    cast = {order_id for who in CAST.values() for order_id in who.order_ids}
    assert set(one.orders) & set(two.orders) == cast
    assert one.products == two.products


def test_another_day_moves_the_same_world(now: datetime) -> None:
    today, later = generate(3, now), generate(3, now + timedelta(days=45))
    assert set(today.orders) == set(later.orders)
    assert set(today.parcels) == set(later.parcels)
    for order_id, order in today.orders.items():
        assert later.orders[order_id]["status"] == order["status"]
        assert later.orders[order_id]["items"] == order["items"]
        assert moment(later.orders[order_id]["placed_at"]) == moment(
            order["placed_at"]
        ) + timedelta(days=45)


def only_parcel(world: World, order_id: str) -> Parcel:
    (parcel,) = (one for one in world.parcels.values() if one["order_id"] == order_id)
    return parcel


@pytest.mark.parametrize("seed", [0, 1, 7, 99])
@pytest.mark.parametrize("day", ["2026-03-11", "2026-12-31", "2028-02-29"])
def test_the_cast_tells_its_stories(seed: int, day: str) -> None:
    now = datetime.fromisoformat(f"{day}T09:00:00+00:00")
    world = generate(seed, now, customers=20)

    def date(offset: int) -> str:
        return (now.date() + timedelta(days=offset)).isoformat()

    for who in CAST.values():
        customer = world.customers[who.customer_id]
        assert customer["email"] == who.email
        assert customer["tier"] == who.tier
        assert customer["orders"] == list(who.order_ids)

    late = only_parcel(world, CAST[ANGRY].order_ids[0])
    assert world.orders[late["order_id"]]["status"] == "shipped"
    assert late["status"] == "delayed"
    assert (late["promised_delivery"], late["estimated_delivery"]) == (date(-4), date(2))
    (asked,) = (i for i in world.issues.values() if i["customer_id"] == CAST[ANGRY].customer_id)
    assert asked["status"] == "closed"

    moving = only_parcel(world, CAST[POLITE].order_ids[0])
    assert moving["status"] == "in_transit"
    assert moving["estimated_delivery"] == moving["promised_delivery"] == date(2)

    twice, once = (world.orders[order_id] for order_id in CAST[VIP].order_ids)
    assert [(p["type"], p["status"], p["amount"]) for p in twice["payments"]] == [
        ("payment", "settled", twice["total"])
    ] * 2
    assert len(once["payments"]) == 1

    arrived = only_parcel(world, CAST[RETURNER].order_ids[0])
    assert world.orders[arrived["order_id"]]["status"] == "delivered"
    assert len(world.orders[arrived["order_id"]]["items"]) == 2
    delivered_at = moment(arrived["delivered_at"] or "")
    assert timedelta(days=3) <= now - delivered_at <= timedelta(days=5)

    pending, other = CAST[CONFUSED].order_ids
    assert world.orders[pending]["status"] == "pending"
    assert not world.orders[pending]["fulfillments"]
    late = only_parcel(world, other)
    assert late["status"] == "delayed"
    assert (late["promised_delivery"], late["estimated_delivery"]) == (date(-2), date(3))


def write_folder(folder: Path, status: str = "processed") -> Path:
    """A folder's world with one customer and one order."""
    address = {
        "address1": "1 Kiln Street",
        "address2": "",
        "city": "Toledo",
        "state": "OH",
        "zip": "43601",
        "country": "USA",
    }
    users = {
        "ada_yarrow_1": {
            "name": {"first_name": "Ada", "last_name": "Yarrow"},
            "address": address,
            "email": "ada@example.com",
            "payment_methods": {"paypal_1": {"source": "paypal", "id": "paypal_1"}},
            "orders": ["#W1"],
        }
    }
    item = {
        "name": "Cup",
        "product_id": "9",
        "item_id": "91",
        "price": 4.1,
        "options": {"color": "red"},
    }
    orders = {
        "#W1": {
            "order_id": "#W1",
            "user_id": "ada_yarrow_1",
            "address": address,
            "items": [item],
            "fulfillments": [{"tracking_id": ["555"], "item_ids": ["91"]}],
            "status": status,
            "payment_history": [
                {
                    "transaction_type": "payment",
                    "amount": 4.1,
                    "payment_method_id": "paypal_1",
                }
            ],
        }
    }
    products = {
        "9": {
            "name": "Cup",
            "product_id": "9",
            "variants": {
                "91": {
                    "item_id": "91",
                    "options": {"color": "red"},
                    "available": True,
                    "price": 4.1,
                }
            },
        }
    }
    for name, content in (("users", users), ("orders", orders), ("products", products)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("status", ["processed", "shipped", "delivered"])
def test_a_folder_is_completed(tmp_path: Path, now: datetime, status: str) -> None:
    world = load(write_folder(tmp_path, status), now)
    check(world, now)
    assert world.parcels["555"]["order_id"] == "#W1"
    assert world.orders["#W1"]["status"] == status
    assert world == load(tmp_path, now)


def test_a_folder_with_an_unknown_status_is_refused(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(ValueError, match="#W1: status 'teleported' is not one of"):
        load(write_folder(tmp_path, "teleported"), now)


def test_a_folder_with_a_list_is_refused(tmp_path: Path, now: datetime) -> None:
    (write_folder(tmp_path) / "users.json").write_text("[]")
    with pytest.raises(ValueError, match=r"users\.json: an object by id"):
        load(tmp_path, now)


def test_the_data_set_is_a_consistent_world(repository: Path, now: datetime) -> None:
    folder = repository.parent / "shared" / "data" / "retail_db"
    if not (folder / "orders.json").is_file():
        pytest.skip(f"the data set is not at {folder}")
    world = load(folder, now)
    check(world, now)
    raw = json.loads((folder / "orders.json").read_text())
    assert {key: order["status"] for key, order in world.orders.items()} == {
        key: order["status"] for key, order in raw.items()
    }
    assert len(world.customers) == len(json.loads((folder / "users.json").read_text()))
    tiers = Counter(customer["tier"] for customer in world.customers.values())
    assert set(tiers) == {"standard", "silver", "gold", "vip"}
    assert any(parcel["status"] == "delayed" for parcel in world.parcels.values())
