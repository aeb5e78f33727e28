"""Whether a reply may go out: every check has a name, a verdict and a reason.

The reply is untrusted text. What it states must be in what we know, what it claims to have done
must have been done, and it must give away nothing. `inspect` looks at any text in the same spirit,
and is used on the customer's words: attempts to talk the bot into something are noted, and change
nothing, because no actor takes orders from the text.
"""

import calendar
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final
from urllib.parse import urlsplit

from agents import guardrail_lexicon as lexicon
from agents.entities import canonical_order_id, extract
from agents.language import pattern, plain, squeeze, words
from streams import slip
from streams.checksum import luhn
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import Context, Entity, Guardrail, Json, Payload, Plan, Verdict
from streams.trace import note

LONGEST_REPLY: Final = 3000

# --- any text -------------------------------------------------------------------------------


def inspect(text: str) -> list[Verdict]:
    """Return what is wrong with any text: injection, toxic, pii. An empty list means safe."""
    low = plain(text)
    found: list[Verdict] = []
    if reason := _injection(low):
        found.append(Verdict(check="injection", passed=False, reason=reason))
    if reason := _toxic(low):
        found.append(Verdict(check="toxic", passed=False, reason=reason))
    if reason := _personal(text):
        found.append(Verdict(check="pii", passed=False, reason=reason))
    return found


def _injection(low: str) -> str | None:
    if match := lexicon.INJECTION.search(low):
        return f"tries to instruct the bot: {match[0][:60]!r}"
    if match := lexicon.TO_YOUR_REPLY.search(low):
        return f"tells how to answer: {match[0].strip()[:60]!r}"
    last = low.strip().rpartition("\n")[2].strip()
    task = lexicon.TASK.match(last) or lexicon.YOUR_REPLY.search(last)
    if task and last != low and lexicon.FORWARDED.search(low):
        return f"a forwarded text ends with a task: {last[:60]!r}"
    hints = [hint for hint in lexicon.INJECTION_HINTS if hint.search(low)]
    # In a long text a few of these words come together by chance.
    if len(hints) >= (3 if len(low) < 400 else 4):
        return "reads like a prompt for a bot"
    return None


def _toxic(low: str) -> str | None:
    if match := lexicon.SLURS.search(low) or lexicon.INSULTS.search(low):
        return f"insults: {match[0][:40]!r}"
    return None


def _personal(text: str) -> str | None:
    """Return the kind of personal data in a text; never the data itself."""
    text = _ORDER_NUMBER.sub(" ", squeeze(text))
    for kind, shape in _PERSONAL.items():
        if shape.search(text):
            return kind
    for card in lexicon.CARD.finditer(text):
        if luhn(card[0]):
            return "card number"
    return None


_ORDER_NUMBER: Final = re.compile(
    r"\b(?:orders?|pur\w{3,5}|tracking|invoice|bill|item)\W*(?:number|no|"
    r"id)?\W*(?:is\s)?#?\d[\d-]{3,}",
    re.IGNORECASE,
)
_PERSONAL: Final = {
    "e-mail address": lexicon.EMAIL,
    "social security number": lexicon.SSN,
    "bank account": lexicon.IBAN,
    "IP address": lexicon.IP,
    "account or card number": lexicon.LONG_NUMBER,
    "phone number": lexicon.PHONE,
    "phone number named": lexicon.PHONE_WORD,
    "password": lexicon.PASSWORD,
    "address": lexicon.ADDRESS,
    "name and ZIP code": lexicon.NAME_ZIP,
}


# --- the reply ------------------------------------------------------------------------------

