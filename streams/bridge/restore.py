"""Bringing tables up to date from their changelogs, many records at a time.

Faust takes changelog records one by one, each through a queue, a task and a timer: some thousands
a second. Recovery is time in which a worker's partitions stand still, so here whole batches go
from the reader into the table's store, which takes batches anyway.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import faust
from faust.types import TP, AppT

from .internals import restored, restoring, seen_offset, wants_each
from .layout import decode_block, key_of_usual
from .reader import Delivered
from .serialization import Load, loaders

logger = logging.getLogger(__name__)


class ChangeMessage(NamedTuple):
    """What stores want to know of a changelog's record."""

    tp: TP
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class _Loader(NamedTuple):
    """How the changelog of one table is decoded."""

    key: Load
    value: Load


class Change:
    """A changelog's record as stores take it; decoded when they ask, which RocksDB never does."""

    __slots__ = ("_loader", "message")

    def __init__(self, message: ChangeMessage, loader: _Loader) -> None:
        self.message = message
        self._loader = loader

    @property
    def key(self) -> Any:
        """The decoded key; KeyDecodeError if it cannot be."""
        return self._loader.key(cast(bytes, self.message.key))

    @property
    def value(self) -> Any:
        """The decoded value, None for a deletion; ValueDecodeError if it cannot be."""
        value = self.message.value
        return None if value is None else self._loader.value(value)


class Restorer:
    """Applies changelogs to the tables of one app."""

    def __init__(self, app: AppT) -> None:
        self.app = app
        self._loaders: dict[str, _Loader] = {}
        self._one_by_one: set[str] = set()

    def table(self, tp: TP) -> Any:
        """Return the table that this changelog is being read for in batches, None otherwise.

        Not so are tables that want to be told of each change, those whose schema is the user's
        own, and those in which a batch has failed: Faust then says what is wrong with which.
        """
        table = None if tp.topic in self._one_by_one else restoring(self.app, tp)
        if table is not None and tp.topic not in self._loaders:
            loads = self._loads(table.changelog_topic.schema)
            if loads is None or wants_each(table):
                self._one_by_one.add(tp.topic)
                return None
            self._loaders[tp.topic] = loads
        return table

    def _loads(self, schema: Any) -> _Loader | None:
        """Return how to decode by a schema, None if that is the user's own."""
        if type(schema) is not faust.Schema:
            return None
        short = loaders(self.app, schema)
        if short is not None:
            return _Loader(*short)
        load = self.app.serializers
        return _Loader(
            partial(load.loads_key, schema.key_type, serializer=schema.key_serializer),
            partial(load.loads_value, schema.value_type, serializer=schema.value_serializer),
        )

    def apply(self, tp: TP, table: Any, records: Sequence[Delivered]) -> bool:
        """Apply records to a table; say if that was possible."""
        seen = seen_offset(self.app, tp)
        loader = self._loaders[tp.topic]
        partition = tp.partition
        changes: list[Change] = []
        for _, sequence, _, header, payload in records:
            if sequence > seen:
                key: bytes | None = key_of_usual(header)
                value: bytes | None = payload
                if key is None:
                    key, value, _, _, _ = decode_block(header, payload)
                changes.append(Change(ChangeMessage(tp, partition, sequence, key, value), loader))
        try:
            table.apply_changelog_batch(changes)
        except Exception as exc:
            logger.warning("%s: %r in a batch; going on one by one", tp.topic, exc)
            self._one_by_one.add(tp.topic)
            return False
        restored(self.app, tp, records[-1].sequence)
        return True
