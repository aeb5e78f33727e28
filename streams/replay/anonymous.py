"""Personal data out of recordings, so that they can be shared and still replay to the same result.

What a form shows (e-mail addresses, phone and card numbers) is exchanged wherever it stands. What
only its place tells (names, towns, streets, postal codes, plain numbers) is looked for first, in
fields, in what the shop answered, and where customers name it; then it is exchanged all over the
turns of that conversation: in texts, prompts, answers, requests and ids. So requests still fit
their answers. The code's own prompts stay, and so do order and tracking numbers: outside of the
shop they lead to nobody, and what a turn comes to depends on their form.

What nothing shows stays: a friend's name in the middle of a sentence, a story that only one person
can have lived. Who shares a recording should look at it first.
"""

import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any, Final

from streams.masking import kind_of, personal
from streams.message import Exchange, Message
from streams.payload import Json
from streams.replay.disguise import Disguise

#: A piece of personal data: what it is, and how it was written.
Piece = tuple[str, str]

#: Fields whose values are ours: nothing in them is a customer's.
_OURS: Final = frozenset(
    {"actor", "code", "finish_reason", "on_error", "outcome", "role", "target"}
)

_NAMES: Final = re.compile(
    r"(?i)(?:first|last|full|middle|given|family|customer|contact|recipient|user)[_-]?names?"
    r"|surname|recipient|addressee|cardholder|operator"
)
_NAME: Final = r"[A-Z\u00c0-\u00de][\w'\u2019-]{1,30}"
_INTRODUCED: Final = re.compile(
    rf"(?:[Mm]y (?:full )?name(?: is|'s|:)|[Nn]ame:|[Nn]ame is|"
    rf"\b[Ii](?:'m| am)(?= {_NAME} {_NAME}))[ \t]+({_NAME}(?: {_NAME}){{0,2}})"
)
_LETTERS: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")

#: Names, and towns, that are words too. By themselves they are exchanged only where it is certain
#: what they are.
_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        van von der den del bin ibn mac
        amber april archer art ash august autumn baker ball banks barber bath bay bell best bill
        bishop black blue bond bow brand brook brown buck buffalo bush butcher butler candy case
        cash chance chase cherry chip christian church clay click close cole constant cook cooper
        cost cross crystal curry dale daisy dawn day dean destiny dick dollar don dove drew duke
        earl east english eve faith farmer field fields fisher flint flora ford forest fox frank
        french friend gene gift gold good goods grace grant gray green grey guy hall hand harmony
        harry hazel heath heather hill holiday holly honor hope house hunter independence ivy jack
        jade jay jean jersey jewel joy june justice kay king knight lance lane large law lee liberty
        light lily little long lot love low mark marks mason may melody mercy miles mill miller
        mills mobile monday money moon mop more moss new nice noble noel north old olive order page
        paradise park parker parks pat patience peace pearl penny phoenix pierce pike pleasant pond
        pool poor porter post potter power price prince rain ray reading rich rider river rivers rob
        robin rock rod rose ruby rusty sage sally salt sandy savage sharp sharpe shell short silver
        singer sky small smart snow south speed spring star stark state sterling stone storm street
        strong sue summer sunday sunny swan temple terry tiger tiny trinity troy tucker turner usa
        van victor victory violet virtue wade walker wall ward warm waters way weaver west white
        wild will wise wish wolf wood woods young youth
        """,
    )
)
_GREETED: Final = ("Hi", "Hello", "Hey", "Dear", "Thanks", "name is", "Mr", "Mrs", "Ms")
_BETWEEN: Final = r"(?:[\s._,+-]{1,3}|%20)"
_ESCAPED: Final = re.compile(r"\\u([0-9a-f]{4})")
_CUT: Final = re.compile("\u2026")
_CUT_FROM: Final = 100
"""Characters that a text has at least that is cut off without a sign."""
_QUOTED: Final = (24, 12)
"""Characters before a cut that tell what is quoted; of a short quotation fewer have to do."""
_PHONE_LEAST: Final = 7
_CODE_LEAST: Final = 3


class Anonymous:
    """Exchanges personal data: first `learn` all turns, then ask for each `changed`.

    What was learned lies in a temporary file of its own, whatever number of turns it is.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self._disguise = Disguise(secret or secrets.token_bytes(32))
        self._known = sqlite3.connect("")
        self._known.execute(
            "CREATE TABLE known (session TEXT, kind TEXT, text TEXT,"
            " PRIMARY KEY (session, kind, text)) WITHOUT ROWID"
        )
        self._change = lru_cache(maxsize=64)(self._make_change)

    def close(self) -> None:
        """Forget what was learned."""
        self._known.close()

    def learn(self, message: Message) -> None:
        """Remember the personal data of a turn."""
        rows = [(message.session_id, kind, text) for kind, text in set(pieces(message))]
        self._known.executemany("INSERT OR IGNORE INTO known VALUES (?, ?, ?)", rows)

    def changed(self, message: Message) -> Message:
        """Return a turn without personal data, as far as that was learned or shows by its form."""
        known = self._known.execute(
            "SELECT kind, text FROM known WHERE session = ?", (message.session_id,)
        )
        change = self._change(frozenset(known))
        document = message.model_dump(mode="json")
        document["traceparent"] = None
        return Message.model_validate(change.document(document))

    def _make_change(self, known: frozenset[Piece]) -> "_Change":
        return _Change(self._disguise, known)


