from pathlib import Path

import pytest
from nats.aio.client import Client

from streams.bridge.topics import lookup
from streams.settings import Settings
from streams.topics import JOURNAL, limit_topics, topics
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
