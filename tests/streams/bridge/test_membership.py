"""Members of a group agree on who has what, and never have the same at the same time."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping

import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.bucket import Bucket
from streams.bridge.connection import connect, parse_url
from streams.bridge.membership import Member

from .conftest import until

PARTS = range(12)


class Worker:
    """Holds numbered parts; `owners` is shared by all to see that no part has two."""

    def __init__(self, owners: dict[int, "Worker"]) -> None:
        self.owners = owners
        self.parts: set[int] = set()
        self.generations: list[int] = []
        self.lost = 0

    def metadata(self) -> bytes:
        return b"wishes"

    def assign(self, metadata: Mapping[str, bytes]) -> Mapping[str, bytes]:
        assert set(metadata.values()) == {b"wishes"}
        members = sorted(metadata)
        return {
            member: json.dumps([n for n in PARTS if n % len(members) == index]).encode()
            for index, member in enumerate(members)
        }

    async def assigned(self, generation: int, assignment: bytes) -> None:
        assert not self.parts
        self.parts = set(json.loads(assignment))
        self.generations.append(generation)
        for part in self.parts:
            assert part not in self.owners
            self.owners[part] = self

    async def revoke(self, *, lost: bool) -> None:
        self.lost += lost
        for part in self.parts:
            del self.owners[part]
        self.parts = set()

    def failed(self, error: BaseException) -> None:
        raise error


@contextlib.asynccontextmanager
async def joined(
    client: Client, url: str, prefix: str, worker: Worker, session: float = 10.0
) -> AsyncIterator[Member]:
    bucket = Bucket(client, f"{prefix}-groups")
    await bucket.create(storage="file", replicas=1)
    member = Member(client, parse_url(url), bucket, "group", worker, heartbeat=0.2, session=session)
    await member.start()
    try:
        yield member
    finally:
        if worker.parts:
            await worker.revoke(lost=False)
        await member.stop()


@pytest.fixture
def owners() -> dict[int, Worker]:
    return {}


async def test_joining_leaving_and_asking_anew(
    client: Client, nats_url: str, prefix: str, owners: dict[int, Worker]
) -> None:
    one, two = Worker(owners), Worker(owners)
    async with joined(client, nats_url, prefix, one) as member:
        await until(lambda: one.parts == set(PARTS))
        assert member.leads
        async with joined(client, nats_url, prefix, two) as other:
            await until(lambda: len(one.parts) == len(two.parts) == 6)
            assert not other.leads
            assert one.generations[-1] == two.generations[-1]
            before = one.generations[-1]
            await other.rejoin()
            await until(lambda: one.generations[-1] == two.generations[-1] > before)
        await until(lambda: one.parts == set(PARTS))
    assert one.generations == sorted(set(one.generations))
    assert not owners


async def test_a_fenced_member_gives_up_and_comes_back(
    client: Client, nats_url: str, prefix: str, owners: dict[int, Worker]
) -> None:
    one = Worker(owners)
    async with joined(client, nats_url, prefix, one) as member:
        await until(lambda: one.parts)
        member.fenced()
        await until(lambda: one.lost == 1)
        await until(lambda: one.parts == set(PARTS))


async def test_without_a_server_the_lease_lapses_and_is_taken_up_again(
    own_server: NatsServer, prefix: str, owners: dict[int, Worker]
) -> None:
    client = await connect(parse_url(own_server.url), name="test")
    one = Worker(owners)
    async with joined(client, own_server.url, prefix, one, session=1.0) as member:
        await until(lambda: one.parts)
        assert member.holds_lease()
        own_server.kill()
        await until(lambda: one.lost == 1)
        assert not member.holds_lease()
        own_server.start()
        await until(lambda: client.is_connected)
        member.reconnected()
        await until(lambda: one.parts == set(PARTS))
        assert member.holds_lease()
    await client.close()
