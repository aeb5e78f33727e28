"""The dead letters: what cannot be worked on, kept with its bytes, its origin and the reason."""

import logging
from datetime import UTC, datetime
from typing import Final

import faust
from faust.types import EventT

from streams.topics import DEAD_LETTERS

log = logging.getLogger(__name__)

# The headers of a dead letter. Those the record came with stay as they were, beside these.
REASON: Final = "Mesh-Reason"
ORIGIN: Final = "Mesh-Origin"  # topic/partition/offset
BURIED_AT: Final = "Mesh-Buried-At"  # ISO 8601, UTC


class DeadLetters:
    """Writes dead letters. Reading, repairing and redriving them is for people, elsewhere."""

    def __init__(self, app: faust.App, partitions: int, retention: float) -> None:
        self.topic = app.topic(
            DEAD_LETTERS,
            key_serializer="raw",
            value_serializer="raw",
            partitions=partitions,
            retention=retention,
        )

    async def bury(self, event: EventT[object], reason: str) -> None:
        """Keep the record behind `event`: its bytes, key and headers, why, and where it was."""
        record = event.message
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        log.error("dead letter from %s: %s", origin, reason)
        headers = dict(_pairs(record.headers)) | {
            REASON: _one_line(reason).encode(),
            ORIGIN: origin.encode(),
            BURIED_AT: datetime.now(UTC).isoformat().encode(),
        }
        await self.topic.send(
            key=record.key, value=record.value, headers=headers, partition=record.partition
        )


def _pairs(headers: object) -> list[tuple[str, bytes]]:
    if not headers:
        return []
    items = headers.items() if isinstance(headers, dict) else headers
    return [(str(name), bytes(value)) for name, value in items]  # type: ignore[attr-defined]


def _one_line(text: str) -> str:
    """Return `text` fit for a header: headers end at a line's end."""
    return " ".join(text.split())[:1000]
