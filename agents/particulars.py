"""The particulars of a wish, found in the customer's words: items, variants, address, payment.

Pure, and careful: what is not clear is left open, so that the customer is asked. Nothing here
decides what may be done.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Final, Literal

from agents.language import NEGATIONS, pattern, plain, words
from agents.language import listed as words_of
from streams.payload import Customer, Json, Order, Payload

#: Words of product names that also stand in sentences about anything.
_WEAK: Final = words_of(
    "a an and for in of on or the with set free day house light white black box case"
)

_EXCEPT: Final = pattern(
    "except(?: for)?",
    "apart from",
    "other than",
    "all but",
    "everything but",
    "but not",
    "not the",
    "keep(?:ing)?",
)
_CLAUSE_END: Final = re.compile(r"[.,;!?]|\bbut\b")
_A_PART: Final = pattern(
    "an item",
    "one item",
    "one of",
    "some of",
    "part of",
    "something",
    "an? (?:product|article|thing)",
)
_ALL: Final = pattern(
    "all",
    "everything",
    "both",
    "(?:the|my|this|that|whole|entire|complete|full) (?:order|purchase|package|parcel|delivery)",
    "orders?",
    "these",
    "those",
    "them",
)

_SIZES: Final = {
    "XS": "extra small",
    "S": "small",
    "M": "medium",
    "L": "large",
    "XL": "extra large",
}

_STATES: Final = (
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ "
    "NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY"
).replace(" ", "|")
_ADDRESS: Final = re.compile(
    r"(?<![\w#$])(?P<address1>\d{1,6}[A-Za-z]?\s+(?!(?:to|at|is|in|on|days?)\b)[^,;\n]{3,60}?)"
    r"(?:\s*[,;\n]\s*|\s+(?=(?:[Aa]pt|[Aa]partment|[Ss]uite|[Ss]te|[Uu]nit|#)\b))"
    r"(?:(?P<address2>(?:(?:[Aa]pt|[Aa]partment|[Ss]uite|[Ss]te|[Uu]nit|[Ff]loor)\b\.?|#)"
    r"[^,;\n]{1,20})\s*[,;\n]\s*)?"
    r"(?P<city>[A-Za-z][A-Za-z .'-]{1,40}?)\s*[,;\n]?\s*"
    rf"(?<![A-Za-z])(?P<state>{_STATES})\s*,?\s+(?P<zip>\d{{5}}(?:-\d{{4}})?)(?!\d)"
)
_ADDRESS_ON_FILE: Final = pattern(
    "my (?:home|profile|account|default|usual|own|billing) address",
    "(?:the )?address (?:on|in) (?:file|my (?:account|profile))",
)
_MISTAKE: Final = pattern("mistakes?", "by accident", "accidental(?:ly)?", "wrong", "twice")
_RETURN_REASONS: Final = (
    (
        "damaged or faulty",
        pattern(
            "damaged?",
            "broken?",
            "broke",
            "defect(?:ive)?",
            "faulty",
            "cracked",
            "torn",
            "scratched",
            "(?:does not|doesn't|doesnt|don't|dont|not|stopped) work(?:ing)?",
        ),
    ),
    (
        "does not fit",
        pattern(
            "too (?:small|big|large|tight|loose|long|short)", "(?:doesn't|don't|not) fit", "size"
        ),
    ),
    ("not what was ordered", pattern("wrong", "not what i ordered", "not as described")),
)


_OWN: Final = pattern("my", "i (?:have |had )?(?:ordered|bought|got|purchased|received)", "mine")
_PAID: Final = pattern(
    "(?:did|have|had) i (?:pay|paid)",
    "i paid",
    "(?:how much|what) (?:was|were|did)",
    "was i charged",
    "did (?:it|they) cost",
)
_ALL_OF_THEM: Final = re.compile(
    r"\W*(?:(?:yes|yeah|ok(?:ay)?|no)\W+)?(?:do )?(?:both|all)(?: of (?:them|those|these))?"
    r"(?:\W+(?:please|thanks|thank you))*\W*"
)
_OTHER_ONE: Final = pattern(
    "(?:the|my|that|this) other (?:one|ones|order|orders|parcel|parcels|package|packages)"
)
_HOW_TO: Final = pattern(
    "how (?:do|can|would|should|could|does|to)(?: (?:i|we|one|you|it|somebody|someone))?(?: \\w+)?"
    "(?: \\w+)? (?:returns?|exchanges?|cancel|send|change|swap|exchanging|returning|cancelling)",
    "(?:what|which)(?:'s| is| are)?(?: \\w+){0,3} polic(?:y|ies)",
    "(?:returns?|refund|exchange|cancellation) polic(?:y|ies)",
    "how (?:long|many days) (?:do|have) i have to",
    "how (?:do|does|would) (?:your |a |an |the )?(?:returns?|exchanges?|cancellations?) work",
)
_ALL_ORDERS: Final = pattern(
    "(?:show|list|see|view|give|tell|display)(?: me| us)?(?: about)?(?: all)?(?: of)? my orders",
    "(?:what|which) orders (?:do|did|have) i",
    "(?:what|which) are my orders",
    "(?:all|list) (?:of )?my orders",
    "my order history",
)
_ORDINAL: Final = re.compile(
    r"(?<!\w)(?P<which>first|second|third|last)(?: (?:one|item|thing|article|product)(?!\w)|\W*$)"
)
_PLACES: Final = {"first": 0, "second": 1, "third": 2, "last": -1}


def picks_all(text: str) -> bool:
    """Say whether a text is no more than "both" or "all of them"."""
    return bool(_ALL_OF_THEM.fullmatch(plain(text)))


def confirmed_by(payload: Payload) -> Literal["yes", "no"] | None:
    """Return the answer to what waits for a yes; "both" is a yes to all that was offered."""
    if not payload.awaiting or payload.intent is None:
        return None
    if payload.intent.confirmation is None and picks_all(payload.text):
        return "yes"
    return payload.intent.confirmation


def means_the_other(text: str) -> bool:
    """Say whether a text is about another order than the one just spoken of."""
    return bool(_OTHER_ONE.search(plain(text)))


def asks_how(text: str) -> bool:
    """Say whether a text asks how something goes, or by which rules."""
    return bool(_HOW_TO.search(plain(text)))


def asks_for_orders(text: str) -> bool:
    """Say whether a text asks for a list of the orders."""
    return bool(_ALL_ORDERS.search(plain(text)))


def asks_about_own(text: str) -> bool:
    """Say whether a question is about what the customer has, rather than about the catalogue."""
    return bool(_OWN.search(plain(text))) or asks_what_was_paid(text)


def asks_what_was_paid(text: str) -> bool:
    """Say whether a question is about what something has cost the customer."""
    return bool(_PAID.search(plain(text)))


def damaged(text: str) -> bool:
    """Say whether the customer tells that something came damaged or does not work."""
    return bool(_RETURN_REASONS[0][1].search(plain(text)))


def return_reason(text: str) -> str:
    """Return why something goes back, as the shop notes it down."""
    said = plain(text)
    found = (reason for reason, words in _RETURN_REASONS if words.search(said))
    return next(found, "no longer wanted")


def cancel_reason(text: str) -> str:
    """Return why an order is cancelled, as the shop notes it down."""
    return "ordered by mistake" if _MISTAKE.search(plain(text)) else "no longer needed"


def items_named(text: str, items: Sequence[Json]) -> list[Json]:
    """Return those of `items` that the text means; of several alike, those described best."""
    said = plain(text)
    found = _EXCEPT.search(said)
    if found is None:
        return _matching(text, items)
    left_out = _matching(_CLAUSE_END.split(said[found.end() :])[0], items)
    if left_out and _ALL.search(said[: found.end()]):
        return [item for item in items if item not in left_out]
    return [item for item in _matching(text, items) if item not in left_out]


def items_meant(text: str, items: list[Json]) -> list[Json] | None:
    """Return which of an order's items a wish is about; None if the customer must be asked."""
    if named := items_named(text, items):
        return named
    if len(items) == 1:
        return items
    said = plain(text)
    if ordinal := _ORDINAL.search(said):
        place = _PLACES[ordinal["which"]]
        return [items[place]] if place < len(items) and items else None
    if _ALL.search(said) and not _A_PART.search(said):
        return items
    return None