def pieces(message: Message) -> Iterator[Piece]:
    """Yield the personal data in a turn that its form alone would not show everywhere."""
    payload = message.payload
    said = [payload.text, *(line.text for line in payload.history if line.role == "customer")]
    for text in said:
        yield from (("name", found[1]) for found in _INTRODUCED.finditer(text))
    yield from _pieces(payload.model_dump(mode="json"), "")
    for hop in message.trace:
        for exchange in hop.exchanges:
            if exchange.target != "llm":  # what a model is told comes from the others
                yield from _pieces(_told(exchange), "")
        yield from _pieces(hop.given, "")


def _told(exchange: Exchange) -> list[Any]:
    return [exchange.request, exchange.response]


def _pieces(value: Any, field: str) -> Iterator[Piece]:
    if isinstance(value, dict):
        yield from _names(value)
        for name, inner in value.items():
            if name not in _OURS:
                yield from _pieces(inner, _meant(name, value))
    elif isinstance(value, list):
        for inner in value:
            yield from _pieces(inner, field)
    elif isinstance(value, int) and not isinstance(value, bool) and kind_of(field) is not None:
        yield from _pieces(str(value), field)
    elif isinstance(value, str) and value:
        if (kind := _kind(field, value)) is not None:
            yield kind, value
        else:
            yield from _in_text(value)


def _kind(field: str, text: str) -> str | None:
    """Return what a text is by its field's name; None if that does not say, or says wrong."""
    kind: str | None = "name" if _NAMES.fullmatch(field) else kind_of(field)
    return None if kind != "email" and "@" in text else kind


@lru_cache(maxsize=4096)  # a conversation says most things several times
def _in_text(text: str) -> tuple[Piece, ...]:
    return tuple((kind, text[start:end]) for kind, start, end in personal(text))


def _meant(name: str, fields: Json) -> str:
    """Return what a field is called, or, where it is a `value`, what that is said to be."""
    kind = fields.get("type")
    if name == "value" and isinstance(kind, str):
        return "full_name" if kind == "name" else kind
    return name


def _names(fields: Json) -> Iterator[Piece]:
    """Yield the name that an object has: of a person, if it says how to reach one."""
    name = fields.get("name")
    if isinstance(name, dict):
        parts = [part for part in name.values() if isinstance(part, str) and part]
        yield from (("name", part) for part in parts)
        if len(parts) > 1:
            yield "name", " ".join(parts)
    elif isinstance(name, str) and name and any(kind_of(other) == "email" for other in fields):
        yield "name", name
    first, last = fields.get("first_name"), fields.get("last_name")
    if isinstance(first, str) and isinstance(last, str) and first and last:
        yield "name", f"{first} {last}"


class _Change:
    """How the strings of one conversation are changed."""

    def __init__(self, disguise: Disguise, known: frozenset[Piece]) -> None:
        self._rules: dict[str, Callable[[str], str]] = {
            "email": disguise.email,
            "phone": disguise.phone,
            "card": disguise.card,
            "zip": disguise.code,
            "secret": disguise.code,
            "street": disguise.street,
            "city": self._city,
            "name": disguise.words,
        }
        self.words = disguise.words
        self._whole = {text: kind for kind, text in known if not _is_word(text)}
        patterns = {each: kind for kind, text in known for each in _patterns(kind, text)}
        # Of two that begin at one place the longer one is looked for first.
        ordered = sorted(patterns, key=lambda each: (-len(each), each))
        self._kinds = [patterns[each] for each in ordered]
        self._known = re.compile("|".join(f"({each})" for each in ordered)) if ordered else None
        # A turn says most things several times: as told by the shop, as added, in the payload.
        self._text = lru_cache(maxsize=2048)(self._changed_text)

    def document(self, document: Json) -> Json:
        """Return a message's JSON value without personal data."""
        payload = document["payload"]
        texts = [payload["text"], *(line["text"] for line in payload["history"])]
        said = [" ".join(text.split()) for text in texts]
        changed: Json = self._value(document, "", [(text, self._text(text, "")) for text in said])
        return changed

    def _value(self, value: Any, field: str, said: list[tuple[str, str]]) -> Any:
        if isinstance(value, dict):
            if value.get("role") == "system" and "content" in value:
                return value  # the code's own prompt
            return {
                self._text(name, "") if "@" in name else name: (
                    inner if name in _OURS else self._value(inner, _meant(name, value), said)
                )
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._value(inner, field, said) for inner in value]
        if isinstance(value, str):
            return _with_ends(value, self._text(value, field), said)
        if isinstance(value, int) and not isinstance(value, bool) and kind_of(field) is not None:
            return int(self._text(str(value), field))
        return value

    def _changed_text(self, text: str, field: str) -> str:
        kind = _kind(field, text) or self._whole.get(text)
        if kind is not None:
            return self._rules[kind](text)
        pieces: list[str] = []
        end = 0
        for start, stop, what in sorted(self._spans(text), key=lambda each: (each[0], -each[1])):
            if start >= end:  # else it is a part of the last one
                pieces += text[end:start], self._rules[what](_read(text[start:stop]))
                end = stop
        return "".join([*pieces, text[end:]])

    def _city(self, text: str) -> str:
        """Return another town's name; the `New` in front of it stays."""
        words = [word for word in _LETTERS.findall(text) if not _is_word(word)]
        if not words:
            return self.words(text)
        return _LETTERS.sub(
            lambda found: self.words(found[0]) if found[0] in words else found[0], text
        )

    def _spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        for kind, start, stop in personal(text):
            yield start, stop, kind
        for found in self._known.finditer(text) if self._known else ():
            yield *found.span(), self._kinds[(found.lastindex or 1) - 1]


