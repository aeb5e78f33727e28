"""Conversations from elsewhere: one in JSON a line, of which only the words are known.

    {"conversation_id": "c1", "customer": {"email": "ann@example.com"},
     "turns": [{"role": "customer", "text": "Where is it?"}, {"role": "agent", "text": "Here."}]}

Names that others use are taken too: `messages` for `turns`, `content` for `text`, `user` for
`customer`. Each thing that the customer said becomes a turn on which nobody has worked yet: its
trace is empty. What was answered is its `payload.response`, to compare ours with.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from streams.message import ID_PATTERN, Message
from streams.payload import Json, Payload, Response
from streams.replay.lines import BadLine, Line

_CUSTOMER: Final = frozenset({"customer", "user", "client", "visitor", "consumer"})
_AGENT: Final = frozenset({"agent", "assistant", "bot", "human", "support", "representative"})

_TURNS: Final = ("turns", "messages")
_TEXT: Final = ("text", "content")
_IDS: Final = ("conversation_id", "session_id", "id")
_TIMES: Final = ("at", "timestamp", "time", "created_at", "date")
_EMAILS: Final = ("email", "customer_email", "e-mail")

_BETWEEN: Final = timedelta(minutes=1)
"""From one turn to the next, where nothing is known of when they were said."""
_SAFE_LENGTH: Final = 48
_MILLISECONDS: Final = 100_000_000_000
"""Numbers from here on count milliseconds since 1970: as seconds they are 3,000 years away."""


def conversations(
    lines: Iterable[Line | BadLine], began: datetime
) -> Iterator[list[Message] | BadLine]:
    """Yield each line's turns, in order, and where a line holds none, why.

    `began` is when conversations began of which that is not known.
    """
    seen: set[bytes] = set()
    for line in lines:
        if isinstance(line, BadLine):
            yield line
            continue
        if not line.data.strip():
            continue
        turns = _conversation(line, began)
        if isinstance(turns, BadLine):
            yield turns
            continue
        name = _digest(turns[0].session_id.encode())
        if name in seen:
            session = turns[0].session_id
            yield BadLine(line.number, f"conversation {session!r} is there already, further up")
            continue
        seen.add(name)
        yield turns


def is_conversation(data: bytes) -> bool:
    """Say whether a line is a conversation."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(_first(document, _TURNS), list)


def _conversation(line: Line, began: datetime) -> list[Message] | BadLine:
    try:
        document = json.loads(line.data)
    except UnicodeDecodeError as error:
        return BadLine(line.number, f"is not UTF-8 from byte {error.start + 1} on")
    except ValueError as error:
        return BadLine(line.number, f"is not JSON: {error}")
    except RecursionError:
        return BadLine(line.number, "is nested too deeply")
    if not isinstance(document, dict):
        return BadLine(line.number, "is not a JSON object")
    turns = _first(document, _TURNS)
    if not isinstance(turns, list):
        return BadLine(line.number, "has no list of `turns`")
    name = _first(document, _IDS)
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        name = f"conversation-{_digest(line.data.strip()).hex()}"
    messages = _messages(str(name), document, turns, began)
    if not messages:
        roles = sorted({str(turn.get("role")) for turn in turns if isinstance(turn, dict)})
        found = f"; its roles are: {', '.join(roles)[:200]}" if roles else ""
        return BadLine(line.number, f"has no turn of a customer with a text{found}")
    return messages


def _messages(name: str, document: Json, turns: list[Any], began: datetime) -> list[Message]:
    session_id = safe_id(name)
    email = _email(document)
    at = _time(document) or began
    messages: list[Message] = []
    for turn in turns:
        if not isinstance(turn, dict):
            continue
        role, text = str(turn.get("role", "")).strip().lower(), _text(turn)
        if not text:
            continue
        if role in _CUSTOMER:
            at = _time(turn) or (at + _BETWEEN if messages else at)
            number = len(messages) + 1
            messages.append(
                Message(
                    id=safe_id(f"{name}-{number}"),
                    session_id=session_id,
                    payload=Payload(text=text, email=email, at=at),
                )
            )
        elif role in _AGENT and messages:
            answered = messages[-1].payload.response
            said = f"{answered.text}\n\n{text}" if answered else text
            messages[-1].payload.response = Response(text=said, source="human")
    return messages


def safe_id(name: str) -> str:
    """Return `name` if it is an id that the mesh takes, else one made from it, always the same."""
    if re.fullmatch(ID_PATTERN, name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_SAFE_LENGTH].strip("-")
    return f"{readable or 'id'}-{_digest(name.encode(errors='surrogatepass')).hex()[:14]}"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def _first(document: Json, names: tuple[str, ...]) -> Any:
    return next((document[name] for name in names if document.get(name) is not None), None)


def _text(turn: Json) -> str:
    """Return what was said; it may be in several parts, as models' APIs have them."""
    found = _first(turn, _TEXT)
    if isinstance(found, list):
        parts = (_first(part, _TEXT) if isinstance(part, dict) else part for part in found)
        found = "\n".join(part for part in parts if isinstance(part, str))
    if not isinstance(found, str):
        return ""
    # Half a character, which JSON can hold, cannot be sent on.
    return found.encode(errors="replace").decode().strip()


def _email(document: Json) -> str | None:
    customer = document.get("customer")
    for place in (customer if isinstance(customer, dict) else {}, document):
        found = _first(place, _EMAILS)
        if isinstance(found, str) and re.fullmatch(r"[^\s@]{1,64}@[^\s@]{1,253}", found.strip()):
            return found.strip().encode(errors="replace").decode()
    return None


def _time(document: Json) -> datetime | None:
    found = _first(document, _TIMES)
    try:
        if isinstance(found, int | float) and not isinstance(found, bool):
            return datetime.fromtimestamp(found / (1000 if found >= _MILLISECONDS else 1), UTC)
        if isinstance(found, str):
            said = datetime.fromisoformat(found.strip())
            return said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
