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
# Who has no reason to be sorry begins with what there is to say.
_REGRETS = (
    "I am sorry about this.",
    "I am sorry for the trouble.",
    "I am very sorry, I understand how frustrating this is.",
)
_NOTHING_TO_SAY = "I am here to help."


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
    body = list(said)
    if brief.opening and brief.opening.strip():
        body.insert(0, _sentence(brief.opening))
    elif brief.tone == "apologetic":
        body.insert(0, luck.choice(_REGRETS))
    asked = _sentence(brief.question, "?") if brief.question and brief.question.strip() else ""
    if not body and not asked:
        body = [_NOTHING_TO_SAY]
    paragraphs = [greeting.format(name=name) if name else "Hello,"]
    paragraphs += [part for part in (" ".join(body), asked) if part]
    return "\n\n".join(paragraphs)


def _sentence(text: str, end: str = ".") -> str:
    """Return a text as a sentence: a capital first, a mark last, one line."""
    plain = " ".join(text.split())
    closed = plain if re.search(r"[.!?][\"')\]]?$", plain) else f"{plain.rstrip(',;:')}{end}"
    # A word gets its capital; an id (`pay-0000001`) stays as it is.
    plain_word = re.match(r"[^\W\d_]+(?=[\s,;:.!?']|$)", closed)
    # Some letters have no capital of their own, and stay too.
    capital = closed[:1].upper()
    return capital + closed[1:] if plain_word and capital.lower() == closed[:1].lower() else closed


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
