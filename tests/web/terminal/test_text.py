import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.terminal.text import number, plain, size, table


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (2_500_000, "2.5 MB")],
)
def test_sizes(count: int | None, shown: str) -> None:
    assert size(count) == shown


def test_numbers() -> None:
    assert [number(None), number(7), number(1234567)] == ["-", "7", "1,234,567"]


def test_a_table_is_aligned() -> None:
    lines = table(("A", "N"), [("x", "1"), ("long", "200")], right="1").splitlines()
    assert lines[1:] == ["x       1", "long  200"]


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = plain(text)
    assert len(shown) == len(text)
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    assert not any(127 <= ord(c) < 160 for c in shown)
