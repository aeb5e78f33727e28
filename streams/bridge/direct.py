"""Asking a stream for records directly: no consumer is made, and any replica may answer.

What is asked for is named by a subject filter and a place to begin; with the first record comes
how many more there are, so this is also how records are counted.
"""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from .errors import BridgeError
from .layout import decode_headers
from .records import Record, record_of

ANSWER_SECONDS: Final = 5.0
BATCH: Final = 256
"""Records that are asked for at once, if the caller does not say."""


class Found(NamedTuple):
    """One record, as it is stored."""

    record: Record
    stored: float
    """When it was stored, in seconds since 1970; the record's own timestamp may be the sender's."""
    more: int
    """How many records of the filter come after it."""


async def first(
    client: Client,
    stream: str,
    subjects: str,
    *,
    sequence: int = 1,
    since: float | None = None,
) -> Found | None:
    """Return the first record of a filter from `sequence` on, or one stored at `since` or later.

    `since` is in seconds since 1970, by the server's clock. None if there is no such record.
    TimeoutError without an answer, BridgeError for one that cannot be used.
    """
    request: dict[str, Any] = {"next_by_subj": subjects, "batch": 1}
    if since is None:
        request["seq"] = max(sequence, 1)
    else:
        request["start_time"] = datetime.fromtimestamp(since, UTC).isoformat()
    message = await _ask(client, stream, request)
    return None if message is None else _found(message)


async def last(client: Client, stream: str, subjects: str) -> Found | None:
    """Return the last record of a filter, None if there is none; errors as of `first`."""
    message = await _ask(client, stream, {"last_by_subj": subjects})
    return None if message is None else _found(message)


async def batch(
    client: Client,
    stream: str,
    subjects: str,
    sequence: int,
    size: int,
    *,
    max_bytes: int | None = None,
) -> tuple[list[Found], int]:
    """Return up to `size` records of a filter from `sequence` on, and where to read on.

    That place is 0 at the end. Past `max_bytes` no further record comes, but one always does.
    Errors as of `first`.
    """
    subscription = await client.subscribe(client.new_inbox())
    request: dict[str, Any] = {"seq": max(sequence, 1), "next_by_subj": subjects, "batch": size}
    if max_bytes is not None:
        request["max_bytes"] = max_bytes
    records: list[Found] = []
    try:
        await client.publish(_subject(stream), json.dumps(request).encode(), subscription.subject)
        while True:
            message = await subscription.next_msg(ANSWER_SECONDS)
            headers = message.headers or {}
            if headers.get("Status") == "204":  # the end of this batch
                more = int(headers.get("Nats-Num-Pending", "0")) > 0
                return records, records[-1].record.offset + 1 if more and records else 0
            if _nothing(stream, headers):
                return records, 0
            records.append(_found(message))
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()


async def every(
    client: Client,
    stream: str,
    subjects: str,
    sequence: int = 1,
    *,
    size: int = BATCH,
    max_bytes: int | None = None,
) -> AsyncIterator[Found]:
    """Yield the records of a filter from `sequence` on, to the end; asked for as by `batch`."""
    while sequence:
        records, sequence = await batch(
            client, stream, subjects, sequence, size, max_bytes=max_bytes
        )
        for found in records:
            yield found


def _subject(stream: str) -> str:
    return f"$JS.API.DIRECT.GET.{stream}"


async def _ask(client: Client, stream: str, request: dict[str, Any]) -> Msg | None:
    try:
        message = await client.request(
            _subject(stream), json.dumps(request).encode(), timeout=ANSWER_SECONDS
        )
    except nats.errors.NoRespondersError as exc:
        raise TimeoutError(f"nobody answers for stream {stream!r}") from exc
    return None if _nothing(stream, message.headers or {}) else message


def _nothing(stream: str, headers: dict[str, str]) -> bool:
    """Say whether the answer is that there is no record; BridgeError if it is an error."""
    match headers.get("Status"):
        case None:
            return False
        case "404":
            return True
        case "503":
            raise TimeoutError(f"stream {stream!r} is not available")
        case status:
            raise BridgeError(f"stream {stream!r} cannot be read: status {status}")


def _found(message: Msg) -> Found:
    headers = message.headers or {}
    stored = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    record = record_of(
        headers["Nats-Subject"],
        int(headers["Nats-Sequence"]),
        stored,
        decode_headers(headers, message.data),
    )
    return Found(record, stored, int(headers.get("Nats-Num-Pending", "0")))
