"""How alike two replies are: their words, and the figures in them.

Two replies that say the same with other words are alike. Two that name another amount, date or
order are not, however many words they share: a customer acts on the figures.
"""

import re
from collections import Counter
from difflib import SequenceMatcher
from typing import Final

SIMILAR: Final = 0.8
"""The score from which two replies with the same figures count as similar. Above it a word or two
of ten are other ones; below it a sentence was added, lost, or put otherwise."""

_WORD: Final = re.compile(r"\w+(?:[\u2019'.,:/-]\w+)*|[^\w\s]")
_FIGURE: Final = re.compile(r"\d")


def words(text: str) -> list[str]:
    """Return the words and signs of a text; a number, a date or an id is one word."""
    return _WORD.findall(text)


def score(one: str, other: str) -> float:
    """Return how alike two texts are, from 0 to 1: the share of words in the same order in both.

    Case and white space do not count. 1.0 is for texts alike in all of their words alone, and the
    order of the two does not matter.
    """
    # The matcher may find less one way round than the other.
    first, second = sorted((words(one.casefold()), words(other.casefold())))
    if first == second:
        return 1.0
    ratio = SequenceMatcher(None, first, second, autojunk=False).ratio()
    return min(round(ratio, 4), 0.9999)


def same_figures(one: str, other: str) -> bool:
    """Say whether the same words with a digit in them are in both texts, in whatever order."""
    return _figures(one) == _figures(other)


def _figures(text: str) -> Counter[str]:
    return Counter(word for word in words(text.casefold()) if _FIGURE.search(word))
