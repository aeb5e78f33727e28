"""A record on its way through the streams, and what its events send."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faust.types import TP, ConsumerMessage

from .layout import decode_block
from .reader import Delivered


@dataclass(slots=True)
class Output:
    """A record ready to be sent."""

    subject: str
    payload: bytes
    block: bytes
    """Its headers as they go over the wire."""
    message_id: str | None
    """The id by which JetStream recognises it, if it has one."""
    superseding: bool
    """Whether only the last record of its subject counts (compaction)."""
    result: Callable[[int], Any]
    """Makes what the sender is told out of the record's sequence."""
    future: "asyncio.Future[Any] | None" = None
    """Who wants to know once it is stored."""


class Input(ConsumerMessage):
    """An input record, which counts what is sent because of it."""

    __slots__ = ("outputs", "sent")

    outputs: dict[tuple[str, str], int]
    """How many records each agent has sent to each topic."""
    sent: list[Output] | None
    """What is to be stored together with the record's own acknowledgement; None: at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outputs = {}
        self.sent = None


def to_input(tp: TP, record: Delivered, generation: int | None) -> Input:
    """Return a record as it is handed on, in a generation of its group."""
    content = decode_block(record.header, record.payload)
    own_time = content.timestamp
    return Input(
        tp.topic,
        tp.partition,
        record.sequence,
        record.time if own_time is None else own_time,
        1 if own_time is None else 0,  # as in Kafka: 0 is the sender's time, 1 the log's
        content.headers,
        content.key,
        content.value,
        None,
        tp=tp,
        generation_id=generation,
    )