def orders_named(text: str, orders: Iterable[Order]) -> list[Order]:
    """Return the orders with an item that the text means."""
    pairs = [(order, item) for order in orders for item in order.items]
    meant = items_named(text, [item for _, item in pairs])
    found = {id(item) for item in meant}
    named = {order.id: order for order, item in pairs if id(item) in found}
    return list(named.values())


def _matching(text: str, items: Sequence[Json]) -> list[Json]:
    spoken = [_stem(word) for word in words(text)]
    said, pairs = set(spoken), set(pairwise(spoken))
    best: dict[str, int] = {}
    scored: list[tuple[str, int, Json]] = []
    for item in items:
        name = [_stem(word) for word in words(str(item.get("name", "")))]
        if not name:
            continue
        head = name[-1]
        hits = [word for word in set(name) & said if word not in _WEAK]
        named = head in said and (head not in _WEAK or tuple(name[-2:]) in pairs)
        if not named and len(hits) < 2 and name[0] not in hits and _id(item) not in said:
            continue
        # The options tell twins apart: "the black one".
        score = 10 * len(hits) + 20 * (_id(item) in said) + _options_said(item, said)
        best[head] = max(score, best.get(head, 0))
        scored.append((head, score, item))
    return [item for head, score, item in scored if score == best[head]]


