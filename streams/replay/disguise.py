"""Invented values in the place of people's data: of the same form, the same for the same.

Every letter becomes a letter and every digit a digit, so that nothing that counts characters or
looks for a shape sees a difference. What stands for what depends on a secret: who does not have it
cannot find out by trying.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from streams.checksum import luhn

_VOWELS: Final = "aiou"
_CONSONANTS: Final = "bdgklmnrvz"
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_DIGITS: Final = re.compile(r"[0-9]+")
_AT: Final = re.compile(r"@|%40")

#: Words that mean something to those who read a turn, and that could be made of these letters.
_TAKEN: Final = re.compile(
    r"a|ad|ago|ak|al|am|amoral|an|ar|avid|az|bad|bag|ban|banana|bazar|bi|bib|bid|big|bin|biz|"
    r"bog|bozo|bug|bun|da|dad|dan|di|did|dim|din|do|dog|don|dub|dud|dug|dun|ga|gab|gag|gal|"
    r"gig|gin|go|gob|god|gov|gum|gun|i|iban|id|idol|il|in|iron|kid|kilo|kin|la|lab|lad|lag|"
    r"lazar|li|lid|livid|lob|log|login|logo|ma|mad|mama|man|mar|mi|min|minimum|minor|mo|mob|"
    r"mod|modal|mom|mon|moral|moron|mu|mud|mug|mum|nag|nagar|nib|nil|no|nod|non|nor|nov|nu|"
    r"num|nun|odor|ok|on|or|original|rag|ram|ran|razor|ri|rib|rid|rig|rim|rival|rob|rod|ru|"
    r"rub|rug|rum|run|rural|uk|um|ur|va|valid|van|vim|viral|vivid|za"
)

#: Mailboxes of shops and offices: whose they are, nobody has to be kept from knowing.
_ROLES: Final = re.compile(
    r"accounts|admin|billing|care|contact|customercare|customerservice|feedback|hello|help|"
    r"helpdesk|info|mail|noreply|office|orders|press|privacy|returns|sales|security|service|"
    r"shop|support|team"
)
#: Domains that tell nothing about who writes from there.
_COMMON_DOMAINS: Final = re.compile(
    r"(?i)(?:.*\.)?(?:example\.(?:com|org|net)|gmail\.com|googlemail\.com|yahoo\.[a-z.]+|"
    r"hotmail\.[a-z.]+|outlook\.[a-z.]+|live\.com|icloud\.com|me\.com|aol\.com|gmx\.[a-z]+|"
    r"web\.de|proton\.me|protonmail\.com|mail\.com|msn\.com|.*\.(?:example|test|invalid))"
)

_STREETS: Final = re.compile(
    r"(?i)street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|way|place|pl|"
    r"square|sq|terrace|ter|row|close|rise|race|parkway|pkwy|highway|hwy|circle|cir|trail|alley|"
    r"crescent|gardens|grove|mews|walk|apt|apartment|flat|suite|ste|unit|floor|p|o|po|box|"
    r"north|south|east|west|n|s|e|w|th|nd|rd"
)
_STREET_ENDS: Final = re.compile(r"(?i)(stra(?:ß|ss)e|str|weg|gasse|platz|allee)$")


class Disguise:
    """What stands for what, under one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]

    def words(self, text: str) -> str:
        """Return `text` with every word exchanged for another as long, written the same way."""
        return _LETTERS.sub(lambda found: self._word(found[0]), text)

    def digits(self, text: str) -> str:
        """Return `text` with every number exchanged for another as long."""
        return _DIGITS.sub(lambda found: self._number(found[0]), text)

    def email(self, text: str) -> str:
        """Return an address with another name; an office's stays, and a domain that many have.

        The name's words are exchanged as `words` does it: whose name is in it fits his address.
        """
        name, at, domain = text, "", ""
        if (found := _AT.search(text)) is not None:
            name, at, domain = text[: found.start()], found[0], text[found.end() :]
        if "*" in name or "\u2022" in name:
            return text  # somebody has masked it
        if _ROLES.fullmatch(re.sub(r"[^a-z]", "", name.lower())):
            return text
        if not _COMMON_DOMAINS.fullmatch(domain):
            labels, dot, ending = domain.rpartition(".")
            domain = f"{self.digits(self.words(labels))}{dot}{ending}"
        escaped = re.split(r"(%[0-9A-Fa-f]{2})", name)
        escaped[::2] = (self.digits(self.words(part)) for part in escaped[::2])
        return "".join([*escaped, at, domain])

    def phone(self, text: str) -> str:
        """Return a number with the same country, written the same way."""
        digits = "".join(_DIGITS.findall(text))
        national = digits[-10:].lstrip("0")
        kept = len(digits) - len(national)
        return _put(text, digits[:kept] + self._number(national))

    def card(self, text: str) -> str:
        """Return a card number of the same network with the same last four and a right check."""
        digits = "".join(_DIGITS.findall(text))
        if len(digits) < 12:
            return text  # the last four, which tell nobody's card
        for number in self._numbers(f"card {digits}", len(digits) - 6):
            invented = f"{digits[:2]}{number}{digits[-4:]}"
            if luhn(invented) == luhn(digits):
                return _put(text, invented)
        raise AssertionError("one in ten numbers has the right check")

    def code(self, text: str) -> str:
        """Return a postal code, or another code of letters and digits, of the same form."""
        return self.digits(_LETTERS.sub(lambda found: self._letters(found[0]), text))

    def street(self, text: str) -> str:
        """Return an address with other names and numbers; the kind of street stays."""

        def word(found: re.Match[str]) -> str:
            if _STREETS.fullmatch(found[0]):
                return found[0]
            ends = _STREET_ENDS.search(found[0])
            end = ends[0] if ends else ""
            return self._word(found[0].removesuffix(end)) + end

        return self.digits(_LETTERS.sub(word, text))

    def _word(self, word: str) -> str:
        if not word:
            return word
        for invented in self._words(word.casefold(), len(word)):
            if not _TAKEN.fullmatch(invented) and invented != word.casefold():
                return "".join(
                    new.upper() if old.isupper() else new
                    for old, new in zip(word, invented, strict=True)
                )
        raise AssertionError("words do not end")

    def _words(self, word: str, length: int) -> Iterator[str]:
        for draw in self._draws(f"word {word}"):
            kinds = (_VOWELS, _CONSONANTS) if word[0] in "aeiou" else (_CONSONANTS, _VOWELS)
            letters = (kinds[place % 2] for place in range(length))
            yield "".join(
                kind[draw[place % len(draw)] % len(kind)] for place, kind in enumerate(letters)
            )

    def _letters(self, letters: str) -> str:
        draw = next(self._draws(f"letters {letters.upper()}"))
        new = (chr(ord("A") + draw[place % len(draw)] % 26) for place in range(len(letters)))
        return "".join(
            letter if old.isupper() else letter.lower()
            for old, letter in zip(letters, new, strict=True)
        )

    def _number(self, digits: str) -> str:
        zeros = digits[: len(digits) - len(digits.lstrip("0"))]
        bare = digits[len(zeros) :]
        for number in self._numbers(f"number {bare}", len(bare)):
            if not bare or number[0] != "0":
                return zeros + number
        raise AssertionError("numbers do not end")

    def _numbers(self, what: str, length: int) -> Iterator[str]:
        for draw in self._draws(what):
            yield "".join(str(draw[place % len(draw)] % 10) for place in range(length))

    def _draws(self, what: str) -> Iterator[bytes]:
        for turn in range(1000):
            data = f"{turn} {what}".encode(errors="surrogatepass")
            yield hashlib.blake2b(data, key=self._secret).digest()


def _put(text: str, digits: str) -> str:
    """Return `text` with its digits exchanged, one by one."""
    new = iter(digits)
    return "".join(next(new) if char in "0123456789" else char for char in text)
