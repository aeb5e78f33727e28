"""Personal data cut down to what lets people recognise it: in text, and in JSON documents.

Masked are e-mail addresses, phone numbers, postal addresses and payment cards: wherever a field's
name says what it holds, and where their form shows in free text. What the mesh is looked into by
stays as it is: ids, order and tracking numbers, times, amounts. Where the form does not tell (ten
digits may be a phone or an article) nothing is masked unless a name or a word says so.

Masking is idempotent: what was masked once is not changed by masking it again.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from streams.checksum import luhn

Kind = Literal["email", "phone", "street", "city", "zip", "card", "secret"]

HIDDEN: Final = "•••"
DEPTH: Final = 64
"""Levels of a document that are looked into; what lies deeper is hidden whole."""

SHORT: Final = 200
"""Characters up to which a text's masked form is remembered."""

_SUSPICIOUS: Final = re.compile(r"[\d@{\[\"]|%40")

# 15 or 16 digits with the beginning of a card network's range, in groups or not. Order and
# tracking numbers are shorter or begin otherwise, and seldom have the check digit right; digits
# with letters on both sides are a part of some id.
_CARD: Final = re.compile(
    r"(?<![\d-])(?:3[47]\d{2}[ -]?\d{6}[ -]?\d{5}|(?:4|5[1-5]|2[2-7]|6[0245])"
    r"\d{2,3}(?:[ -]?\d{4}){3})(?![\d-])"
)
_CODE: Final = re.compile(r"(?i)\b(cvv2?|cvc2?|security code|card code)(\W{0,3}(?:is\W)?)\d{3,4}\b")

_EMAIL: Final = re.compile(
    r"(?<!\w)([\w+])[\w.+'%-]{0,127}?((?:@|%40)(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24})"
)

_DIGIT: Final = re.compile(r"\d")
#: Seven digits, as the shortest phone number has them; not a part of an id, nor a date.
_LONG_NUMBER: Final = re.compile(r"(?<![\d#W])\(?(?!\d{4}-\d\d-\d\d(?!\d))\d(?:[ ().-]{0,2}\d){6}")
# A bare run of digits is a phone number only where a word says so.
_PHONE: Final = re.compile(
    r"(?<![\w+/=.])\+\d(?:[ ().-]{0,2}\d){7,14}(?![\w+/=-])"
    r"|(?<![\w#$€£.,/-])(?<!\d )(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"
    r"(?![\w-]|[., ]\d)"
    r"|(?<![\w#$€£.,/:-])(?<!\d )(?:\(0\d{2,4}\)|0\d{2,4})([ -])\d{3,8}(?:\1\d{2,5}){0,2}"
    r"(?![\w:-]|[., ]\d)"
    r"|(?<![\w#$€£.,/:-])(?<!\d )0\d(?:([ .])\d{2})(?:\2\d{2}){3}(?![\w:-]|[., ]\d)"
)
_PHONE_AFTER_WORD: Final = re.compile(
    r"(?i)\b((?:phone|mobile|cell(?:phone)?|telephone|tel|whatsapp|(?:call|reach|text|ring) me"
    r"(?: back)?(?: at| on)?)(?: (?:number|no))?[.:]?(?: is| was)?[ :=]{1,2})"
    r"(\+?\(?\d(?:[ ().-]{0,2}\d){5,14})(?![\w-])"
)
_PHONE_DIGITS: Final = range(9, 16)