def _options_said(item: Json, said: set[str]) -> int:
    values = [set(words(str(value))) for value in options_of(item).values()]
    return sum(bool(value) and value <= said for value in values)


def _id(item: Json) -> str:
    return str(item.get("item_id", ""))


def _stem(word: str) -> str:
    """Return a word without its plural: enough to find `jackets` in `Rain Jacket`."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


# Variants


@dataclass(frozen=True)
class Choice:
    """What an exchange of one item comes to: the variant wanted, or those to choose from."""

    item: Json
    wanted: Json | None = None
    choices: list[Json] = field(default_factory=list)
    sold_out: bool = False


def variant_wanted(text: str, item: Json, product: Json) -> Choice:
    """Return the variant of `product` that the text asks for in place of `item`.

    Options that are not named stay as they are, as far as there is such a variant.
    """
    current = options_of(item)
    others = [v for v in variants_of(product) if _id(v) != _id(item)]
    available = [v for v in others if v.get("available")]
    by_id = [v for v in others if _id(v) and _id(v) in words(text)]
    if len(by_id) == 1:
        return _chosen(item, by_id[0], available)
    named = _values_named(text, current, [item, *others])
    if not named or any(len(values) > 1 for values in named.values()):
        return Choice(item, choices=available)
    asked = {option: values[0] for option, values in named.items()}
    fitting = [v for v in others if asked.items() <= options_of(v).items()]
    exact = [v for v in fitting if options_of(v) == {**current, **asked}]
    if len(exact) == 1:
        return _chosen(item, exact[0], [v for v in fitting if v.get("available")] or available)
    to_be_had = [v for v in fitting if v.get("available")]
    if len(to_be_had) == 1:
        return Choice(item, wanted=to_be_had[0])
    return Choice(item, choices=to_be_had or available, sold_out=bool(fitting) and not to_be_had)


def _chosen(item: Json, variant: Json, available: list[Json]) -> Choice:
    if variant.get("available"):
        return Choice(item, wanted=variant)
    return Choice(item, choices=available, sold_out=True)


def _values_named(text: str, current: Json, variants: list[Json]) -> dict[str, list[str]]:
    """Return, by option, the values that the text names, without the one that goes back."""
    named: dict[str, list[str]] = {}
    options = {option for variant in variants for option in options_of(variant)}
    for option in sorted(options):
        values = {str(options_of(v).get(option)) for v in variants if option in options_of(v)}
        said = sorted(value for value in values if _says(text, option, value))
        # "2 pieces" is also in "12 pieces" for nobody, but "black" is in "matte black".
        said = [v for v in said if not any(v != w and set(words(v)) < set(words(w)) for w in said)]
        changed = [value for value in said if value != str(current.get(option))]
        if changed:
            named[option] = changed
    return named


def _says(text: str, option: str, value: str) -> bool:
    """Say whether a text names the value of an option."""
    said = plain(text)
    key = r"\s+".join(re.escape(word) for word in plain(option).split())
    if value in ("yes", "no"):
        return _says_yes_or_no(said, key) == value
    if value in _SIZES and _size_said(said) == value:
        return True
    wanted = r"[\s-]*".join(re.escape(word) for word in plain(value).split())
    beside = (
        rf"(?<!\w){key}s?(?:\s+(?:is|to|of|in|a|an))?[\s:]+{wanted}(?!\w)"
        rf"|(?<!\w){wanted}[\s-]*{key}s?(?!\w)"
    )
    if len(value) > 2 or (value.isdigit() and len(value) == 2):
        return bool(re.search(rf"(?<!\w){wanted}(?!\w)", said))
    # One letter or digit is many things. "M" in capitals, or beside its option, is a size.
    if value.isalpha() and value.isupper() and re.search(rf"(?<![\w'])\b{value}\b(?!['\w])", text):
        return text != text.upper()
    return bool(re.search(beside, said))


def _size_said(said: str) -> str | None:
    """Return the size that is written out; the longest name, `extra large` before `large`."""
    found = [size for size, name in _SIZES.items() if pattern(name).search(said)]
    return max(found, key=lambda size: len(_SIZES[size]), default=None)


def _says_yes_or_no(said: str, key: str) -> str | None:
    found = re.search(rf"(?:(?P<before>\S+)\s+)?(?<!\w){key}(?!\w)", said)
    if found is None:
        return None
    before = (found["before"] or "").rstrip("-")
    return "no" if before in NEGATIONS or before == "non" else "yes"


def describe_variant(variant: Json) -> str:
    """Return a variant's options in words, with its price."""
    return f"{options_in_words(variant) or _id(variant)} ({dollars(variant.get('price'))})"


