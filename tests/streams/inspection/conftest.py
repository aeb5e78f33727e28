"""Fixtures for looking into streams: settings, a connection, a way to fill topics."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import encode_headers, subject
from streams.bridge.topics import lookup
from streams.settings import Settings

Fill = Callable[..., Awaitable[int]]


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path) -> Settings:
    return Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path, partitions=2)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    connection = await connect(parse_url(settings.faust_broker()), name="test")
    yield connection
    await connection.close()


@pytest.fixture
def fill(client: Client, prefix: str) -> Fill:
    """Store one record; return its offset."""

    async def store(
        topic: str,
        value: bytes | None,
        *,
        partition: int = 0,
        key: bytes | None = b"k",
        headers: dict[str, Any] | None = None,
    ) -> int:
        js = client.jetstream()
        info = await lookup(js, prefix, topic)
        assert info is not None
        place = subject(prefix, topic, partition, (key or b"") if info.keyed else None)
        sent = await js.publish(place, value or b"", headers=encode_headers(key, value, headers))
        return sent.seq

    return store
