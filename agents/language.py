"""Pure text tools that several actors share: words, whole-word patterns, negation, spelling.

Nothing here knows what a text is about; that is in the lexicons of the actors.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

_QUOTES: Final = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u02bc": "'", "`": "'", "\u201c": '"', "\u201d": '"'}
)
# Invisible characters split words for a pattern but not for a reader; people hide things so.
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_SPACES: Final = re.compile(r"\s{2,}|[^\S\n ]")
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_RUN: Final = re.compile(r"([a-z])\1{2,}")


def plain(text: str) -> str:
    """Return `text` in one shape for matching: lower case, plain quotes, nothing invisible.

    Full-width and other look-alike letters become the usual ones, so lengths may change: do not
    use offsets into the result on the original.
    """
    folded = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return squeeze(_INVISIBLE.sub("", folded).casefold())


def squeeze(text: str) -> str:
    """Return `text` with each run of white space as one space, or one line break if it has any.

    Patterns with white space in them would take long over a message of nothing but spaces.
    """
    return _SPACES.sub(lambda run: "\n" if "\n" in run[0] else " ", text)


def words(text: str) -> list[str]:
    """Return the words of a text in plain form; `don't` is one word, punctuation is none."""
    return _WORD.findall(plain(text))


def calm(word: str) -> str:
    """Return a drawn-out word with its runs shortened: `soooo` is `soo`, `coool` is `cool`."""
    return _RUN.sub(r"\1\1", word)


def pattern(*phrases: str) -> re.Pattern[str]:
    """Return a pattern that finds any of `phrases` as whole words in plain text.

    A phrase is a regular expression; a space in it stands for any white space, ` ?` for none too.
    The words at its ends are whole: `sue` is not in `issue`.
    """
    spaced = (phrase.replace(" ?", r"\s*").replace(" ", r"\s+") for phrase in phrases)
    return re.compile(r"(?<!\w)(?:" + "|".join(spaced) + r")(?!\w)")


def negated(tokens: list[str], index: int, reach: int = 3) -> bool:
    """Say whether a negation stands at most `reach` words before the one at `index`."""
    before = tokens[max(0, index - reach) : index]
    # `no doubt` and `not only` strengthen what follows.
    return any(
        word in NEGATIONS and before[at + 1 : at + 2] not in (["doubt"], ["only"])
        for at, word in enumerate(before)
    )


def listed(text: str) -> frozenset[str]:
    """Return the words of a lexicon that is written as a block of text."""
    return frozenset(text.split())


NEGATIONS: Final = listed(
    """
    ain't aint aren't arent barely can't cannot cant couldn't couldnt didn't didnt doesn't
    doesnt don't dont hadn't hadnt hardly hasn't hasnt haven't havent isn't isnt neither
    never no nobody none nor not nothing shouldn't shouldnt wasn't wasnt weren't werent
    without won't wont wouldn't wouldnt
    """
)


_LETS_BE: Final = pattern(
    "nvm", "never ?mind", "forget (?:it|about it|that)", "doesn't matter", "not important",
    "leave it(?: be)?", "drop it",
)  # fmt: skip


def lets_it_be(text: str) -> bool:
    """Say whether someone, in a few words, does not want anything any more."""
    low = plain(text)
    return len(words(low)) <= 5 and bool(_LETS_BE.search(low))


class Concepts:
    """A lexicon from words and phrases to the concepts they stand for, forgiving of typos.

    Each concept is written as `word, two words, stem*`. Only words of five letters and more are
    forgiven, by one letter, and never those that are `known` words of their own.
    """

    def __init__(self, lexicon: Mapping[str, str], known: Iterable[str] = ()) -> None:
        self._phrases: dict[tuple[str, ...], list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        spelled: set[str] = set()
        for concept, entries in lexicon.items():
            for entry in entries.split(","):
                parts = tuple(entry.split())
                if len(parts) == 1 and parts[0].endswith("*"):
                    self._stems.setdefault(parts[0][:-1], []).append(concept)
                    spelled.add(parts[0][:-1])
                else:
                    self._phrases.setdefault(parts, []).append(concept)
                    spelled.update(parts)
        self._longest = max((len(parts) for parts in self._phrases), default=1)
        self._shortest_stem = min((len(stem) for stem in self._stems), default=1)
        self._known = frozenset(known) | spelled
        self._near: dict[str, str] = {}
        for word in sorted(spelled, key=lambda word: (-len(word), word)):
            if len(word) >= 5 and word.isalpha():
                self._near[word] = word
                for form in _one_less(word):
                    self._near[form] = word
        self.correct = lru_cache(maxsize=20_000)(self._correct)

    def _correct(self, word: str) -> str:
        """Return the lexicon's word that `word` is a slip of, or `word` itself."""
        word = calm(word)
        if len(word) < 5 or word in self._known or not word.isalpha() or self._stemmed(word):
            return word
        if word in self._near:
            return self._near[word]
        for form in _one_less(word):
            # Two forms that each lack one letter meet here. Swapped letters are a slip; another
            # letter is mostly another word, unless the word is long.
            found = self._near.get(form)
            if (
                found
                and found[0] == word[0]
                and (form == found or sorted(found) == sorted(word) or len(found) == len(word) >= 7)
            ):
                return found
        return word

    def _stemmed(self, word: str) -> list[str]:
        for length in range(len(word), self._shortest_stem - 1, -1):
            if found := self._stems.get(word[:length]):
                return found
        return []

    def find(self, tokens: list[str]) -> Iterator[tuple[int, int, str]]:
        """Yield (first, past the last, concept) for all words and phrases found in `tokens`."""
        for first in range(len(tokens)):
            for length in range(1, min(self._longest, len(tokens) - first) + 1):
                for concept in self._phrases.get(tuple(tokens[first : first + length]), ()):
                    yield first, first + length, concept
            for concept in self._stemmed(tokens[first]):
                yield first, first + 1, concept


def _one_less(word: str) -> Iterator[str]:
    """Yield `word` with each of its letters left out, the first letter excepted."""
    for at in range(1, len(word)):
        yield word[:at] + word[at + 1 :]
