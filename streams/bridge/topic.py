"""Sending to a topic on a shorter way than Faust's own."""

from collections.abc import Awaitable
from functools import cached_property
from typing import Any, cast

import faust
from faust.types import RecordMetadata
from faust.types.tuples import PendingMessage

from .internals import attaches
from .producer import Producer
from .serialization import Dump, dumpers


class Topic(faust.Topic):
    """Faust's topic. What `send` sends goes straight to our producer.

    Faust makes two futures of each message, one for the sender and one for the producer, and a
    callback between them that takes a turn of the event loop. Where nobody has asked for a
    callback of his own, one future does.
    """

    @cached_property
    def _dumpers(self) -> tuple[Dump, Dump] | None:
        return dumpers(self.app, self.schema) if type(self) is Topic else None

    @cached_property
    def _attaches(self) -> bool:
        return attaches(self.app)

    async def send(
        self,
        *,
        key: Any = None,
        value: Any = None,
        partition: int | None = None,
        timestamp: float | None = None,
        headers: Any = None,
        schema: Any = None,
        key_serializer: Any = None,
        value_serializer: Any = None,
        callback: Any = None,
        force: bool = False,
    ) -> Awaitable[RecordMetadata]:
        """Send a message; the result gives its place once it is stored."""
        app: Any = self.app
        producer = app.producer
        if callback is not None or self._attaches or not isinstance(producer, Producer):
            return await super().send(
                key=key,
                value=value,
                partition=partition,
                timestamp=timestamp,
                headers=headers,
                schema=schema,
                key_serializer=key_serializer,
                value_serializer=value_serializer,
                callback=callback,
                force=force,
            )
        dumps = self._dumpers if key_serializer is value_serializer is schema is None else None
        if dumps is None:
            prepared = self.prepare_headers(headers)
            key, prepared = self.prepare_key(key, key_serializer, schema, prepared)
            value, prepared = self.prepare_value(value, value_serializer, schema, prepared)
        else:
            prepared = self.prepare_headers(headers) if headers else {}
            dump_key, dump_value = dumps
            key, value = dump_key(key), dump_value(value)
        name = self.topics[0] if len(self.topics) == 1 else self.get_topic_name()
        message = PendingMessage(
            self, key, value, partition, timestamp, prepared, key_serializer, value_serializer, None
        )
        sent = producer.send_at_once(name, key, value, partition, timestamp, prepared, message)
        if sent is not None:
            return sent
        producer = await app.maybe_start_producer()
        return cast(
            Awaitable[RecordMetadata],
            await producer.send(name, key, value, partition, timestamp, prepared, message=message),
        )
