"""How the model mock reads: stems, classification by weighted overlap, extractive summaries.

No sentence is known here in advance. What a text is about is decided by the words it shares with
the descriptions in the prompt, so a better prompt gives better answers, as with a real model.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSE_END = re.compile(
    r"(?<=[.!?;])\s+|\n+|,?\s+\b(?:and also|but also|and|but|also|plus|then)\b\s+", re.IGNORECASE
)

_STOP_WORDS = """
a about am an and are as at be been being but by can could did do does doing for from had has have
having he her here him his i if im in into is it its just me my of on or our please she so some than
that the their them then there these they this those to too very was we were what which while will
with would you your ive id ill u ur really still get got hello hi hey dear know want wanted like
need let make us
"""
_STOP = frozenset(_STOP_WORDS.split())

_IRREGULAR = {
    "arrival": "arriv",
    "bought": "buy",
    "broken": "break",
    "broke": "break",
    "came": "come",
    "cancellation": "cancel",
    "complaint": "complain",
    "delivery": "deliver",
    "deliveries": "deliver",
    "gave": "give",
    "given": "give",
    "late": "late",
    "later": "late",
    "lost": "lost",
    "men": "man",
    "paid": "pay",
    "people": "person",
    "sent": "send",
    "spoke": "speak",
    "spoken": "speak",
    "took": "take",
    "women": "woman",
    "wrote": "write",
}

_SUFFIXES = (
    "ations",
    "ation",
    "ments",
    "ment",
    "ings",
    "ing",
    "edly",
    "ies",
    "ed",
    "es",
    "ly",
    "s",
)

# A reader knows that these mean nearly the same: a word counts for its family too.
_FAMILIES = (
    "parcel package box shipment",
    "order purchase",
    "late delayed overdue slow",
    "arrive deliver come receive",
    "person human agent representative manager supervisor someone somebody",
    "angry furious upset unacceptable terrible awful ridiculous horrible disgusting worst"
    " disappointed",
    "thank appreciate grateful",
    "login password signin",
    "charge bill invoice",
    "exchange swap replace replacement",
    "change modify edit update",
    "where locate track",
    "twice double duplicate",
    "card paypal visa mastercard",
    "speak talk chat",
    "great excellent perfect awesome wonderful love",
    "cancel stop call",
    "refund reimburse",
)


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case and with short forms written out."""
    plain = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower()
    plain = re.sub(r"\b(?:can't|cannot)\b", "can not", plain).replace("won't", "will not")
    plain = re.sub(r"n't\b", " not", plain)
    return [re.sub(r"'.*", "", word) for word in _WORD.findall(plain)]


def stem(word: str) -> str:
    """Return a word without its endings: delivered, delivers and delivery are one."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            word = word[: -len(suffix)]
            if suffix == "ies":
                return _IRREGULAR.get(word + "y", word + "y")
            if suffix in ("ing", "ings", "ed", "ation") and word[-1] == word[-2]:
                keep = word[-1] == "s" or (word[-1] == "l" and len(word) < 5)  # process, call
                word = word if keep else word[:-1]
            break
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return _IRREGULAR.get(word, word)


def stems(text: str) -> list[str]:
    """Return the stems of the words that carry a meaning."""
    return [stem(word) for word in words(text) if word not in _STOP and len(word) > 1]


_FAMILY = {
    stem(word): f"~{number}" for number, family in enumerate(_FAMILIES) for word in family.split()
}


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


# --- classification -----------------------------------------------------------------------------

_FAMILY_WEIGHT = 0.55
_PAIR_WEIGHT = 1.6
_EARLIER_WEIGHT = 0.3
_SATURATION = 1.2
_LENGTH = 0.35
_FALLBACK = "other"  # the label of what fits no label; its name is no word to look for


@dataclass(frozen=True)
class Verdict:
    """What a text is about, how sure that is, and what else other sentences of it are about."""

    intent: str
    confidence: float
    also: list[str]


def _features(text: str) -> Counter[str]:
    """Return the stems, the families and the neighbouring pairs of a text, with their weights."""
    found = stems(text)
    features: Counter[str] = Counter(found)
    features.update(_FAMILY[one] for one in found if one in _FAMILY)
    families = [_FAMILY.get(one, one) for one in found]
    features.update(f"{one} {two}" for one, two in itertools.pairwise(families))
    return features


def _worth(feature: str) -> float:
    """Return how much a kind of feature says, before its rarity is known."""
    if " " in feature:
        return _PAIR_WEIGHT
    return _FAMILY_WEIGHT if feature.startswith("~") else 1.0


class Labels:
    """The labels of one prompt, ready to be compared with texts."""

    def __init__(self, descriptions: Mapping[str, str]) -> None:
        self.names = list(descriptions)
        self._features: dict[str, Counter[str]] = {}
        for name, description in descriptions.items():
            features = Counter[str]()
            # Phrases in quotes, or split by commas, are texts of their own: no pairs across.
            for phrase in re.split(r"[,;:.?!\"()/\n]+", description):
                features.update(_features(phrase))
            if name.lower() != _FALLBACK:
                features.update(_features(name.replace("_", " ")).keys())
            self._features[name] = features
        sizes = [sum(one.values()) for one in self._features.values()]
        average = sum(sizes) / max(1, len(sizes)) or 1.0
        self._size = {name: sum(one.values()) / average for name, one in self._features.items()}
        spread: Counter[str] = Counter()
        for one in self._features.values():
            spread.update(one.keys())
        count = len(self.names)
        self._rarity = {
            feature: math.log(1 + (count - seen + 0.5) / (seen + 0.5))
            for feature, seen in spread.items()
        }

    def share(self, found: Sequence[str]) -> float:
        """Return which part of a text's stems stands in any label, itself or by its family."""
        heard = sum(one in self._rarity or _FAMILY.get(one) in self._rarity for one in found)
        return heard / len(found) if found else 0.0

    def scores(self, features: Mapping[str, float]) -> dict[str, float]:
        """Return how much a text has in common with each label."""
        result: dict[str, float] = {}
        for name, own in self._features.items():
            norm = _SATURATION * (1 - _LENGTH + _LENGTH * self._size[name])
            result[name] = sum(
                min(weight, 2.0)
                * _worth(feature)
                * self._rarity[feature]
                * (own[feature] * (1 + _SATURATION) / (own[feature] + norm))
                for feature, weight in features.items()
                if feature in own
            )
        return result


