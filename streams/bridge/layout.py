"""Where a record lives: names of streams and subjects, the partitioner, and header encoding.

A topic is one JetStream stream, or shares one with all topics of its prefix (transactions need
that). A record of partition *p* has the subject `<prefix>.<topic>.<p>`, and
`<prefix>.<topic>.<p>.<key token>` when the topic keeps its keys in the subject (compacted topics
always do). The Faust offset of a record is its stream sequence.

All functions here are pure.
"""

import base64
import binascii
import hashlib
import json
import random
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from .errors import ConfigurationError

KEY: Final = "Bridge-Key"
"""Header with the record's key, when the key is plain printable ASCII."""
KEY_BASE64: Final = "Bridge-Key-B64"
"""Header with the record's key in base64, when it is anything else."""
NULL: Final = "Bridge-Null"
"""Header of a record whose value is null (a tombstone), not merely empty."""
TIMESTAMP: Final = "Bridge-Timestamp"
"""Header with the sender's own timestamp, in seconds since 1970."""
HEADERS: Final = "Bridge-Headers"
"""Header with all user headers, when one of them could not travel as a NATS header."""
MESSAGE_ID: Final = "Nats-Msg-Id"
"""JetStream's header for de-duplication."""
ROLLUP: Final = "Nats-Rollup"
"""JetStream's header that makes a record the only one of its subject."""
LIFETIME: Final = "Nats-TTL"
"""JetStream's header with a record's lifetime, in seconds with an `s` behind."""

_KEY_FIRST: Final = f"NATS/1.0\r\n{KEY}: ".encode()
_KEY_START: Final = len(_KEY_FIRST)
_ID_FIRST: Final = f"{MESSAGE_ID}: ".encode()

KEY_TOKEN_MAX: Final = 160
"""Longest key token in characters; keys that would need more are hashed."""

Headers = Iterable[tuple[str, bytes]] | Mapping[str, bytes]

