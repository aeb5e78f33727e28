import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.language import Concepts, calm, listed, negated, pattern, plain, words


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("sue", "i have an issue with tissue", False),
        ("sue", "i will sue you", True),
        ("sue", "sue", True),
        ("hell", "hello there", False),
        ("hell", "what the hell?", True),
        ("on hold", "put me on  hold", True),
        ("right ?away", "do it rightaway", True),
        ("right ?away", "do it right away", True),
        ("can't", "i can't", True),
    ],
)
def test_patterns_find_whole_words_only(phrase: str, text: str, found: bool) -> None:
    assert bool(pattern(phrase).search(text)) is found


def test_plain_undoes_disguises() -> None:
    assert plain("I CAN\u2019T \uff37\uff21\uff29\uff34") == "i can't wait"
    assert plain("re\u200bfund") == "refund"
    assert words("Don't stop\u2014now!") == ["don't", "stop", "now"]
    assert calm("soooo") == "soo"


@pytest.mark.parametrize(
    ("text", "is_negated"),
    [
        ("this is not good", True),
        ("not very good", True),
        ("no doubt good", False),
        ("not only good", False),
        ("good", False),
        ("never in all these long years good", False),
    ],
)
def test_negation_reaches_three_words(text: str, is_negated: bool) -> None:
    tokens = words(text)
    assert negated(tokens, tokens.index("good")) is is_negated


@pytest.fixture(scope="module")
def concepts() -> Concepts:
    lexicon = {"CANCEL": "cancel*", "SHIPPING": "shipping", "REGISTER": "sign up, register"}
    return Concepts(lexicon, known=listed("shopping cancer"))


@pytest.mark.parametrize(
    ("word", "corrected"),
    [
        ("shiping", "shipping"),
        ("shippping", "shipping"),
        ("shipipng", "shipping"),
        ("shopping", "shopping"),
        ("ship", "ship"),
        ("cancelling", "cancelling"),
        ("regsiter", "register"),
        ("egister", "egister"),
    ],
)
def test_typos_are_forgiven_but_words_are_not_changed(
    concepts: Concepts, word: str, corrected: str
) -> None:
    assert concepts.correct(word) == corrected


def test_concepts_are_found_with_their_places(concepts: Concepts) -> None:
    assert list(concepts.find(words("please sign up or cancelling"))) == [
        (1, 3, "REGISTER"),
        (4, 5, "CANCEL"),
    ]


@given(st.text())
def test_any_text_has_a_plain_form_that_stays_as_it_is(text: str) -> None:
    # Unicode may need a second folding; after that nothing changes any more.
    once = plain(plain(text))
    assert plain(once) == once
    assert words(text) == words(plain(text)) or once != plain(text)