_STREET_SURE: Final = "street|avenue|boulevard|lane|terrace|crescent"
_STREET: Final = (
    r"Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Square|Sq|"
    r"Terrace|Ter|Row|Close|Rise|Race|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Alley|Crescent|"
    r"Gardens|Grove|Mews|Walk"
)
_NO_STREET_WORD: Final = (
    r"(?:the|an?|on|in|at|to|of|or|and|from|for|by|with|my|your|our|their|this|that|days?|hours?|"
    r"minutes?|weeks?|dollars?|euros?|items?|parcels?|orders?|times?)"
)
_HOUSE: Final = r"(?<![\w#$€£.,/:-])\d{1,5}[a-zA-Z]?,? +"
_UNIT: Final = r"(?:,? +(?:apt|apartment|flat|suite|ste|unit|floor|#)\.? *#?[\w-]{1,6}\b)?"
_ADDRESS: Final = re.compile(
    rf"{_HOUSE}(?:(?:[A-Z][\w'\u2019.-]{{0,30}}|\d{{1,3}}(?:st|nd|rd|th)) +){{1,4}}({_STREET})\b\.?"
    rf"(?i:{_UNIT})"
)
_ADDRESS_IN_SMALL_LETTERS: Final = re.compile(
    rf"{_HOUSE}(?:(?!{_NO_STREET_WORD}\b)"
    rf"[a-z][\w'\u2019.-]{{0,30}} +){{1,2}}({_STREET_SURE})\b{_UNIT}",
    re.IGNORECASE,
)
_ADDRESS_AND_THEN_HOUSE: Final = re.compile(
    r"\b[A-ZÄÖÜ][\w-]{1,30}(stra(?:ß|ss)e|str\.|weg|gasse|platz|allee) +\d{1,4} ?[a-z]?\b"
)
_UNIT_ALONE: Final = re.compile(r"(?i)\b(apt\.?|apartment|p\.? ?o\.? box) *#?\d{1,6}[a-z]?\b")
_STATES: Final = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|"
    "NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC"
)
_TOWN: Final = re.compile(
    rf"\b([A-Z])[\w'\u2019.-]{{1,30}}(?: [A-Z][\w'\u2019.-]{{1,30}}){{0,2}}"
    rf"(, (?:{_STATES}),? )(\d{{2}})\d{{3}}"
    r"(?:-\d{4})?(?![\w-])"
)
#: Behind a street nobody takes a state and five digits for anything else: no comma is needed.
_TOWN_AFTER_STREET: Final = re.compile(
    rf"({HIDDEN} \w+[.,]?\s+)([A-Z])[\w'\u2019.-]{{1,30}}(?: [A-Z][\w'\u2019.-]{{1,30}}){{0,2}}"
    rf"(,? (?:{_STATES}),? )(\d{{2}})\d{{3}}(?:-\d{{4}})?(?![\w-])"
)
_ZIP: Final = re.compile(
    r"(?i)\b((?:zip|post(?:al)?)(?:[ _-]?code)?(?: is|:|=)? ?)"
    r"(?=[a-z0-9]{0,3}\d)([a-z0-9]{2})[a-z0-9]{1,3}(?:[ -]\d[a-z0-9]{2,3})?\b"
)

#: Searching for a word first is much faster than searching for what stands around it.
_AROUND_WORDS: Final = (
    (_CODE, rf"\1\2{HIDDEN}", ("cvv", "cvc", "code")),
    (_ADDRESS_IN_SMALL_LETTERS, rf"{HIDDEN} \1", _STREET_SURE.split("|")),
    (
        _ADDRESS_AND_THEN_HOUSE,
        rf"{HIDDEN} \1",
        ("straße", "strasse", "str.", "weg", "gasse", "platz", "allee"),
    ),
    (_UNIT_ALONE, rf"\1 {HIDDEN}", ("apt", "apartment", "box")),
    (_TOWN, rf"\1{HIDDEN}\2\3{HIDDEN}", (", ",)),
    (_ZIP, rf"\1\2{HIDDEN}", ("zip", "post")),
)


def mask_cards(text: str) -> str:
    """Return `text` with card numbers cut to their last four digits, and security codes gone."""
    return _CODE.sub(rf"\1\2{HIDDEN}", _CARD.sub(_card, text))


def mask_emails(text: str) -> str:
    """Return `text` with e-mail addresses cut to their first letter and their domain."""
    return _EMAIL.sub(rf"\1{HIDDEN}\2", text) if "@" in text or "%40" in text else text


def mask_text(text: str) -> str:
    """Return free text with all personal data in it masked; also JSON that stands inside it."""
    if not _SUSPICIOUS.search(text):
        return text
    return _mask_short(text) if len(text) <= SHORT else _mask_long(text)


