"""Topics as JetStream streams: declaring them, and finding out which there are.

A topic has a stream of its own, or all topics of a prefix share one. Sharing is what transactions
need, as an atomic batch goes into a single stream; a stream of its own is what lets a topic have
limits, and be looked at and moved, by itself. A prefix has the one or the other layout: the one
of whoever declares its first topic.
"""

import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)

from .connection import patiently
from .errors import ConfigurationError, TopicMismatch
from .internals import client_of
from .layout import (
    LIFETIME,
    ROLLUP,
    check_prefix,
    description_subject,
    escape,
    every_partition,
    shared_stream,
    stream_name,
    unescape,
)
from .refusals import WRONG_REVISION, explain

_TOPIC: Final = "bridge.topic"
_PREFIX: Final = "bridge.prefix"
_PARTITIONS: Final = "bridge.partitions"
_COMPACTED: Final = "bridge.compacted"
_KEY_IN_SUBJECT: Final = "bridge.key_in_subject"
_TOMBSTONE_AGE: Final = "bridge.tombstone_age"
_OWNER: Final = "bridge.owner"
IDENTITY: Final = "bridge.id"
"""Metadata that tells a stream from a later one with the same name."""

_NAME_IN_USE: Final = 10058
_SUBJECTS_OVERLAP: Final = 10065

_NO_TRANSACTIONS: Final = (
    "a prefix that has topics in streams of their own cannot have transactions: "
    "give the app another prefix"
)

TOMBSTONE_SECONDS: Final = 86_400
"""How long tombstones stay in a compacted topic, unless the topic says otherwise."""


@dataclass(frozen=True)
class TopicSpec:
    """What a topic shall be. Only partitions and layout must match a topic that exists already."""

    topic: str
    partitions: int
    prefix: str = "faust"
    compacted: bool = False
    """Keep only the last record of each key, at once and exactly."""
    key_in_subject: bool = False
    """Put the key token into the subject; compacted topics always do."""
    max_age: float | None = None
    """Seconds after which records go; None keeps them."""
    max_bytes: int | None = None
    """Size of the stream past which the oldest records go; None for no limit."""
    storage: Literal["file", "memory"] = "file"
    replicas: int = 1
    duplicate_window: float = 600.0
    """Seconds in which a repeated message id is recognised."""
    tombstone_age: float = TOMBSTONE_SECONDS
    """Seconds that a deleted key's tombstone stays in a compacted topic before it goes too."""
    owner: str = ""
    """Who declared it; kept in the stream's metadata."""
    shared: bool = False
    """Keep all topics of the prefix in one stream, as transactions need it."""

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        if not self.topic:
            raise ConfigurationError("a topic needs a name")
        if self.partitions < 1:
            raise ConfigurationError(f"topic {self.topic!r}: {self.partitions} partitions")
        if self.shared and self.max_bytes:
            raise ConfigurationError(
                f"topic {self.topic!r}: max_bytes is not possible where topics share a stream"
            )


@dataclass(frozen=True)
class TopicInfo:
    """A topic that exists."""

    topic: str
    prefix: str
    partitions: int
    compacted: bool
    key_in_subject: bool
    stream: str
    """The name of its JetStream stream."""
    owner: str = ""
    identity: str = ""
    """Differs when the topic was deleted and created anew."""
    messages: int = 0
    bytes: int = 0
    """Of its stream: of all topics together where they share one."""
    first_offset: int = 0
    """The oldest sequence in the stream; 0 when it never held a record."""
    last_offset: int = 0
    """The newest sequence that was given out, whether or not the record still exists."""
    max_age: float | None = None
    """Seconds after which records go; None if they stay."""
    tombstone_age: float = TOMBSTONE_SECONDS
    """Seconds that a deleted key's tombstone stays."""
    created: datetime | None = None
    """When its stream was made."""

    @property
    def shared(self) -> bool:
        """Whether the topic shares its stream with the others of its prefix."""
        return self.stream == shared_stream(self.prefix)

    def headers(self, *, tombstone: bool) -> dict[str, str]:
        """Return the headers that tell JetStream what to do with a record of this topic."""
        lifetime = self.tombstone_age if tombstone and self.compacted else None
        headers: dict[str, str] = {}
        if self.shared:
            if self.compacted:
                headers[ROLLUP] = "sub"
            if self.max_age:
                lifetime = min(lifetime or self.max_age, self.max_age)
        if lifetime:
            headers[LIFETIME] = f"{max(1, round(lifetime))}s"
        return headers

    @property
    def keyed(self) -> bool:
        """Whether subjects end in a key token."""
        return self.compacted or self.key_in_subject

    def filter(self, partition: int) -> str:
        """Return the subject filter that selects the records of one partition."""
        base = f"{self.prefix}.{escape(self.topic)}.{partition}"
        return f"{base}.>" if self.keyed else base


