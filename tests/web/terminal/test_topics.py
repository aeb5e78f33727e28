import json
import logging

import pytest
from nats.aio.client import Client

from mocks.servers import free_port
from streams.bridge.layout import subject
from streams.settings import Settings
from streams.topics import declare_topics
from tests.web.terminal.conftest import Prepare, Run
from web.terminal.topics import topics


@pytest.fixture
def declared(prepare: Prepare, settings: Settings) -> None:
    """The mesh's topics, with three records in one."""

    async def work(client: Client) -> None:
        js = client.jetstream()
        await declare_topics(js, settings)
        for _ in range(3):
            await js.publish(subject(settings.prefix, "mesh.conversation", 1), b"{}")

    prepare(work)


@pytest.mark.usefixtures("declared")
def test_all_topics_as_a_table_and_as_json(run: Run) -> None:
    result = run(topics)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if "mesh.conversation" in line]
    assert line.split()[:3] == ["mesh.conversation", "mailbox", "3"]
    document = json.loads(run(topics, "--json").stdout)
    assert {"mesh.journal", "mesh.conversation"} <= {t["name"] for t in document["topics"]}


@pytest.mark.usefixtures("declared")
def test_one_topic_with_its_partitions(run: Run, settings: Settings) -> None:
    result = run(topics, "mesh.conversation")
    assert result.exit_code == 0, result.output
    assert "3 records" in result.output
    document = json.loads(run(topics, "--json", "mesh.conversation").stdout)
    assert [p["messages"] for p in document["partitions"]] == [0, 3]


@pytest.mark.usefixtures("declared")
def test_a_topic_that_is_not_there_is_said_with_those_that_are(run: Run) -> None:
    result = run(topics, "nonsense")
    assert result.exit_code == 1
    assert "There is no topic 'nonsense'" in result.output
    assert "mesh.journal" in result.output


def test_no_topics_yet(run: Run) -> None:
    result = run(topics)
    assert result.exit_code == 0
    assert "no topics" in result.output


def test_no_broker_is_said_at_once_and_what_to_do(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.terminal.session.CONNECT_SECONDS", 0.5)
    away = settings.model_copy(update={"broker_url": f"nats://127.0.0.1:{free_port()}"})
    from click.testing import CliRunner

    result = CliRunner().invoke(topics, [], obj=lambda: away)
    assert result.exit_code == 1
    assert "No broker answers at nats://127.0.0.1" in result.output
    assert "MESH_BROKER_URL" in result.output
    assert logging.getLogger("streams.bridge").level == logging.NOTSET  # it is quiet no longer
