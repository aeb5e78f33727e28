"""Tables come back from their changelogs, whatever was killed, compacted, deleted or expired."""
# Apps are made by a fixture without a type, as tests look into them.
# mypy: disable-error-code="untyped-decorator"

import asyncio
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.exceptions import ConsistencyError
from faust.types import TP, StreamT
from nats.aio.client import Client

from streams.bridge.internals import table_size
from streams.bridge.stores import MARGIN, missed_tombstones
from streams.bridge.topics import TopicSpec, declare, lookup
from tests.faust_apps import running
from tests.waiting import DEADLINE, until

from .conftest import Worker
from .tabled import Tables, build

Build = Callable[..., tuple[Any, Tables]]

both_stores = pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
on_disk = pytest.mark.parametrize("store", ["rocksdb://"])


@pytest.fixture
def new(nats_url: str, prefix: str, tmp_path: Path, store: str) -> Build:
    """Make apps with tables; `data` names the folder that a rocksdb is kept in."""

    def make(data: str, **settings: Any) -> tuple[Any, Tables]:
        return build(f"{nats_url}?prefix={prefix}", tmp_path / data, store, **settings)

    return make


async def stream_of(client: Client, prefix: str) -> str:
    changelog = await lookup(client.jetstream(), prefix, "tabled-plain-changelog")
    return "" if changelog is None else changelog.stream


async def changed_keys(client: Client, prefix: str) -> list[str]:
    """Return the subjects of the keys of which the plain table's changelog knows."""
    if not (stream := await stream_of(client, prefix)):
        return []
    pattern = f"{prefix}.tabled-plain-changelog.>"
    info = await client.jetstream().stream_info(stream, subjects_filter=pattern)
    return list(info.state.subjects or {})


def _same(t: Tables, expected: dict[str, int]) -> bool:
    return contents(t) == expected


def contents(t: Tables) -> dict[str, int]:
    return dict(t.plain.items())


@pytest.mark.parametrize(
    ("store", "guarantee"),
    [
        ("memory://", "at_least_once"),
        ("rocksdb://", "at_least_once"),
        ("rocksdb://", "exactly_once"),
    ],
)
async def test_tables_of_all_kinds_come_back(
    new: Build, client: Client, prefix: str, tmp_path: Path, store: str, guarantee: str
) -> None:
    settings = {"processing_guarantee": guarantee}
    app, t = new("one", **settings)
    async with running(app):
        assert t.recovered == 1
        for number in range(20):
            await t.do("set", f"k{number}", number)
        for key in ("k1", "k2"):
            await t.do("delete", key)
        for name in ("a", "b", "c"):
            await t.do("join", "group", name)
        await t.do("leave", "group", "b")
        await t.do("join", "other", "x")
        await until(lambda: len(t.plain) == 18 and len(t.sets["group"]) == 2)
        await until(lambda: "x" in t.sets["other"])
        assert table_size(t.plain) >= 18  # on disk what was deleted may still count
    assert len(await changed_keys(client, prefix)) == 20  # eighteen keys, and two tombstones
    app, t = new("two", **settings)
    async with running(app):
        assert contents(t) == {f"k{n}": n for n in range(20) if n not in (1, 2)}
        assert len(t.plain) == 18
        assert "k1" not in t.plain
        assert t.plain["k2"] == 0
        assert dict(t.spread.items()) == {f"of k{n}": n for n in range(20)}
        assert t.windowed["k3"].now() == 3
        assert dict(t.windowed.relative_to_now().items()) == {f"k{n}": n for n in range(20)}
        assert set(t.sets["group"]) == {"a", "c"}
        assert len(t.changes) == 20
        assert t.recovered == 1
        await t.do("delete", "k3")
        await t.do("set", "k2", 200)
        await t.do("add", "k4", 100)
        await t.do("join", "group", "d")
        await t.do("leave", "group", "a")
        await until(lambda: t.plain["k4"] == 104 and set(t.sets["group"]) == {"c", "d"})
        await until(lambda: "k3" not in t.plain and t.plain["k2"] == 200)
    shutil.rmtree(tmp_path / "one" / "v1" / "tables" / "plain-1.db", ignore_errors=True)
    app, t = new("one", **settings)
    async with running(app):
        assert "k3" not in t.plain
        assert contents(t) == {
            f"k{n}": {2: 200, 4: 104}.get(n, n) for n in range(20) if n not in (1, 3)
        }
        if store == "memory://":  # Faust's own RocksDB store mixes up where such keys belong
            assert dict(t.spread.items()) == {f"of k{n}": {2: 200}.get(n, n) for n in range(20)}
        assert set(t.sets["group"]) == {"c", "d"}
        assert set(t.sets["other"]) == {"x"}