def stream_config(spec: TopicSpec) -> StreamConfig:
    """Return the stream configuration of a topic."""
    keyed = spec.compacted or spec.key_in_subject
    max_age = spec.max_age or 0
    window = min(spec.duplicate_window, max_age) if max_age else spec.duplicate_window
    return StreamConfig(
        name=stream_name(spec.prefix, spec.topic),
        description=f"topic {spec.topic}",
        subjects=[every_partition(spec.prefix, spec.topic, keyed=keyed)],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        storage=StorageType(spec.storage),
        num_replicas=spec.replicas,
        max_age=max_age,
        max_bytes=spec.max_bytes or -1,
        max_msgs_per_subject=1 if spec.compacted else -1,
        duplicate_window=window,  # the server wants it no longer than the records live
        allow_direct=True,
        allow_msg_ttl=True if spec.compacted else None,
        metadata={
            _TOPIC: spec.topic,
            _PREFIX: spec.prefix,
            _PARTITIONS: str(spec.partitions),
            _COMPACTED: _flag(spec.compacted),
            _KEY_IN_SUBJECT: _flag(spec.key_in_subject),
            _TOMBSTONE_AGE: repr(spec.tombstone_age),
            _OWNER: spec.owner,
            IDENTITY: new_identity(),
        },
    )


def new_identity() -> str:
    """Return what tells a new stream from all others."""
    return secrets.token_hex(4)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def shared_stream_config(spec: TopicSpec) -> StreamConfig:
    """Return the configuration of the stream that all topics of a prefix share."""
    return StreamConfig(
        name=shared_stream(spec.prefix),
        description=f"all topics of {spec.prefix}",
        subjects=[f"{spec.prefix}.*.>"],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        storage=StorageType(spec.storage),
        num_replicas=spec.replicas,
        duplicate_window=spec.duplicate_window,
        allow_direct=True,
        allow_msg_ttl=True,
        allow_rollup_hdrs=True,
        allow_atomic=True,
        metadata={_PREFIX: spec.prefix, IDENTITY: new_identity()},
    )


async def declare(js: JetStreamContext, spec: TopicSpec) -> TopicInfo:
    """Create a topic, or check the one that is there; return what it is.

    Idempotent, and safe when several processes do it at once. Limits of a topic that exists are
    left as they are, as Kafka does. A prefix whose topics share a stream gets its further topics
    there too, whoever declares them. Waits for as long as JetStream cannot answer.

    Raises TopicMismatch when a topic exists with other partitions or another layout,
    AccessDenied when the account may not create streams.
    """
    info = await lookup(js, spec.prefix, spec.topic)
    if info is None:
        if spec.shared or await _has_shared_stream(js, spec.prefix):
            info = await _declare_shared(js, spec)
        else:
            info = await _declare_own(js, spec)
    _verify(spec, info)
    return info


async def limit(js: JetStreamContext, spec: TopicSpec) -> bool:
    """Give a topic that exists the limits of `spec`; return whether it had others.

    Topics that share a stream have none of their own, and stay as they are. Waits for as long as
    JetStream cannot answer. AccessDenied where the account may not change streams,
    ConfigurationError for limits that the server refuses.
    """
    info = await lookup(js, spec.prefix, spec.topic)
    if info is None or info.shared:
        return False
    client, what = client_of(js), f"change the limits of topic {spec.topic!r}"
    config = (await patiently(client, what, lambda: js.stream_info(info.stream))).config
    wanted = stream_config(spec)
    if (config.max_age or 0, config.max_bytes or -1) == (wanted.max_age, wanted.max_bytes):
        return False
    changed = config.evolve(
        max_age=wanted.max_age,
        max_bytes=wanted.max_bytes,
        duplicate_window=wanted.duplicate_window,
    )
    try:
        await patiently(client, what, lambda: js.update_stream(changed))
    except nats.js.errors.APIError as exc:
        raise ConfigurationError(f"topic {spec.topic!r}: {explain(vars(exc))}") from exc
    return True