def _mask_long(text: str) -> str:
    if (inner := _as_document(text)) is not None:
        masked = mask(inner)
        # Unless something was masked the text stays as it was written.
        return text if masked == inner else json.dumps(masked, ensure_ascii=False)
    text = mask_emails(text)
    if '"' in text:
        text = _QUOTED_FIELD.sub(_quoted_field, text)
    if _DIGIT.search(text) is None:
        return text
    if _LONG_NUMBER.search(text):
        text = _CARD.sub(_card, text)
        text = _PHONE_AFTER_WORD.sub(lambda found: found[1] + _phone(found[2]), text)
        text = _PHONE.sub(_found_phone, text)
    text = _ADDRESS.sub(rf"{HIDDEN} \1", text)
    words = text.lower()
    for pattern, masked, hints in _AROUND_WORDS:
        if any(hint in words for hint in hints):
            text = pattern.sub(masked, text)
    if HIDDEN in text:
        text = _TOWN_AFTER_STREET.sub(rf"\1\2{HIDDEN}\3\4{HIDDEN}", text)
    return text


# What is short comes again and again: ids, times, names of states.
_mask_short = lru_cache(maxsize=8192)(_mask_long)


class Personal(NamedTuple):
    """A piece of personal data in a text: `text[start:end]`."""

    kind: Kind
    start: int
    end: int


def personal(text: str) -> Iterator[Personal]:
    """Yield the personal data that free text shows by its form; one piece may be in another.

    A street comes with its house number, its kind and, if it stands there, the unit (`Apt 4`).
    """
    if not _SUSPICIOUS.search(text):
        return
    yield from (Personal("email", *found.span()) for found in _EMAIL.finditer(text))
    if _DIGIT.search(text) is None:
        return
    for found in _CARD.finditer(text):
        if luhn(_digits(found[0])):
            yield Personal("card", *found.span())
    yield from (Personal("phone", *found.span(2)) for found in _PHONE_AFTER_WORD.finditer(text))
    for found in _PHONE.finditer(text):
        if len(_digits(found[0])) in _PHONE_DIGITS:
            yield Personal("phone", *found.span())
    for pattern in (_ADDRESS, _ADDRESS_IN_SMALL_LETTERS, _ADDRESS_AND_THEN_HOUSE, _UNIT_ALONE):
        yield from (Personal("street", *found.span()) for found in pattern.finditer(text))
    for found in _TOWN.finditer(text):
        # Words before a kind of street are its name, not the town's.
        town = re.split(rf"\b(?:{_STREET})\b\.? +", found[0].partition(",")[0])[-1]
        end = found.start() + found[0].index(",")
        yield Personal("city", end - len(town), end)
        yield Personal("zip", found.end() - len(re.split(r"[ ,]", found[0])[-1]), found.end())
    yield from (Personal("zip", found.end(1), found.end()) for found in _ZIP.finditer(text))


def kind_of(name: str) -> Kind | None:
    """Return what a field of this name holds, as far as that is personal; None if it does not say.

    An identifier, for one, is nothing that a name tells.
    """
    return _KINDS.get(_rule(name) or mask_text)


def mask(value: Any) -> Any:
    """Return a JSON value with all personal data in it masked; the value itself is not changed.

    A field's name counts for text and numbers in it, at any depth. Fields that hold ids are left
    alone but for e-mail addresses.
    """
    return _mask(value, mask_text, DEPTH)


