"""A small, safe language to choose records and fields by: JMESPath, without what can blow up.

Evaluating an expression takes time and space in proportion to the record, times the expression's
length. What could multiply a document (lists and objects put together, texts joined, literal lists
to loop over) is refused, which filters and columns do not need.
"""

import re
from typing import Any, Final

import jmespath
from jmespath.exceptions import EmptyExpressionError, JMESPathError, ParseError
from jmespath.functions import Functions

from streams.errors import MeshError

LONGEST: Final = 500
"""Characters that an expression may have."""

_REFUSED_FUNCTIONS: Final = frozenset({"join", "merge", "to_array", "to_string"})
_FUNCTIONS: Final[dict[str, Any]] = {
    name: entry["signature"]
    for name, entry in Functions.FUNCTION_TABLE.items()
    if name not in _REFUSED_FUNCTIONS
}
_REFUSED_NODES: Final = {
    "multi_select_list": "lists in [a, b]",
    "multi_select_dict": "objects in {a: b}",
}


class BadExpression(MeshError):
    """An expression that cannot be used; `position` is where, from 0 on, if that is known."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        place = "" if position is None else f" at character {position + 1}"
        super().__init__(f"The expression cannot be used{place}: {reason}.")
        self.reason = reason
        self.position = position


class Expression:
    """One expression, checked: over a record's JSON value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._compiled = _compile(text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def value(self, document: Any) -> Any:
        """Return what the expression finds in a JSON document; None if nothing, or if it fails.

        It fails where a document is of another shape than a function takes: such a document is
        simply not one that is looked for.
        """
        try:
            return self._compiled.search(document)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError):
            return None

    def matches(self, document: Any) -> bool:
        """Say whether the result counts as true: all but null, false and what is empty does."""
        found = self.value(document)
        return not (found is None or found is False or found in ("", [], {}))


def _compile(text: str) -> Any:
    if len(text) > LONGEST:
        raise BadExpression(f"it has more than {LONGEST} characters", LONGEST)
    try:
        compiled = jmespath.compile(text)
        _check(compiled.parsed, text)
    except EmptyExpressionError:
        raise BadExpression("it is empty", 0) from None
    except ParseError as error:  # also what is wrong with a single character
        if error.token_value:
            raise BadExpression(
                f"{error.token_value!r} is not expected", error.lex_position
            ) from None
        raise BadExpression("it ends too early", min(error.lex_position, len(text))) from None
    except JMESPathError as error:
        raise BadExpression(str(error).splitlines()[0]) from None
    except RecursionError:
        raise BadExpression("it is nested too deeply", 0) from None
    return compiled


def _check(node: Any, text: str) -> None:
    """Refuse what can blow up, and functions that are not there or get too few or many values."""
    kind, value, children = node["type"], node.get("value"), node["children"]
    if kind in _REFUSED_NODES:
        raise BadExpression(
            f"{_REFUSED_NODES[kind]} are not possible here", _find(text, r"\[(?![?\d*\]:-])|\{")
        )
    if kind == "literal" and isinstance(value, list | dict):
        raise BadExpression(
            "a literal may be a text, a number, true, false or null", _find(text, "`")
        )
    if kind == "function_expression":
        _check_function(value, len(children), text)
    for child in children:
        _check(child, text)


def _check_function(name: str, given: int, text: str) -> None:
    signature = _FUNCTIONS.get(name)
    position = text.find(f"{name}(")
    if signature is None:
        there = ", ".join(sorted(_FUNCTIONS))
        raise BadExpression(f"there is no function {name}(); there are: {there}", position)
    many = bool(signature) and signature[-1].get("variadic", False)
    if given < len(signature) or (given > len(signature) and not many):
        wanted = f"{'at least ' if many else ''}{len(signature)}"
        raise BadExpression(f"{name}() takes {wanted}, not {given} values", position)


def _find(text: str, pattern: str) -> int | None:
    found = re.search(pattern, text)
    return found.start() if found else None
