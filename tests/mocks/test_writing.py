import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.writing import Brief, Tone, reply, tone_of

BRIEF = Brief(
    customer_name="Dagny",
    tone="apologetic",
    facts=[
        "order #W7000101 was shipped on 9 March",
        "The parcel is delayed and now expected on 13 March.",
        "the carrier is Swiftline",
    ],
    must_say=["We have opened investigation IN-0000001."],
    question="Would you like a credit of $10",
)
TONES: list[Tone] = ["apologetic", "warm", "neutral"]


def test_a_reply_says_everything_once() -> None:
    text = reply(BRIEF)
    for said in (*BRIEF.facts, *BRIEF.must_say):
        assert text.lower().count(said.lower()) == 1
    assert text.endswith("Would you like a credit of $10?")
    assert "Dagny" in text.split("\n")[0]
    assert text == reply(BRIEF)


def test_a_reply_invents_nothing() -> None:
    given_numbers = set(re.findall(r"\d+", repr(BRIEF)))
    for seed in range(20):
        assert set(re.findall(r"\d+", reply(BRIEF, seed))) == given_numbers


@pytest.mark.parametrize("tone", TONES)
def test_the_tone_is_heard(tone: Tone) -> None:
    for seed in range(20):
        text = reply(Brief("Ann", tone, facts=["Your order is here."]), seed)
        assert bool(re.search(r"sorry|apologize", text)) == (tone == "apologetic")


def test_seeds_vary_the_words_but_not_the_facts() -> None:
    replies = {reply(BRIEF, seed) for seed in range(20)}
    assert len(replies) > 1
    assert all("#W7000101" in text for text in replies)


def test_what_is_said_twice_is_said_once() -> None:
    brief = Brief(
        "Ann",
        "warm",
        facts=["Your order #W1 was cancelled", "Your order #W1 was cancelled, and refunded."],
        must_say=["your order #W1 was cancelled."],
    )
    assert reply(brief).lower().count("was cancelled") == 1


def test_a_number_inside_another_is_not_the_same() -> None:
    text = reply(Brief("Ann", "warm", facts=["It costs 5", "It costs 55"]))
    assert "It costs 5." in text
    assert "t costs 55." in text


def test_nobody_in_particular_and_nothing_to_say() -> None:
    text = reply(Brief())
    assert text.startswith("Hello,\n\n")
    assert text.rstrip().endswith(".")


def test_an_opening_takes_the_place_of_ours() -> None:
    brief = Brief("Ann", "apologetic", "I am sorry that the lamp broke.", ["It is refunded."])
    text = reply(brief)
    assert text.split("\n\n")[1] == "I am sorry that the lamp broke. It is refunded."
    assert text.count("sorry") == 1


def test_nothing_stands_before_what_there_is_to_say() -> None:
    for seed in range(20):
        text = reply(Brief("Dagny", "warm", must_say=["You are welcome."]), seed)
        assert re.fullmatch(r"(Hi|Hello) Dagny,\n\nYou are welcome\.", text)
        report = "The carrier's latest report on it: sorted."
        text = reply(Brief("Dagny", "neutral", facts=["It is sent.", "It is late.", report]), seed)
        assert text == f"Hello Dagny,\n\nIt is sent. It is late. {report}"


def test_what_must_be_said_comes_first() -> None:
    text = reply(Brief("Ann", "warm", must_say=["It is cancelled."], facts=["It cost $5."]))
    assert text.endswith("It is cancelled. It cost $5.")


def test_ids_keep_their_form() -> None:
    assert "pay-0000001 is settled." in reply(
        Brief("Ann", "warm", facts=["pay-0000001 is settled"])
    )


@pytest.mark.parametrize(
    ("word", "tone"),
    [
        ("apologetic", "apologetic"),
        ("Empathetic", "apologetic"),
        ("warm", "warm"),
        ("friendly", "warm"),
        ("neutral", "neutral"),
        ("sarcastic", "neutral"),
    ],
)
def test_tones_by_name(word: str, tone: Tone) -> None:
    assert tone_of(word) == tone


WORD = r"\w+"
PHRASES = st.lists(st.text(max_size=60), max_size=5)


@given(
    name=st.none() | st.text(max_size=20),
    tone=st.sampled_from(TONES),
    facts=PHRASES,
    must_say=PHRASES,
    opening=st.none() | st.text(max_size=40),
    question=st.none() | st.text(max_size=40),
    seed=st.none() | st.integers(),
)
def test_any_brief_gives_a_reply_with_everything(
    name: str | None,
    tone: Tone,
    facts: list[str],
    must_say: list[str],
    opening: str | None,
    question: str | None,
    seed: int | None,
) -> None:
    text = reply(Brief(name, tone, opening, must_say, facts, question), seed)
    for said in (*facts, *must_say):
        assert bare(said) in bare(text) or not bare(said).strip()


def bare(text: str) -> str:
    """The words of a text, so that capitals and marks do not matter."""
    return f" {' '.join(re.findall(WORD, text.lower()))} "
