"""A record as it comes out of a topic."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .layout import Content, decode_headers, parse_subject


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic.

    `offset` is the stream sequence, from 1 up and with gaps inside a partition; 0 for a record
    that came over a plain NATS subscription, which does not tell. `timestamp` is the sender's
    own if it gave one, else the time of storing, in seconds since 1970 (0.0 if unknown).
    `headers` keep order and duplicates; `message_id` is what JetStream de-duplicates by.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: float = 0.0
    message_id: str | None = None


def decode(msg: Any) -> Record:
    """Return the record that a NATS message carries; ValueError if its subject is no record's.

    Takes what nats-py hands out: a message of a JetStream consumer or of a plain subscription
    (`nats.aio.msg.Msg`), or one read from the stream directly (`nats.js.api.RawStreamMsg`).
    """
    content = decode_headers(msg.headers, msg.data or b"")
    return record_of(msg.subject, *_sequence_and_time(msg), content)


def record_of(subject: str, offset: int, stored: float, content: Content) -> Record:
    """Return the record on `subject` that was `stored` then; ValueError if it is no record's."""
    place = parse_subject(subject)
    return Record(
        topic=place.topic,
        partition=place.partition,
        offset=offset,
        key=content.key,
        value=content.value,
        headers=tuple(content.headers),
        timestamp=stored if content.timestamp is None else content.timestamp,
        message_id=content.message_id,
    )


def _sequence_and_time(msg: Any) -> tuple[int, float]:
    reply = getattr(msg, "reply", None)
    if reply and reply.startswith("$JS.ACK."):
        delivery = parse_delivery(reply)
        return delivery.sequence, delivery.time
    time = getattr(msg, "time", None)
    stored = time.timestamp() if isinstance(time, datetime) else 0.0
    return int(getattr(msg, "seq", None) or 0), stored


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the reply subject of a JetStream delivery tells."""

    consumer: str
    sequence: int
    """The record's sequence in the stream."""
    number: int
    """The delivery's own number: one more than the one before, or something was missed."""
    time: float
    """When the record was stored, in seconds since 1970."""
    pending: int
    """How many more records match the consumer's filter at this moment."""


def parse_delivery(reply: str) -> Delivery:
    """Return what a delivery's reply subject says; ValueError if it is none.

    The last parts are the same for servers with and without a JetStream domain, but for one
    random token at the end of the longer form.
    """
    consumer, sequence, number, nanoseconds, pending = split_delivery(reply.encode())
    return Delivery(consumer.decode(), sequence, number, nanoseconds / 1_000_000_000, pending)


def split_delivery(reply: bytes) -> tuple[bytes, int, int, int, int]:
    """Return what `parse_delivery` does, the time in nanoseconds: for those who read many."""
    tokens = reply.split(b".")
    if len(tokens) == 9:
        _, _, _, consumer, _, sequence, number, nanoseconds, pending = tokens
    elif len(tokens) >= 11:
        consumer, _, sequence, number, nanoseconds, pending = tokens[5:11]
    else:
        raise ValueError(f"not the reply subject of a delivery: {reply!r}")
    return consumer, int(sequence), int(number), int(nanoseconds), int(pending)
