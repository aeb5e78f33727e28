"""What the groups of a prefix have agreed on, for people who look: read only, no member needed."""

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from nats.aio.client import Client

from .bucket import Bucket, SharedBucket, is_removal
from .generations import Peer, State
from .internals import shared_out
from .layout import Place, offsets_base, parse_headers, shared_stream, unescape
from .reader import batches

READ_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Committed:
    """Where a group goes on reading in one partition."""

    offset: int
    """The offset to read next: everything before it is done."""
    identity: str
    """Of the topic it was committed for: another one means nothing (`TopicInfo.identity`)."""


@dataclass(frozen=True)
class GroupMember:
    """One worker of a group."""

    id: str
    url: str = ""
    """Where its own pages are; empty if it did not say."""
    alive: bool = True
    """Whether its lease runs. A member that is not may be named until the group has noticed."""
    actives: Mapping[str, list[int]] = field(default_factory=dict)
    """The partitions that it owns, by topic; those of changelogs too."""
    standbys: Mapping[str, list[int]] = field(default_factory=dict)
    """The changelog partitions that it keeps a copy of."""


@dataclass(frozen=True)
class GroupInfo:
    """One group: who is in it, who owns what, and how far it has come."""

    name: str
    generation: int
    rebalancing: bool
    """Whether members are giving up partitions, and nobody owns any."""
    members: tuple[GroupMember, ...] = ()
    committed: Mapping[Place, Committed] = field(default_factory=dict)


async def read_groups(client: Client, prefix: str) -> list[GroupInfo]:
    """Return all groups of a prefix, by name. TimeoutError if they cannot be read now."""
    states: dict[str, State] = {}
    peers: dict[str, dict[str, Peer]] = {}
    committed: dict[str, dict[Place, Committed]] = {}
    own = Bucket(client, f"{prefix}-groups")
    shared = SharedBucket(client, shared_stream(prefix), offsets_base(prefix))
    for bucket in (own, shared):
        for key, value, revision in await _entries(client, bucket):
            kind, _, rest = key.partition(".")
            name, _, rest = rest.partition(".")
            group = unescape(name)
            if kind == "offset":
                document = json.loads(value)
                if document.get("offset") is not None:
                    topic, _, partition = rest.rpartition(".")
                    committed.setdefault(group, {})[Place(unescape(topic), int(partition))] = (
                        Committed(document["offset"], document.get("identity", ""))
                    )
            elif rest == "state":
                states[group] = State.decode(value, revision)
            elif rest.startswith("member."):
                member = rest.removeprefix("member.")
                peers.setdefault(group, {})[member] = Peer.decode(value, revision)
    return [
        _group(name, states.get(name, State()), peers.get(name, {}), committed.get(name, {}))
        for name in sorted({*states, *peers, *committed})
    ]


def _group(
    name: str, state: State, peers: Mapping[str, Peer], committed: Mapping[Place, Committed]
) -> GroupInfo:
    rebalancing = state.phase == "join" or set(state.members) != set(peers)
    members = tuple(_members(state, peers))
    return GroupInfo(name, state.generation, rebalancing, members, committed)


def _members(state: State, peers: Mapping[str, Peer]) -> Iterator[GroupMember]:
    for member in sorted({*state.members, *peers}):
        peer = peers.get(member)
        alive = peer is not None and not peer.expelled
        try:
            if member in state.assignments:
                url, actives, standbys = shared_out(state.share(member))
            else:
                wishes = json.loads(peer.metadata if peer else b"")
                url, actives, standbys = shared_out(base64.b64decode(wishes["user_data"]))
                actives, standbys = {}, {}  # what it held once
        except Exception:
            # What members tell each other is their own business: these are not Faust's.
            yield GroupMember(member, alive=alive)
        else:
            yield GroupMember(member, url, alive, actives, standbys)


async def _entries(client: Client, bucket: Bucket) -> list[tuple[str, bytes, int]]:
    """Return key, value and revision of everything in a bucket; nothing if it is not there."""
    if not await bucket.exists():
        return []
    entries: dict[str, tuple[str, bytes, int]] = {}
    reading = batches(client, bucket.stream, bucket.subject(">"))
    async with asyncio.timeout(READ_SECONDS), aclosing(reading) as found:
        async for batch, end in found:
            for record in batch:
                key = bucket.key(record.subject.decode())
                headers = parse_headers(record.header) if record.header else None
                if is_removal(headers):
                    entries.pop(key, None)
                else:
                    entries[key] = (key, record.payload, record.sequence)
            if end:
                break
    return list(entries.values())
