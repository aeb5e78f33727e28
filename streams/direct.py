"""JetStream's direct get: records of one subject by sequence or by time, without a consumer."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import ServiceUnavailableError

from streams.bridge.layout import decode_headers, parse_subject
from streams.bridge.records import Record

_WITHIN: Final = 5.0  # seconds


async def read_subject(
    client: Client, stream: str, subject: str, position: int, batch: int
) -> tuple[list[Record], int]:
    """Return up to `batch` records of a subject from `position` on, and where to read on.

    That is 0 at the end. A batch is a single request; nats-py offers only one message a request.
    Raises errors of nats-py, TimeoutError among them.
    """
    request = {"seq": position, "next_by_subj": subject, "batch": batch}
    subscription = await client.subscribe(client.new_inbox())
    found: list[Record] = []
    try:
        await client.publish(_place(stream), json.dumps(request).encode(), subscription.subject)
        while True:
            message = await subscription.next_msg(_WITHIN)
            headers = message.headers or {}
            match headers.get("Status"):
                case None:
                    found.append(_record(message))
                    position = found[-1].offset + 1
                case "204":  # the end of this batch
                    more = int(headers.get("Nats-Num-Pending", "0")) > 0
                    return found, position if more else 0
                case "404":  # nothing there
                    return found, 0
                case status:
                    raise _refused(status)
    finally:
        await subscription.unsubscribe()


async def record_at(client: Client, stream: str, sequence: int) -> Record | None:
    """Return the record with this sequence, None if there is none (any more).

    Raises errors of nats-py, TimeoutError among them.
    """
    answer = await _request(client, stream, {"seq": sequence})
    return None if answer is None else _record(answer)


async def sequence_at(client: Client, stream: str, subject: str, moment: float) -> int:
    """Return the sequence of a subject's first record since `moment` (seconds since 1970), or 0.

    Raises errors of nats-py, TimeoutError among them.
    """
    since = datetime.fromtimestamp(moment, UTC).isoformat()
    answer = await _request(client, stream, {"start_time": since, "next_by_subj": subject})
    return 0 if answer is None else int((answer.headers or {})["Nats-Sequence"])


async def _request(client: Client, stream: str, request: dict[str, Any]) -> Msg | None:
    answer = await client.request(_place(stream), json.dumps(request).encode(), timeout=_WITHIN)
    match (answer.headers or {}).get("Status"):
        case None:
            return answer
        case "404":
            return None
        case status:
            raise _refused(status)


def _record(message: Msg) -> Record:
    headers = message.headers or {}
    place = parse_subject(headers["Nats-Subject"])
    content = decode_headers(headers, message.data)
    stored = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    return Record(
        topic=place.topic,
        partition=place.partition,
        offset=int(headers["Nats-Sequence"]),
        key=content.key,
        value=content.value,
        headers=tuple(content.headers),
        timestamp=stored if content.timestamp is None else content.timestamp,
        message_id=content.message_id,
    )


def _place(stream: str) -> str:
    return f"$JS.API.DIRECT.GET.{stream}"


def _refused(status: Any) -> ServiceUnavailableError:
    return ServiceUnavailableError(description=f"direct get: status {status}")