def _with_ends(old: str, new: str, said: list[tuple[str, str]]) -> str:
    """Return the changed text with its ends as the change of what it quotes has them.

    What was said is quoted cut off, perhaps in the middle of a name that nobody would know by its
    first letters; and what is cut off later has to be cut off the same.
    """
    if len(new) != len(old):
        return new
    ends = [found.start() for found in _CUT.finditer(old)]
    if len(old) >= _CUT_FROM:
        ends.append(len(old))
    for end in ends:
        for length in _QUOTED:
            begin = max(0, end - length)
            if (cut := _quoted(old[begin:end], said)) is not None:
                new = new[:begin] + cut + new[end:]
                break
    return new


def _quoted(quote: str, said: list[tuple[str, str]]) -> str | None:
    for text, changed in said:
        place = text.find(quote)
        if place >= 0 and len(text) == len(changed):
            return changed[place : place + len(quote)]
    return None


def _patterns(kind: str, text: str) -> Iterator[str]:
    """Yield what a piece of personal data is looked for by in texts and ids."""
    if kind in ("name", "city"):
        words = _LETTERS.findall(text)
        if len(words) > 1:
            yield _among_letters(_BETWEEN.join(map(_either_case, words)))
        if len(words) == 2 and kind == "name":
            yield _among_letters(_BETWEEN.join(map(_either_case, reversed(words))))
        if kind == "name" or len(words) == 1:
            for word in words:
                yield from _alone(kind, word)
    elif kind == "phone":
        digits = re.sub(r"[^0-9]", "", text)[-10:].lstrip("0")
        if len(digits) >= _PHONE_LEAST:
            yield r"[ ().\-/]{0,3}".join(digits) + r"(?!\d)"
    elif kind == "street":
        words = re.findall(r"\w[\w'\u2019-]*", text)
        parts = [words]
        if len(words) > 2:
            parts.append(words[:-1])
            parts += [words[1:]] if words[0][0].isdigit() else []
        for part in parts:
            if len(part) > 1:
                yield _among_letters(r"[\s,.#]{1,3}".join(map(_either_case, part)) + r"(?!\d)")
    elif kind in ("zip", "secret") and len(text) > _CODE_LEAST:
        yield rf"(?<![\w#.$\u20ac\u00a3/-])(?i:{re.escape(text)})(?!\w)"


def _alone(kind: str, word: str) -> Iterator[str]:
    if len(word) > 2 and not _is_word(word):
        yield _among_letters(_either_case(word))
    elif kind == "city":
        yield rf"(?<!\w){re.escape(word)}(?=,? [A-Z]{{2}}\b)"
    elif word[:1].isupper():
        for before in _GREETED:
            yield rf"(?<=\b{before} ){re.escape(word)}(?!\w)"
        yield rf'(?<="){re.escape(word)}(?=")'


def _is_word(text: str) -> bool:
    """Say whether a name is one that texts, or the mesh's own values, have in another sense."""
    return text.casefold() in _WORDS or text.casefold() in _vocabulary()


@cache
def _vocabulary() -> frozenset[str]:
    """Return the words of the message's schema: its values, its fields, and what it says of them.

    Who exchanged them would change what is no name.
    """
    return frozenset(re.findall(r"[a-z]+", json.dumps(Message.model_json_schema()).lower()))


def _among_letters(pattern: str) -> str:
    return rf"(?<![^\W\d_]){pattern}(?![^\W\d_])"


def _either_case(word: str) -> str:
    """Return the pattern of a word; prompts may have it as JSON writes it in ASCII."""
    escaped = json.dumps(word)[1:-1]
    if escaped == word:
        return rf"(?i:{re.escape(word)})"
    return rf"(?i:{re.escape(word)}|{re.escape(escaped)})"


def _read(text: str) -> str:
    """Return what stands there without JSON's escapes for letters."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
