"""One record as people see it: JSON where it is JSON, personal data masked unless asked for."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, Field
from pydantic_core import to_json

from streams.bridge.direct import Found
from streams.inspection.expression import Expression
from streams.masking import mask, mask_text

PREVIEW: Final = 160
"""Characters of a record's content that a list of records shows."""

Form = Literal["json", "bytes", "null"]


class RecordView(BaseModel):
    """A record with its place, key, headers and content."""

    topic: str
    partition: int
    offset: int
    at: datetime = Field(description="When it was stored.")
    sent_at: datetime | None = Field(None, description="The sender's own time, if it gave one.")
    key: str | None = None
    headers: list[tuple[str, str]] = []
    message_id: str | None = Field(None, description="What JetStream de-duplicates by.")
    size: int = Field(description="Bytes of the value.")
    form: Form = Field(description="null: a tombstone, which deletes the key.")
    value: Any = Field(None, description="The JSON value, if `form` is json.")
    text: str | None = Field(None, description="The bytes as text, if `form` is bytes.")
    raw: str | None = Field(None, description="All bytes, in base64; only unmasked.")
    masked: bool = True

    def content(self) -> str:
        """Return the content as one text, to search in and to preview."""
        if self.form == "json":
            return json.dumps(self.value, ensure_ascii=False)
        return self.text or ""

    def row(self, columns: Sequence[Expression] = ()) -> dict[str, Any]:
        """Return what a list shows of the record: its place, a preview, and chosen fields."""
        shown = self.model_dump(
            mode="json",
            include={"topic", "partition", "offset", "at", "key", "size", "form"},
        )
        text = self.content()
        shown["preview"] = text if len(text) <= PREVIEW else f"{text[:PREVIEW]}…"
        shown["columns"] = [_short(column.value(self.value)) for column in columns]
        return shown


def view(found: Found, *, unmask: bool = False) -> RecordView:
    """Return a record as people see it; with `unmask` also its raw bytes."""
    record = found.record
    shown = RecordView(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=datetime.fromtimestamp(found.stored, UTC),
        key=None if record.key is None else _readable(record.key),
        headers=[(name, _readable(value)) for name, value in record.headers],
        message_id=None if record.message_id is None else _encodable(record.message_id),
        size=len(record.value or b""),
        form="null",
        masked=not unmask,
    )
    if record.timestamp != found.stored:
        shown.sent_at = datetime.fromtimestamp(record.timestamp, UTC)
    if record.value is not None:
        _add_content(shown, record.value)
        if unmask:
            shown.raw = base64.b64encode(record.value).decode("ascii")
    return shown if unmask else _masked(shown)


def _add_content(shown: RecordView, data: bytes) -> None:
    try:
        value = json.loads(data, parse_constant=_refuse)
        # What no other program would read as JSON is not shown as such: half characters, and what
        # is nested so deeply that writing it fails.
        to_json(value)
    except (ValueError, RecursionError):
        shown.form, shown.text = "bytes", _readable(data)
    else:
        shown.form, shown.value = "json", value


def _masked(shown: RecordView) -> RecordView:
    shown.key = None if shown.key is None else mask_text(shown.key)
    shown.headers = [(name, mask_text(value)) for name, value in shown.headers]
    shown.message_id = None if shown.message_id is None else mask_text(shown.message_id)
    shown.value = mask(shown.value)
    shown.text = None if shown.text is None else mask_text(shown.text)
    return shown


def _refuse(constant: str) -> Any:
    """Refuse NaN and infinity, which Python reads and JSON does not have."""
    raise ValueError(constant)


def _readable(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _encodable(text: str) -> str:
    return _readable(text.encode("utf-8", "surrogateescape"))


def _short(value: Any) -> str:
    """Return a field's value as a column shows it."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= PREVIEW else f"{text[:PREVIEW]}…"
