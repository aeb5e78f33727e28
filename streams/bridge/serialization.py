"""Faust's serializers, without their layers where these do nothing.

Between a record and a codec Faust has a coroutine, the schema, the registry and a look-up by
name, each made to be replaced. Where nobody has replaced any of them, and no type is asked for,
all they do is to call the codec; of a hop of some 50 µs they are a tenth.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import faust
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.serializers import codecs, registry, schemas
from faust.types import EventT, Message

from .internals import json_encoder, model_maker

Decode = Callable[[Message], EventT[Any]]
Dump = Callable[[Any], bytes | None]

_PLAIN: Final = (dict, str, list, int, float, bool)
"""Types that know nothing of Faust: models and others have their own way to become bytes."""


def decoder(app: faust.App, schema: Any) -> Decode | None:
    """Return what makes an event of a record, or None where Faust's own way must be taken.

    It raises KeyDecodeError or ValueDecodeError, as Faust's own does.
    """
    if not _untouched(app, schema):
        return None
    key_codec, value_codec = _codecs(app, schema)
    load_key = None if key_codec is None else key_codec.loads
    load_value = None if value_codec is None else value_codec.loads
    as_model = model_maker()
    event_class = cast(Any, app.conf).Event

    def decode(message: Message) -> EventT[Any]:
        key: Any = message.key
        value: Any = message.value
        if key is not None and load_key is not None:
            try:
                key = as_model(load_key(key))
            except MemoryError:
                raise
            except Exception as exc:
                raise KeyDecodeError(str(exc)) from exc
        if value is not None and load_value is not None:
            try:
                value = as_model(load_value(value))
            except MemoryError:
                raise
            except Exception as exc:
                raise ValueDecodeError(str(exc)) from exc
        event: EventT[Any] = event_class(app, key, value, message.headers, message)
        return event

    return decode


def dumpers(app: faust.App, schema: Any) -> tuple[Dump, Dump] | None:
    """Return what makes bytes of a key and of a value; None where Faust's own way must be taken.

    They raise what the codecs do.
    """
    if not _untouched(app, schema):
        return None
    key_codec, value_codec = _codecs(app, schema)
    serializers = cast(registry.Registry, app.serializers)
    return (
        _dumper(
            key_codec,
            lambda key: (
                None  # whatever a serializer would make of it: a record without a key has none
                if key is None
                else serializers.dumps_key(None, key, serializer=schema.key_serializer)
            ),
        ),
        _dumper(
            value_codec,
            lambda value: serializers.dumps_value(None, value, serializer=schema.value_serializer),
        ),
    )


def _dumper(codec: Any, other: Dump) -> Dump:
    if codec is None:

        def dump(value: Any) -> bytes | None:
            if type(value) is bytes:
                return value
            return value.encode() if type(value) is str else other(value)

        return dump

    dumps = codec.dumps
    encode = json_encoder() if type(codec) is codecs.json and not codec.children else None

    def dump_by_codec(value: Any) -> bytes | None:
        if type(value) not in _PLAIN:
            return other(value)
        return cast(bytes, dumps(value) if encode is None else encode(value).encode())

    return dump_by_codec


def _untouched(app: faust.App, schema: Any) -> bool:
    """Say whether nothing between record and codec has been replaced, or asks for a type."""
    return (
        type(schema) is schemas.Schema
        and schema.key_type is None
        and schema.value_type is None
        and type(app.serializers) is registry.Registry
        and type(app).create_event is faust.App.create_event
    )


def _codecs(app: faust.App, schema: Any) -> tuple[Any, Any]:
    serializers = cast(registry.Registry, app.serializers)
    names = (
        schema.key_serializer or serializers.key_serializer,
        schema.value_serializer or serializers.value_serializer,
    )
    key, value = (codecs.get_codec(name) if name else None for name in names)
    return key, value