def _mask(value: Any, text: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return _mask_fields(value, text, depth) if depth else HIDDEN
    if isinstance(value, list):
        return [_mask(item, text, depth - 1) for item in value] if depth else HIDDEN
    if isinstance(value, int) and text in _BY_NAME and not isinstance(value, bool):
        return text(str(value))
    return value


def _mask_fields(fields: dict[str, Any], text: Callable[[str], str], depth: int) -> dict[str, Any]:
    masked: dict[str, Any] = {}
    for name, value in fields.items():
        rule = _rule(name) or mask_text
        if name == "value" and isinstance(kind := fields.get("type"), str):
            rule = _FIELDS.get(_plain(kind), rule)  # a named thing: {"type": "phone", "value": …}
        if rule in _BY_NAME and isinstance(value, dict):
            rule = mask_text  # an object named `address` or `email`: its own names tell
        shown = name
        if "@" in name:
            shown = mask_emails(name)
            while shown in masked:
                shown += "*"  # two keys that only what is hidden kept apart
        masked[shown] = _mask(value, rule, depth - 1)
    return masked


def _as_document(text: str) -> Any:
    """Return the JSON object or list that `text` is as a whole, else None."""
    edges = text.strip()
    if edges[:1] + edges[-1:] not in ("{}", "[]"):
        return None
    try:
        return json.loads(edges)
    except (ValueError, RecursionError):
        return None


def _digits(text: str) -> str:
    return "".join(char for char in text if char in "0123456789")


def _card(found: re.Match[str]) -> str:
    digits = _digits(found[0])
    start, end, text = found.start(), found.end(), found.string
    before, after = text[max(start - 1, 0) : start], text[end : end + 1]
    inside = before.isalpha() and after.isalpha()
    return f"•••• {digits[-4:]}" if luhn(digits) and not inside else found[0]


def _found_phone(found: re.Match[str]) -> str:
    return _phone(found[0]) if len(_digits(found[0])) in _PHONE_DIGITS else found[0]


def _phone(text: str) -> str:
    digits = _digits(text)
    return HIDDEN + (digits[-2:] if len(digits) > 4 or HIDDEN in text else "")


def _email_field(text: str) -> str:
    if not text:
        return text
    masked = mask_emails(text)
    return masked if "@" in masked and HIDDEN in masked else HIDDEN


def _phone_field(text: str) -> str:
    return _phone(text) if text else text


def _street_field(text: str) -> str:
    """Keep the kind of street: the number and the name go."""
    if not text:
        return text
    kind = re.search(rf"\b({_STREET})\.?$", text, re.IGNORECASE)
    return f"{HIDDEN} {kind[1]}" if kind else HIDDEN


def _city_field(text: str) -> str:
    return text[:1] + HIDDEN if text else text


def _zip_field(text: str) -> str:
    if not text:
        return text
    return (text[:2] if len(text) > 3 else "").rstrip("•") + HIDDEN


def _card_field(text: str) -> str:
    digits = _digits(text)
    if not text:
        return text
    return f"•••• {digits[-4:]}" if len(digits) > 8 or text.startswith("••••") else HIDDEN


def _hidden_field(text: str) -> str:
    return HIDDEN if text else text


_FIELDS: Final[dict[str, Callable[[str], str]]] = {
    name: rule
    for names, rule in (
        ("email emailaddress mail sentto", _email_field),
        ("phone phonenumber mobile mobilenumber cell telephone tel fax", _phone_field),
        ("address address1 address2 address3 addressline1 addressline2 street street1 street2 "
         "streetaddress line1 line2 postaladdress", _street_field),
        ("city town", _city_field),
        ("zip zipcode postalcode postcode", _zip_field),
        ("card cardnumber pan creditcardnumber", _card_field),
        ("cvv cvv2 cvc cvc2 securitycode iban", _hidden_field),
    )
    for name in names.split()
}  # fmt: skip
_BY_NAME: Final = frozenset(_FIELDS.values())
_KINDS: Final[dict[Callable[[str], str], Kind]] = {
    _email_field: "email",
    _phone_field: "phone",
    _street_field: "street",
    _city_field: "city",
    _zip_field: "zip",
    _card_field: "card",
    _hidden_field: "secret",
}
_WHOSE: Final = re.compile(
    r"^(?:customer|contact|billing|shipping|delivery|new|old|user|home|work)_"
)
_IDENTIFIER: Final = re.compile(
    r"(?:^|_)(?:ids?|key|hash|at|date|stream|digest)$"
    r"|^(?:order|tracking|ticket|invoice|parcel|article|serial)_?(?:number|no|code)s?$"
)
_QUOTED_FIELD: Final = re.compile(r'"([\w-]{2,32})"(\s{0,4}:\s{0,4})"((?:[^"\\]|\\.){0,500})"')


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


@lru_cache(maxsize=4096)
def _rule(name: str) -> Callable[[str], str] | None:
    """Return how to mask what a field of this name holds; None if the name says nothing."""
    bare = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_")
    for spelling in (bare, _WHOSE.sub("", bare)):
        if rule := _FIELDS.get(_plain(spelling)) or _FIELDS.get(_plain(spelling).removesuffix("s")):
            return rule
    return mask_emails if _IDENTIFIER.search(bare) else None


def _quoted_field(found: re.Match[str]) -> str:
    rule = _FIELDS.get(_plain(found[1]))
    return f'"{found[1]}"{found[2]}"{rule(found[3])}"' if rule else found[0]
