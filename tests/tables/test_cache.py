"""The cache against a real Redis, healthy, killed, hung and started again."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import redis.asyncio

from mocks.servers import RedisServer
from streams.message import Hop
from streams.trace import recording
from tables import cache as cache_module
from tables.cache import Cache
from tests.waiting import until


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give servers more time: they are only as slow as a busy machine makes them."""
    monkeypatch.setattr(cache_module, "TIMEOUT", 30.0)


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Cache]:
    """A cache whose server is well."""
    made = Cache(redis_url, prefix=f"mesh-{secrets.token_hex(4)}")
    yield made
    await made.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of one test's own, to break."""
    with RedisServer(tmp_path / "redis") as started:
        yield started


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask Redis again at once after a failure, so that no test has to wait."""
    monkeypatch.setattr(cache_module, "PAUSE", 0.0)


async def test_what_is_set_is_got(cache: Cache) -> None:
    value = {"id": "#W1", "name": "Søren", "nested": {"list": [1, 2.5, None, True]}}
    await cache.set("orders:of:c1", value, 30)
    assert await cache.get("orders:of:c1") == value
    assert await cache.get("orders:of:c2") is None


async def test_what_is_deleted_is_gone(cache: Cache) -> None:
    for key in "abc":
        await cache.set(key, {"key": key}, 30)
    await cache.delete("a", "b")
    assert [await cache.get(key) for key in "abc"] == [None, None, {"key": "c"}]


async def test_deleting_nothing_is_nothing(cache: Cache) -> None:
    await cache.delete()
    await cache.delete("never-there")


async def test_a_value_lives_as_long_as_it_was_told(cache: Cache) -> None:
    await cache.set("short", {"a": 1}, 0.02)

    async def gone() -> bool:
        return await cache.get("short") is None

    await until(gone)


@pytest.mark.parametrize("seconds", [0, -1, 0.0001])
async def test_no_time_to_live_keeps_nothing(cache: Cache, seconds: float) -> None:
    await cache.set("key", {"a": 1}, seconds)
    assert await cache.get("key") is None


async def test_keys_carry_the_prefix_and_expire(redis_url: str) -> None:
    key = secrets.token_hex(8)
    cache = Cache(redis_url)
    await cache.set(key, {"a": 1}, 30)
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        assert await client.get(f"mesh:{key}") == b'{"a":1}'
        assert 0 < await client.pttl(f"mesh:{key}") <= 30_000
    finally:
        await client.aclose()
        await cache.close()


@pytest.mark.parametrize("kept", ["not json", "[1, 2]", '"text"', "7", "null", ""])
async def test_what_is_not_a_json_object_is_a_miss(redis_url: str, kept: str) -> None:
    key = secrets.token_hex(8)
    client = redis.asyncio.Redis.from_url(redis_url)
    cache = Cache(redis_url)
    try:
        await client.set(f"mesh:{key}", kept, px=30_000)
        assert await cache.get(key) is None
    finally:
        await client.aclose()
        await cache.close()


async def test_many_at_once(cache: Cache) -> None:
    await asyncio.gather(*(cache.set(str(n), {"n": n}, 30) for n in range(300)))
    found = await asyncio.gather(*(cache.get(str(n)) for n in range(300)))
    assert found == [{"n": n} for n in range(300)]


async def test_a_look_is_recorded_for_replay(cache: Cache) -> None:
    await cache.set("key", {"a": 1}, 30)
    with recording(_hop()) as hop:
        await cache.get("key")
        await cache.get("other")
    assert [(e.target, e.request["key"], e.response) for e in hop.exchanges] == [
        ("cache", "key", {"a": 1}),
        ("cache", "other", None),
    ]


async def test_a_cache_that_was_never_there_is_a_miss() -> None:
    cache = Cache("redis://127.0.0.1:1/0")
    await cache.set("key", {"a": 1}, 30)
    assert await cache.get("key") is None
    await cache.delete("key")
    await cache.close()


async def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends(
    server: RedisServer, caplog: pytest.LogCaptureFixture, no_pause: None
) -> None:
    cache = Cache(server.url)
    await cache.set("key", {"a": 1}, 30)
    caplog.set_level(logging.INFO, "tables.cache")
    for _ in range(2):
        caplog.clear()
        server.kill()
        for _ in range(5):
            assert await cache.get("key") is None
            await cache.set("key", {"a": 2}, 30)
        server.start()
        for _ in range(3):
            await cache.set("key", {"a": 3}, 30)
            assert await cache.get("key") == {"a": 3}
        first, second = (record.getMessage() for record in caplog.records)
        assert "down" in first
        assert "back" in second
    await cache.close()


async def test_a_restart_between_two_looks_is_no_outage(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(server.url)
    await cache.set("key", {"a": 1}, 30)
    server.kill()
    server.start()
    await cache.set("key", {"a": 2}, 30)
    assert await cache.get("key") == {"a": 2}
    assert not caplog.records
    await cache.close()


async def test_a_server_that_hangs_is_a_miss_and_is_then_left_alone(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "TIMEOUT", 0.5)
    monkeypatch.setattr(cache_module, "PAUSE", 0.0)
    cache = Cache(server.url)

    async def kept() -> bool:
        await cache.set("key", {"a": 1}, 300)
        return await cache.get("key") is not None

    await until(kept)  # a busy machine may take longer than a cache may
    caplog.clear()
    monkeypatch.setattr(cache_module, "PAUSE", 3600.0)
    server.pause()
    try:
        assert await cache.get("key") is None
    finally:
        server.resume()
    with recording(_hop()) as hop:
        assert await cache.get("key") is None
    assert hop.exchanges == [], "it was not even asked"
    assert len(caplog.records) == 1
    await cache.close()


async def test_a_deletion_in_an_outage_is_made_up_for(server: RedisServer, no_pause: None) -> None:
    cache = Cache(server.url)
    await cache.set("key", {"status": "pending"}, 300)
    client = redis.asyncio.Redis.from_url(server.url)
    await client.save()
    await client.connection_pool.disconnect()
    server.kill()
    await cache.delete("key")
    server.start()
    assert await client.get("mesh:key") is not None, "the server has it still"
    assert await cache.get("key") is None
    await cache.set("key", {"status": "cancelled"}, 300)
    assert await cache.get("key") == {"status": "cancelled"}, "a debt is paid once"
    await client.aclose()
    await cache.close()


async def test_closing_leaves_nothing_open(server: RedisServer) -> None:
    def connections() -> int:
        return sum(
            bool(c.raddr) and c.raddr.port == server.port
            for c in psutil.Process().net_connections("tcp")
        )

    cache = Cache(server.url)
    await asyncio.gather(*(cache.get(str(n)) for n in range(8)))
    assert connections() > 0
    await cache.close()
    assert connections() == 0


def _hop() -> Hop:
    return Hop.model_validate({"actor": "test", "started_at": "2025-01-01T00:00:00Z"})