_RUN: Final = re.compile(r"[^\W_]+")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_NUMBER: Final = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?!\w)")
_AMOUNT: Final = re.compile(
    r"[$€£]\s?(\d[\d,]*(?:\.\d{1,2})?)"
    r"|(?<![\w.,])(\d[\d,]*(?:\.\d{1,2})?)\s?(?:usd|eur|gbp|dollars?|euros?|pounds?|bucks)(?!\w)",
    re.IGNORECASE,
)
_MONTH_NAMES: Final = tuple(month.lower() for month in calendar.month_name[1:])
_MONTHS: Final = {
    **{name: number for number, name in enumerate(_MONTH_NAMES, 1)},
    **{name[:3]: number for number, name in enumerate(_MONTH_NAMES, 1)},
    "sept": 9,
}
_NAMED_DATE: Final = re.compile(
    r"(?<!\w)(?:(?P<m1>[a-z]{3,9})\.?\s+(?P<d1>\d{1,2})(?:st|nd|rd|th)?(?!\d)(?:,"
    r"?\s+(?P<y1>\d{4}))?"
    r"|(?P<d2>\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m2>[a-z]{3,9})\.?(?:,?\s+(?P<y2>\d{4}))?)"
    r"(?!\w)",
    re.IGNORECASE,
)
_ISO: Final = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_SLASHED: Final = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})(?:/(\d{2,4}))?(?![\d/])")
_WHEN: Final = pattern(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day", r"tomorrow", r"tonight", r"yesterday",
    r"next (?:week|month)", r"(?:within|in|up to|after|about|takes?|least)? ?"
    r"(?:\d+|one|two|three|four|five|six|seven|ten|a few|several|a couple of)"
    r"(?: ?(?:-|to|or) ?(?:\d+|two|three|four|five|six|seven|ten))? (?:business |working |"
    r"calendar )?"
    r"(?:hours?|days?|weeks?|months?)", r"(?:a|an) (?:hour|day|week|month)",
)  # fmt: skip
_LONG_ID: Final = re.compile(r"(?<![\w.,$€£])(?=[\w-]*\d{5})[A-Za-z0-9][A-Za-z0-9_-]{5,39}(?![\w])")
_PREFIXED_ID: Final = re.compile(r"(?<![\w#])#?[A-Za-z]{1,5}-?\d{5,}(?!\w)")
_URL: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]+", re.IGNORECASE)
_BARE_HOST: Final = re.compile(
    r"(?<![\w@./-])(?:[a-z0-9-]{1,63}\.)+(?:com|net|org|io|co|info|biz|xyz|ru|app|dev|shop|link|me|"
    r"site|online|top|ly|gg|us|uk|de|eu)(?:/\S*)?(?![\w@-])",
    re.IGNORECASE,
)
_MARKUP: Final = re.compile(
    r"</?[a-z][a-z0-9-]*(?:\s[^<>]*)?/?>|<!--|<!doctype|javascript:|data:text|vbscript:|"
    r"on(?:click|load|error)\s*=|!\[[^\]]*\]\(|&#\d+;|\{\{|\}\}|```",
    re.IGNORECASE,
)
_MARKDOWN_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)]*)\)")

_NEGATED: Final = pattern(
    r"(?:can|could|was|were|am|are|is|has|have|had|did|do|does|will|would)(?: not|n't)", r"cannot",
    r"unable", r"not (?:been|yet|possible)", r"no", r"never", r"only", r"nothing", r"neither",
    r"won't", r"which", r"without",
)  # fmt: skip
_CONDITIONAL: Final = pattern(
    r"shall i", r"would you like", r"do you want", r"if you", r"should i", r"(?:can|could|may|"
    r"might)"
    r" (?:\w+ )?(?:still )?(?:be|help|also|cancel|refund|return|exchange|look|ask)", r"once you",
    r"please (?:confirm|answer|say|tell)", r"let me know", r"i can", r"as soon as you",
)  # fmt: skip


@dataclass(frozen=True)
class _Claim:
    """Words that say something was or will be done, and the actions that make them true."""

    words: re.Pattern[str]
    kinds: frozenset[str]


def _claim(kinds: str, *phrases: str) -> _Claim:
    return _Claim(pattern(*phrases), frozenset(kinds.split()))


