import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nats.aio.client import Client

from streams.bridge.layout import encode_headers, subject
from streams.operators.audit import entries
from streams.settings import Settings
from streams.topics import declare_topics
from tests.web.terminal.conftest import Prepare, Run
from web.terminal.browse import browse

ROOT = Path(__file__).resolve().parents[3]


async def store(client: Client, settings: Settings, number: int) -> None:
    document = {"number": number, "email": "ann@example.com", "text": "\x1b[31mred"}
    await client.jetstream().publish(
        subject(settings.prefix, "mesh.journal", number % 2),
        json.dumps(document).encode(),
        headers=encode_headers(b"s%d" % number, b""),
    )


@pytest.fixture(autouse=True)
def filled(prepare: Prepare, settings: Settings) -> None:
    """Five records in the journal."""

    async def work(client: Client) -> None:
        await declare_topics(client.jetstream(), settings)
        for number in range(5):
            await store(client, settings, number)

    prepare(work)


def test_the_newest_first_masked_and_with_nothing_that_a_terminal_obeys(run: Run) -> None:
    result = run(browse, "journal", "-n", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[3] for line in lines] == ["s4", "s3"]
    assert "a•••@example.com" in lines[0]
    assert "ann@" not in result.output
    assert "\x1b[31m" not in result.stdout
    assert "--offset 3 goes on" in result.stderr


def test_fields_filters_and_directions(run: Run) -> None:
    result = run(
        browse, "mesh.journal", "--oldest", "--where", "number > `1`", "--column", "number"
    )
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["2", "3", "4"]
    assert "that is all" in result.stderr
    result = run(browse, "journal", "--json", "--partition", "1", "--key", "s3")
    (record,) = map(json.loads, result.stdout.splitlines())
    assert record["value"]["number"] == 3
    assert record["masked"]


def test_unmasking_is_audited(run: Run, prepare: Prepare, settings: Settings) -> None:
    result = run(browse, "journal", "--json", "--unmask", "-n", "1")
    assert json.loads(result.stdout)["value"]["email"] == "ann@example.com"

    async def work(client: Client) -> None:
        (entry,) = await entries(client, settings)
        assert (entry.action, entry.target) == ("unmask", "topic mesh.journal")
        assert entry.operator

    prepare(work)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["journal", "--where", "a..b"], 2, "'.' is not expected"),
        (["journal", "--partition", "7"], 1, "has 2 partitions"),
        (["nonsense"], 1, "There is no topic 'nonsense'"),
    ],
)
def test_what_is_wrong_is_said(run: Run, arguments: list[str], status: int, said: str) -> None:
    result = run(browse, *arguments)
    assert result.exit_code == status
    assert said in result.output


def test_following_a_topic_until_ctrl_c(prepare: Prepare, settings: Settings) -> None:
    environment = {
        **os.environ,
        "MESH_BROKER_URL": settings.broker_url,
        "MESH_PREFIX": settings.prefix,
        "MESH_DATA_DIR": str(settings.data_dir),
    }
    with subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "tail", "journal", "--json", "--key", "s7"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "Following mesh.journal" in process.stderr.readline()

        async def work(client: Client) -> None:
            await store(client, settings, 6)
            await store(client, settings, 7)

        prepare(work)
        assert json.loads(process.stdout.readline())["value"]["number"] == 7
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""
