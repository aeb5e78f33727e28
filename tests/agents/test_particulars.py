"""What is read out of the customer's words, by table."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import particulars
from agents.particulars import (
    address_in,
    describe_address,
    items_meant,
    items_named,
    method_named,
    orders_named,
    series,
    variant_wanted,
)
from streams.payload import Customer, Json, Order


def item(number: int, name: str, **options: str) -> Json:
    return {"item_id": str(number), "name": name, "options": options, "price": 10.0}


SHOES = item(1, "Tindra Trail Shoes", size="38", color="black")
JACKET = item(2, "Fernhill Rain Jacket", color="moss", size="S")
PACK = item(3, "Ridgeline Day Pack", color="ochre")
TABLET_BLACK = item(4, "Tablet", color="black", storage="64GB")
TABLET_SILVER = item(5, "Tablet", color="silver", storage="128GB")
ALL = [SHOES, JACKET, PACK]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the shoes", [SHOES]),
        ("my shoe is torn", [SHOES]),
        ("Rain jackets", [JACKET]),
        ("the jacket and the shoes", [SHOES, JACKET]),
        ("the Fernhill thing", [JACKET]),
        ("everything except the jacket", [SHOES, PACK]),
        ("all but the shoes and the jacket", [PACK]),
        ("I want to keep the jacket but return the shoes", [SHOES]),
        ("the shoes, not the jacket", [SHOES]),
        ("It was a rainy day in May", []),
        ("my day pack", [PACK]),
        ("have a nice day", []),
        ("item 2 of it", [JACKET]),
        ("", []),
    ],
)
def test_items_named(text: str, expected: list[Json]) -> None:
    assert items_named(text, ALL) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the black tablet", [TABLET_BLACK]),
        ("the 128GB tablet", [TABLET_SILVER]),
        ("a tablet", [TABLET_BLACK, TABLET_SILVER]),
    ],
)
def test_twins_are_told_apart_by_their_options(text: str, expected: list[Json]) -> None:
    assert items_named(text, [TABLET_BLACK, TABLET_SILVER]) == expected


@pytest.mark.parametrize(
    ("text", "items", "expected"),
    [
        ("I want to return my order #W7000401", ALL, ALL),
        ("return everything", ALL, ALL),
        ("send them back", ALL, ALL),
        ("return it", [SHOES], [SHOES]),
        ("return it", ALL, None),
        ("return one item of my order", ALL, None),
        ("return something from this order", ALL, None),
        ("return the pack of my order", ALL, [PACK]),
    ],
)
def test_items_meant(text: str, items: list[Json], expected: list[Json] | None) -> None:
    assert items_meant(text, items) == expected


def test_orders_named() -> None:
    orders = [
        Order(id="#W1", customer_id="c", status="pending", items=[SHOES]),
        Order(id="#W2", customer_id="c", status="pending", items=[JACKET, SHOES]),
        Order(id="#W3", customer_id="c", status="pending", items=[PACK]),
    ]
    assert [order.id for order in orders_named("my shoes", orders)] == ["#W1", "#W2"]
    assert orders_named("my order", orders) == []


def product(*variants: Json) -> Json:
    return {"id": "p", "variants": list(variants)}


def variant(number: int, available: bool = True, **options: str) -> Json:
    return {"item_id": str(number), "options": options, "available": available, "price": 12.0}


SHOE_SHELF = product(
    variant(1, size="38", color="black"),
    variant(11, size="40", color="black"),
    variant(12, size="42", color="black", available=False),
    variant(13, size="38", color="teal"),
    variant(14, size="40", color="teal"),
    variant(15, size="42", color="teal"),
)
JACKET_SHELF = product(
    variant(2, color="moss", size="S"),
    variant(21, color="moss", size="M"),
    variant(22, color="moss", size="L"),
    variant(23, color="rust", size="XL"),
    variant(24, color="dark rust", size="S"),
)


@pytest.mark.parametrize(
    ("text", "thing", "shelf", "wanted"),
    [
        ("exchange the shoes for size 40", SHOES, SHOE_SHELF, "11"),
        ("in teal please", SHOES, SHOE_SHELF, "13"),
        ("swap the black ones for teal, size 40", SHOES, SHOE_SHELF, "14"),
        ("the 38 is too small, I need a 40", SHOES, SHOE_SHELF, "11"),
        ("give me 14", SHOES, SHOE_SHELF, "14"),
        ("size 42", SHOES, SHOE_SHELF, None),
        ("size 42 in teal", SHOES, SHOE_SHELF, "15"),
        ("size 40 or 42", SHOES, SHOE_SHELF, None),
        ("exchange my shoes", SHOES, SHOE_SHELF, None),
        ("the same again", SHOES, SHOE_SHELF, None),
        ("I need size M", JACKET, JACKET_SHELF, "21"),
        ("I need size l", JACKET, JACKET_SHELF, "22"),
        ("a large one", JACKET, JACKET_SHELF, "22"),
        ("an extra large one", JACKET, JACKET_SHELF, "23"),
        ("the S for an L", JACKET, JACKET_SHELF, "22"),
        ("in dark rust", JACKET, JACKET_SHELF, "24"),
        ("in rust", JACKET, JACKET_SHELF, "23"),
        ("I'm sure it's m'lady's", JACKET, JACKET_SHELF, None),
        ("EXCHANGE MY JACKET", JACKET, JACKET_SHELF, None),
        ("size M", JACKET, product(), None),
    ],
)
def test_variant_wanted(text: str, thing: Json, shelf: Json, wanted: str | None) -> None:
    choice = variant_wanted(text, thing, shelf)
    assert (choice.wanted and choice.wanted["item_id"]) == wanted
    assert all(one["available"] for one in choice.choices)


def test_what_is_sold_out_is_told_with_what_there_is() -> None:
    choice = variant_wanted("size 42", SHOES, SHOE_SHELF)
    assert choice.sold_out
    assert [one["item_id"] for one in choice.choices] == ["15"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I want a waterproof one", "2"),
        ("the one that is not waterproof", None),
        ("any other", None),
    ],
)
def test_options_of_yes_and_no(text: str, wanted: str | None) -> None:
    boots = item(1, "Boots", waterproof="no")
    shelf = product(variant(1, waterproof="no"), variant(2, waterproof="yes"))
    choice = variant_wanted(text, boots, shelf)
    assert (choice.wanted and choice.wanted["item_id"]) == wanted


ELM = ("12 Elm St", "", "Reno", "NV", "89501")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Send it to 12 Elm St, Reno, NV 89501 please", ELM),
        ("12 Elm St\nReno NV 89501", ELM),
        ("order #W1234567 to 12 Elm St, Reno, NV 89501", ELM),
        ("in 2 days to 12 Elm St, Reno, NV 89501", ELM),
        (
            "476 Maple Drive, Suite 432, New York, NY 10093",
            ("476 Maple Drive", "Suite 432", "New York", "NY", "10093"),
        ),
        (
            "592 Elm Avenue Apt 9B, Houston, TX 77242-1234",
            ("592 Elm Avenue", "Apt 9B", "Houston", "TX", "77242-1234"),
        ),
        (
            "101 5th Avenue, St. Paul, MN 55101",
            ("101 5th Avenue", "", "St. Paul", "MN", "55101"),
        ),
        ("12 Elm St, Reno", None),
        ("Reno, NV 89501", None),
        ("12 Elm St, Reno, XX 89501", None),
        ("somewhere else", None),
        ("my home address", None),
    ],
)
def test_addresses(text: str, expected: tuple[str, ...] | None) -> None:
    found = address_in(text, None)
    assert (found and tuple(found.values())) == (expected and (*expected, "USA"))


CUSTOMER = Customer.model_validate(
    {
        "id": "c",
        "name": {"first_name": "A", "last_name": "B"},
        "email": "a@example.com",
        "address": {"address1": "1 Main St", "city": "Reno", "state": "NV", "zip": "89501"},
        "payment_methods": [
            {"id": "visa", "source": "credit_card", "brand": "visa", "last_four": "1234"},
            {"id": "amex", "source": "credit_card", "brand": "amex", "last_four": "9876"},
            {"id": "gift", "source": "gift_card", "balance": 50.0},
            {"id": "paypal", "source": "paypal"},
        ],
    }
)


def test_the_address_on_file() -> None:
    assert address_in("to my home address", CUSTOMER) == CUSTOMER.address
    assert describe_address(CUSTOMER.address) == "1 Main St, Reno, NV 89501"
    assert address_in("change my address", CUSTOMER) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use PayPal", "paypal"),
        ("on my gift card", "gift"),
        ("the Visa", "visa"),
        ("the card ending 9876", "amex"),
        ("my credit card", None),
        ("PayPal or the Visa", None),
        ("something else", None),
    ],
)
def test_payment_methods(text: str, expected: str | None) -> None:
    found = method_named(text, CUSTOMER)
    assert (found and found["id"]) == expected
    assert method_named(text, None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it arrived broken", "damaged or faulty"),
        ("it doesn\u2019t work", "damaged or faulty"),
        ("too small", "does not fit"),
        ("you sent the wrong one", "not what was ordered"),
        ("I changed my mind", "no longer wanted"),
    ],
)
def test_return_reasons(text: str, expected: str) -> None:
    assert particulars.return_reason(text) == expected
    assert particulars.damaged(text) == (expected == "damaged or faulty")


def test_cancel_reasons() -> None:
    assert particulars.cancel_reason("I ordered it by mistake") == "ordered by mistake"
    assert particulars.cancel_reason("I do not need it") == "no longer needed"


def test_series() -> None:
    assert [series([]), series(["a"]), series("ab", "or"), series("abc")] == [
        "",
        "a",
        "a or b",
        "a, b and c",
    ]


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
items = st.fixed_dictionaries(
    {}, optional={"item_id": json_values, "name": json_values, "options": json_values}
)


@given(st.text(), st.lists(items, max_size=3), items)
def test_nothing_here_raises(text: str, things: list[Json], thing: Json) -> None:
    assert all(one in things for one in items_named(text, things))
    variant_wanted(text, thing, {"variants": things})
    particulars.describe_variant(thing)
    address_in(text, None)
