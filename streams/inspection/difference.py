"""What one JSON value has that another has not: the difference a hop made, for people to read."""

import json
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, Final, Literal

from pydantic import BaseModel

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Past so many items lists are compared place by place: to align them takes quadratic time.
ALIGNED_ITEMS: Final = 500


class Change(BaseModel):
    """One place that differs.

    `path` is a JMESPath expression. It is that of the place in the newer value, and in the older
    one for what was removed: so an item that left the front of a list is one change, not as many
    as there are items behind it.
    """

    kind: Literal["added", "changed", "removed"]
    path: str
    before: Any = None
    after: Any = None


def difference(before: Any, after: Any, path: str = "") -> list[Change]:
    """Return how `after` differs from `before`, two JSON values at `path`, in document order."""
    return list(_compare(before, after, path))


def _compare(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            place = member(path, name)
            if name not in after:
                yield Change(kind="removed", path=place, before=before[name])
            elif name not in before:
                yield Change(kind="added", path=place, after=after[name])
            else:
                yield from _compare(before[name], after[name], place)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(before, after, path)
    elif not _same(before, after):
        yield Change(kind="changed", path=path or "@", before=before, after=after)


def _compare_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Change]:
    for start, end, new_start, new_end in _stretches(before, after):
        both = min(end - start, new_end - new_start)
        for step in range(both):
            place = f"{path}[{new_start + step}]"
            yield from _compare(before[start + step], after[new_start + step], place)
        for index in range(start + both, end):
            yield Change(kind="removed", path=f"{path}[{index}]", before=before[index])
        for index in range(new_start + both, new_end):
            yield Change(kind="added", path=f"{path}[{index}]", after=after[index])


def _stretches(before: list[Any], after: list[Any]) -> list[tuple[int, int, int, int]]:
    """Return where the lists differ: from and to in the older one, from and to in the newer."""
    if max(len(before), len(after)) > ALIGNED_ITEMS:
        return [(0, len(before), 0, len(after))]
    old, new = [_written(item) for item in before], [_written(item) for item in after]
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [places for (kind, *places) in steps if kind != "equal"]  # type: ignore[misc]


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _same(before: Any, after: Any) -> bool:
    # In Python True is 1; in JSON it is not.
    return isinstance(before, bool) == isinstance(after, bool) and bool(before == after)


def member(path: str, name: str) -> str:
    """Return the JMESPath expression for a member of the object at `path`."""
    written = name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)
    return f"{path}.{written}" if path else written
