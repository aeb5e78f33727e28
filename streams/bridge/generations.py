"""What the members of a group agree on, and what each does next. No clock, no network: pure.

All that a group agrees on lies in its bucket, below `group.<name>.`:

`state`         one document, changed by compare-and-set alone: generation, phase, members,
                assignments. A generation begins in phase *join*: every member gives up its
                partitions and says so under its own key. When all have, it becomes *stable*,
                with the assignments in the document, and each member takes up its own.
`member.<id>`   one key a member, with a lifetime that its heartbeat renews: what it wants to
                read, and the generation that it has joined.

Two things keep a partition from having two owners. A generation becomes stable only when all its
members have given up what they held before. And a member leaves a generation in one way alone:
its key goes; a member whose key may have gone holds nothing any more (its lease has lapsed).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Literal


@dataclass(frozen=True)
class State:
    """The group's document."""

    generation: int = 0
    phase: Literal["join", "stable"] = "stable"
    members: Mapping[str, int] = field(default_factory=dict)
    """The version of each member's wishes that this generation is about."""
    assignments: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0
    """That of the key which holds the document; no part of it."""

    def encode(self) -> bytes:
        """Return the document."""
        return json.dumps(
            {
                "generation": self.generation,
                "phase": self.phase,
                "members": dict(self.members),
                "assignments": dict(self.assignments),
            }
        ).encode()

    @classmethod
    def decode(cls, payload: bytes, revision: int) -> "State":
        """Return what a document says; an empty one (a removed key) is the first state."""
        document: dict[str, Any] = json.loads(payload) if payload else {}
        return cls(
            document.get("generation", 0),
            document.get("phase", "stable"),
            document.get("members", {}),
            document.get("assignments", {}),
            revision,
        )

    def stable(self, shares: Mapping[str, bytes]) -> "State":
        """Return the second phase of this generation, with each member's share."""
        assignments = {member: base64.b64encode(share).decode() for member, share in shares.items()}
        return replace(self, phase="stable", assignments=assignments)

    def share(self, member: str) -> bytes:
        """Return what was assigned to a member."""
        return base64.b64decode(self.assignments[member])


@dataclass(frozen=True)
class Peer:
    """What a member's key says."""

    joined: int
    """The generation that it has joined; 0 for none."""
    version: int
    """Counts up whenever it wants a new generation."""
    metadata: bytes
    """What it wants to read."""
    expelled: bool = False
    """Others have lost patience with it: it is to be waited for only until its key goes."""
    revision: int = 0

    def encode(self) -> bytes:
        """Return the key's value."""
        document: dict[str, Any] = {
            "joined": self.joined,
            "version": self.version,
            "metadata": base64.b64encode(self.metadata).decode(),
        }
        if self.expelled:
            document["expelled"] = True
        return json.dumps(document).encode()

    @classmethod
    def decode(cls, payload: bytes, revision: int) -> "Peer":
        """Return what a key's value says."""
        document: dict[str, Any] = json.loads(payload)
        return cls(
            document["joined"],
            document["version"],
            base64.b64decode(document["metadata"]),
            document.get("expelled", False),
            revision,
        )

    def expel(self) -> "Peer":
        """Return what others write over the key of a member that does not join."""
        return replace(self, joined=0, expelled=True)


class Step(Enum):
    """What a member does next about its own partitions."""

    NONE = auto()
    GIVE_UP = auto()
    """Finish, commit and give up what it holds: a new generation begins."""
    LOSE = auto()
    """Drop what it holds, as others may hold it already."""
    JOIN = auto()
    """Say that it holds nothing any more."""
    TAKE_UP = auto()
    """Take up what it was assigned."""


def next_step(state: State, me: str, *, version: int, joined: int, held: int) -> Step:
    """Return what a member does next that holds partitions of the generation `held` (0: none)."""
    if held and me not in state.members:
        return Step.LOSE
    if held and held != state.generation:
        return Step.GIVE_UP
    if state.members.get(me) != version:
        return Step.NONE  # this generation is not about us as we are now
    if state.phase == "join" and joined != state.generation:
        return Step.JOIN
    if state.phase == "stable" and joined == state.generation and held != state.generation:
        return Step.TAKE_UP
    return Step.NONE


def leader(peers: Mapping[str, Peer]) -> str | None:
    """Return who leads: the smallest id.

    Only a convention to avoid needless conflicts: of several that believe to lead, compare-and-set
    lets one change the document.
    """
    return min((member for member, peer in peers.items() if not peer.expelled), default=None)


def next_generation(state: State, peers: Mapping[str, Peer]) -> State | None:
    """Return the generation to propose, or None if the present one is about the members there are.

    Members that were expelled count until their keys go: until then they may hold partitions.
    """
    members = {member: peer.version for member, peer in peers.items()}
    if state.members == members:
        return None
    return State(state.generation + 1, "join", members, revision=state.revision)


def laggards(state: State, peers: Mapping[str, Peer]) -> list[str]:
    """Return which of its members the present generation waits for; nobody if it is stable."""
    if state.phase == "stable":
        return []
    return [
        member
        for member, peer in peers.items()
        if member in state.members and peer.joined != state.generation
    ]
