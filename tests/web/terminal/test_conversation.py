import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.bridge.connection import connect, parse_url
from streams.operators.audit import entries
from streams.settings import Settings
from streams.topics import JOURNAL
from tests.faust_apps import records
from tests.streams.inspection.stage import EMAIL, SECRET, Stage
from tests.streams.small_mesh import settings_apart
from tests.waiting import until
from web.terminal.conversation import conversation
from web.terminal.session import operator_name

Played = tuple[Settings, str]


@pytest.fixture(scope="module")
def played(nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Settings of a mesh that has run, and a session that it has seen."""
    settings = settings_apart(nats_url, tmp_path_factory.mktemp("stage"), partitions=1)

    async def play() -> str:
        async with Stage.set_up(settings) as stage:
            session = await stage.play(f"hello {SECRET}", "flaky", "doomed")
            for _ in range(5):
                await stage.play("somebody else")

            async def all_ended() -> bool:
                return len(await records(nats_url, settings.prefix, JOURNAL)) == 8

            await until(all_ended)
            return session

    return settings, asyncio.run(play())


def run(played: Played, *arguments: str, session: str = "") -> Result:
    settings, known = played
    return CliRunner().invoke(conversation, [session or known, *arguments], obj=lambda: settings)


def test_a_conversation_reads_as_turns_with_a_line_a_hop(played: Played) -> None:
    result = run(played)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f"Conversation {played[1]}, 3 turns, personal data masked"
    hops = [line.split()[1:3] for line in lines if line[2:3] == ":"]
    assert hops[:3] == [
        ["customer", "conversation"],
        ["conversation", "sentiment_analyzer"],
        ["sentiment_analyzer", "response_aggregator"],
    ]
    assert "try 2 failed: the shop sleeps" in result.output
    assert "dead letter 1, from escalation_router" in result.output
    assert "bot: so: hello" in result.output


def test_what_each_hop_changed_is_shown_when_asked_for(played: Played) -> None:
    assert "+ sentiment:" not in run(played).output
    assert '+ sentiment: {"label": "neutral"' in run(played, "--difference").output


def test_json_is_one_document_and_mermaid_one_diagram(played: Played) -> None:
    document = json.loads(run(played, "--json").stdout)
    assert [turn["state"] for turn in document["turns"]] == ["answered", "answered", "failed"]
    assert run(played, "--mermaid").stdout.startswith("sequenceDiagram\n")
    assert run(played, "--mermaid", "--json").exit_code == 2


def test_personal_data_is_shown_only_when_asked_for_and_that_is_written_down(
    played: Played, tmp_path: Path
) -> None:
    for option in ("--json", "--mermaid", "--difference"):
        masked = run(played, option).output
        assert "555-123-4567" not in masked
        assert EMAIL not in masked
    assert "555-123-4567" in run(played, "--unmask").output

    async def audit() -> list[tuple[str, str, str]]:
        client = await connect(parse_url(played[0].faust_broker()), name="test")
        try:
            found = await entries(client, played[0])
        finally:
            await client.close()
        return [(entry.operator, entry.action, entry.target) for entry in found]

    assert asyncio.run(audit()) == [(operator_name(), "unmask", f"conversation {played[1]}")]


def test_what_was_left_out_is_said_beside_the_result(played: Played) -> None:
    result = run(played, "--most", "2", "--json")
    assert json.loads(result.stdout)["complete"] is False
    assert len(json.loads(result.stdout)["turns"]) == 3
    assert "mesh.conversation (2 of 8)" in result.stderr
    assert "--most" in result.stderr


def test_nothing_found_and_nonsense_are_errors(played: Played) -> None:
    result = run(played, session="nobody")
    assert result.exit_code == 1
    assert "There is nothing of session 'nobody'" in result.output
    assert run(played, session="a.b>c").exit_code == 2
