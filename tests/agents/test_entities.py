import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.entities import canonical_order_id, extract


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is #W7000101?", [("order_id", "#W7000101")]),
        ("w1234567 and W7654321.", [("order_id", "w1234567"), ("order_id", "W7654321")]),
        ("My order number is 9502126.", [("order_id", "9502126")]),
        ("cancel purchase 00123842", [("order_id", "00123842")]),
        ("order 113542617735902", [("order_id", "113542617735902")]),
        ("ORD-2024-00123 please", [("order_id", "ORD-2024-00123")]),
        ("tracking number 357962501027", [("tracking_number", "357962501027")]),
        ("1Z999AA10123456784", [("tracking_number", "1Z999AA10123456784")]),
        ("it is 357962501027", [("tracking_number", "357962501027")]),
        ("mail a.b+c@example.co.uk.", [("email", "a.b+c@example.co.uk")]),
        ("call (415) 555-0134", [("phone", "(415) 555-0134")]),
        ("+49 170 1234567", [("phone", "+49 170 1234567")]),
        ("I paid $1,299.50", [("amount", "$1,299.50")]),
        ("I paid 350 dollars", [("amount", "350 dollars")]),
        ("on May 5th, 2026", [("date", "May 5th, 2026")]),
        ("on 2026-03-04", [("date", "2026-03-04")]),
        ("since last Friday", [("date", "last Friday")]),
        ("Houston, TX 77034", [("zip", "77034")]),
        ("zip code 78712", [("zip", "78712")]),
        ("my name is Daiki Sanchez", [("name", "Daiki Sanchez")]),
        ("the water bottle leaks", [("product", "water bottle")]),
        ("invoice #37777", []),
        ("item 9534205511", []),
        ("4111 1111 1111 1111", []),
        ("my card 4111111111111111 was charged", []),
        ("", []),
    ],
)
def test_entities_of_usual_shapes(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(entity.type, entity.value) for entity in extract(text)] == expected


@pytest.mark.parametrize("value", ["#W1234567", "W1234567", "w1234567", "1234567", "# W1234567"])
def test_the_shops_spelling_of_an_order_id(value: str) -> None:
    assert canonical_order_id(value) == "#W1234567"


def test_other_ids_stay_as_they_are() -> None:
    assert canonical_order_id("ORD-1") == "ORD-1"


_PIECES = st.sampled_from(
    [
        "#W1234567",
        "order 123456",
        "a@b.co",
        "$5.00",
        "May 3",
        "357962501027",
        "\n",
        "é",
        "I'm Al Bo",
    ]
)


@given(st.lists(_PIECES | st.text(max_size=20), max_size=8).map(" ".join))
def test_offsets_point_at_the_value_and_entities_never_overlap(text: str) -> None:
    end = 0
    for entity in extract(text):
        assert text[entity.start : entity.end] == entity.value
        assert entity.start >= end
        end = entity.end
