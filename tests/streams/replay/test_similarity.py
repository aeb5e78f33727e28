import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.replay.similarity import SIMILAR, same_figures, score, words

SENT = "Your order #W100 is on its way. It will reach you on 12 March, for $19.50 in all."
texts = st.text(st.sampled_from("ab 1.,$\n"), max_size=12)


@given(texts, texts)
def test_a_score_is_a_share_and_knows_no_direction(one: str, other: str) -> None:
    assert 0 <= score(one, other) <= 1
    assert score(one, other) == score(other, one)
    assert (score(one, other) == 1) == (words(one.casefold()) == words(other.casefold()))


def test_a_word_more_is_similar_and_another_sentence_is_not() -> None:
    assert score(SENT, SENT.replace("is on", "is already on")) > SIMILAR
    assert score(SENT, "I am sorry, I cannot find this order. Which address did you use?") < SIMILAR
    assert score(SENT, SENT.upper().replace(" ", "\n ")) == 1
    assert score("", SENT) == 0


@pytest.mark.parametrize("change", [("19.50", "91.50"), ("12", "21"), ("#W100", "#W101")])
def test_another_figure_is_seen_however_many_words_are_the_same(change: tuple[str, str]) -> None:
    assert score(SENT, SENT.replace(*change)) > SIMILAR
    assert not same_figures(SENT, SENT.replace(*change))


def test_figures_may_stand_elsewhere() -> None:
    assert same_figures("On 12 March, $19.50.", "$19.50, on 12 march")