_DONE: Final = (
    r"(?:(?:i|we|our team)(?:'ve| have| has| had)? (?:\w+ly )?(?:now |just |already |also "
    r"|gone ahead and )*|(?:is|are|was|were|been|being|gets?|got|will be|"
    r"(?:i|we)(?:'ll| will| am going to|'m going to| are going to)) (?:\w+ly )?(?:now |just |"
    r"already "
    r"|also )*)"
)
CLAIMS: Final = (
    _claim("cancel_order", _DONE + r"cancel(?:l?ed|l?ing)?", r"cancell?ation (?:is|was|has been|"
        r"went)"
           r" (?:\w+ )?(?:confirmed|complete[d]?|successful|through|processed)"),
    _claim("refund_amount cancel_order return_items goodwill_credit exchange_items",
           _DONE + r"(?:refund(?:ed|ing)?|reimburs(?:ed?|ing))",
           r"(?:refund|reimbursement|money)(?: of [$€£]?[\d.,]+)? (?:is|was|has been|will|should)"
           r" (?:\w+ )?(?:be )?(?:issued|processed|initiated|sent|paid|made|approved|on (?:its|"
           r"the) "
           r"way|returned|appear|arrive|credited|refunded)", r"you(?:'ll| will| are going to|'re "
           r"going "
           r"to| should) (?:\w+ )?(?:get|receive|have|be) (?:\w+ ){0,3}(?:refund\w*|money|"
           r"reimburse\w*)", r"issu(?:e|ed|ing) (?:you )?(?:a|the|your) (?:\w+ )?refund"),
    _claim("goodwill_credit", _DONE + r"(?:credit(?:ed|ing)?|add(?:ed|ing)? (?:a |the |\S+ "
        r")*credit)",
           r"(?:a|your|the) (?:\S+ )?credit (?:is|was|has been|will be) (?:\w+ )?(?:added|applied|"
           r"issued|given)", r"you(?:'ll| will) (?:get|receive) (?:a|an) (?:\S+ ){0,2}credit"),
    _claim("return_items", r"(?:return|label) (?:for \S+ \S+ )?(?:is|was|has been) (?:\w+ )?"
           r"(?:set up|created|started|approved|initiated|arranged|processed|sent)",
           r"(?:i|we)(?:'ve| have) (?:set up|created|started|approved|initiated|arranged|"
           r"processed) "
           r"(?:a|the|your) return"),
    _claim("exchange_items modify_items", r"(?:exchange|replacement|swap) (?:for \S+ \S+ )?(?:is|"
        r"was|"
           r"has been|will be) (?:\w+ )?(?:set up|created|started|approved|initiated|arranged|sent|"
           r"shipped|processed|on its way)", _DONE + r"(?:exchanged|swapped|replaced)",
           r"(?:send|sending|ship|shipping|sent) (?:you )?(?:a|the|your|out a) (?:\w+ )?"
           r"(?:replacement|new one)"),
    _claim("modify_address modify_items modify_payment update_profile",
           _DONE + r"(?:chang(?:ed|ing)|updat(?:ed|ing)|modif(?:ied|ying)|edited|corrected)"),
    _claim("open_dispute trace_parcel open_ticket",
           r"(?:i|we)(?:'ve| have) (?:\w+ )?(?:opened|filed|started|raised|created|asked|passed|"
           r"forwarded|escalated|contacted|reported|logged|submitted)", r"(?:is|are) (?:now |"
           r"currently |being )?(?:checking|investigat\w+|looking into)",
           r"(?:dispute|investigation|ticket|case) (?:is|was|has been) (?:\w+ )?(?:opened|started|"
           r"created|filed)"),
    _claim("password_reset", r"(?:i|we)(?:'ve| have) (?:\w+ )?(?:sent|e-?mailed) (?:you )?(?:a|"
        r"the) "
           r"(?:\w+ )?(?:link|reset|password)", r"(?:link|password|e-?mail) (?:is|was|has been|"
           r"have "
           r"been) (?:\w+ )?(?:sent|reset|on its way)", _DONE + r"reset"),
    _claim("redeliver", r"(?:will|is going to|is to) be (?:re-?delivered|delivered again)",
           r"(?:redelivery|new delivery) (?:is|was|has been) (?:\w+ )?(?:arranged|scheduled|"
           r"booked)"),
)  # fmt: skip


