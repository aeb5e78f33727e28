"""A record on its way through the streams, and what its events send."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from faust.types import TP, ConsumerMessage

from .layout import decode_block, key_of_usual
from .reader import Delivered

SENDERS_TIME: Final = 0
"""The type of a timestamp that the sender has given, as in Kafka."""
LOG_TIME: Final = 1
"""The type of a timestamp that is the time of storing, as in Kafka."""


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

    outputs: dict[tuple[str, str], int] | None
    """How many records each agent has sent to each topic; None for nothing at all."""
    sent: list[Output] | None
    """What is to be stored together with the record's own acknowledgement; None: at once."""

    def __init__(self, tp: TP, record: Delivered, generation: int | None) -> None:
        """Make of a delivered record what is handed on, in a generation of its group.

        Every field is set here, as Faust's own way, three calls deep, takes twice as long.
        """
        self.topic, self.partition = self.tp = tp
        self.offset = record.sequence
        key = key_of_usual(record.header)
        if key is not None:
            self.key = key
            self.value = record.payload
            self.headers = []
            self.timestamp = record.time
            self.timestamp_type = LOG_TIME
        else:
            self._decode(record)
        self.checksum = None
        self.serialized_key_size = len(self.key) if self.key else 0
        self.serialized_value_size = len(self.value) if self.value else 0
        self.acked = self.tracked = False
        self.refcount = 0
        self.time_in = self.time_out = self.time_total = None
        self.generation_id = generation
        self.outputs = self.sent = None

    def _decode(self, record: Delivered) -> None:
        content = decode_block(record.header, record.payload)
        self.key = content.key
        self.value = content.value
        self.headers = content.headers
        own_time = content.timestamp
        self.timestamp = record.time if own_time is None else own_time
        self.timestamp_type = LOG_TIME if own_time is None else SENDERS_TIME


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
