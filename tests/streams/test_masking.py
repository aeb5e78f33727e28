import json
import random
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks import people
from mocks.cast import CAST
from mocks.world import generate
from streams.masking import DEPTH, HIDDEN, mask, mask_cards, mask_text

NOW = datetime(2026, 11, 25, 22, 41, 39, tzinfo=UTC)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8)
            | st.sampled_from(["email", "phone", "address", "zip", "city", "card", "id", "value"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("my card is 4111 1111 1111 1111 cvv 123", "my card is •••• 1111 cvv •••"),
        ("4111111111111111.", "•••• 1111."),
        ("5555-5555-5555-4444", "•••• 4444"),
        ("3782 822463 10005 security code: 1234", "•••• 0005 security code: •••"),
        ("CVC is 321", "CVC is •••"),
    ],
)
def test_cards_and_their_codes_are_masked(text: str, masked: str) -> None:
    assert mask_cards(text) == masked
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "order #W7000101, parcel 282320683040",
        "4111 1111 1111 1112",  # the check digit is wrong
        "call 555-010-0000 or +1 202 555 0143",
        "9400 1000 0000 0000 0000 00",
        "it cost 1234 dollars",
    ],
)
def test_other_numbers_are_no_cards(text: str) -> None:
    assert mask_cards(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("I am dagny.okafor@example.com, hello", "I am d•••@example.com, hello"),
        ("<o'brien+shop@mail.example.co.uk>", "<o•••@mail.example.co.uk>"),
        ("{'email': 'a@example.com'}", "{'email': 'a•••@example.com'}"),
        ("GET /customers?email=dagny%40example.com", "GET /customers?email=d•••%40example.com"),
        ("...jürgen@müller.example.", "...j•••@müller.example."),
        ("customers:email:a.b@example.com", "customers:email:a•••@example.com"),
        ("call +1-202-555-0143 today", "call •••43 today"),
        ("(202) 555-0143, or 202.555.0144", "•••43, or •••44"),
        ("+49 30 901820", "•••20"),
        ("020 7946 0958", "•••58"),
        ("01 23 45 67 89", "•••89"),
        ("my phone number is 5550143123", "my phone number is •••23"),
        ("reach me at 555 0143", "reach me at •••43"),
        ("I moved to 214 Canal Street, Apt 5.", "I moved to ••• Street."),
        ("it is 12b Mill Race, Portland, ME 04101", "it is ••• Race, P•••, ME 04•••"),
        ("12 orchard lane please", "••• lane please"),
        ("101 5th Avenue, St. Paul, MN 55101", "••• Avenue, S•••, MN 55•••"),
        ("12 Elm St\nReno NV 89501", "••• St\nR••• NV 89•••"),
        ("12 elm street, Reno NV 89501", "••• street, R••• NV 89•••"),
        ("Hauptstraße 12a", "••• straße"),
        ("send it to P.O. Box 1234", "send it to P.O. Box •••"),
        ("my zip code is 28801", "my zip code is 28•••"),
        ("ZIP: 28801 For the lamp", "ZIP: 28••• For the lamp"),
        ("postcode SW1A 1AA", "postcode SW•••"),
    ],
)
def test_personal_data_in_text_is_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Where is my order #W7000201? I paid $1,234.56 on 2026-11-25.",
        "Order ID 12345 and Order PA 12345",
        "order ID 12345, item 4920090458, parcel 282320683040, 1Z999AA10123456784",
        "tracking 9400 1000 0000 0000 0000 00",
        "2026-11-25T22:41:39.123456+00:00",
        "Wed, 25 Nov 2026 22:41:39 +0000",
        "1764110499123456789",
        "123e4567-e89b-12d3-a456-426614174000",
        "from 10:00-11:30 on 05/12/2026 or 01-15-2026",
        "I waited 20 minutes on the street, 3 days by road",
        "2 parcels of 3 items, 45 % off, 12.500,00 EUR",
        "112-3456789-1234567",
        "mesh.sentiment_analyzer/2/10234",
        "c0ffee4111111111111111aa1234",
        "@everyone look @ this",
        "10.0.0.12:4222 and 192.168.100.100",
    ],
)
def test_what_people_look_for_is_not_masked(text: str) -> None:
    assert mask_text(text) == text


def test_a_customer_is_masked_and_stays_recognisable() -> None:
    customer = people.member(next(iter(CAST.values())), random.Random(3), NOW)
    masked = mask(customer)
    text = json.dumps(masked, ensure_ascii=False)
    for secret in (
        customer["email"],
        customer["phone"],
        customer["address"]["address1"],
        customer["address"]["zip"],
        customer["address"]["city"],
    ):
        assert secret not in text
    assert masked["email"][0] == customer["email"][0]
    assert masked["email"].partition("@")[2] == customer["email"].partition("@")[2]
    assert masked["phone"] == HIDDEN + customer["phone"][-2:]
    assert masked["address"]["zip"] == customer["address"]["zip"][:2] + HIDDEN
    assert masked["address"]["state"] == customer["address"]["state"]
    unmasked = ("id", "tier", "since", "payment_methods", "orders", "credit_balance", "name")
    for name in unmasked:
        assert masked[name] == customer[name]  # type: ignore[literal-required]


