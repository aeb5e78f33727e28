import json
from pathlib import Path

import pytest
from nats.aio.client import Client

from streams import slip
from streams.operators.audit import entries
from streams.settings import Settings
from streams.topics import declare_topics
from tests.streams.operators.letters import bury, turn
from tests.web.terminal.conftest import Prepare, Run
from web.terminal.publish import publish_command

SAID = ("--text", "where is it?", "--email", "ann@example.com")


@pytest.fixture(autouse=True)
def declared(prepare: Prepare, settings: Settings) -> None:
    async def work(client: Client) -> None:
        await declare_topics(client.jetstream(), settings)
        await bury(client, settings, turn("t1", "copied words").encode())

    prepare(work)


def test_a_turn_is_published_with_options_alone(run: Run) -> None:
    result = run(publish_command, *SAID, "--session", "s9", "--id", "t9", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["published"], told["topic"], told["session_id"], told["turn"]) == (
        True,
        slip.CONVERSATION,
        "s9",
        "t9",
    )
    again = run(publish_command, *SAID, "--session", "s9", "--id", "t9")
    assert "was there already" in again.output


def test_a_file_and_a_route_make_the_message(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "message.json"
    file.write_text(turn("t2").encode().decode())
    route = ("--route", "decision_router,mesh.response_aggregator")
    told = json.loads(run(publish_command, str(file), *route, "--json").stdout)
    assert told["steps"] == [slip.DECISION_ROUTER, slip.RESPONSE_AGGREGATOR]
    piped = run(publish_command, "-", "--json", said='{"payload": {"text": "x"}}')
    (problem,) = json.loads(piped.stdout)["problems"]
    assert (piped.exit_code, problem["path"]) == (1, "payload.at")
    for bad in ("{", "[]"):
        assert run(publish_command, "-", said=bad).exit_code == 1


def test_a_copy_is_shown_masked_and_sends_nothing_in_a_dry_run(
    run: Run, prepare: Prepare, settings: Settings
) -> None:
    asked: list[str] = []

    async def audit(client: Client) -> None:
        asked[:] = [entry.action for entry in await entries(client, settings)]

    copy = ("--copy", "mesh.dead_letters/1", "--dry-run")
    shown = run(publish_command, *copy)
    assert shown.exit_code == 0, shown.output
    assert "copied words" in shown.output
    assert "ann@example.com" not in shown.output
    prepare(audit)
    assert asked == []
    assert "ann@example.com" in run(publish_command, *copy, "--unmask").output
    prepare(audit)
    assert asked == ["unmask"]


@pytest.mark.parametrize("source", ["mesh.dead_letters", "mesh.dead_letters/99", "nowhere/1"])
def test_what_cannot_be_copied_is_said(run: Run, source: str) -> None:
    result = run(publish_command, "--copy", source)
    assert (result.exit_code, result.output.startswith("Error: ")) == (1, True)


def test_a_route_that_leads_nowhere_is_refused_with_its_place(run: Run) -> None:
    result = run(publish_command, *SAID, "--route", "nowhere")
    assert result.exit_code == 1
    assert "slip.steps.0: no mailbox is called 'nowhere'" in result.output


def test_who_waits_for_a_reply_that_does_not_come_is_told(run: Run) -> None:
    result = run(publish_command, *SAID, "--wait", "0.1")
    assert (result.exit_code, "No reply within 0.1 seconds" in result.output) == (1, True)
