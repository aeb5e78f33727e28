import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.inspection.difference import ALIGNED_ITEMS, difference

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab.[]"\\ é', max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "c d", "é", '"']), inner, max_size=3)
    ),
    max_leaves=12,
)

# What is drawn here is small; a machine that does much else may be slow at it all the same.


def at(value: Any, path: str) -> Any:
    """Return what a path leads to; LookupError if it leads nowhere."""
    if path == "@":
        return value
    for name, index in re.findall(r'(?:^|\.)?([A-Za-z_]\w*|"(?:[^"\\]|\\.)*")|\[(\d+)\]', path):
        if index:
            value = value[int(index)]
        else:
            value = value[json.loads(name) if name.startswith('"') else name]
    return value


@given(JSON)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert difference(value, json.loads(json.dumps(value))) == []


@given(JSON, JSON)
def test_there_is_a_difference_exactly_if_the_json_differs(before: Any, after: Any) -> None:
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (difference(before, after) == []) == same


@given(JSON, JSON)
def test_every_path_leads_to_what_is_said_to_be_there(before: Any, after: Any) -> None:
    for change in difference(before, after):
        if change.kind == "removed":
            assert at(before, change.path) == change.before
        else:
            assert at(after, change.path) == change.after


@given(JSON, JSON)
def test_the_other_way_round_what_was_added_is_removed(before: Any, after: Any) -> None:
    def counts(kind: str, old: Any, new: Any) -> int:
        return sum(change.kind == kind for change in difference(old, new))

    assert bool(difference(before, after)) == bool(difference(after, before))
    if isinstance(before, dict) and isinstance(after, dict):
        flat_before = dict.fromkeys(before, 1)
        flat_after = dict.fromkeys(after, 1)
        assert counts("added", flat_before, flat_after) == counts(
            "removed", flat_after, flat_before
        )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": {"c": 2}}, [("added", "b", None, {"c": 2})]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("changed", "a.b[1]", 2, 3)]),
        ({"order id": 1}, {}, [("removed", '"order id"', 1, None)]),
        (1, True, [("changed", "@", 1, True)]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": None}, {}, [("removed", "a", None, None)]),
    ],
)
def test_differences_as_people_read_them(before: Any, after: Any, expected: list[Any]) -> None:
    found = difference(before, after)
    assert [(c.kind, c.path, c.before, c.after) for c in found] == expected


def test_a_window_that_moves_on_has_lost_its_first_and_gained_its_last_items() -> None:
    lines = [{"role": "customer", "text": f"line {number}"} for number in range(22)]
    found = difference({"history": lines[:20]}, {"history": lines[2:]})
    assert [(change.kind, change.path) for change in found] == [
        ("removed", "history[0]"),
        ("removed", "history[1]"),
        ("added", "history[18]"),
        ("added", "history[19]"),
    ]


def test_very_long_lists_are_compared_place_by_place() -> None:
    before = list(range(ALIGNED_ITEMS + 1))
    found = difference(before, [*before[:-1], -1])
    assert [(change.path, change.after) for change in found] == [(f"[{ALIGNED_ITEMS}]", -1)]
