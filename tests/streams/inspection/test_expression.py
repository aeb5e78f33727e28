import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.inspection.expression import LONGEST, BadExpression, Expression

MESSAGE = {
    "id": "t1",
    "payload": {"text": "Where is it?", "sentiment": {"label": "negative", "score": -0.6}},
    "trace": [{"actor": "a", "duration_ms": 3}, {"actor": "b", "duration_ms": 120}],
}


@pytest.mark.parametrize(
    "text",
    [
        "payload.sentiment.label == 'negative'",
        "payload.sentiment.score < `-0.5`",
        "trace[?duration_ms > `100`]",
        "contains(payload.text, 'Where') && id == 't1'",
        "!(payload.email)",
        "length(trace) == `2`",
        "max_by(trace, &duration_ms).actor == 'b'",
        "sort(trace[*].actor)[0] == 'a'",
    ],
)
def test_expressions_that_match(text: str) -> None:
    assert Expression(text).matches(MESSAGE)


@pytest.mark.parametrize(
    "text",
    ["payload.nothing", "trace[?duration_ms > `1000`]", "payload.text == ''", "id == 't2'"],
)
def test_expressions_that_do_not(text: str) -> None:
    assert not Expression(text).matches(MESSAGE)


def test_a_document_of_another_shape_is_not_what_is_looked_for() -> None:
    documents: list[Any] = [None, 7, "text", [], {"payload": 3}]
    for document in documents:
        assert not Expression("contains(payload.text, 'x')").matches(document)
        assert not Expression("sum(trace[*].duration_ms) > `1`").matches(document)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "empty"),
        ("a..b", 2, "'.' is not expected"),
        ("a $ b", 2, "'$' is not expected"),
        ("a[?b == 'x'", 11, "ends too early"),
        ("a | nope(b)", 4, "no function nope"),
        ("a && length(b, c)", 5, "takes 1, not 2"),
        ("join(',', a)", 0, "no function join"),
        ("a.[b, c]", 2, "lists"),
        ("a.{x: b}", 2, "objects"),
        ("a == `[1, 2]`", 5, "literal"),
        ("a" * (LONGEST + 1), LONGEST, "characters"),
        ("(" * 400, None, ""),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(
    text: str, position: int | None, reason: str
) -> None:
    with pytest.raises(BadExpression) as caught:
        Expression(text)
    assert reason in caught.value.reason
    if position is not None:
        assert caught.value.position == position
        assert f"at character {position + 1}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[@,@][]|" * 40 + "@",
        "to_string(to_array(" * 20 + "@" + "))" * 20,
        "map(&" * 12 + "@" + ",`[1,1,1,1,1,1,1,1]`)" * 12,
    ],
)
def test_what_would_grow_without_end_is_refused(text: str) -> None:
    with pytest.raises(BadExpression):
        Expression(text)


def test_the_longest_projections_over_a_large_document_end() -> None:
    large: Any = [[{"a": [1] * 20} for _ in range(30)] for _ in range(30)]
    began = time.perf_counter()
    Expression("[]" * 60 + ".a[]|sort(@)|reverse(@)|[0]").value(large)
    Expression("[?@ == @]" * 40).value(large)
    assert time.perf_counter() - began < 30  # years, if it multiplied


@given(st.text(max_size=60), st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_any_text_is_an_expression_or_an_error_of_ours(text: str, document: Any) -> None:
    try:
        expression = Expression(text)
    except BadExpression:
        return
    expression.matches(document)


@given(
    st.lists(
        st.sampled_from(
            ["a", ".", "[", "]", "*", "?", "(", ")", "==", "&&", "|", "&", "`1`", "'x'", "@", "!",
             "length", "map", "sort_by", "contains", ",", ":", "0"]
        ),
        max_size=20,
    )
)  # fmt: skip
def test_pieces_of_the_language_in_any_order(pieces: list[str]) -> None:
    try:
        expression = Expression("".join(pieces))
    except BadExpression:
        return
    expression.matches({"a": [{"a": 1}, "x"]})