class _Known:
    """Everything that a reply may rest on."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.context = payload.context or Context()
        self.plan = payload.plan or Plan()
        self.facts = list(payload.response.facts) if payload.response else []
        self.results = payload.execution.results if payload.execution else []
        self.reply = payload.response.text if payload.response else ""
        self.low = plain(self.reply)

    @cached_property
    def ours(self) -> str:
        """What we know ourselves: facts, the shop's answers, plan and results."""
        parts: list[Json | list[str]] = [
            self.facts,
            self.context.model_dump(mode="json"),
            self.plan.model_dump(mode="json"),
            {"results": [result.model_dump(mode="json") for result in self.results]},
            {"awaiting": [one.model_dump(mode="json") for one in self.payload.awaiting]},
        ]
        return "\n".join(json.dumps(part, ensure_ascii=False) for part in parts)

    @cached_property
    def tokens(self) -> set[str]:
        """All runs of letters and digits that we or the customer used, in capitals."""
        return {_bare_id(one) for one in _RUN.findall(f"{self.ours}\n{self.said}".upper())}

    def names(self, value: str) -> bool:
        """Say whether an id is one that we or the customer named."""
        parts = [part for part in _RUN.findall(value) if any(map(str.isdigit, part))]
        return all(_bare_id(part) in self.tokens for part in parts)

    @cached_property
    def cents(self) -> set[int]:
        """All our figures, as cents."""
        return _cents_in(self.ours)

    @cached_property
    def days(self) -> set[tuple[int, int]]:
        """All (month, day) that we or the customer named, and today. The shop's are in ISO form."""
        at = self.payload.at
        told = [*self.facts, *self.plan.reasons, self.said]
        iso = {(int(found[2]), int(found[3])) for found in _ISO.finditer(self.ours)}
        return {(at.month, at.day)} | iso | set(_days("\n".join(told)))

    @cached_property
    def said(self) -> str:
        """What the customer said, in this turn and before."""
        lines = [line.text for line in self.payload.history if line.role == "customer"]
        return "\n".join([*lines, self.payload.text, self.payload.email or ""])

    @cached_property
    def told(self) -> str:
        """The facts in plain form."""
        return plain("\n".join(self.facts))

    @cached_property
    def entities(self) -> list[Entity]:
        """What the reply names."""
        return extract(self.reply[:LONGEST_REPLY])

    @cached_property
    def sentences(self) -> list[str]:
        """The reply's sentences in plain form."""
        return [part for part in _SENTENCE.split(self.low) if part.strip()]


def validate(payload: Payload) -> Guardrail:
    """Return the verdicts of all checks on the reply of this turn. Pure."""
    known = _Known(payload)
    verdicts = []
    for check, find in _CHECKS.items():
        reason = find(known)
        verdicts.append(Verdict(check=check, passed=reason is None, reason=reason or ""))
    return Guardrail(passed=all(verdict.passed for verdict in verdicts), verdicts=verdicts)


def _length(known: _Known) -> str | None:
    if not any(char.isalnum() for char in known.reply):
        return "the reply is empty"
    if len(known.reply) > LONGEST_REPLY:
        return f"the reply has {len(known.reply)} characters, more than {LONGEST_REPLY}"
    return None


def _numbers_named(known: _Known) -> str | None:
    """Order ids, tracking numbers and other ids must be ones that we or the customer named."""
    numbers = [e.value for e in known.entities if e.type in ("order_id", "tracking_number")]
    for value in sorted(_ids(_URL.sub(" ", known.reply), numbers)):
        if not known.names(value):
            return f"{value} is not in the facts"
    return None


def _ids(text: str, more: Iterable[str] = ()) -> set[str]:
    """Return the ids in a text, in capitals; an order's id without its letters."""
    found = {match[0] for match in _LONG_ID.finditer(text)}
    found |= {match[0] for match in _PREFIXED_ID.finditer(text)}
    found.update(more)
    ids = {canonical_order_id(one).upper().lstrip("#") for one in found}
    # The same number with and without its letters is one id.
    return {_bare_id(one) for one in ids if any(map(str.isdigit, one))}


def _bare_id(value: str) -> str:
    return re.sub(r"^W(?=\d{7}$)", "", value)


def _amounts(known: _Known) -> str | None:
    for sentence in known.sentences:
        for match in _AMOUNT.finditer(sentence):
            value = _cents(match[1] or match[2])
            if value in known.cents:
                continue
            # The customer's own figure may be repeated, not granted.
            granted = any(claim.words.search(sentence) for claim in CLAIMS)
            if value in _cents_in(known.said) and not granted:
                continue
            return f"{match[0].strip()} is not in the facts"
    return None