def classify(labels: Mapping[str, str], text: str, earlier: Sequence[str] = ()) -> Verdict:
    """Return the label that a text fits best.

    A text that says little by itself ("and the other one?") is read with what was said before it.
    """
    if not labels:
        raise ValueError("labels: at least one label is needed")
    known = Labels(labels)
    whole = known.scores(_features(text))
    clauses = [known.scores(_features(part)) for part in _CLAUSE_END.split(text) if part.strip()]
    total = {
        name: whole[name] + max((clause[name] for clause in clauses), default=0.0)
        for name in known.names
    }
    sure = _sureness(total)
    if sure < 0.5 and earlier:
        for name, score in known.scores(_features(" ".join(earlier[-2:]))).items():
            total[name] += _EARLIER_WEIGHT * score
    ranked = _ranked(total)
    best = ranked[0]
    if total[best] <= 0.0:
        fallback = next((name for name in known.names if name.lower() == _FALLBACK), best)
        return Verdict(fallback, 0.2, [])
    # Whoever understands half the words of a text is not sure what it says.
    confidence = round(_sureness(total) * (0.6 + 0.4 * known.share(stems(text))), 2)
    also = _also(best, total, clauses)
    return Verdict(best, confidence, also)


def _ranked(scores: Mapping[str, float]) -> list[str]:
    """Return names by score; of equal ones the one that the prompt named first."""
    return sorted(scores, key=lambda name: -scores[name])


def _sureness(scores: Mapping[str, float]) -> float:
    """Return how sure the best score is: how strong it is, and how far ahead of the next."""
    first, second = [*sorted(scores.values(), reverse=True), 0.0, 0.0][:2]
    if first <= 0.0:
        return 0.0
    strength = 1 - math.exp(-first / 6.0)
    lead = (first - second) / first
    return min(0.99, strength * (0.6 + 0.4 * min(1.0, 2.0 * lead)))


def _also(
    best: str, total: Mapping[str, float], clauses: Iterable[Mapping[str, float]]
) -> list[str]:
    """Return the other labels that a clause of the text is clearly about."""
    found: list[str] = []
    for clause in clauses:
        first = _ranked(clause)[0]
        if first == best or first in found or clause[first] < 2.5:
            continue
        if _sureness(clause) >= 0.4 and clause[first] >= 1.25 * clause[best]:
            found.append(first)
    return sorted(found, key=lambda name: -total[name])


# --- summaries ----------------------------------------------------------------------------------

_ID = re.compile(r"#?W\d{5,}|\b\d{6,}\b|\$\s?\d")


def summarize(text: str, most: int = 4) -> str:
    """Return the sentences of a conversation that say most, in the order in which they came.

    A line may begin with who speaks (`Customer: …`); the summary keeps that.
    """
    lines: list[tuple[str, str]] = []
    for line in text.splitlines():
        speaker, colon, rest = line.strip().partition(":")
        named = bool(colon) and 0 < len(speaker) <= 30 and len(speaker.split()) <= 3
        for sentence in sentences(rest if named else line):
            lines.append((speaker if named else "", sentence))
    common = Counter(one for _, sentence in lines for one in set(stems(sentence)))

    def weight(position: int) -> float:
        _, sentence = lines[position]
        found = set(stems(sentence))
        if not found:
            return 0.0
        # What comes back in other sentences is the subject; what is short says it plainly.
        subject = sum(math.log(1 + common[one]) for one in found) / math.sqrt(len(found) + 2)
        named = 1.0 if _ID.search(sentence) else 0.0
        edge = 0.8 if position in (0, len(lines) - 1) and len(found) > 1 else 0.0
        return subject + named + edge

    heaviest = sorted(range(len(lines)), key=lambda position: (-weight(position), position))
    told: list[str] = []
    last = ""
    for position in sorted(heaviest[:most]):
        speaker, sentence = lines[position]
        sentence = sentence if sentence[-1] in ".!?" else f"{sentence}."
        told.append(f"{speaker}: {sentence}" if speaker and speaker != last else sentence)
        last = speaker
    return " ".join(told)
