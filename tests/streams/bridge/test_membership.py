"""Members of a group agree on who has what, and never have the same at the same time."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge import bucket as buckets
from streams.bridge import heartbeat, membership, reader
from streams.bridge.bucket import Bucket
from streams.bridge.connection import connect, parse_url
from streams.bridge.generations import Peer, laggards
from streams.bridge.membership import Member
from tests.waiting import DEADLINE, until

PARTS = range(12)


class Worker:
    """Holds numbered parts; `owners` is shared by all to see that no part has two.

    As a real worker, it does nothing on its parts that counts while its lease is not held.
    """

    def __init__(self, owners: dict[int, "Worker"], *, wants: bytes = b"all") -> None:
        self.owners = owners
        self.wants = wants
        self.member: Member
        self.dead = False
        self.parts: set[int] = set()
        self.generations: list[int] = []
        self.lost = 0
        self.errors: list[BaseException] = []
        self.free = asyncio.Event()
        self.free.set()

    @property
    def effective(self) -> bool:
        return not self.dead and self.member.holds_lease()

    def metadata(self) -> bytes:
        return self.wants

    def assign(self, metadata: Mapping[str, bytes]) -> Mapping[str, bytes]:
        members = sorted(member for member, wants in metadata.items() if wants != b"nothing")
        shares: dict[str, list[int]] = {member: [] for member in metadata}
        for index, member in enumerate(members):
            shares[member] = [n for n in PARTS if n % len(members) == index]
        return {member: json.dumps(share).encode() for member, share in shares.items()}

    async def assigned(self, generation: int, assignment: bytes) -> None:
        assert not self.parts
        self.parts = set(json.loads(assignment))
        self.generations.append(generation)
        for part in self.parts:
            owner = self.owners.get(part)
            assert owner is None or not owner.effective, part
            self.owners[part] = self

    async def revoke(self, *, lost: bool) -> None:
        self.lost += lost
        await self.free.wait()
        for part in self.parts:
            if self.owners.get(part) is self:
                del self.owners[part]
        self.parts = set()

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)


class Group:
    """Members in this process that can leave, and crash, at any time."""

    def __init__(self, client: Client, url: str, prefix: str) -> None:
        self.client = client
        self.url = url
        self.bucket = Bucket(client, f"{prefix}-groups")
        self.owners: dict[int, Worker] = {}
        self.workers: list[Worker] = []

    async def join(
        self,
        worker: Worker | None = None,
        kind: type[Member] = Member,
        *,
        session: float = 10.0,
        **settings: Any,
    ) -> Worker:
        worker = worker or Worker(self.owners)
        await self.bucket.create(storage="memory", replicas=1)
        worker.member = kind(
            self.client,
            parse_url(self.url),
            self.bucket,
            "group",
            worker,
            heartbeat=0.2,
            session=session,
            **settings,
        )
        self.workers.append(worker)
        await worker.member.start()
        return worker

    async def leave(self, worker: Worker) -> None:
        self.workers.remove(worker)
        if worker.parts:
            await worker.revoke(lost=False)
        await worker.member.stop()
        assert not worker.errors, worker.errors

    async def crash(self, worker: Worker) -> None:
        """End a member as `kill -9` does: without a word, its connection gone."""
        self.workers.remove(worker)
        worker.dead = True
        member, heartbeat = worker.member, worker.member._heartbeat
        for task in member._tasks:
            task.cancel()
        closing = asyncio.run_coroutine_threadsafe(
            heartbeat._bucket.client.close(), heartbeat._loop or asyncio.get_running_loop()
        )
        await asyncio.wrap_future(closing)
        await member.stop()

    async def settled(self) -> None:
        """Wait until all parts are shared out among those who live, in one generation."""

        def shared() -> bool:
            held = [part for worker in self.workers for part in worker.parts]
            generations = {worker.member.assigned for worker in self.workers}
            return sorted(held) == list(PARTS) and len(generations) == 1 and 0 not in generations

        await until(shared, "all parts shared out")
        assert {self.owners[part] for part in PARTS} <= set(self.workers)

    def state(self) -> Any:
        return self.workers[0].member.state


@contextlib.asynccontextmanager
async def a_group(url: str, prefix: str) -> AsyncIterator[Group]:
    client = await connect(parse_url(url), name="test")
    group = Group(client, url, prefix)
    try:
        yield group
    finally:
        for worker in list(group.workers):
            worker.free.set()
            await group.leave(worker)
        await client.close()


@pytest.fixture
async def group(nats_url: str, prefix: str) -> AsyncIterator[Group]:
    async with a_group(nats_url, prefix) as group:
        yield group


async def test_joining_leaving_and_asking_anew(group: Group) -> None:
    one = await group.join()
    await group.settled()
    assert one.member.leads
    two = await group.join()
    await group.settled()
    assert len(one.parts) == len(two.parts) == 6
    assert not two.member.leads
    before = one.generations[-1]
    await two.member.rejoin()
    await until(lambda: one.generations[-1] == two.generations[-1] > before)
    await group.leave(one)
    await group.settled()
    assert two.member.leads
    assert one.lost == two.lost == 0
    assert two.generations == sorted(set(two.generations))


async def test_a_generation_is_about_what_members_want_last(group: Group) -> None:
    one, two = await group.join(), await group.join()
    for _ in range(3):
        two.wants = b"nothing"
        await two.member.rejoin()
        await until(lambda: len(one.parts) == 12)
        two.wants = b"all"
        await asyncio.gather(two.member.rejoin(), one.member.rejoin(), two.member.rejoin())
        await until(lambda: len(one.parts) == len(two.parts) == 6)


async def test_a_fenced_member_gives_up_and_comes_back(group: Group) -> None:
    one = await group.join()
    await group.settled()
    one.member.fenced()
    await until(lambda: one.lost == 1)
    await group.settled()


async def test_a_crashed_member_is_found_out_long_before_its_lease_ends(group: Group) -> None:
    one, two, three = [await group.join(session=600) for _ in range(3)]
    await group.settled()
    await group.crash(two)
    await group.settled()
    await group.crash(one)  # the leader, whom the others watch
    await group.settled()
    assert three.member.leads
    assert three.lost == 0


async def test_a_leader_that_dies_when_all_have_joined(group: Group) -> None:
    class Doomed(Worker):
        def assign(self, metadata: Mapping[str, bytes]) -> Mapping[str, bytes]:
            if len(metadata) < 3:
                return super().assign(metadata)
            self.dead = True
            raise asyncio.CancelledError

    leader = await group.join(Doomed(group.owners))
    await group.join()
    await group.settled()
    await group.join()
    await until(lambda: leader.dead)
    assert group.state().phase == "join"
    await group.crash(leader)
    await group.settled()


async def test_any_number_of_leaders_at_once_do_no_harm(group: Group) -> None:
    class Eager(Member):
        leads = True

    for _ in range(4):
        await group.join(kind=Eager)
    await group.settled()
    for worker in list(group.workers[:2]):
        worker.member.fenced()
        await group.workers[-1].member.rejoin()
        await group.crash(worker)
        await group.settled()


async def test_a_leader_that_sees_nothing_any_more_changes_nothing(group: Group) -> None:
    blind, two = await group.join(), await group.join()
    await group.settled()
    await blind.member._watch.close()
    three = await group.join()
    # To itself, it leads two members; to the others, a third has joined.
    await until(lambda: three.member.id in two.member.peers)
    before = await group.bucket.get(f"{blind.member._base}state")
    assert set(blind.member.peers) == {blind.member.id, two.member.id}
    blind.member.peers.pop(two.member.id)
    await blind.member._lead()
    assert await group.bucket.get(f"{blind.member._base}state") == before
    assert not three.parts
    await group.crash(blind)
    await group.settled()


async def test_a_member_whose_key_was_taken_away_gives_up_before_it_comes_back(
    group: Group,
) -> None:
    one, two = await group.join(), await group.join()
    await group.settled()
    await group.bucket.delete(two.member._key(two.member.id))
    await until(lambda: two.lost == 1)
    await group.settled()
    assert one.lost == 0


async def test_a_member_that_lives_but_does_not_join_is_expelled(group: Group) -> None:
    one, two = await group.join(), await group.join()
    await group.settled()
    two.free.clear()
    three = await group.join()
    await loses_patience(one, with_=two)
    await until(lambda: one.parts | three.parts == set(PARTS), "shared out without the late one")
    assert not two.member.holds_lease()
    assert two.parts  # it still thinks so, but nothing of what it does counts
    two.free.set()
    await group.settled()
    assert two.parts
    assert one.lost == three.lost == 0


async def loses_patience(waiting: Worker, with_: Worker) -> None:
    """Let a member have waited for too long, once the others have joined a generation."""
    member = waiting.member

    def all_else_have() -> bool:
        known = member._waiting[0] == member.state.revision
        return known and laggards(member.state, member.peers) == [with_.member.id]

    await until(all_else_have, "they wait for one alone")
    revision, since = member._waiting
    member._waiting = revision, since - member.rebalance


async def test_others_lead_when_the_leader_hangs(group: Group) -> None:
    leader, two = await group.join(), await group.join()
    await group.settled()
    leader.free.clear()
    three = await group.join()
    await loses_patience(two, with_=leader)
    await until(lambda: not leader.member.holds_lease())
    await until(lambda: two.member.leads and two.parts | three.parts == set(PARTS))
    leader.free.set()
    await group.settled()
    assert two.lost == three.lost == 0


async def test_who_was_away_for_long_does_not_wait_for_the_dead(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_MARKER_SECONDS", 1)
    one, two = await group.join(), await group.join()
    await group.settled()
    watch = one.member._watch
    await watch.close()
    await group.leave(two)

    async def no_trace_is_left() -> bool:
        return await group.bucket.get(one.member._key(two.member.id)) is None

    await until(no_trace_is_left)
    assert two.member.id in one.member.peers
    watch._closed = False
    watch.open()
    await group.settled()
    assert set(one.member.peers) == {one.member.id}


async def test_a_share_that_cannot_be_taken_up_is_asked_for_anew(group: Group) -> None:
    class Unlucky(Worker):
        failures = 2

        async def assigned(self, generation: int, assignment: bytes) -> None:
            if self.failures:
                self.failures -= 1
                raise TimeoutError("the server was away")
            await super().assigned(generation, assignment)

    await group.join(Unlucky(group.owners))
    await group.settled()


@pytest.mark.parametrize("broken", ["assign", "assigned", "revoke"])
async def test_an_error_ends_the_membership(group: Group, broken: str) -> None:
    class Broken(Worker):
        pass

    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("broken")

    worker = await group.join()
    await group.settled()
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(worker, broken, fail)
    await worker.member.rejoin()
    await until(lambda: worker.errors)
    assert "broken" in str(worker.errors)
    worker.errors.clear()
    monkeypatch.undo()


async def test_leaving_ends_whatever_the_member_is_doing(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "END_SECONDS", 0.5)

    class Stubborn(Worker):
        async def revoke(self, *, lost: bool) -> None:
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await self.free.wait()
                    break
            await super().revoke(lost=lost)

    one, two = await group.join(Stubborn(group.owners)), await group.join()
    await group.settled()
    one.free.clear()
    await two.member.rejoin()
    await until(lambda: not one.member.assigned)
    group.workers.remove(one)
    await asyncio.wait_for(one.member.stop(), DEADLINE)
    one.dead = True
    await group.settled()
    one.free.set()
    await until(lambda: all(task.done() for task in one.member._tasks))


async def test_a_loop_that_is_stuck_lets_the_lease_go(
    group: Group, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, one = await group.join(session=600, patience=300), await group.join(session=600)
    await group.settled()
    clock, ahead = heartbeat._now, 0.0
    monkeypatch.setattr(heartbeat, "_now", lambda: clock() + ahead)

    async def renewed(worker: Worker) -> None:
        """Wait until the lease runs for as long as can be from now on, or longer."""
        beats, now = worker.member._heartbeat, heartbeat._now()
        await until(lambda: beats._lapses >= now + beats.lifetime * heartbeat.LAPSE)

    for _ in range(3):  # together longer than a lease
        ahead += 200
        stuck.member.check(0)
        await asyncio.gather(renewed(stuck), renewed(one))
    assert stuck.member.holds_lease()
    ahead += 301
    await until(lambda: "the event loop is stuck" in caplog.text)
    await renewed(one)
    assert stuck.member.holds_lease()
    assert not stuck.lost
    ahead += 200
    await until(lambda: stuck.lost)
    assert not one.lost


async def test_without_a_server_the_lease_lapses_and_is_taken_up_again(
    own_server: NatsServer, prefix: str
) -> None:
    async with a_group(own_server.url, prefix) as group:
        group.bucket.create = create_on_disk(group.bucket)  # type: ignore[method-assign]
        one = await group.join(session=2)
        await group.settled()
        await until(one.member.holds_lease)
        before = one.lost
        own_server.kill()
        await until(lambda: one.lost > before)
        assert not one.member.holds_lease()
        own_server.start()
        await until(lambda: group.client.is_connected)
        one.member.reconnected()
        await group.settled()
        await until(one.member.holds_lease)


async def test_a_lease_is_in_doubt_while_nobody_could_answer(
    own_server: NatsServer, prefix: str
) -> None:
    async with a_group(own_server.url, prefix) as group:
        group.bucket.create = create_on_disk(group.bucket)  # type: ignore[method-assign]
        told: list[bool] = []
        one = Worker(group.owners)
        await group.join(one, session=600, on_lease=lambda: told.append(one.member.holds_lease()))
        await group.settled()
        own_server.kill()
        await until(lambda: not one.member.holds_lease())
        assert not one.member.lapsed
        own_server.start()
        await until(lambda: one.member.holds_lease())
        await until(lambda: told == [True])
        assert one.lost == 0
        assert len(one.parts) == 12


def create_on_disk(bucket: Bucket) -> Callable[..., Any]:
    create = bucket.create

    async def on_disk(**settings: Any) -> None:
        await create(storage="file", replicas=1)

    return on_disk


async def test_a_bucket_that_was_deleted_is_an_error_in_the_end(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "GONE_SECONDS", 0.5)
    one = await group.join(session=1)
    await group.settled()
    await group.client.jetstream().delete_stream(group.bucket.stream)
    await until(lambda: one.errors)
    assert group.bucket.stream in str(one.errors.pop())
    await until(lambda: one.lost, "it gives up its partitions")


def test_what_a_key_says_survives() -> None:
    peer = Peer(3, 7, b"\x00wishes", revision=9)
    assert Peer.decode(peer.encode(), 9) == peer
    assert Peer.decode(peer.expel().encode(), 9) == peer.expel() != peer


HAPPENINGS = ["join", "join", "leave", "crash", "fence", "rejoin", "blind", "wait"]


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(happenings=st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 3)), max_size=12))
def test_whatever_happens_no_part_has_two_owners(
    nats_url: str, prefix: str, happenings: list[tuple[str, int]]
) -> None:
    asyncio.run(happen(nats_url, prefix, happenings))


async def happen(url: str, prefix: str, happenings: list[tuple[str, int]]) -> None:
    async with a_group(url, prefix) as group:
        await group.join()
        for what, who in happenings:
            await asyncio.sleep(0.03)
            worker = group.workers[who % len(group.workers)]
            if what == "join" and len(group.workers) < 4:
                await group.join()
            elif what == "leave" and len(group.workers) > 1:
                await group.leave(worker)
            elif what == "crash" and len(group.workers) > 1:
                await group.crash(worker)
            elif what == "fence":
                worker.member.fenced()
            elif what == "rejoin":
                await worker.member.rejoin()
            elif what == "blind":
                worker.member._watch.restart()
            elif what == "wait":
                await asyncio.sleep(who * 0.2)
        await group.settled()
        for worker in group.workers:
            assert not worker.errors
