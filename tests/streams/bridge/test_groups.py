"""Who looks at a group from outside sees what its workers have agreed on."""
# Apps are made by a fixture without a type, as tests look into them.
# mypy: disable-error-code="untyped-decorator"

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from faust.types import StreamT
from nats.aio.client import Client

from streams.bridge.groups import GroupInfo, read_groups
from streams.bridge.layout import Place
from streams.bridge.topics import lookup
from tests.faust_apps import running
from tests.waiting import until

NewApp = Callable[..., Any]


def counting(app: Any) -> Any:
    """Give an app an agent that counts in a table."""
    table = app.Table("seen", default=int, key_type=str, value_type=int)

    @app.agent(app.topic("in", key_type=str, value_type=int))
    async def count(stream: StreamT[Any]) -> None:
        async for key, _ in stream.items():
            table[key] += 1

    return app


async def group(client: Client, prefix: str) -> GroupInfo:
    (found,) = await read_groups(client, prefix)
    return found


async def test_there_is_no_group_before_a_worker_has_run(client: Client, prefix: str) -> None:
    assert await read_groups(client, prefix) == []


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
async def test_members_partitions_and_offsets(
    new_app: NewApp, client: Client, prefix: str, guarantee: str
) -> None:
    """Also where offsets lie beside the records."""
    urls = ["http://one.example:6071", "http://two.example:6072"]
    apps = []
    for url in urls:
        app = new_app(
            "my.app", processing_guarantee=guarantee, canonical_url=url, table_standby_replicas=1
        )
        app.in_worker = True
        apps.append(counting(app))
    async with running(apps[0]), running(apps[1]):

        async def shared_out() -> GroupInfo | None:
            seen = await group(client, prefix)
            held = [member.actives.get("in", []) for member in seen.members]
            return seen if not seen.rebalancing and sorted(map(len, held)) == [2, 2] else None

        seen: GroupInfo = await until(shared_out, "each has two partitions")
        assert seen.name == "my.app"
        assert sorted(member.url.rstrip("/") for member in seen.members) == urls
        one, two = seen.members
        assert one.alive
        assert sorted(one.actives["in"] + two.actives["in"]) == [0, 1, 2, 3]
        changelog = "my.app-seen-changelog"
        assert sorted(one.actives[changelog]) == sorted(two.standbys[changelog])

        sent = [await (await apps[0].topic("in").send(key="k", value=n)) for n in range(3)]
        place = Place("in", sent[0].topic_partition.partition)

        async def committed() -> int | None:
            found = (await group(client, prefix)).committed.get(place)
            return found.offset if found else None

        await until(committed, "the first commit")
        info = await lookup(client.jetstream(), prefix, "in")
        assert info is not None
        last = max(await offsets(client, info.stream, prefix, place))
        reached = last + 1

        async def all_done() -> bool:
            return await committed() == reached

        await until(all_done, "all is committed")
        found = (await group(client, prefix)).committed[place]
        assert found.identity == info.identity

    left = await group(client, prefix)
    assert not any(member.alive for member in left.members)
    assert left.committed[place].offset == reached


async def offsets(client: Client, stream: str, prefix: str, place: Place) -> list[int]:
    """Return the offset of the last record of a partition."""
    subject = f"{prefix}.{place.topic}.{place.partition}"
    message = await client.jetstream().get_last_msg(stream, subject)
    return [message.seq or 0]


async def test_members_of_another_kind_are_named_too(client: Client, prefix: str) -> None:
    """What members tell each other is their own business."""
    from streams.bridge.bucket import Bucket
    from streams.bridge.generations import Peer, State

    bucket = Bucket(client, f"{prefix}-groups")
    await bucket.create(storage="memory", replicas=1)
    state = State(3, "join", {"a": 1, "b": 1})
    await asyncio.gather(
        bucket.put("group.odd=2Ename.state", state.encode()),
        bucket.put("group.odd=2Ename.member.a", Peer(3, 1, b"whatever").encode()),
    )
    seen = await group(client, prefix)
    assert (seen.name, seen.generation, seen.rebalancing) == ("odd.name", 3, True)
    assert [(member.id, member.alive) for member in seen.members] == [("a", True), ("b", False)]