async def _declare_own(js: JetStreamContext, spec: TopicSpec) -> TopicInfo:
    name = stream_name(spec.prefix, spec.topic)
    config = stream_config(spec)

    async def make_or_find() -> StreamInfo:
        made = await _add_stream(js, spec, config)
        if made is not None:
            return made
        try:
            return await js.stream_info(name)
        except nats.js.errors.NotFoundError as exc:
            # In a cluster the name is taken a moment before the stream is there.
            raise TimeoutError("the stream does not answer yet") from exc

    topic = topic_info(await patiently(client_of(js), f"create topic {spec.topic!r}", make_or_find))
    if topic is None:
        raise TopicMismatch(f"stream {name!r} exists but is not a topic")
    return topic


async def _add_stream(
    js: JetStreamContext, spec: TopicSpec, config: StreamConfig
) -> StreamInfo | None:
    """Create a stream; None if there is one of that name with another configuration."""
    what = f"create topic {spec.topic!r}"
    try:
        return await patiently(client_of(js), what, lambda: js.add_stream(config))
    except nats.js.errors.APIError as exc:
        if exc.err_code == _SUBJECTS_OVERLAP:
            raise TopicMismatch(
                f"topic {spec.topic!r}: another stream takes subjects below {spec.prefix} already"
                + (f"; {_NO_TRANSACTIONS}" if spec.shared else "")
            ) from exc
        if exc.err_code != _NAME_IN_USE:
            raise ConfigurationError(f"topic {spec.topic!r}: {explain(vars(exc))}") from exc
        return None  # somebody was faster


async def _has_shared_stream(js: JetStreamContext, prefix: str) -> bool:
    stream = shared_stream(prefix)
    try:
        info = await patiently(
            client_of(js), f"look up the topics of {prefix!r}", lambda: js.stream_info(stream)
        )
    except nats.js.errors.NotFoundError:
        return False
    return bool(info.config.allow_atomic)


async def _declare_shared(js: JetStreamContext, spec: TopicSpec) -> TopicInfo:
    if not await _has_shared_stream(js, spec.prefix):
        await _add_stream(js, spec, shared_stream_config(spec))
    description = {
        "partitions": spec.partitions,
        "compacted": spec.compacted,
        "key_in_subject": spec.key_in_subject or spec.compacted,
        "max_age": spec.max_age,
        "tombstone_age": spec.tombstone_age,
        "owner": spec.owner,
    }

    async def describe_it() -> None:
        try:
            await js.publish(
                description_subject(spec.prefix, spec.topic),
                json.dumps(description).encode(),
                stream=shared_stream(spec.prefix),
                headers={"Nats-Expected-Last-Subject-Sequence": "0"},
            )
        except nats.js.errors.NoStreamResponseError as exc:
            raise TimeoutError("the stream does not answer yet") from exc

    try:
        await patiently(client_of(js), f"create topic {spec.topic!r}", describe_it)
    except nats.js.errors.APIError as exc:
        if exc.err_code != WRONG_REVISION:  # somebody was faster
            raise ConfigurationError(f"topic {spec.topic!r}: {explain(vars(exc))}") from exc
    info = await lookup(js, spec.prefix, spec.topic)
    if info is None:
        raise TopicMismatch(f"topic {spec.topic!r} was removed while it was created")
    return info


async def remove(js: JetStreamContext, info: TopicInfo) -> None:
    """Delete a topic with all its records."""
    if not info.shared:
        await js.delete_stream(info.stream)
        return
    await js.purge_stream(info.stream, subject=f"{info.prefix}.{escape(info.topic)}.>")
    await js.purge_stream(info.stream, subject=description_subject(info.prefix, info.topic))


def check_shared(info: TopicInfo) -> None:
    """Raise TopicMismatch for a topic that transactions cannot write to."""
    if not info.shared:
        raise TopicMismatch(
            f"topic {info.topic!r} has a stream of its own ({info.stream!r}); {_NO_TRANSACTIONS}"
        )


