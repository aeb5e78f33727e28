"""Topics as JetStream streams: declaring them, and finding out which there are."""

import secrets
from dataclasses import dataclass, replace
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
from .layout import check_prefix, escape, stream_name
from .refusals import explain

_TOPIC: Final = "bridge.topic"
_PREFIX: Final = "bridge.prefix"
_PARTITIONS: Final = "bridge.partitions"
_COMPACTED: Final = "bridge.compacted"
_KEY_IN_SUBJECT: Final = "bridge.key_in_subject"
_OWNER: Final = "bridge.owner"
IDENTITY: Final = "bridge.id"
"""Metadata that tells a stream from a later one with the same name."""

_NAME_IN_USE: Final = 10058
_SUBJECTS_OVERLAP: Final = 10065

TOMBSTONE_SECONDS: Final = 86_400
"""How long a deleted key's tombstone stays in a compacted topic before it goes too."""


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
    owner: str = ""
    """Who declared it; kept in the stream's metadata."""

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        if not self.topic:
            raise ConfigurationError("a topic needs a name")
        if self.partitions < 1:
            raise ConfigurationError(f"topic {self.topic!r}: {self.partitions} partitions")


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
    """Differs when the topic was deleted and created anew; empty if whoever made it gave none."""
    messages: int = 0
    bytes: int = 0
    first_offset: int = 0
    """The oldest sequence in the stream; 0 when it never held a record."""
    last_offset: int = 0
    """The newest sequence that was given out, whether or not the record still exists."""

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
        subjects=[f"{spec.prefix}.{escape(spec.topic)}.*{'.>' if keyed else ''}"],
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
            _OWNER: spec.owner,
            IDENTITY: new_identity(),
        },
    )


def new_identity() -> str:
    """Return what tells a new stream from all others."""
    return secrets.token_hex(4)


def _flag(value: bool) -> str:
    return "true" if value else "false"


async def declare(js: JetStreamContext, spec: TopicSpec) -> TopicInfo:
    """Create the stream of a topic, or check the one that is there; return what it is.

    Idempotent, and safe when several processes do it at once. Limits of a topic that exists are
    left as they are, as Kafka does. Waits for as long as JetStream cannot answer.

    Raises TopicMismatch when a topic exists with other partitions or another layout,
    AccessDenied when the account may not create streams.
    """
    info = await lookup(js, spec.prefix, spec.topic)
    if info is None:
        config = stream_config(spec)
        try:
            info = topic_info(
                await patiently(
                    client_of(js), f"create topic {spec.topic!r}", lambda: js.add_stream(config)
                )
            )
        except nats.js.errors.APIError as exc:
            if exc.err_code == _SUBJECTS_OVERLAP:
                raise TopicMismatch(
                    f"topic {spec.topic!r}: another stream takes subjects below "
                    f"{spec.prefix}.{escape(spec.topic)} already"
                ) from exc
            if exc.err_code != _NAME_IN_USE:
                raise ConfigurationError(f"topic {spec.topic!r}: {explain(vars(exc))}") from exc
            info = await lookup(js, spec.prefix, spec.topic)  # somebody was faster
    if info is None:
        raise TopicMismatch(
            f"stream {stream_name(spec.prefix, spec.topic)!r} exists but is not a topic"
        )
    _verify(spec, info)
    return info


def _verify(spec: TopicSpec, info: TopicInfo) -> None:
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
    name = stream_name(prefix, topic)
    try:
        return topic_info(
            await patiently(client_of(js), f"look up topic {topic!r}", lambda: js.stream_info(name))
        )
    except nats.js.errors.NotFoundError:
        return None


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
        identity=metadata.get(IDENTITY, ""),
        messages=info.state.messages,
        bytes=info.state.bytes,
        first_offset=info.state.first_seq,
        last_offset=info.state.last_seq,
    )


async def describe(js: JetStreamContext, prefix: str) -> list[TopicInfo]:
    """Return all topics below `prefix`, by name."""
    topics: list[TopicInfo] = []
    offset = 0
    while page := await js.streams_info(offset):
        offset += len(page)
        found = (topic_info(info) for info in page)
        topics += [topic for topic in found if topic is not None and topic.prefix == prefix]
    return sorted(topics, key=lambda topic: topic.topic)