@both_stores
@pytest.mark.parametrize("standbys", [0, 1])
async def test_partitions_that_move_away_and_back_bring_their_changes(
    new: Build, standbys: int
) -> None:
    one, here = new("one", table_standby_replicas=standbys)
    two, there = new("two", table_standby_replicas=standbys)
    places: dict[str, TP] = {}
    async with running(one):
        for number in range(20):
            sent = await here.do("set", f"k{number}", number)
            places[f"k{number}"] = TP("tabled-plain-changelog", sent.partition)
            await here.do("join", f"k{number}", "first")
        await until(lambda: len(here.plain) == 20 and len(dict(here.sets.items())) == 20)
        async with running(two):
            theirs = two.assignor.assigned_actives()
            moved = {key for key, place in places.items() if place in theirs}
            assert moved
            assert moved <= contents(there).keys()
            if not standbys:
                await until(lambda: contents(here).keys() == places.keys() - moved)
            for key in moved:
                await there.do("add", key, 1000)
                await there.do("join", key, "second")
                await there.do("leave", key, "first")
            await until(lambda: all(set(there.sets[key]) == {"second"} for key in moved))
            await until(lambda: all(there.plain[key] >= 1000 for key in moved))
        await until(lambda: set(places.values()) <= one.assignor.assigned_actives())
        await here.do("set", "after", 1)
        await until(lambda: "after" in here.plain, "everything is read back, and work goes on")
        expected = {f"k{n}": n + 1000 * (f"k{n}" in moved) for n in range(20)}
        assert contents(here) == expected | {"after": 1}
        for key in places:
            assert set(here.sets[key]) == {"second" if key in moved else "first"}


@on_disk
async def test_a_deleted_key_stays_deleted_for_a_store_that_was_away_longer_than_its_tombstone(
    new: Build, client: Client, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"extra": {"nats.tombstone_age": 1.0}, "topic_partitions": 1}
    app, t = new("one", **settings)
    async with running(app):
        for number in range(10):
            await t.do("set", f"k{number}", number)
        await until(lambda: len(t.plain) == 10)
    app, t = new("two", **settings)
    async with running(app):
        await t.do("delete", "k5")
        await t.do("set", "k6", 66)
        await until(lambda: t.plain["k6"] == 66)

    async def gone() -> bool:
        return len(await changed_keys(client, prefix)) == 9

    await until(gone, "the tombstone's end")
    app, t = new("one", **settings)
    async with running(app):
        assert contents(t) == {f"k{n}": {6: 66}.get(n, n) for n in range(10) if n != 5}
        assert "tabled-plain-changelog[0] is read back whole: it was away" in caplog.text


