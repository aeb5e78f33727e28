import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.cards import mask_cards


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
def test_other_numbers_stay(text: str) -> None:
    assert mask_cards(text) == text


@given(st.text())
def test_any_text_passes_and_masking_again_changes_nothing(text: str) -> None:
    assert mask_cards(mask_cards(text)) == mask_cards(text)
