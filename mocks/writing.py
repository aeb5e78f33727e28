"""How the model mock writes: a support reply that says the facts it was given, and no others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mocks.units import dice

Tone = Literal["apologetic", "warm", "neutral"]

_GREETINGS: dict[Tone, tuple[str, ...]] = {
    "apologetic": ("Hi {name},", "Hello {name},", "Dear {name},"),
    "warm": ("Hi {name},", "Hello {name},"),
    "neutral": ("Hello {name},",),
}
_OPENINGS: dict[Tone, tuple[str, ...]] = {
    "apologetic": (
        "I am sorry about this.",
        "I am sorry for the trouble.",
        "I am very sorry, I understand how frustrating this is.",
    ),
    "warm": (
        "Thank you for reaching out.",
        "Thanks for getting in touch.",
        "Thank you for your message, I am happy to help.",
    ),
    "neutral": ("Thank you for your message.",),
}
_CONNECTORS = ("Also, ", "In addition, ", "As well as that, ")

# First words that lose nothing when they no longer begin a sentence. Names and ids do.
_LOWER_WORDS = """
a an all any as at both each for from if in it its no on our that the there these they this those to
we when with you your
"""
_LOWER = frozenset(_LOWER_WORDS.split())


@dataclass(frozen=True)
class Brief:
    """What a reply has to say, to whom, and how."""

    customer_name: str | None = None
    tone: Tone = "neutral"
    opening: str | None = None
    must_say: Sequence[str] = ()
    facts: Sequence[str] = ()
    question: str | None = None


def tone_of(text: str) -> Tone:
    """Return the tone that a word from a prompt asks for; an unknown one is neutral."""
    word = text.strip().lower()
    if re.match(r"apolog|sorry|empath|regret", word):
        return "apologetic"
    if re.match(r"warm|friend|cheer|happy|kind", word):
        return "warm"
    return "neutral"


def reply(brief: Brief, seed: int | None = None) -> str:
    """Return a reply that says every fact and every must-say once, in connected sentences."""
    said = _once([*brief.must_say, *brief.facts])
    luck = dice("reply", seed, brief.customer_name, brief.tone, *said, brief.question)
    name = (brief.customer_name or "").strip()
    greeting = luck.choice(_GREETINGS[brief.tone])
    body = [luck.choice(_OPENINGS[brief.tone])]
    if brief.opening and brief.opening.strip():
        body = [_sentence(brief.opening)]
    for position, sentence in enumerate(said):
        # Now and then a word that joins; more of them would sound like a list read aloud.
        if position in (2, 4) and sentence[-1] != "?" and _joins(sentence):
            connector = _CONNECTORS[luck.randrange(len(_CONNECTORS))]
            sentence = connector + sentence[0].lower() + sentence[1:]
        body.append(sentence)
    paragraphs = [greeting.format(name=name) if name else "Hello,", " ".join(body)]
    if brief.question and brief.question.strip():
        paragraphs.append(_sentence(brief.question, "?"))
    return "\n\n".join(paragraphs)


def _sentence(text: str, end: str = ".") -> str:
    """Return a text as a sentence: a capital first, a mark last, one line."""
    plain = " ".join(text.split())
    closed = plain if re.search(r"[.!?][\"')\]]?$", plain) else f"{plain.rstrip(',;:')}{end}"
    # A word gets its capital; an id (`pay-0000001`) stays as it is.
    plain_word = re.match(r"[^\W\d_]+(?=[\s,;:.!?']|$)", closed)
    return closed[:1].upper() + closed[1:] if plain_word else closed


def _once(texts: Sequence[str]) -> list[str]:
    """Return texts as sentences, without those that another one says word for word."""
    made = [_sentence(text) for text in texts if text.strip()]
    bare = [re.sub(r"\W+", " ", one.lower()).strip() for one in made]
    kept: list[str] = []
    for position, one in enumerate(bare):
        earlier = one in bare[:position]
        inside = any(
            f" {one} " in f" {other} " for other in bare if other != one and len(other) > len(one)
        )
        if not earlier and not inside:
            kept.append(made[position])
    return kept


def _joins(sentence: str) -> bool:
    """Say whether a sentence may follow a joining word."""
    return sentence.split(maxsplit=1)[0].lower() in _LOWER
