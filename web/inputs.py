"""What people may send us, checked before anything is done with it."""

import json
import re
import unicodedata
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from streams.masking import mask_cards
from streams.message import ID_PATTERN
from web.errors import ApiError

MAX_SEQUENCE: Final = 2**53  # the largest whole number that JavaScript counts exactly
_INVISIBLE: Final = {"Cc", "Cf", "Zl", "Zp", "Zs"}


def clean(text: str) -> str:
    """Return `text` with plain line ends and without other control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
    return "".join(kept).strip()


def _message_text(text: str, info: ValidationInfo) -> str:
    if any(unicodedata.category(c) == "Cs" for c in text):
        # Half of a character, which JSON can write and no text can hold.
        raise PydanticCustomError("not_text", "must be valid Unicode text")
    text = clean(text)
    if all(unicodedata.category(c) in _INVISIBLE for c in text):
        raise PydanticCustomError("empty", "must not be empty")
    limit = (info.context or {}).get("max_text")
    if limit is not None and len(text) > limit:
        raise PydanticCustomError(
            "too_long",
            "must not have more than {limit} characters, this has {length}",
            {"limit": limit, "length": len(text)},
        )
    return mask_cards(text)


def _address_only(value: Any) -> Any:
    # EmailStr would take 'Name <a@b.c>' apart; only the bare address is what we asked for.
    if isinstance(value, str) and "<" in value:
        raise PydanticCustomError("email", "must be a bare e-mail address")
    return value


Text = Annotated[str, AfterValidator(_message_text)]
Email = Annotated[EmailStr, BeforeValidator(_address_only), AfterValidator(str.lower)]
MessageId = Annotated[str, Field(pattern=ID_PATTERN)]


class Input(BaseModel):
    """Base of all inputs: no value is bent into another type; unknown fields do not matter."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class ChatRequest(Input):
    """`POST /api/chat`."""

    message: Text
    email: Email
    session_id: str | None = None
    message_id: MessageId | None = None


class SessionRequest(Input):
    """`POST /api/session`."""

    email: Email
    session_id: str | None = None


class Hello(Input):
    """The first frame of a WebSocket."""

    type: Literal["hello"]
    token: str
    after: int = Field(0, ge=0, le=MAX_SEQUENCE)


class Say(Input):
    """A frame with what the customer wrote."""

    type: Literal["message"]
    message_id: MessageId
    text: Text


def session_id(text: str) -> str:
    """Return the session's id that `text` is, or raise the error that says it is none."""
    if not re.fullmatch(ID_PATTERN, text):
        raise ApiError(404, "not_found", "This is not the id of a session.")
    return text


Known = TypeVar("Known", bound=BaseModel)


def read_json(data: bytes | str) -> Any:
    """Return the JSON value in `data`, or raise the error that says it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "not_json", "This is not JSON.") from error


def read(model: type[Known], value: Any, max_text: int) -> Known:
    """Return `value` as `model`, or raise the error that names the field and what is wrong.

    `max_text` bounds the texts of `Input`s; models of other rooms have bounds of their own.
    """
    if not isinstance(value, dict):
        raise ApiError(422, "invalid", "This must be a JSON object.")
    try:
        return model.model_validate(value, context={"max_text": max_text})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise ApiError(422, "invalid", f"{field}: {text}" if field else text, field=field) from None
