"""What a customer names: order ids, tracking numbers, e-mails, amounts, dates, products.

Each entity is exactly what stands in the customer's text, at its place. `canonical_order_id`
gives the shop's spelling of an order id.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

from streams.checksum import luhn
from streams.payload import Entity

Kind = Literal[
    "order_id", "tracking_number", "email", "phone", "product", "amount", "date", "zip", "name"
]

_MONTHS: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DAYS: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"

# Things that shops sell, as people call them. The catalogue itself is the shop's to search.
PRODUCT_WORDS: Final = """
action camera|air purifier|backpack|bag|bath towels?|bed|bedding|belt|bicycle|bike helmet|bike|
blanket|blender|blocks|bluetooth speaker|book|bookshelf|boots|bottle|boxers|bracelet|cabin case|
camera|candle|cap|car seat|chair|charger|clock|coat|coffee maker|coffee machine|computer|couch|
curtains?|cushion|cycling helmet|day pack|desk lamp|desk|digital camera|dishwasher|dog bed|drone|
dress|drill|dumbbell set|dumbbells?|e-?reader|earbuds|earrings|electric kettle|electric toothbrush|
espresso machine|filter|flask|fleece jacket|freezer|fridge|game console|gaming mouse|garden hose|
gift card|glasses|gloves|grill|hat|headphones|headset|heater|helmet|hiking boots|hoodie|
indoor security camera|iron|jacket|jars?|jeans|jewell?ery|jigsaw puzzle|jigsaw|journal|kettlebell|
kettle|keyboard|knife|lamp|laptop stand|laptop|led light bulb|leggings|light bulb|luggage set|
luggage|makeup kit|mat|mattress|mechanical keyboard|microphone|microwave|mirror|monitor|mouse|mug|
necklace|notebook|office chair|oven|pajamas|pan|pants|patio umbrella|perfume|pet bed|phone case|
phone|pillow|planter|plates?|portable charger|printer|puzzle|radio|rain jacket|razor|
reading lamp|refrigerator|ring|robot(?:ic)? vacuum(?: cleaner)?|rug|running shoes|sandals|scarf|
shears|sheets|shirt|shoes?|shorts|skateboard|skillet|skirt|slippers|smart ?phone|smart thermostat|
smart ?watch|sneakers|socks|sofa|speaker|suitcase|sunglasses|sweater|swimsuit|t-?shirt|table|
tablet|tea kettle|tent|thermostat|toaster|toothbrush|towels?|toys?|trail shoes|trousers|tv|
umbrella|vacuum cleaner|vacuum|wall charger|wall clock|wallet|washing machine|watch|water bottle|
water filter|webcam|wireless earbuds|wristwatch|yoga mat
"""

_Rule = tuple[Kind, re.Pattern[str], int]


def _rule(kind: Kind, text: str, group: int = 0) -> _Rule:
    return kind, re.compile(text, re.IGNORECASE), group


# In order of trust: what one rule took, later rules leave alone.
_RULES: Final[tuple[_Rule, ...]] = (
    _rule("email", r"(?<![\w.+-])[\w.+'-]{1,64}@[a-z0-9](?:[a-z0-9-]{0,62}\.)+[a-z]{2,24}(?!\w)"),
    _rule("order_id", r"(?<![\w#-])#?W\d{7}(?![\w-])"),
    _rule("tracking_number", r"(?<!\w)1Z[0-9A-Z]{16}(?!\w)"),
    _rule("tracking_number", r"(?<!\w)(?:TBA\d{12}|[A-Z]{2}\d{9}[A-Z]{2})(?!\w)"),
    _rule(
        "tracking_number",
        r"(?:track(?:ing)?|parcel|package|shipment|consignment|waybill|awb)\s*"
        r"(?:number|code|no\.?|id|num)?\s*(?:is|was|:|=|#)?\s*#?"
        r"((?=[A-Z0-9-]*\d{4})[A-Z0-9][A-Z0-9-]{7,29})(?![\w-])",
        1,
    ),
    # The customer's word decides what a bare number is.
    _rule(
        "order_id",
        r"(?:orders?|pu{1,2}r?chase|confirmation)\s*(?:number|nr|no|num|id|reference|ref)?s?\.?\s*"
        r"(?:is|was|:|=)?\s*((?:\#\s?)?(?=[A-Z-]*\d[\d-]{3})[A-Z]{0,4}-?\d[\d-]{2,18}\d)"
        r"(?![\w-]|[.,]\d)",
        1,
    ),
    _rule("order_id", r"(?<!\w)(?:ORD|SO|PO|ORDER)-\d[\dA-Z-]{3,20}(?!\w)"),
    _rule("order_id", r"(?<!\w)#\d{6,15}(?![\w-])"),
    _rule("amount", r"(?<![\w.])[$€£]\s?\d{1,3}(?:,\d{3})+(?:\.\d{1,2})?(?![\d,])"),
    _rule("amount", r"(?<![\w.])[$€£]\s?\d{1,9}(?:[.,]\d{1,2})?(?!\d)"),
    _rule(
        "amount",
        r"(?<![\w.,$€£])\d{1,9}(?:,\d{3})*(?:\.\d{1,2})?\s?"
        r"(?:usd|eur|gbp|dollars?|euros?|pounds?|bucks|cents)(?!\w)",
    ),
    _rule("date", r"(?<![\w-])\d{4}-\d{2}-\d{2}(?![\w-])"),
    _rule("date", r"(?<![\w/.])\d{1,2}[/.]\d{1,2}[/.](?:\d{4}|\d{2})(?![\w/])"),
    _rule(
        "date",
        rf"(?<!\w){_MONTHS}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?(?!\w)"
        rf"|(?<!\w)\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTHS}(?:,?\s+\d{{4}})?(?!\w)",
    ),
    _rule("date", rf"(?<!\w)(?:(?:last|next|this)\s+(?:{_DAYS}|week|month)|{_DAYS})(?!\w)"),
    _rule("date", r"(?<!\w)(?:today|tonight|yesterday|tomorrow)(?!\w)"),
    _rule(
        "phone",
        r"(?<![\w.-])(?:\+\d{1,3}[\s.-]?)?(?:\(\d{2,4}\)|\d{3})[\s.-]?\d{3}[\s.-]\d{4}(?![\w-])"
        r"|(?<![\w.-])\+\d{1,3}[\s.-]?\d(?:[\s.-]?\d){6,12}(?![\w-])",
    ),
    _rule(
        "phone",
        r"(?:phone|mobile|cell|call me (?:at|on)|reach me (?:at|on))\s*(?:number|no\.?)?\s*"
        r"(?:is|:)?\s*(\+?\d(?:[\s.-]?\d){6,14})(?![\w-])",
        1,
    ),
    _rule(
        "zip",
        r"(?:zip(?:\s*code)?|post(?:al|\s)?\s?code|postal)\s*(?:is|of|:|=)?\s*"
        r"(\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2})(?![\w-])",
        1,
    ),
    _rule("zip", r"(?:,\s*|\s)[A-Z]{2}\.?,?\s+(\d{5}(?:-\d{4})?)(?![\w-])", 1),
    # An order id without its letters, where someone gives nothing else.
    _rule("tracking_number", r"(?<![\w.#+-])\d{12}(?![\w-]|\.\d)"),
    _rule("tracking_number", r"(?<![\w.#+-])\d{20,22}(?![\w-]|\.\d)"),
    _rule("order_id", r"(?<![\w.#$€£+-])\d{7}(?![\w-]|[.,]\d)"),
    _rule("zip", r"(?<![\w.#$€£+-])\d{5}(?:-\d{4})?(?=\s*(?:[.,;!?)]|$))"),
    _rule("product", rf"(?<!\w)(?:{''.join(PRODUCT_WORDS.split(chr(10)))})(?!\w)"),
)
# Names are told by their capitals, so these two mind the case of what follows.
_NAME: Final = re.compile(
    r"(?:[Mm]y (?:full )?name is|[Mm]y name's|[Nn]ame:|[Tt]his is|I am|I'm|I\u2019m)\s+"
    r"([A-Z][a-z]+(?:[ '-][A-Z][a-z]+){1,2}|(?<=is )[A-Z][a-z]+|(?<=name: )[A-Z][a-z]+)(?!\w)"
)
_BILL: Final = re.compile(
    r"(?:invoice|bill|item|product|article|ticket|case|card)\s*\S{0,8}\s*$", re.I
)
_ORDER_WORD: Final = re.compile(
    r"(?:order|pu+r?chase|tracking|parcel)s?\W*(?:number|no|id|code)?\W*(?:is|was)?\W*$", re.I
)
_CARD_SPACE: Final = re.compile(r"\d[ -]?(?:\d[ -]?){11,17}\d")


def canonical_order_id(value: str) -> str:
    """Return an order id as the shop spells it: `w1234567` and `1234567` are `#W1234567`."""
    bare = value.replace("#", "").strip()
    if re.fullmatch(r"[Ww]?\d{7}", bare):
        return f"#W{bare[-7:]}"
    return bare


def extract(text: str) -> list[Entity]:
    """Return everything named in `text`, in order of appearance; no two overlap."""
    taken = bytearray(len(text))
    found = list(_found(text, taken))
    return sorted(found, key=lambda entity: entity.start)


def _found(text: str, taken: bytearray) -> Iterator[Entity]:
    for card in _CARD_SPACE.finditer(text):
        # A card number is nobody's business here, above all not an order id's.
        # Unless the customer calls it one: one in ten order numbers passes a card's checksum too.
        if luhn(card[0]) and not _ORDER_WORD.search(text[max(0, card.start() - 24) : card.start()]):
            taken[card.start() : card.end()] = b"\1" * (card.end() - card.start())
    for kind, rule, group in _RULES:
        for match in rule.finditer(text):
            start, end = match.span(group)
            if start == end or any(taken[start:end]):
                continue
            if kind == "order_id" and _BILL.search(text[max(0, start - 16) : start]):
                continue
            taken[start:end] = b"\1" * (end - start)
            yield Entity(type=kind, value=text[start:end], start=start, end=end)
    for match in _NAME.finditer(text):
        start, end = match.span(1)
        if not any(taken[start:end]):
            yield Entity(type="name", value=text[start:end], start=start, end=end)
