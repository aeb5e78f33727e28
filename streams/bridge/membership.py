"""Who belongs to a consumer group, who leads it, and which generation it is in.

All that a group agrees on lies in its bucket, below `group.<name>.`:

`state`         one document, changed by compare-and-set alone: generation, phase, members,
                assignments. A generation begins in phase *join*: every member gives up its
                partitions and says so under its own key. When all have, it becomes *stable*,
                with the assignments in the document, and each member takes up its own.
`member.<id>`   one key a member, with a lifetime that its heartbeat renews: what it wants to
                read, and the generation that it has joined.

The member with the smallest id leads. That is only a convention to avoid needless conflicts:
two that both believe to lead cannot both change the document.
"""

import asyncio
import base64
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import nats.errors
from nats.aio.client import Client

from .bucket import Bucket, Conflict, is_removal
from .connection import ConnectionOptions
from .errors import Fenced
from .heartbeat import Heartbeat
from .internals import parse_headers
from .layout import escape
from .reader import Reader

logger = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 5.0
"""After a reconnect others may not be back yet: silence proves nothing for so long."""
STRIKE_SECONDS: Final = 0.5
"""A member is dead when nobody answers for it now and so many seconds later."""


class Delegate(Protocol):
    """What a member needs to be told by, and tells, the one who reads the partitions."""

    def metadata(self) -> bytes:
        """Return what this member wants to read, for the leader's `assign`."""

    def assign(self, metadata: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Share out all partitions among members (as leader); each gets what `assigned` takes."""

    async def assigned(self, generation: int, assignment: bytes) -> None:
        """Take up partitions."""

    async def revoke(self, *, lost: bool) -> None:
        """Give up all partitions; `lost` means that others may work on them already."""

    def failed(self, error: BaseException) -> None:
        """Take note of an error after which this member cannot go on."""


@dataclass(frozen=True)
class State:
    """The group's document."""

    generation: int = 0
    phase: Literal["join", "stable"] = "stable"
    members: Mapping[str, int] = field(default_factory=dict)
    """The version of each member's wishes that this generation is about."""
    assignments: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0

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


@dataclass(frozen=True)
class Peer:
    """What a member's key says."""

    joined: int
    version: int
    metadata: bytes
    revision: int


class Member:
    """The membership of one process in a group."""

    def __init__(
        self,
        client: Client,
        options: ConnectionOptions,
        bucket: Bucket,
        group: str,
        delegate: Delegate,
        *,
        heartbeat: float,
        session: float,
        patience: float = 0.0,
    ) -> None:
        self.client = client
        self.bucket = bucket
        self.group = group
        self.delegate = delegate
        # Ids grow with time: the oldest member leads, so a newcomer does not change the leader.
        self.id = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
        self.state = State()
        self.peers: dict[str, Peer] = {}
        self.joined = 0
        self.assigned = 0
        """The generation whose partitions we hold; 0 for none."""
        self._version = 0
        self._fenced = False
        self._base = f"group.{escape(group)}."
        self._changed = asyncio.Event()
        self._tick = min(1.0, heartbeat)
        self._quiet_until = 0.0
        self._strikes: dict[str, float] = {}
        self._heartbeat = Heartbeat(
            options,
            bucket.name,
            f"{self._base}member.{self.id}",
            self._subject(self.id),
            interval=heartbeat,
            session=session,
            patience=patience,
        )
        self._watch = Reader(
            client,
            bucket.stream,
            bucket.subject(self._base + ">"),
            1,
            self._take_in,
            identity=bucket.identity,
            on_gone=delegate.failed,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Join the group."""
        self._watch.open()
        self._version += 1
        await self._heartbeat.start(self._wishes())
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._follow_for_ever()),
            loop.create_task(self._test_peers_for_ever()),
        ]
        for task in self._tasks:
            task.add_done_callback(self._on_end)

    async def stop(self) -> None:
        """Leave the group at once; the partitions must have been given up before."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._heartbeat.stop()
        await self._watch.close()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.delegate.failed(error)

    async def rejoin(self) -> None:
        """Ask for a new generation: what we want to read has changed."""
        self._version += 1
        await self._heartbeat.set(self._wishes())

    def fenced(self) -> None:
        """Drop all partitions, as others hold some by now, and ask for a new generation."""
        self._fenced = True
        self._changed.set()

    def reconnected(self) -> None:
        """Take note that the connection was interrupted."""
        self._quiet_until = asyncio.get_running_loop().time() + SETTLE_SECONDS
        self._watch.restart()

    def holds_lease(self) -> bool:
        """Whether nobody else can have been given our partitions yet."""
        return not self._heartbeat.lapsed

    def check(self, now: float) -> None:
        """Look after the watch and the heartbeat; call it every second or so."""
        self._watch.check(now)
        self._heartbeat.touch()

    @property
    def leads(self) -> bool:
        """Whether this member is the group's leader."""
        return bool(self.peers) and min(self.peers) == self.id

    def _subject(self, member: str) -> str:
        return f"_BRIDGE.{self.bucket.name}.{escape(self.group)}.{member}"

    def _wishes(self) -> bytes:
        metadata = base64.b64encode(self.delegate.metadata()).decode()
        return json.dumps(
            {"joined": self.joined, "version": self._version, "metadata": metadata}
        ).encode()

    # -- what the bucket says

    def _take_in(self) -> None:
        while record := self._watch.take():
            key = self.bucket.key(record.subject).removeprefix(self._base)
            removed = is_removal(parse_headers(record.header) if record.header else None)
            if key == "state":
                self.state = _decode_state(record.payload, record.sequence)
            elif removed:
                self.peers.pop(key.removeprefix("member."), None)
            else:
                self.peers[key.removeprefix("member.")] = _decode_peer(
                    record.payload, record.sequence
                )
        self._changed.set()

    # -- what we do about it

    async def _follow_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._tick)
            self._changed.clear()
            try:
                if self._fenced or self._heartbeat.lapsed:
                    await self._lose()
                elif self._watch.caught_up:
                    await self._follow()
                    if self.leads:
                        await self._lead()
            except Conflict:
                continue  # somebody else moved on; the watch will tell
            except Fenced as exc:
                logger.warning("group %s: %s", self.group, exc)
                self.fenced()
            except (TimeoutError, nats.errors.Error) as exc:
                logger.info("group %s: %s; trying again", self.group, exc or type(exc).__name__)

    async def _lose(self) -> None:
        if self.assigned:
            logger.warning("group %s: lease or claim lost; giving up all partitions", self.group)
        await self._give_back(lost=True)
        self.joined = 0
        self._version += 1
        await self._heartbeat.set(self._wishes())
        self._heartbeat.renew_lapsed()
        self._fenced = False

    async def _give_back(self, *, lost: bool) -> None:
        if self.assigned:
            self.assigned = 0
            await self.delegate.revoke(lost=lost)

    async def _follow(self) -> None:
        state = self.state
        member = self.id in state.members
        if self.assigned and (not member or state.generation != self.assigned):
            await self._give_back(lost=not member)
        if not member or state.members[self.id] != self._version:
            return  # this generation is not about us as we are now
        if state.phase == "join" and self.joined != state.generation:
            self.joined = state.generation
            await self._heartbeat.set(self._wishes())
        elif (
            state.phase == "stable"
            and self.joined == state.generation
            and self.assigned != state.generation
        ):
            self.assigned = state.generation
            assignment = base64.b64decode(state.assignments[self.id])
            logger.info("group %s: generation %d", self.group, state.generation)
            await self.delegate.assigned(state.generation, assignment)

    async def _lead(self) -> None:
        state = self.state
        wishes = {member: peer.version for member, peer in self.peers.items()}
        if state.members != wishes:
            await self._propose(
                State(state.generation + 1, "join", wishes, revision=state.revision)
            )
        elif state.phase == "join" and all(
            peer.joined == state.generation for peer in self.peers.values()
        ):
            shares = self.delegate.assign(
                {member: peer.metadata for member, peer in self.peers.items()}
            )
            assignments = {
                member: base64.b64encode(share).decode() for member, share in shares.items()
            }
            await self._propose(
                State(state.generation, "stable", wishes, assignments, state.revision)
            )

    async def _propose(self, state: State) -> None:
        await self.bucket.put(f"{self._base}state", state.encode(), revision=state.revision)

    # -- finding out who is dead before its lease ends

    async def _test_peers_for_ever(self) -> None:
        while True:
            suspects = bool(self._strikes)
            await asyncio.sleep(STRIKE_SECONDS if suspects else self._tick)
            now = asyncio.get_running_loop().time()
            if not self.client.is_connected or now < self._quiet_until:
                self._strikes.clear()
                continue
            # The leader looks after all; others only after those who would lead before them.
            watched = [member for member in self.peers if self.leads or member < self.id]
            await asyncio.gather(
                *(self._test_peer(member) for member in watched if member != self.id)
            )

    async def _test_peer(self, member: str) -> None:
        try:
            await self.client.request(self._subject(member), timeout=1.0)
        except nats.errors.NoRespondersError:
            await self._strike(member)
        except nats.errors.Error:
            pass  # slow is not dead: the lease decides
        else:
            self._strikes.pop(member, None)

    async def _strike(self, member: str) -> None:
        now = asyncio.get_running_loop().time()
        first = self._strikes.setdefault(member, now)
        peer = self.peers.get(member)
        if peer is None or now - first < STRIKE_SECONDS * 0.8:
            return
        self._strikes.pop(member, None)
        logger.warning("group %s: member %s is gone", self.group, member)
        with contextlib.suppress(Conflict, TimeoutError):  # it lives after all, or we ask again
            await self.bucket.delete(f"{self._base}member.{member}", revision=peer.revision)


def _decode_state(payload: bytes, revision: int) -> State:
    document: dict[str, Any] = json.loads(payload) if payload else {}
    return State(
        document.get("generation", 0),
        document.get("phase", "stable"),
        document.get("members", {}),
        document.get("assignments", {}),
        revision,
    )


def _decode_peer(payload: bytes, revision: int) -> Peer:
    document: dict[str, Any] = json.loads(payload)
    return Peer(
        document["joined"],
        document["version"],
        base64.b64decode(document["metadata"]),
        revision,
    )
