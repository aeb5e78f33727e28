import logging
from pathlib import Path

import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.topics import lookup
from streams.settings import Settings
from streams.topics import DAY, JOURNAL, declare_topics, limit_topics, topics
from tests.streams.small_mesh import settings_apart


@pytest.fixture
def settings(nats_url: str, tmp_path: Path) -> Settings:
    return settings_apart(nats_url, tmp_path)


def test_the_journal_is_as_large_and_old_as_the_settings_say(settings: Settings) -> None:
    assert topics(settings)[JOURNAL].max_bytes is None
    chosen = settings.model_copy(update={"journal_days": 2, "journal_gb": 1.5})
    journal = topics(chosen)[JOURNAL]
    assert (journal.retention_seconds, journal.max_bytes) == (172_800, 1_500_000_000)


async def test_settings_that_were_changed_count_for_a_journal_that_is_there(
    client: Client, settings: Settings
) -> None:
    js = client.jetstream()
    changed = settings.model_copy(update={"journal_days": 2, "journal_gb": 0.001})
    await limit_topics(js, changed)
    found = await lookup(js, settings.prefix, JOURNAL)
    assert found is not None
    assert found.max_age == 172_800
    assert (await js.stream_info(found.stream)).config.max_bytes == 1_000_000


class Guarded(NatsServer):
    """A server with a user who may do everything but change streams."""

    def config(self) -> str:
        rights = 'publish: { deny: ["$JS.API.STREAM.UPDATE.>"] }'
        return super().config() + (
            "authorization { users: [ { user: u, password: p, "
            f"permissions: {{ {rights} }} }} ] }}\n"
        )


async def test_who_may_not_change_streams_works_on_with_the_limits_there_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Guarded(tmp_path / "nats") as server:
        settings = settings_apart(server.url.replace("://", "://u:p@"), tmp_path)
        client = await connect(parse_url(settings.faust_broker()), name="test")
        js = client.jetstream()
        await declare_topics(js, settings)
        with caplog.at_level(logging.WARNING, "streams.topics"):
            await limit_topics(js, settings.model_copy(update={"journal_days": 2}))
        found = await lookup(js, settings.prefix, JOURNAL)
        await client.close()
    assert found is not None
    assert found.max_age == settings.journal_days * DAY
    said = caplog.messages[-1]
    assert "the limits of mesh.journal stay as they are: no right" in said
