"""A record on its way through the streams, and what its events send."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

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


class Together:
    """Inputs that an agent works on at one go, as `Stream.take` gives them.

    What it sends then belongs to none of them alone: it is stored with all their offsets.
    """

    __slots__ = ("generation_id", "last", "sent")

    sent: list[Output] | None
    """What is to be stored together with the acknowledgement of all of them; None: at once."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        in_order = sorted(inputs, key=lambda message: message.offset)
        self.last = list({message.tp: message for message in in_order}.values())
        """The last one of each partition."""
        self.generation_id: int | None = inputs[0].generation_id
        self.sent = []


worked_on_together: Final[ContextVar[Together | None]] = ContextVar("together", default=None)
"""What an agent works on that has taken several events."""
