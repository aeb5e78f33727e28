"""Tables come back from their changelogs, whatever was killed, compacted, deleted or expired."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faust.exceptions import ConsistencyError
from nats.aio.client import Client

from streams.bridge.topics import lookup

from .conftest import running, until
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


def contents(t: Tables) -> dict[str, int]:
    return dict(t.plain.items())


@both_stores
async def test_tables_of_all_kinds_come_back(new: Build, tmp_path: Path) -> None:
    app, t = new("one")
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
    app, t = new("two")
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
    app, t = new("one")
    async with running(app):
        assert "k3" not in t.plain
        assert contents(t) == {
            f"k{n}": {2: 200, 4: 104}.get(n, n) for n in range(20) if n not in (1, 3)
        }
        assert set(t.sets["group"]) == {"c", "d"}
        assert set(t.sets["other"]) == {"x"}


@pytest.mark.parametrize(("store", "standbys"), [("memory://", 0), ("rocksdb://", 1)])
async def test_partitions_that_move_away_and_back_bring_their_changes(
    new: Build, standbys: int
) -> None:
    one, here = new("one", table_standby_replicas=standbys)
    two, there = new("two", table_standby_replicas=standbys)
    async with running(one):
        for number in range(20):
            await here.do("set", f"k{number}", number)
            await here.do("join", f"k{number}", "first")
        await until(lambda: len(here.plain) == 20 and len(dict(here.sets.items())) == 20)
        async with running(two):
            await until(lambda: len(here.plain) + len(there.plain) == 20)
            assert contents(here).keys().isdisjoint(contents(there))
            moved = contents(there)
            assert moved
            for key in moved:
                await there.do("add", key, 1000)
                await there.do("join", key, "second")
                await there.do("leave", key, "first")
            await until(lambda: all(set(there.sets[key]) == {"second"} for key in moved))
            await until(lambda: contents(there) == {k: n + 1000 for k, n in moved.items()})
        await until(lambda: len(here.plain) == 20)
        assert contents(here) == {f"k{n}": n + 1000 * (f"k{n}" in moved) for n in range(20)}
        for number in range(20):
            key = f"k{number}"
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
        changelog = await lookup(client.jetstream(), prefix, "tabled-plain-changelog")
        return changelog is not None and changelog.messages == 9

    await until(gone, "the tombstone's end")
    app, t = new("one", **settings)
    async with running(app):
        assert contents(t) == {f"k{n}": {6: 66}.get(n, n) for n in range(10) if n != 5}
        assert "tabled-plain-changelog[0] is read back whole: it was away" in caplog.text


@on_disk
async def test_a_store_that_was_away_for_a_while_reads_only_what_it_has_missed(
    new: Build, caplog: pytest.LogCaptureFixture
) -> None:
    app, t = new("one")
    async with running(app):
        for number in range(30):
            await t.do("set", f"k{number}", number)
        await until(lambda: len(t.plain) == 30)
    app, t = new("two")
    async with running(app):
        await t.do("delete", "k5")
        await t.do("set", "k6", 66)
        await until(lambda: t.plain["k6"] == 66)
    app, t = new("one")
    async with running(app):
        assert {event.key for event in t.changes} == {"k5", "k6"}
        assert contents(t) == {f"k{n}": {6: 66}.get(n, n) for n in range(30) if n != 5}
    assert "read back whole" not in caplog.text


@on_disk
async def test_a_store_whose_changelog_was_made_anew_is_not_mixed_with_it(
    new: Build, client: Client, prefix: str
) -> None:
    app, t = new("one")
    async with running(app):
        for number in range(5):
            await t.do("set", f"k{number}", number)
        await until(lambda: len(t.plain) == 5)
    await client.jetstream().delete_stream(f"{prefix}--tabled-plain-changelog")
    app, t = new("two")
    async with running(app):
        for number in range(50):  # past the offsets that the first store has seen
            await t.do("set", f"new{number}", number)
        await until(lambda: len(t.plain) == 50)
    app, t = new("one")
    app.finalize()
    await app.start()
    await until(lambda: app.crash_reason)
    assert isinstance(app.crash_reason, ConsistencyError)
    assert "faust reset" in str(app.crash_reason)
    await asyncio.wait_for(app.stop(), 30)
    app, t = new("one", recovery_consistency_check=False)
    async with running(app):
        assert contents(t) == {f"new{n}": n for n in range(50)}