_PREFIX = re.compile(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_SAFE = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE_BYTE = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED_BYTE = re.compile(rb"=([0-9A-F]{2})")
_PLAIN = re.compile(rb"(?:[!-~](?:[ -~]*[!-~])?)?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RESERVED = ("nats-", "bridge-")
_EMPTY_KEY = "="
_NO_KEY = "=-"
_HASHED = "=="


def check_prefix(prefix: str) -> str:
    """Return `prefix`, or raise ConfigurationError if it cannot begin stream names and subjects.

    Letters and digits, with single dashes or underscores between them: so the first double dash
    in a stream name always ends the prefix.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"prefix {prefix!r}: use letters and digits, with single dashes or underscores between"
        )
    return prefix


def escape(name: str) -> str:
    """Return `name` as one subject token that is also safe in a stream name; injective.

    Letters, digits, dash and underscore stay; any other byte of the UTF-8 text becomes `=XX`.
    """
    if _SAFE.fullmatch(name):
        return name
    return _escape(name.encode())


def unescape(token: str) -> str:
    """Undo `escape`."""
    if "=" not in token:
        return token
    return _ESCAPED_BYTE.sub(_unescape_byte, token.encode()).decode()


def _escape(raw: bytes) -> str:
    return _UNSAFE_BYTE.sub(lambda match: b"=%02X" % match[0][0], raw).decode("ascii")


def _unescape_byte(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),))


def key_token(key: bytes | None) -> str:
    """Return the subject token of a record's key: injective, safe, at most `KEY_TOKEN_MAX` long.

    Short keys stay readable; a key that would be too long is replaced by its SHA-256. No key at
    all has a token of its own.
    """
    if key is None:
        return _NO_KEY
    token = _escape(key) or _EMPTY_KEY
    return token if len(token) <= KEY_TOKEN_MAX else _HASHED + hashlib.sha256(key).hexdigest()


def stream_name(prefix: str, topic: str) -> str:
    """Return the name of the JetStream stream that holds `topic`."""
    return f"{prefix}--{escape(topic)}"


def shared_stream(prefix: str) -> str:
    """Return the name of the stream that holds all topics of a prefix, if they share one."""
    return prefix


def description_subject(prefix: str, topic: str) -> str:
    """Return the subject in the shared stream that describes a topic; no topic can have it."""
    return f"{prefix}.=topics.{escape(topic)}"


def offsets_base(prefix: str) -> str:
    """Return the beginning of the subjects in the shared stream that hold committed offsets."""
    return f"{prefix}.=offsets."


def stream_of(subject: str) -> str:
    """Return the name of the stream that holds a subject's records, if its topic has its own."""
    prefix, topic, *_ = subject.split(".", 2)
    return f"{prefix}--{topic}"


def shared_stream_of(subject: str) -> str:
    """Return the name of the stream that holds a subject's records, if topics share one."""
    return shared_stream(subject.partition(".")[0])


def subject(prefix: str, topic: str, partition: int, key: bytes | None = None) -> str:
    """Return the subject of a record; give `key` for topics that keep keys in the subject."""
    base = f"{prefix}.{escape(topic)}.{partition}"
    return base if key is None else f"{base}.{key_token(key)}"


def every_partition(prefix: str, topic: str, *, keyed: bool = False) -> str:
    """Return the subject filter that selects all records of a topic.

    `keyed` for topics that keep keys in the subject.
    """
    return f"{prefix}.{escape(topic)}.*{'.>' if keyed else ''}"


class Place(NamedTuple):
    """What a record's subject says: topic and partition (the key is read from the headers)."""

    topic: str
    partition: int


def parse_subject(subject: str) -> Place:
    """Return topic and partition of a record's subject; ValueError for any other subject."""
    tokens = subject.split(".", 3)
    if len(tokens) < 3:
        raise ValueError(f"not the subject of a record: {subject!r}")
    return Place(unescape(tokens[1]), int(tokens[2]))


class Cause(NamedTuple):
    """The record that a record was sent because of."""

    topic: str
    partition: int
    offset: int


def cause_of(message_id: str | None) -> Cause | None:
    """Return what the id of a record that follows from an event says of that event.

    The producer makes such ids; the records of all other senders yield None.
    """
    parts = (message_id or "").split("/")
    if len(parts) != 8 or not (parts[4].isdecimal() and parts[5].isdecimal()):
        return None
    try:
        return Cause(unescape(parts[2]), int(parts[4]), int(parts[5]))
    except UnicodeDecodeError:  # somebody else's, however much it looks like ours
        return None


def partition_for(key: bytes | None, partitions: int) -> int:
    """Return the partition of `key`, the one that Kafka's clients would choose (murmur2).

    Without a key any partition will do: one is picked at random.
    """
    if key is None:
        return random.randrange(partitions)  # noqa: S311 - spreads load, guards nothing
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=16_384)
def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of `data` with the seed that Kafka's clients use."""
    mixer, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(data)
    value = 0x9747B28C ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * mixer & mask
        word = (word ^ word >> 24) * mixer & mask
        value = (value * mixer & mask) ^ word
    if length > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * mixer & mask
    value = (value ^ value >> 13) * mixer & mask
    return value ^ value >> 15


def encode_headers(
    key: bytes | None,
    value: bytes | None,
    headers: Headers | None = None,
    timestamp: float | None = None,
) -> dict[str, str]:
    """Return the NATS headers of a record: printable ASCII only, whatever the record holds.

    User headers that NATS can carry unchanged stay readable; if only one of them cannot (its
    name, its bytes, or because it occurs twice), all travel together in `Bridge-Headers`. A
    `Nats-Msg-Id` among them is passed on as the record's id for de-duplication.
    """
    encoded: dict[str, str] = {}
    if key is not None:
        if _PLAIN.fullmatch(key):
            encoded[KEY] = key.decode("ascii")
        else:
            encoded[KEY_BASE64] = base64.b64encode(key).decode("ascii")
    if value is None:
        encoded[NULL] = "1"
    if timestamp is not None:
        encoded[TIMESTAMP] = repr(float(timestamp))
    if headers:
        _encode_user_headers(headers, encoded)
    return encoded


def _encode_user_headers(headers: Headers, encoded: dict[str, str]) -> None:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    plain: dict[str, str] = {}
    carried = 0
    for name, raw in pairs:
        content = raw if isinstance(raw, bytes) else str(raw).encode()
        if name == MESSAGE_ID:
            encoded[MESSAGE_ID] = content.decode("ascii", "backslashreplace")
            continue
        carried += 1
        if (
            name not in plain
            and _HEADER_NAME.fullmatch(name)
            and not name.lower().startswith(_RESERVED)
            and _PLAIN.fullmatch(content)
        ):
            plain[name] = content.decode("ascii")
    if len(plain) == carried:
        encoded.update(plain)
        return
    packed = [
        [name, base64.b64encode(raw if isinstance(raw, bytes) else str(raw).encode()).decode()]
        for name, raw in pairs
        if name != MESSAGE_ID
    ]
    encoded[HEADERS] = base64.b64encode(json.dumps(packed).encode()).decode("ascii")


def encode_block(key: bytes | None, message_id: str | None) -> bytes | None:
    """Return the header block of a record that has nothing but these; None if they are odd.

    The same bytes as `header_block(encode_headers(…))`, without the steps between.
    """
    if key is None:
        first = b"NATS/1.0\r\n"
    elif _is_plain(key):
        first = b"%b%b\r\n" % (_KEY_FIRST, key)
    else:
        return None
    if message_id is None:
        return first + b"\r\n"
    return b"%b%b%b\r\n\r\n" % (first, _ID_FIRST, message_id.encode())


@lru_cache(maxsize=16_384)
def _is_plain(key: bytes) -> bool:
    return _PLAIN.fullmatch(key) is not None


def header_block(headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a NATS header block; values must be free of line ends."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return b"NATS/1.0\r\n%b\r\n" % lines.encode("utf-8", "surrogateescape")


class Content(NamedTuple):
    """What a record holds besides its place: the undoing of `encode_headers`."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: float | None
    """The sender's own timestamp in seconds, if it gave one."""
    message_id: str | None


def decode_headers(headers: Mapping[str, str] | None, payload: bytes) -> Content:
    """Return key, value, user headers, timestamp and id of a record.

    Records from publishers that know nothing of the bridge decode too: no key, their own
    headers. What is broken is treated as not there.
    """
    if not headers:
        return Content(None, payload, [], None, None)
    key: bytes | None = None
    value: bytes | None = payload
    timestamp: float | None = None
    message_id: str | None = None
    plain: list[tuple[str, bytes]] = []
    for name, text in headers.items():
        if name == KEY:
            key = _text_bytes(text)
        elif name == KEY_BASE64:
            key = _from_base64(text)
        elif name == NULL:
            value = None
        elif name == TIMESTAMP:
            timestamp = _to_float(text)
        elif name == MESSAGE_ID:
            message_id = text
        elif name == HEADERS:
            plain += _unpack(text)
        elif not name.lower().startswith(_RESERVED):
            plain.append((name, _text_bytes(text)))
    return Content(key, value, plain, timestamp, message_id)


def decode_block(block: bytes, payload: bytes) -> Content:
    """Return what a record holds, from its header block as it came over the wire."""
    if not block:
        return Content(None, payload, [], None, None)
    return decode_headers(parse_headers(block), payload)


def key_of_usual(block: bytes) -> bytes | None:
    """Return the key of a record that has no headers but its key and such as are JetStream's.

    Almost all are such: an id, or a place in a batch. They need no `decode_block`. None means that
    this one does.
    """
    if not block.startswith(_KEY_FIRST) or not block.endswith(b"\r\n\r\n"):
        return None
    end = block.find(b"\r\n", _KEY_START)
    line, last = end + 2, len(block) - 2
    while line != last:
        if not block.startswith(b"Nats-", line):
            return None
        line = block.find(b"\r\n", line) + 2
    return block[_KEY_START:end].strip()


def key_of(block: bytes) -> bytes | None:
    """Return the key of a record, None if it has none."""
    key = key_of_usual(block)
    return decode_block(block, b"").key if key is None else key


def parse_headers(block: bytes) -> dict[str, str]:
    """Return the fields of a header block; bytes that are not UTF-8 survive as surrogates.

    An inline status line (`NATS/1.0 408 Request Timeout`) gives the fields `Status` and
    `Description`.
    """
    first, *lines = block.split(b"\r\n")
    fields: dict[str, str] = {}
    status = first[8:].strip()
    if status:
        code, _, description = status.decode("utf-8", "replace").partition(" ")
        fields["Status"] = code
        fields["Description"] = description
    for line in lines:
        name, separator, value = line.partition(b":")
        if separator:
            fields[name.decode("ascii", "replace")] = value.strip().decode(
                "utf-8", "surrogateescape"
            )
    return fields


def _text_bytes(text: str) -> bytes:
    # Bytes that were not UTF-8 arrive as lone surrogates and leave as what they were.
    return text.encode("utf-8", "surrogateescape")


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _to_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unpack(text: str) -> list[tuple[str, bytes]]:
    packed = _from_base64(text)
    try:
        pairs = json.loads(packed or b"[]")
        return [(str(name), base64.b64decode(raw)) for name, raw in pairs]
    except (ValueError, TypeError):
        return []
