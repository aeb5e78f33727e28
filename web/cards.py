"""Payment cards that customers write into a chat: masked at the door, kept by nobody."""

import re
from typing import Final

from streams.checksum import luhn

# 15 or 16 digits with the beginning of a card network's range, in groups or not. Order and
# tracking numbers are shorter or begin otherwise, and seldom have the check digit right.
_CARD: Final = re.compile(
    r"(?<![\d-])(?:3[47]\d{2}[ -]?\d{6}[ -]?\d{5}|(?:4|5[1-5]|2[2-7]|6[0245])"
    r"\d{2,3}(?:[ -]?\d{4}){3})(?![\d-])"
)
_CODE: Final = re.compile(r"(?i)\b(cvv2?|cvc2?|security code|card code)(\W{0,3}(?:is\W)?)\d{3,4}\b")


def mask_cards(text: str) -> str:
    """Return `text` with card numbers cut to their last four digits, and security codes gone."""
    return _CODE.sub(r"\1\2•••", _CARD.sub(_masked, text))


def _masked(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[0])
    return f"•••• {digits[-4:]}" if luhn(digits) else found[0]
