"""No partition ever has two owners, in whatever order the members of a group act and fail.

A model of the bucket and of members that each see it more or less late; what they do is decided
by the very functions that the real members use. Hypothesis picks who acts next, and who fails.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bridge.generations import (
    Peer,
    State,
    Step,
    laggards,
    leader,
    next_generation,
    next_step,
)

PARTS = frozenset(range(7))
STATE = "state"


class Conflict(Exception):
    pass


class Bucket:
    """A log of writes and removals, and compare-and-set on the last one of each key."""

    def __init__(self) -> None:
        self.log: list[tuple[str, bytes | None]] = []
        self.last: dict[str, int] = {}

    def write(self, key: str, value: bytes | None, revision: int | None = None) -> int:
        if revision is not None and revision != self.last.get(key, 0):
            raise Conflict
        self.log.append((key, value))
        self.last[key] = len(self.log)
        return len(self.log)

    def value(self, key: str) -> bytes | None:
        return self.log[self.last[key] - 1][1] if key in self.last else None


@dataclass
class Node:
    """A member: what it has seen of the bucket, what it holds, and how it fares."""

    name: str
    bucket: Bucket
    seen: int = 0
    state: State = field(default_factory=State)
    peers: dict[str, Peer] = field(default_factory=dict)
    version: int = 1
    joined: int = 0
    held: int = 0
    parts: frozenset[int] = frozenset()
    revision: int = 0
    lapsed: bool = False
    cut: bool = False
    """Its connection is interrupted."""
    pace: float = 1.0
    """How often its main loop gets a turn."""
    pulse: float = 1.0
    """How often its heartbeat does."""
    dead: bool = False

    @property
    def effective(self) -> bool:
        """Whether what it does on its parts would count."""
        return bool(self.held) and not (self.dead or self.lapsed or self.cut)

    def see(self, count: int) -> None:
        for key, value in self.bucket.log[self.seen : self.seen + count]:
            self.seen += 1
            if key == STATE:
                self.state = State.decode(value or b"", self.seen)
            elif value is None:
                self.peers.pop(key, None)
            else:
                self.peers[key] = Peer.decode(value, self.seen)

    def beat(self, *, afresh: bool = False) -> None:
        """Renew the lease, as the heartbeat's thread does."""
        if self.cut or (self.lapsed and not afresh):
            return
        value = Peer(self.joined, self.version, b"").encode()
        try:
            self.revision = self.bucket.write(self.name, value, None if afresh else self.revision)
        except Conflict:
            self.lapsed = True
            if self.bucket.value(self.name) is not None:  # expelled: nobody need wait longer
                self.bucket.write(self.name, None)
        else:
            self.lapsed = self.lapsed and not afresh

    def step(self) -> None:
        """Follow the state, as the main loop does."""
        if self.lapsed:
            if not self.cut:
                self.drop()
                self.joined, self.version = 0, self.version + 1
                self.beat(afresh=True)
            return
        step = next_step(
            self.state, self.name, version=self.version, joined=self.joined, held=self.held
        )
        if step in (Step.GIVE_UP, Step.LOSE):
            self.drop()
        elif step is Step.JOIN:
            self.joined = self.state.generation
            self.beat()
        elif step is Step.TAKE_UP:
            self.held = self.state.generation
            self.parts = frozenset(self.state.share(self.name))

    def drop(self) -> None:
        self.held, self.parts = 0, frozenset()

    def lead(self) -> None:
        """Lead, whoever else believes to lead too."""
        proposal = next_generation(self.state, self.peers)
        joining = proposal is None and self.state.phase == "join"
        if joining and not laggards(self.state, self.peers):
            proposal = self.state.stable(shares(self.peers))
        if proposal is not None and not self.cut:
            with contextlib.suppress(Conflict):
                self.bucket.write(STATE, proposal.encode(), proposal.revision)