def test_nobody_in_the_whole_shop_shows_and_nothing_else_changes() -> None:
    world = generate(7, NOW)
    for customer in world.customers.values():
        text = json.dumps(mask(customer), ensure_ascii=False)
        assert customer["email"] not in text
        assert customer["phone"] not in text
        assert customer["address"]["address1"] not in text
    for order in world.orders.values():
        masked = mask(order)
        assert masked.pop("address") != order["address"]
        assert masked == {name: value for name, value in order.items() if name != "address"}
    assert mask(world.parcels) == world.parcels
    assert mask(world.products) == world.products


def test_names_of_fields_tell_at_any_depth_and_in_text_that_is_json() -> None:
    inner = {"shipping_address": {"line1": "The Old Mill", "zip": 28801}, "customerPhone": 5550143}
    masked = {"shipping_address": {"line1": HIDDEN, "zip": "28•••"}, "customerPhone": "•••43"}
    assert mask({"a": [{"b": inner}]}) == {"a": [{"b": masked}]}
    assert json.loads(mask({"content": json.dumps(inner)})["content"]) == masked
    said = 'Facts: {"phone": "5550143", "order_id": "#W7000101"}.'
    assert mask_text(said) == 'Facts: {"phone": "•••43", "order_id": "#W7000101"}.'
    as_written = '{ "order_id":"#W7000101" }'
    assert mask_text(as_written) == as_written


def test_entities_are_masked_by_their_type() -> None:
    phone = {"type": "phone", "value": "5550143", "start": 3, "end": 10}
    order = {"type": "order_id", "value": "#W7000101", "start": 3, "end": 10}
    assert mask([phone, order]) == [phone | {"value": "•••43"}, order]


def test_ids_stay_even_if_they_look_like_something_else() -> None:
    ids = {
        "tracking_id": "4111111111111111",
        "idempotency_key": "202-555-0143",
        "order_ids": ["0123 456 7890"],
        "at": "2026-11-25T22:41:39Z",
        "sequence": 4111111111111111,
    }
    assert mask(ids) == ids
    assert mask({"customer_id": "dagny@example.com"}) == {"customer_id": "d•••@example.com"}


def test_keys_that_are_addresses_are_masked_and_none_is_lost() -> None:
    assert mask({"a.one@example.com": 1, "a.two@example.com": 2, "x": 3}) == {
        "a•••@example.com": 1,
        "a•••@example.com*": 2,
        "x": 3,
    }


def test_what_lies_too_deep_is_hidden() -> None:
    value: Any = "a.one@example.com"
    for _ in range(DEPTH + 1):
        value = [value]
    shown = json.dumps(mask(value), ensure_ascii=False)
    assert HIDDEN in shown
    assert "example" not in shown


@given(ANY_JSON)
def test_masking_again_changes_nothing_and_the_value_is_left_as_it_was(value: Any) -> None:
    before = json.dumps(value)
    masked = mask(value)
    assert mask(masked) == masked
    assert json.dumps(value) == before


@given(st.text())
def test_any_text_passes_and_masking_again_changes_nothing(text: str) -> None:
    assert mask_cards(mask_cards(text)) == mask_cards(text)
    assert mask_text(mask_text(text)) == mask_text(text)


@given(
    st.text(alphabet=string.ascii_letters + string.digits + "._+-", min_size=2, max_size=40),
    st.text(alphabet=" ,.;:<>()[]\"'=|/\n", min_size=1, max_size=5),
)
def test_an_address_is_masked_whatever_stands_around_it(local: str, around: str) -> None:
    text = f"{around}{local}@example.com{around}"
    assert f"{local}@" not in mask_text(text)


@given(st.from_regex(r"#W\d{7}|\d{12}|1Z[0-9A-Z]{16}|[0-9a-f]{32}", fullmatch=True))
def test_order_and_tracking_numbers_and_digests_stay_in_any_sentence(number: str) -> None:
    text = f"Where is {number}, please?"
    assert mask_text(text) == text
    assert mask({"text": text, "id": number}) == {"text": text, "id": number}


@given(st.datetimes(), st.decimals(0, 99_999, places=2))
def test_times_and_amounts_stay(at: datetime, amount: Any) -> None:
    text = f"On {at.isoformat()} ({at:%Y-%m-%d}, {at:%d.%m.%Y}, {at:%m/%d/%y}) I paid ${amount}."
    assert mask_text(text) == text


PERSONAL = (
    "ann.lee@example.com",
    "+1-202-555-0143",
    "(202) 555-0143",
    "214 Canal Street, Apt 5, Portland, ME 04101",
    "12 elm street, Reno NV 89501",
    "4111 1111 1111 1111",
)
SECRETS = ("ann.lee", "555-0143", "214", "Canal", "04101", "89501", "1111 1111")
ORDINARY = (
    "Where is #W7000201?",
    "parcel 282320683040",
    "on 2026-11-25T22:41:39Z",
    "I paid $1,234.56",
    "id 123e4567-e89b-12d3-a456-426614174000",
    "I waited 20 minutes.",
)


@given(st.lists(st.sampled_from(PERSONAL + ORDINARY), max_size=8), st.sampled_from("\n;|"))
def test_whatever_stands_beside_it_what_is_personal_goes_and_the_rest_stays(
    pieces: list[str], between: str
) -> None:
    text = f" {between} ".join(pieces)
    masked = mask_text(text)
    assert not any(secret in masked for secret in SECRETS)
    assert all(piece in masked for piece in pieces if piece in ORDINARY)
    assert mask_text(masked) == masked
