"""A message that a person writes or edits: from text to message, or what is wrong, and where."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streams.errors import MeshError
from streams.masking import HIDDEN
from streams.message import ID_PATTERN, Message
from streams.slip import (
    DECISION_ROUTER,
    ESCALATION_ROUTER,
    HOP_LIMIT,
    RESPONSE_AGGREGATOR,
    RouteSlip,
)
from streams.topics import MAILBOXES, actor_name

Path = Sequence[int | str]

#: The mailboxes that close a turn or send it where it is closed.
_CLOSING: Final = (DECISION_ROUTER, ESCALATION_ROUTER, RESPONSE_AGGREGATOR)

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


class Problem(BaseModel):
    """One thing that is wrong with a draft. Line and column count from 1; 0: it has no place."""

    path: str
    text: str
    line: int = 0
    column: int = 0


class BadDraft(MeshError):
    """A draft is not a message that the mesh can carry."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(_said(problem) for problem in self.problems))


def _said(problem: Problem) -> str:
    where = f"line {problem.line}: " if problem.line else ""
    return f"{where}{problem.path}: {problem.text}" if problem.path else f"{where}{problem.text}"


def read_draft(text: str) -> Message:
    """Return the message in `text`; BadDraft with every problem and its place."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        problem = Problem(path="", text=error.msg, line=error.lineno, column=error.colno)
        raise BadDraft([problem]) from None
    except RecursionError:
        raise BadDraft([Problem(path="", text="this is nested too deeply")]) from None
    try:
        message = Message.model_validate_json(text)
    except ValidationError as error:
        raise BadDraft(
            _located(text, found["loc"], _in_words(found))
            for found in error.errors(include_url=False, include_input=False)
        ) from None
    problems = route_problems(message.slip)
    if HIDDEN in (message.payload.email or ""):
        problems.append((("payload", "email"), "is masked: take a copy that shows it (unmask)"))
    if problems:
        raise BadDraft(_located(text, path, said) for path, said in problems)
    return message


def route_problems(slip: RouteSlip) -> list[tuple[Path, str]]:
    """Return what would stop a message with this slip, by its path in the message."""
    problems: list[tuple[Path, str]] = []
    if not slip.steps:
        problems.append((("slip", "steps"), "names no mailbox to go to"))
    for place, step in enumerate(slip.steps):
        if step not in MAILBOXES:
            problems.append((("slip", "steps", place), f"no mailbox is called {step!r}"))
    if slip.on_error not in MAILBOXES:
        problems.append((("slip", "on_error"), f"no mailbox is called {slip.on_error!r}"))
    if len(slip.done) + len(slip.steps) > HOP_LIMIT:
        problems.append(
            (
                ("slip", "steps"),
                f"{len(slip.done)} hops were made and {len(slip.steps)} are to come, "
                f"but {HOP_LIMIT} is the most: choose a route, and it is counted anew",
            )
        )
    return problems


def is_answered(slip: RouteSlip) -> bool:
    """Say whether the route ends where a turn is closed: on another nobody gets a reply.

    A session that such a turn has entered lets the next one in only after a long while.
    """
    return bool(slip.steps) and slip.steps[-1] in _CLOSING


def mailbox(name: str) -> str:
    """Return the subject of a mailbox that people call by its whole name or its actor's.

    A name that none has comes back as it is: the route's check says so.
    """
    return next((subject for subject in MAILBOXES if name in (subject, actor_name(subject))), name)


def dotted(path: Path) -> str:
    """Return a path as people read it, such as `payload.history.0.text`."""
    return ".".join(str(part) for part in path)


def place(text: str, path: Path) -> tuple[int, int]:
    """Return line and column in the JSON `text` of what `path` names, or of what should hold it."""
    at = _skip(text, 0)
    for part in path:
        inner = _member(text, at, part)
        if inner is None:
            break
        at = inner
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def _in_words(found: ErrorDetails) -> str:
    """Return what pydantic found, without a pattern that only programmers read."""
    if found.get("ctx", {}).get("pattern") == ID_PATTERN:
        return "may hold letters, digits, - and _, from 1 to 64 of them"
    return found["msg"]


def _located(text: str, path: Path, said: str) -> Problem:
    line, column = place(text, path)
    return Problem(path=dotted(path), text=said, line=line, column=column)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _member(text: str, at: int, part: int | str) -> int | None:
    """Return where the member `part` of the object or array at `at` is; None if it has none."""
    if text[at] not in "{[":
        return None
    named = text[at] == "{"
    at = _skip(text, at + 1)
    place, index = None, 0
    while text[at] not in "}]":
        key: int | str = index
        if named:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        if key == part:
            place = at  # of members with one name the last counts
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1
    return place