async def test_a_tombstone_is_missed_only_by_who_has_seen_nothing_younger_than_they_get(
    client: Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TopicSpec("t", 1, prefix=prefix, compacted=True, tombstone_age=3600.0)
    changelog = await declare(client.jetstream(), spec)

    async def missed(persisted: int) -> bool:
        fresh = await lookup(client.jetstream(), prefix, "t")
        assert fresh is not None
        return await missed_tombstones(client.jetstream(), fresh, persisted)

    await client.jetstream().publish(f"{prefix}.t.0.a", b"")
    await client.jetstream().publish(f"{prefix}.t.0.b", b"")
    assert not await missed(1), "the stream itself is younger"
    # When what is there is just as old as tombstones get, and what comes is not.
    later = time.time() + changelog.tombstone_age * MARGIN
    monkeypatch.setattr("streams.bridge.stores.time", SimpleNamespace(time=lambda: later))
    assert await missed(1)
    assert not await missed(2), "nothing was written since"
    for key in "cd":
        await client.jetstream().publish(f"{prefix}.t.0.{key}", b"")
    assert not await missed(3), "it knows one that is young"
    assert await missed(2)


@on_disk
async def test_a_store_that_was_away_for_a_while_reads_only_what_it_has_missed(
    new: Build, caplog: pytest.LogCaptureFixture
) -> None:
    app, t = new("one", topic_partitions=2)
    async with running(app):
        for number in range(30):
            await t.do("set", f"k{number}", number)
        await until(lambda: len(t.plain) == 30)
    app, t = new("two", topic_partitions=2)
    async with running(app):
        await t.do("delete", "k5")
        await t.do("set", "k6", 66)
        await until(lambda: t.plain["k6"] == 66)
    app, t = new("one", topic_partitions=2)
    async with running(app):
        assert {event.key for event in t.changes} == {"k5", "k6"}
        assert contents(t) == {f"k{n}": {6: 66}.get(n, n) for n in range(30) if n != 5}
    assert "read back whole" not in caplog.text


@on_disk
async def test_a_store_whose_changelog_was_made_anew_is_not_mixed_with_it(
    new: Build, client: Client, prefix: str
) -> None:
    app, t = new("one", topic_partitions=1)
    async with running(app):
        for number in range(5):
            await t.do("set", f"k{number}", number)
        await until(lambda: len(t.plain) == 5)
    await client.jetstream().delete_stream(f"{prefix}--tabled-plain-changelog")
    app, t = new("two", topic_partitions=1)
    async with running(app):
        for number in range(50):  # past the offsets that the first store has seen
            await t.do("set", f"new{number}", number)
        await until(lambda: len(t.plain) == 50)
    app, t = new("one", topic_partitions=1)
    app.finalize()
    await app.start()
    await until(lambda: app.crash_reason)
    assert isinstance(app.crash_reason, ConsistencyError)
    assert "faust reset" in str(app.crash_reason)
    await asyncio.wait_for(app.stop(), DEADLINE)
    app, t = new("one", topic_partitions=1, recovery_consistency_check=False)
    async with running(app):
        assert contents(t) == {f"new{n}": n for n in range(50)}


@both_stores
async def test_windows_last_until_they_expire_and_then_go_wherever_they_are(
    new: Build, client: Client, prefix: str
) -> None:
    closed: list[tuple[str, int]] = []
    # Windows begin and end at multiples of their size: this one ends in 2041.
    size = 24 * 365 * 24 * 3600

    def with_windows(data: str, cleaning: float) -> tuple[Any, Any, Any]:
        app, _ = new(data, table_cleanup_interval=cleaning, topic_partitions=1)
        clicks = app.topic("clicks", key_type=str, value_type=int)
        table = app.Table(
            "clicked",
            default=int,
            on_window_close=lambda key, value: closed.append((key[0], value)),
        )
        windows = table.tumbling(size, expires=1, key_index=True)

        @app.agent(clicks)
        async def count(stream: StreamT[Any]) -> None:
            async for key, value in stream.items():
                windows[key] += value

        return app, clicks, table

    app, clicks, table = with_windows("one", cleaning=100)
    async with running(app):
        for value in (1, 2):
            await clicks.send(key="lasts", value=value)
            await clicks.send(key="ended", value=value, timestamp=time.time() - size)
        await until(lambda: sorted(table.values()) == [3, 3])
    changelog = await lookup(client.jetstream(), prefix, "tabled-clicked-changelog")
    assert changelog is not None
    assert changelog.max_age == size + 1
    app, clicks, table = with_windows("two", cleaning=0.1)
    async with running(app):
        await until(lambda: closed, "the window is closed")
        assert closed == [("ended", 3)]
        assert [key[0] for key in table] == ["lasts"]
        await clicks.send(key="lasts", value=4)
        await until(lambda: list(table.values()) == [7])
        assert closed == [("ended", 3)]


@both_stores
async def test_a_global_table_is_the_same_on_every_worker(new: Build) -> None:
    def with_prices(data: str) -> tuple[Any, Any, Any]:
        app, _ = new(data, topic_partitions=2)
        offers = app.topic("offers", key_type=str, value_type=int)
        prices = app.GlobalTable("prices", key_type=str, value_type=int, recovery_buffer_size=1)

        @app.agent(offers)
        async def update(stream: StreamT[Any]) -> None:
            async for key, value in stream.items():
                if value:
                    prices[key] = value
                else:
                    prices.pop(key)

        return app, offers, prices

    one, offers, here = with_prices("one")
    async with running(one):
        for number in range(1, 20):
            await offers.send(key=f"p{number}", value=number)
        await until(lambda: len(here) == 19)
        two, _, there = with_prices("two")
        async with running(two):
            everything = {f"p{n}": n for n in range(1, 20)}
            await until(lambda: dict(there.items()) == everything)
            await until(lambda: dict(here.items()) == everything)
            for number in range(1, 10):
                await offers.send(key=f"p{number}", value=number * 100)
            for number in range(10, 20):
                await offers.send(key=f"p{number}", value=0)
            changed = {f"p{n}": n * 100 for n in range(1, 10)}
            await until(lambda: dict(there.items()) == changed)
            await until(lambda: dict(here.items()) == changed)
        await offers.send(key="p1", value=1)
        await until(lambda: here["p1"] == 1)
    two, _, there = with_prices("two")
    async with running(two):
        assert dict(there.items()) == changed | {"p1": 1}


@pytest.mark.faults
@both_stores
async def test_a_worker_that_is_killed_leaves_tables_as_its_inputs_say(
    new: Build, start_worker: Callable[..., Worker], client: Client, prefix: str, store: str
) -> None:
    sender, t = new("sender")
    sender.producer_only = True
    sender.finalize()
    await sender.start()
    await t.commands.maybe_declare()
    expected: dict[str, int] = {}

    async def feed(start: int) -> None:
        for number in range(start, start + 400):
            key = f"k{number % 60}"
            if number % 7:
                await t.do("set", key, number)
                expected[key] = number
            else:
                await t.do("delete", key)
                expected.pop(key, None)
        await sender.producer.flush()

    async def changed(least: int) -> bool:
        """Say whether the last change of any key came from a record numbered so or later."""
        keys = await changed_keys(client, prefix)
        stream = await stream_of(client, prefix)
        last = [await client.jetstream().get_last_msg(stream, key) for key in keys]
        return any(int(message.data or 0) >= least for message in last)

    for round_ in range(2):
        worker = start_worker(module="tabled", STORE=store, DATA="one")
        await feed(round_ * 400)
        await until(partial(changed, round_ * 400 + 150), "some changes")
        worker.kill()
    await feed(800)
    await sender.stop()
    for data in ("two", "one"):
        app, t = new(data)
        async with running(app):
            await until(partial(_same, t, expected))
            assert len(t.plain) == len(expected)


@both_stores
async def test_a_worker_that_stood_still_in_recovery_takes_what_others_wrote_for_no_loss(
    new: Build, client: Client, prefix: str, store: str
) -> None:
    app, t = new("one", topic_partitions=1)
    async with running(app):
        for number in range(10):
            await t.do("set", str(number), number)
        await until(lambda: len(t.plain) == 10)
    app, t = new("two", topic_partitions=1)
    highwaters, js = app.consumer.highwaters, client.jetstream()

    async def then_write_over_all(*partitions: Any) -> Any:
        found = await highwaters(*partitions)
        for key in await changed_keys(client, prefix):
            before = await js.get_last_msg(await stream_of(client, prefix), key)
            kept = {k: v for k, v in (before.headers or {}).items() if not k.startswith("Nats-")}
            await js.publish(key, b"77", headers=kept)
        return found

    app.consumer.highwaters = then_write_over_all
    async with running(app):  # until it learns that it has lost its partitions
        assert not app.crashed


@both_stores
async def test_recovery_ends_though_the_last_change_has_vanished(
    new: Build, client: Client, prefix: str, store: str
) -> None:
    app, t = new("one", topic_partitions=1)
    async with running(app):
        for number in range(10):
            await t.do("set", str(number), number)
        await until(lambda: len(t.plain) == 10)
    app, t = new("two", topic_partitions=1)
    highwaters = app.consumer.highwaters

    async def then_remove_the_last(*partitions: Any) -> Any:
        found = await highwaters(*partitions)
        await client.jetstream().delete_msg(f"{prefix}--tabled-plain-changelog", 10)
        return found

    app.consumer.highwaters = then_remove_the_last
    async with running(app):
        assert contents(t) == {str(n): n for n in range(9)}
    app, t = new("one", topic_partitions=1)  # its store on disk has seen more than there is
    async with running(app):
        assert len(t.plain) == (9 if store == "memory://" else 10)
