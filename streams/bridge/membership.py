"""The membership of one process in a consumer group: it follows its generations, and may lead it.

What is agreed on, and how, is in `generations`.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

import nats.errors
from nats.aio.client import Client

from .bucket import Bucket, Conflict, is_removal
from .connection import SAY_SECONDS, ConnectionOptions
from .errors import BridgeError, Fenced
from .generations import (
    Peer,
    State,
    Step,
    laggards,
    leader,
    next_generation,
    next_step,
)
from .heartbeat import STRIKE_SECONDS, Heartbeat
from .layout import escape, parse_headers
from .reader import Reader
from .refusals import SILENCE

logger = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 5.0
"""After a reconnect others may not be back yet: silence proves nothing for so long."""
END_SECONDS: Final = 5.0
"""How long leaving waits for what goes on in this member."""


class Delegate(Protocol):
    """What a member needs to be told by, and tells, the one who reads the partitions.

    An error of any of these ends the membership (`failed`); but when partitions cannot be taken
    up because of Fenced or an error of the connection, they are given up and asked for anew.
    """

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


class Watch(Reader):
    """Reads all keys of a group, from the first on whenever it has to begin again.

    What tells of a removed key stays in the bucket for a minute alone: who was away for longer
    would wait for ever for the dead.
    """

    def __init__(
        self,
        client: Client,
        bucket: Bucket,
        keys: str,
        wake: Callable[[], None],
        *,
        on_gone: Callable[[BridgeError], None] | None = None,
    ) -> None:
        super().__init__(
            client,
            bucket.stream,
            bucket.subject(keys),
            1,
            wake,
            identity=bucket.identity,
            on_gone=on_gone,
        )
        self.begun: Callable[[], None] = lambda: None
        """Called when reading begins: what is known may be out of date."""

    async def _create(self) -> None:
        self.buffer.clear()
        self.next_sequence = 1
        self.caught_up = False
        self.begun()
        await super()._create()


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
        rebalance: float = 60.0,
        patience: float = 0.0,
        on_lease: Callable[[], None] = lambda: None,
    ) -> None:
        self.client = client
        self.bucket = bucket
        self.group = group
        self.delegate = delegate
        # Ids grow with time: the oldest member leads, so a newcomer does not change the leader.
        self.id = f"{time.time_ns():016x}-{secrets.token_hex(4)}"
        self.rebalance = rebalance
        """Seconds that a generation waits for a member to join before it is expelled."""
        self.state = State()
        self.peers: dict[str, Peer] = {}
        self.joined = 0
        self.assigned = 0
        """The generation whose partitions we hold; 0 for none."""
        self._version = 0
        self._fenced = False
        self._stopping = False
        self._base = f"group.{escape(group)}."
        self._changed = asyncio.Event()
        self._tick = min(1.0, heartbeat)
        self._quiet_until = 0.0
        self._strikes: dict[str, float] = {}
        self._waiting = (0, 0.0)
        self._lost_since: float | None = None
        self._said = 0.0
        self._on_lease = on_lease
        """Called when the lease, doubtful for a moment, has turned out to be ours, or not."""
        self._heartbeat = Heartbeat(
            options,
            bucket.name,
            self._key(self.id),
            self._subject(self.id),
            interval=heartbeat,
            session=session,
            patience=patience,
            on_change=self._lease_changed,
            failed=delegate.failed,
        )
        self._watch = Watch(
            client, bucket, self._base + ">", self._take_in, on_gone=delegate.failed
        )
        self._watch.begun = self._forget
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
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # What we have called may swallow the cancellation: do not wait for it for ever.
            _, busy = await asyncio.wait(self._tasks, timeout=END_SECONDS)
            if busy:
                logger.warning("group %s: leaving in the middle of a rebalance", self.group)
        await self._heartbeat.stop()
        await self._watch.close()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.delegate.failed(error)

    async def rejoin(self) -> None:
        """Ask for a new generation: what we want to read has changed."""
        self._version += 1
        if not self._stopping:
            await self._tell()

    def fenced(self) -> None:
        """Drop all partitions, as others hold some by now, and ask for a new generation."""
        self._fenced = True
        self._changed.set()

    def reconnected(self) -> None:
        """Take note that the connection was interrupted."""
        self._quiet_until = asyncio.get_running_loop().time() + SETTLE_SECONDS
        self._watch.restart()

    @property
    def lapsed(self) -> bool:
        """Whether others may have been given our partitions; we are about to give them up."""
        return self._fenced or self._heartbeat.lapsed

    def holds_lease(self) -> bool:
        """Whether nobody else can have been given our partitions yet."""
        return self._heartbeat.held

    def check(self, now: float) -> None:
        """Look after the watch and the heartbeat; call it every second or so."""
        self._watch.check(now)
        self._heartbeat.touch()

    @property
    def leads(self) -> bool:
        """Whether this member is the group's leader."""
        return leader(self.peers) == self.id

    def _key(self, member: str) -> str:
        return f"{self._base}member.{member}"

    def _subject(self, member: str) -> str:
        return f"_BRIDGE.{self.bucket.name}.{escape(self.group)}.{member}"

    def _wishes(self) -> bytes:
        return Peer(self.joined, self._version, self.delegate.metadata()).encode()

    def _lease_changed(self) -> None:
        self._changed.set()
        self._on_lease()

    # -- what the bucket says

    def _forget(self) -> None:
        self.state = State()
        self.peers.clear()

    def _take_in(self) -> None:
        while record := self._watch.take():
            key = self.bucket.key(record.subject.decode()).removeprefix(self._base)
            removed = is_removal(parse_headers(record.header) if record.header else None)
            if key == "state":
                self.state = State.decode(record.payload, record.sequence)
            elif removed:
                self.peers.pop(key.removeprefix("member."), None)
            else:
                self.peers[key.removeprefix("member.")] = Peer.decode(
                    record.payload, record.sequence
                )
        self._changed.set()

    # -- what we do about it

    async def _follow_for_ever(self) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._changed.wait()
            self._changed.clear()
            if self.lapsed:
                await self._lose()
            elif self._watch.caught_up:
                await self._follow()
                if self._watch.caught_up:
                    await self._look_after_group()

    async def _lose(self) -> None:
        if self.assigned:
            logger.warning("group %s: lease or claim lost; giving up all partitions", self.group)
        await self._give_up(lost=True)
        self.joined = 0
        self._version += 1
        try:
            await self._heartbeat.renew(self._wishes())
        except (TimeoutError, nats.errors.Error) as exc:
            self._say_that_it_is_lost(exc)
        else:
            self._fenced = False
            self._lost_since = None

    def _say_that_it_is_lost(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if self._lost_since is None:
            self._lost_since = self._said = now
        log = logger.info
        if now - self._said > SAY_SECONDS:
            self._said = now
            log = logger.warning
        log(
            "group %s: no lease for %.0f s: %s; trying again; %s",
            *(self.group, now - self._lost_since, error or type(error).__name__, SILENCE),
        )

    async def _give_up(self, *, lost: bool) -> None:
        if self.assigned:
            self.assigned = 0
            await self.delegate.revoke(lost=lost)

    async def _follow(self) -> None:
        step = next_step(
            self.state, self.id, version=self._version, joined=self.joined, held=self.assigned
        )
        if step in (Step.GIVE_UP, Step.LOSE):
            await self._give_up(lost=step is Step.LOSE)
            self._changed.set()
        elif step is Step.JOIN:
            self.joined = self.state.generation
            await self._tell()
        elif step is Step.TAKE_UP:
            await self._take_up(self.state)

    async def _take_up(self, state: State) -> None:
        logger.info("group %s: generation %d", self.group, state.generation)
        self.assigned = state.generation
        try:
            await self.delegate.assigned(state.generation, state.share(self.id))
        except (Fenced, TimeoutError, nats.errors.Error) as exc:
            logger.warning("group %s: %s", self.group, exc or type(exc).__name__)
            self.fenced()

    async def _look_after_group(self) -> None:
        overdue = self._overdue()
        if overdue and next_generation(self.state, self.peers) is None:
            await self._expel_laggards()
        if self.leads or overdue:
            with self._patiently():
                await self._lead()

    async def _lead(self) -> None:
        state = self.state
        proposal = next_generation(state, self.peers)
        if proposal is None and state.phase == "join" and not laggards(state, self.peers):
            proposal = state.stable(
                self.delegate.assign({member: peer.metadata for member, peer in self.peers.items()})
            )
        if proposal is None:
            return
        for member in state.members:
            if member not in proposal.members and await self._lives(member):
                self._watch.restart()  # it is out of date, or not read to the end
                return
        with contextlib.suppress(Conflict):  # somebody else has moved on; the watch will tell
            await self.bucket.put(
                f"{self._base}state", proposal.encode(), revision=proposal.revision
            )

    async def _lives(self, member: str) -> bool:
        """Ask for a member's key: whoever is left out of a generation must know it by now."""
        entry = await self.bucket.get(self._key(member))
        return entry is not None and entry.value is not None

    def _overdue(self) -> bool:
        """Whether the state ought to have changed long ago, had those we wait for been able to."""
        now = asyncio.get_running_loop().time()
        settled = self.state.phase == "stable" and next_generation(self.state, self.peers) is None
        if settled or self.state.revision != self._waiting[0]:
            self._waiting = (self.state.revision, now)
        return now - self._waiting[1] > self.rebalance

    async def _expel_laggards(self) -> None:
        """Lose patience with members that live but do not join: those that block, or hang."""
        late = {member: self.peers[member] for member in laggards(self.state, self.peers)}
        for member in self._watched(late):
            peer = late[member]
            if not peer.expelled:
                logger.error("group %s: member %s does not join", self.group, member)
                with self._patiently(), contextlib.suppress(Conflict):
                    await self.bucket.put(
                        self._key(member),
                        peer.expel().encode(),
                        revision=peer.revision,
                        ttl=self._heartbeat.lifetime,
                    )

    async def _tell(self) -> None:
        with self._patiently():
            await self._heartbeat.set(self._wishes())

    @contextlib.contextmanager
    def _patiently(self) -> Iterator[None]:
        """Take it that the server does not answer at the moment: what was tried is tried again."""
        try:
            yield
        except (TimeoutError, nats.errors.Error) as exc:
            logger.info("group %s: %s; trying again", self.group, exc or type(exc).__name__)

    # -- finding out who is dead before its lease ends

    def _watched(self, members: Iterable[str]) -> list[str]:
        """Return whom we look after: the leader all, others who would lead before them."""
        return [
            member for member in members if member != self.id and (self.leads or member < self.id)
        ]

    async def _test_peers_for_ever(self) -> None:
        while not self._stopping:
            suspects = bool(self._strikes)
            await asyncio.sleep(STRIKE_SECONDS if suspects else self._tick)
            now = asyncio.get_running_loop().time()
            if not self.client.is_connected or now < self._quiet_until:
                self._strikes.clear()
                continue
            await asyncio.gather(*(self._test_peer(member) for member in self._watched(self.peers)))

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
        with (
            self._patiently(),
            contextlib.suppress(Conflict),
        ):  # it lives after all, or we ask again
            await self.bucket.delete(self._key(member), revision=peer.revision)
