"""Faust's serializers, without their layers where these do nothing.

Between a record and a codec Faust has a coroutine, the schema, the registry and a look-up by
name, each made to be replaced. Where nobody has replaced any of them, and no model is asked for,
all they do is to call the codec; of a hop of some 50 µs they are a tenth.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import faust
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.serializers import codecs, registry, schemas
from faust.types import AppT, EventT, Message
from mode.utils.text import want_bytes, want_str

from .internals import model_maker, plain_json

Decode = Callable[[Message], EventT[Any]]
Load = Callable[[bytes], Any]
Dump = Callable[[Any], bytes | None]

_PLAIN: Final = (dict, str, list, int, float, bool)
"""Types that know nothing of Faust: models and others have their own way to become bytes."""
_CASTS: Final[dict[Any, Callable[[Any], Any]]] = {
    str: want_str,
    bytes: want_bytes,
    int: lambda value: int(want_str(value)),
    float: lambda value: float(want_str(value)),
}
"""What Faust does with a decoded value for which a topic has these types."""


def decoder(app: AppT, schema: Any) -> Decode | None:
    """Return what makes an event of a record, or None where Faust's own way must be taken.

    It raises KeyDecodeError or ValueDecodeError, as Faust's own does.
    """
    loads = loaders(app, schema)
    if loads is None or type(app).create_event is not faust.App.create_event:
        return None
    load_key, load_value = loads
    event_class = cast(Any, app.conf).Event

    def decode(message: Message) -> EventT[Any]:
        key: Any = message.key
        value: Any = message.value
        if key is not None:
            key = load_key(key)
        if value is not None:
            value = load_value(value)
        event: EventT[Any] = event_class(app, key, value, message.headers, message)
        return event

    return decode


def loaders(app: AppT, schema: Any) -> tuple[Load, Load] | None:
    """Return what makes a key and a value of bytes; None where Faust's own way must be taken.

    They raise KeyDecodeError and ValueDecodeError.
    """
    if not _untouched(app, schema):
        return None
    key_codec, value_codec = _codecs(app, schema)
    casts = {None: model_maker(), **_CASTS}
    if schema.key_type not in casts or schema.value_type not in casts:
        return None  # a model, which takes part in decoding
    return (
        _loader(key_codec, casts[schema.key_type], KeyDecodeError),
        _loader(value_codec, casts[schema.value_type], ValueDecodeError),
    )


def _loader(codec: Any, as_type: Callable[[Any], Any], error: type[Exception]) -> Load:
    loads = None if codec is None else codec.loads
    if (plain := _plain_json(codec)) is not None:
        decode = plain[1]

        def loads(data: bytes) -> Any:
            return decode(data.decode())

    def load(data: bytes) -> Any:
        try:
            return as_type(data if loads is None else loads(data))
        except MemoryError:
            raise
        except Exception as exc:
            raise error(str(exc)) from exc

    return load


def dumpers(app: AppT, schema: Any) -> tuple[Dump, Dump] | None:
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
                else serializers.dumps_key(schema.key_type, key, serializer=schema.key_serializer)
            ),
        ),
        _dumper(
            value_codec,
            lambda value: serializers.dumps_value(
                schema.value_type, value, serializer=schema.value_serializer
            ),
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
    plain = _plain_json(codec)
    encode = None if plain is None else plain[0]

    def dump_by_codec(value: Any) -> bytes | None:
        if type(value) is bytes:
            return value  # whoever gives bytes has encoded them
        if type(value) not in _PLAIN:
            return other(value)
        return cast(bytes, dumps(value) if encode is None else encode(value).encode())

    return dump_by_codec


def _plain_json(codec: Any) -> tuple[Callable[[Any], str], Callable[[str], Any]] | None:
    """Return how to encode and decode without the codec, if it is JSON's and nothing more."""
    return plain_json() if type(codec) is codecs.json and not codec.children else None


def _untouched(app: AppT, schema: Any) -> bool:
    """Say whether nobody has replaced what is between record and codec."""
    return type(schema) is schemas.Schema and type(app.serializers) is registry.Registry


def _codecs(app: AppT, schema: Any) -> tuple[Any, Any]:
    serializers = cast(registry.Registry, app.serializers)
    names = (
        schema.key_serializer or serializers.key_serializer,
        schema.value_serializer or serializers.value_serializer,
    )
    key, value = (codecs.get_codec(name) if name else None for name in names)
    return key, value