def shares(peers: Mapping[str, Peer]) -> dict[str, bytes]:
    names = sorted(peers)
    return {
        name: bytes(part for part in sorted(PARTS) if part % len(names) == index)
        for index, name in enumerate(names)
    }


class Group:
    """Up to four living members, and all that can happen to them."""

    def __init__(self) -> None:
        self.bucket = Bucket()
        self.names = map("m{:03}".format, itertools.count(1))
        self.nodes: list[Node] = []

    def join(self) -> None:
        if sum(not node.dead for node in self.nodes) < 4:
            node = Node(next(self.names), self.bucket)
            node.beat(afresh=True)
            self.nodes.append(node)

    def turn(self, random: Random) -> None:
        """Let somebody do something, or fail."""
        if not self.nodes or random.random() < 0.03:
            self.join()
            return
        node, peer = random.choice(self.nodes), random.choice(self.nodes)
        if random.random() < 0.1:
            self.fail(node, peer, random)
        elif not node.dead:
            if random.random() < node.pulse:
                node.beat()
            if random.random() < node.pace:
                node.see(random.choice([1, 2, 99]))
                random.choice([node.step, node.step, node.lead])()

    def fail(self, node: Node, peer: Node, random: Random) -> None:
        known = node.peers.get(peer.name)
        fault = random.choice(FAULTS)
        if fault == "gone" and (node.dead or node.lapsed):
            # The server lets a key expire only after its owner has counted the lease as lapsed.
            self.remove(node)
        elif node.dead:
            return
        elif fault == "strike" and known and (peer.dead or peer.cut):
            # Nobody answered for it: it is dead, or knows that its connection was interrupted.
            self.remove(peer, known.revision)
        elif fault == "expel" and known and peer.name in laggards(node.state, node.peers):
            with contextlib.suppress(Conflict):
                self.bucket.write(peer.name, known.expel().encode(), known.revision)
        elif fault == "rejoin":
            node.version += 1
            node.beat()
        elif fault == "lapse":
            node.lapsed = True
        elif fault == "pace":
            node.pace, node.pulse = random.choice([0, 0.1, 1]), random.choice([0, 0.1, 1])
        elif fault == "cut":
            node.cut = True
        elif fault == "mend" and node.cut:
            node.cut = False
            node.beat()  # it verifies its lease before it writes anything else
        elif fault == "kill":
            node.dead = True
        elif fault == "leave" and not node.lapsed and not node.cut:
            node.drop()
            node.dead = True
            self.remove(node, node.revision)

    def remove(self, node: Node, revision: int | None = None) -> None:
        if self.bucket.value(node.name) is not None:
            with contextlib.suppress(Conflict):
                self.bucket.write(node.name, None, revision)

    def check(self) -> None:
        owners = Counter(part for node in self.nodes if node.effective for part in node.parts)
        assert all(count == 1 for count in owners.values()), owners

    def settle(self) -> None:
        """Let nothing fail any more."""
        for node in self.nodes:
            if node.dead:
                self.remove(node)
            else:
                node.cut = False
                node.beat()
        for _, node in itertools.product(range(30), self.nodes):
            if not node.dead:
                node.beat()
                node.see(len(self.bucket.log))
                node.step()
                if leader(node.peers) == node.name:
                    node.lead()
                self.check()


FAULTS = [
    *("gone", "strike", "pace", "expel") * 2,
    *("rejoin", "lapse", "cut", "mend", "kill", "leave"),
]


@settings(max_examples=300)
@given(st.randoms(use_true_random=True))
def test_no_part_has_two_owners_and_in_the_end_each_has_one(random: Random) -> None:
    group = Group()
    for _ in range(400):
        group.turn(random)
        group.check()
    group.join()
    group.settle()
    alive = [node for node in group.nodes if not node.dead]
    held = [part for node in alive if node.effective for part in node.parts]
    assert sorted(held) == sorted(PARTS)
    assert len({node.held for node in alive}) == 1