def _cents_in(text: str) -> set[int]:
    return {_cents(match[0]) for match in _NUMBER.finditer(text.replace("$", " "))}


def _cents(text: str) -> int:
    try:
        return round(float(text.replace(",", "").rstrip(".")) * 100)
    except (ValueError, OverflowError):
        return -1


def _dates(known: _Known) -> str | None:
    for month, day in _days(known.reply):
        if (month, day) not in known.days:
            return f"the date {calendar.month_name[month]} {day} is not in the facts"
    return None


def _days(text: str) -> Iterator[tuple[int, int]]:
    """Yield the (month, day) of all dates in a text."""
    for match in _ISO.finditer(text):
        if _valid(int(match[2]), int(match[3])):
            yield int(match[2]), int(match[3])
    for match in _NAMED_DATE.finditer(text):
        month = _MONTHS.get((match["m1"] or match["m2"]).lower())
        day = int(match["d1"] or match["d2"])
        if month and _valid(month, day):
            yield month, day
    for match in _SLASHED.finditer(text):
        if _valid(int(match[1]), int(match[2])):
            yield int(match[1]), int(match[2])


def _valid(month: int, day: int) -> bool:
    try:
        date(2024, month, day)
    except ValueError:
        return False
    return True


def _times(known: _Known) -> str | None:
    """Spans and weekdays, such as `within 3 days`, are promises too."""
    for match in _WHEN.finditer(known.low):
        span = " ".join(words(match[0].strip()))
        bare = re.sub(r"^(?:within|in|up to|after|about|takes?|least) ", "", span)
        if bare not in known.told and bare.rstrip("s") not in known.told:
            return f"{match[0].strip()!r} is not in the facts"
    return None


def _contacts(known: _Known) -> str | None:
    """E-mail addresses and phone numbers must be the customer's own, or be in the facts."""
    customer = known.context.customer
    own = plain(" ".join([known.said, customer.email if customer else "", *known.facts]))
    for match in lexicon.EMAIL.finditer(known.reply):
        if plain(match[0]).strip(".'") not in own:
            return "an e-mail address that is not the customer's"
    digits = re.sub(r"\D", "", " ".join([known.said, *known.facts]))
    for entity in known.entities:
        if entity.type == "phone" and re.sub(r"\D", "", entity.value) not in digits:
            return "a phone number that is not in the facts"
    return None


def _secrets(known: _Known) -> str | None:
    """Whole card numbers, bank accounts and the like never go out, whoever's they are."""
    for card in lexicon.CARD.finditer(known.reply):
        if luhn(card[0]) and re.sub(r"\D", "", card[0]) not in known.tokens:
            return "a whole card number"
    for kind in ("social security number", "bank account", "password", "IP address"):
        if _PERSONAL[kind].search(known.reply):
            return f"a {kind}"
    if match := lexicon.ADDRESS.search(known.reply):
        address = plain(match[0])
        if address not in plain(known.ours) and address not in plain(known.said):
            return "an address that is not in the facts"
    return None


def _foreign(known: _Known) -> str | None:
    """Of what is not the customer's, a reply says at most that it cannot speak about it."""
    named = {re.sub(r"[^0-9a-z]", "", plain(one)) for one in known.context.foreign}
    for sentence in known.sentences:
        bare = re.sub(r"[^0-9a-z]", "", sentence)
        if any(one and one in bare for one in named) and not _NEGATED.search(sentence):
            return "tells about an order or parcel that is not the customer's"
    return None


def _promises(known: _Known) -> str | None:
    """What the reply says was or will be done must rest on a result, or be a fact."""
    done = {result.kind for result in known.results if result.ok}
    for sentence in known.sentences:
        match = lexicon.COMMITMENT.search(sentence)
        if match and match[0] not in known.told:
            return f"{match[0]!r} is promised without being in the facts"
        if "?" in sentence or _bare(sentence) in _bare(known.told):
            continue
        if _CONDITIONAL.search(sentence) or _NEGATED.search(sentence):
            continue
        for claim in CLAIMS:
            match = claim.words.search(sentence)
            if match is None or claim.kinds & done or _is_fact(known, claim, sentence):
                continue
            return f"{match[0]!r} says that something was done which was not"
    return None