def _verify(spec: TopicSpec, info: TopicInfo) -> None:
    if spec.shared:
        check_shared(info)
    wanted = replace(spec, key_in_subject=spec.key_in_subject or spec.compacted)
    for what, want, have in (
        ("partitions", wanted.partitions, info.partitions),
        ("compacted", wanted.compacted, info.compacted),
        ("key_in_subject", wanted.key_in_subject, info.keyed),
    ):
        if want != have:
            raise TopicMismatch(
                f"topic {spec.topic!r} exists with {what}={have}, but {what}={want} is wanted "
                f"(stream {info.stream!r}; delete it, or change the declaration)"
            )


async def lookup(js: JetStreamContext, prefix: str, topic: str) -> TopicInfo | None:
    """Return the topic if it exists, else None; waits for as long as JetStream cannot answer."""

    async def find() -> TopicInfo | None:
        try:
            return topic_info(await js.stream_info(stream_name(prefix, topic)))
        except nats.js.errors.NotFoundError:
            return await _lookup_shared(js, prefix, topic)

    return await patiently(client_of(js), f"look up topic {topic!r}", find)


async def _lookup_shared(js: JetStreamContext, prefix: str, topic: str) -> TopicInfo | None:
    stream = shared_stream(prefix)
    try:
        info = await js.stream_info(stream)
        message = await js.get_last_msg(stream, description_subject(prefix, topic))
    except nats.js.errors.NotFoundError:
        return None
    return _described(prefix, topic, info, message.data or b"")


def _described(prefix: str, topic: str, info: StreamInfo, description: bytes) -> TopicInfo:
    said: dict[str, Any] = json.loads(description)
    return TopicInfo(
        topic=topic,
        prefix=prefix,
        stream=shared_stream(prefix),
        identity=identity_of(info),
        bytes=info.state.bytes,
        first_offset=info.state.first_seq,
        last_offset=info.state.last_seq,
        created=info.created,
        **said,
    )


def identity_of(info: StreamInfo) -> str:
    """Return what tells a stream from a later one with the same name.

    It is what its maker has given it, which a backup keeps, else when it was made.
    """
    made = info.created.isoformat() if info.created else ""
    return (info.config.metadata or {}).get(IDENTITY, made)


def topic_info(info: StreamInfo) -> TopicInfo | None:
    """Return what a stream says of itself, or None if it is not one of our topics."""
    metadata: dict[str, Any] = info.config.metadata or {}
    name = info.config.name
    if _TOPIC not in metadata or name is None:
        return None
    return TopicInfo(
        topic=metadata[_TOPIC],
        prefix=metadata[_PREFIX],
        partitions=int(metadata[_PARTITIONS]),
        compacted=metadata[_COMPACTED] == "true",
        key_in_subject=metadata[_KEY_IN_SUBJECT] == "true",
        stream=name,
        owner=metadata.get(_OWNER, ""),
        identity=identity_of(info),
        messages=info.state.messages,
        bytes=info.state.bytes,
        first_offset=info.state.first_seq,
        last_offset=info.state.last_seq,
        max_age=info.config.max_age or None,
        tombstone_age=float(metadata.get(_TOMBSTONE_AGE, TOMBSTONE_SECONDS)),
        created=info.created,
    )


async def every_stream(js: JetStreamContext) -> AsyncIterator[StreamInfo]:
    """Yield all streams of the account, which the server tells page by page."""
    offset = 0
    while page := await js.streams_info(offset):
        offset += len(page)
        for info in page:
            yield info


async def describe(js: JetStreamContext, prefix: str) -> list[TopicInfo]:
    """Return all topics below `prefix`, by name."""
    found = [topic_info(info) async for info in every_stream(js)]
    topics = [topic for topic in found if topic is not None and topic.prefix == prefix]
    topics += await _describe_shared(js, prefix)
    return sorted(topics, key=lambda topic: topic.topic)


async def _describe_shared(js: JetStreamContext, prefix: str) -> list[TopicInfo]:
    stream = shared_stream(prefix)
    try:
        info = await js.stream_info(stream, subjects_filter=f"{prefix}.>")
    except nats.js.errors.NotFoundError:
        return []
    counts: Counter[str] = Counter()
    for subject, count in (info.state.subjects or {}).items():
        counts[subject.split(".", 2)[1]] += count
    base = description_subject(prefix, "")
    topics: list[TopicInfo] = []
    for subject in info.state.subjects or {}:
        if subject.startswith(base):
            token = subject.removeprefix(base)
            message = await js.get_last_msg(stream, subject)
            topic = _described(prefix, unescape(token), info, message.data or b"")
            topics.append(replace(topic, messages=counts[token]))
    return topics
