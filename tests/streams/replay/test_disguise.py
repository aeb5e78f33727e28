import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.checksum import luhn
from streams.masking import personal
from streams.replay.disguise import _TAKEN, Disguise

DISGUISE = Disguise(b"a secret")

letters = st.characters(categories=["Lu", "Ll"], max_codepoint=0x24F)
words = st.text(letters | st.sampled_from(" -'."), min_size=1, max_size=30)
numbers = st.text("0123456789", min_size=1, max_size=12)


def shape(text: str) -> str:
    """Return what kind of character stands where."""
    return "".join("9" if c.isdecimal() else "A" if c.isupper() else "a" if c.isalpha() else c
                   for c in text)  # fmt: skip


@given(words)
def test_words_keep_length_and_case_and_are_the_same_for_the_same(text: str) -> None:
    new = DISGUISE.words(text)
    assert shape(new) == shape(text)
    assert DISGUISE.words(text) == new
    assert all(one == two for one, two in zip(new, text, strict=True) if not two.isalpha())


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=20))
def test_how_a_word_is_written_does_not_matter(word: str) -> None:
    new = DISGUISE.words(word)
    assert new != word
    assert DISGUISE.words(word.upper()) == new.upper()
    assert DISGUISE.words(word.capitalize()) == new.capitalize()
    assert not _TAKEN.fullmatch(new)


@given(numbers)
def test_numbers_keep_length_and_leading_zeros(number: str) -> None:
    new = DISGUISE.digits(number)
    assert len(new) == len(number)
    zeros = len(number) - len(number.lstrip("0"))
    assert new[:zeros] == number[:zeros]
    assert new[zeros : zeros + 1] != "0"


def test_an_address_goes_with_its_owners_name() -> None:
    first, last = DISGUISE.words("raj"), DISGUISE.words("santos")
    number = DISGUISE.digits("4322")
    assert DISGUISE.email("raj.santos4322@example.com") == f"{first}.{last}{number}@example.com"
    capital = f"{first.capitalize()}.{last.capitalize()}"
    assert DISGUISE.email("Raj.Santos%40example.com") == f"{capital}%40example.com"
    company = DISGUISE.email("raj@santos-brothers.co.uk")
    assert company.endswith(".uk")
    assert "santos" not in company
    assert DISGUISE.email("raj%2Bshop@gmail.com").count("%2B") == 1
    for office in ("support@shop.com", "Customer.Service@shop.com"):
        assert DISGUISE.email(office) == office


def test_a_phone_number_is_one_number_however_it_is_written() -> None:
    plain = DISGUISE.phone("4165550147")
    for written in ("+1-416-555-0147", "(416) 555-0147", "1 416 555 0147", "+14165550147"):
        new = DISGUISE.phone(written)
        assert shape(new) == shape(written)
        assert re.sub(r"\D", "", new)[-10:] == plain
    assert DISGUISE.phone("+44 20 7946 0958")[:4] == "+44 "
    national = re.sub(r"\D", "", DISGUISE.phone("020 7946 0958"))
    assert national == "0" + re.sub(r"\D", "", DISGUISE.phone("+44 20 7946 0958"))[2:]


@pytest.mark.parametrize("card", ["4111 1111 1111 1111", "378282246310005", "5500-0000-0000-0004"])
def test_a_card_keeps_network_check_and_last_four(card: str) -> None:
    new = DISGUISE.card(card)
    assert (new != card, shape(new)) == (True, shape(card))
    assert (new[:2], new[-4:]) == (card[:2], card[-4:])
    assert luhn(re.sub(r"\D", "", new))
    assert DISGUISE.card("7005") == "7005"


@given(
    st.from_regex(r"[1-9][0-9]{4}(-[0-9]{4})?|[A-Z]{2}[0-9][A-Z]? [0-9][A-Z]{2}", fullmatch=True)
)
def test_postal_codes_keep_their_form(code: str) -> None:
    new = DISGUISE.code(code)
    assert shape(new) == shape(code)
    assert DISGUISE.code(code.split("-")[0]) == new.split("-")[0]


def test_a_street_keeps_its_kind() -> None:
    new = DISGUISE.street("863 Lakeview Drive, Suite 424")
    number, name = DISGUISE.digits("863"), DISGUISE.words("Lakeview")
    assert new == f"{number} {name} Drive, Suite {DISGUISE.digits('424')}"
    assert DISGUISE.street("Hauptstraße 12").endswith(f"straße {DISGUISE.digits('12')}")


@given(
    st.sampled_from(
        [
            "I am at 863 Lakeview Drive, Seattle, WA 98157",
            "zip code: 98157, phone 416-555-0147",
            "write to raj.santos4322@example.com or call +1 416 555 0147",
            "card 4111 1111 1111 1111, apt 4, 12 main street",
        ]
    ),
    st.binary(min_size=1, max_size=64),
)
def test_what_has_a_form_still_has_it(text: str, secret: bytes) -> None:
    disguise = Disguise(secret)
    rules = {
        "email": disguise.email,
        "phone": disguise.phone,
        "card": disguise.card,
        "zip": disguise.code,
        "street": disguise.street,
        "city": disguise.words,
    }
    new = text
    for kind, start, end in personal(text):
        new = new[:start] + rules[kind](text[start:end]) + new[end:]
    assert list(personal(new)) == list(personal(text))
    assert new != text


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_without_the_secret_nobody_can_tell(one: bytes, other: bytes) -> None:
    assume(one.ljust(64, b"\0") != other.ljust(64, b"\0"))
    text = "Maximiliane Oberhuber-Santos"
    assert Disguise(one).words(text) != Disguise(other).words(text)


def test_no_word_that_an_actor_knows_stands_for_a_name(repository: Path) -> None:
    could_be = re.compile(r"[aiou]?(?:[bdgklmnrvz][aiou])*[bdgklmnrvz]?")
    known = {
        word
        for file in (repository / "agents").glob("*.py")
        for word in re.findall(r"[a-z]+", file.read_text().lower())
        if len(word) > 1 and could_be.fullmatch(word)
    }
    assert {word for word in known if not _TAKEN.fullmatch(word)} == set()