def _is_fact(known: _Known, claim: _Claim, sentence: str) -> bool:
    """Say whether a fact makes the same claim about the same ids and amounts."""
    for fact in map(plain, known.facts):
        if not claim.words.search(fact) or _NEGATED.search(fact) or "?" in fact:
            continue
        if _ids(sentence) <= _ids(fact) and _cents_of(sentence) <= _cents_of(fact):
            return True
    return False


def _cents_of(text: str) -> set[int]:
    return {_cents(match[1] or match[2]) for match in _AMOUNT.finditer(text)}


def _bare(text: str) -> str:
    return " ".join(words(text))


def _honesty(known: _Known) -> str | None:
    """A failure must not go unsaid."""
    if any(not result.ok for result in known.results) and not _NEGATED.search(known.low):
        return "an action failed and the reply does not say so"
    return None


def _question(known: _Known) -> str | None:
    """What waits for a yes must be asked."""
    if not known.plan.confirm:
        return None
    asked = " ".join(sentence for sentence in known.sentences if "?" in sentence)
    if not asked:
        return "the reply does not ask for the customer's yes"
    for action in known.plan.confirm:
        if action.order_id and plain(action.order_id).lstrip("#") not in known.low:
            return f"the reply does not name order {action.order_id}, which is to be confirmed"
    return None


def _admissions(known: _Known) -> str | None:
    match = lexicon.ADMISSION.search(known.low)
    return f"legal or medical statement: {match[0]!r}" if match else None


def _language(known: _Known) -> str | None:
    match = lexicon.RUDE.search(known.low) or lexicon.SLURS.search(known.low)
    # Products may have such names; what is in the facts is the shop's own wording.
    return f"rude: {match[0]!r}" if match and match[0] not in known.told else None


def _leaks(known: _Known) -> str | None:
    match = lexicon.LEAK.search(known.low)
    if match and match[0] not in known.told:
        return f"speaks of its own making: {match[0]!r}"
    if re.match(r"\s*[\[{]", known.reply):
        return "is not a reply but data"
    return None


def _markup(known: _Known) -> str | None:
    if match := _MARKUP.search(known.reply):
        return f"markup: {match[0][:30]!r}"
    allowed = {_host(match[0]) for match in _URL.finditer(known.ours)}
    for target in _links(known.reply):
        if _host(target) not in allowed:
            return f"a link to an unknown host: {_host(target)[:60]!r}"
    return None


def _links(text: str) -> Iterable[str]:
    yield from (match[0] for match in _URL.finditer(text))
    yield from (match[1] for match in _MARKDOWN_LINK.finditer(text))
    rest = lexicon.EMAIL.sub(" ", _URL.sub(" ", text))
    yield from (match[0] for match in _BARE_HOST.finditer(rest))


def _host(url: str) -> str:
    try:
        return (urlsplit(url if "://" in url else f"http://{url}").hostname or "").lower()
    except ValueError:
        return "?"


_CHECKS: Final[dict[str, Callable[[_Known], str | None]]] = {
    "length": _length,
    "ids": _numbers_named,
    "amounts": _amounts,
    "dates": _dates,
    "times": _times,
    "contacts": _contacts,
    "personal_data": _secrets,
    "foreign": _foreign,
    "promises": _promises,
    "honesty": _honesty,
    "question": _question,
    "admissions": _admissions,
    "language": _language,
    "leakage": _leaks,
    "markup": _markup,
}


def examine(payload: Payload) -> Guardrail:
    """Return the verdicts on the reply, and note what is wrong with the customer's words."""
    for finding in inspect(payload.text):
        if finding.check != "pii":  # customers give their own data all the time
            note(f"the customer's words: {finding.check}, {finding.reason}")
    return validate(payload)


def setup(mesh: Mesh) -> None:
    """Give the guardrail validator its mailbox."""

    @mesh.actor(slip.GUARDRAIL_VALIDATOR)
    async def guardrail_validator(message: Message) -> Message:
        message.payload.guardrail = examine(message.payload)
        return message
