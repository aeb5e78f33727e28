"""Fixtures of the streams' tests; each module has settings of its own."""

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from streams.bridge.connection import connect, parse_url
from streams.settings import Settings
from streams.topics import declare_topics


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A connection to a broker that has the mesh's topics."""
    client = await connect(parse_url(settings.faust_broker()), name="test")
    await declare_topics(client.jetstream(), settings)
    yield client
    await client.close()