def options_in_words(thing: Json) -> str:
    """Return the options of an item or a variant with their values, with commas."""
    return ", ".join(f"{option} {value}" for option, value in options_of(thing).items())


def options_of(thing: Json) -> Json:
    """Return the options of an item or a variant, such as `{"size": "M"}`."""
    options = thing.get("options")
    return options if isinstance(options, dict) else {}


def variants_of(product: Json) -> list[Json]:
    """Return the variants of a product."""
    variants = product.get("variants")
    return [v for v in variants if isinstance(v, dict)] if isinstance(variants, list) else []


# Addresses, ways to pay, money


def address_in(text: str, customer: Customer | None) -> Json | None:
    """Return the whole address that the text gives, or the one on file if it means that."""
    if found := _ADDRESS.search(text):
        country = customer.address.get("country") if customer else None
        return {
            "address1": found["address1"].strip(),
            "address2": (found["address2"] or "").strip(),
            "city": found["city"].strip(),
            "state": found["state"],
            "zip": found["zip"],
            "country": country or "USA",
        }
    if customer and customer.address and _ADDRESS_ON_FILE.search(plain(text)):
        return dict(customer.address)
    return None


def describe_address(address: Json) -> str:
    """Return an address on one line."""
    parts = [address.get("address1"), address.get("address2"), address.get("city")]
    place = ", ".join(str(part) for part in parts if part)
    return f"{place}, {address.get('state', '')} {address.get('zip', '')}".strip(", ")


def method_named(text: str, customer: Customer | None) -> Json | None:
    """Return the one payment method of the customer's that the text names."""
    said = plain(text)
    tokens = set(words(text))

    def means(method: Json) -> bool:
        source = str(method.get("source", ""))
        if source == "credit_card":
            last_four, brand = str(method.get("last_four")), str(method.get("brand", "")).casefold()
            return last_four in tokens or (bool(brand) and brand in tokens)
        return bool(source) and source.replace("_", " ") in said

    methods = customer.payment_methods if customer else []
    found = [method for method in methods if means(method)]
    if not found and re.search(r"(?<!\w)(?:credit|debit) card(?!\w)", said):
        found = [method for method in methods if method.get("source") == "credit_card"]
    return found[0] if len(found) == 1 else None


def dollars(amount: object) -> str:
    """Return an amount as people write it."""
    return f"${amount:,.2f}" if isinstance(amount, int | float) else "$?"


def in_words(day: date) -> str:
    """Return a date as customers read it, such as `November 5`."""
    return f"{day:%B} {day.day}"


def series(names: Iterable[str], last: str = "and") -> str:
    """Return names as a list in a sentence."""
    *first, end = [*names] or [""]
    return f"{', '.join(first)} {last} {end}" if first else end
