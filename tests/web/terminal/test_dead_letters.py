import json
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from streams import slip
from streams.operators.audit import entries
from streams.settings import Settings
from streams.slip import HOP_LIMIT, RouteSlip
from streams.topics import declare_topics
from tests.streams.operators.letters import bury, turn
from tests.web.terminal.conftest import Prepare, Run
from web.terminal.audit import audit_command
from web.terminal.dead_letters import deadletters

SECRET = "ann@example.com"
IN_CIRCLES = RouteSlip(steps=(slip.DECISION_ROUTER,), done=(slip.DECISION_ROUTER,) * HOP_LIMIT)


@pytest.fixture(autouse=True)
def letters(prepare: Prepare, settings: Settings) -> list[int]:
    """Three letters: a turn, one that went in circles, and bytes that are no message."""
    found: list[int] = []

    async def work(client: Client) -> None:
        await declare_topics(client.jetstream(), settings)
        found.append(await bury(client, settings, turn().encode(), "Timeout of the shop"))
        circle = turn("t2", f"write to {SECRET}", slip=IN_CIRCLES)
        found.append(await bury(client, settings, circle.encode(), "HopLimitExceeded: 32 hops"))
        found.append(await bury(client, settings, b"\x1b[2J\xff?", "not a version 1 message"))

    prepare(work)
    return found


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_letters_are_listed_newest_first_and_filtered(run: Run, letters: list[int]) -> None:
    result = run(deadletters, "list")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.output.splitlines()[1:]] == [
        str(offset) for offset in reversed(letters)
    ]
    found = lines(run(deadletters, "list", "--json", "--reason", "timeout").stdout)
    assert [one["offset"] for one in found] == letters[:1]
    assert lines(run(deadletters, "list", "--json", "--since", "1h").stdout) == []
    assert len(lines(run(deadletters, "list", "--json", "--until", "1h").stdout)) == 3
    assert run(deadletters, "list", "--since", "soon").exit_code == 2


def test_personal_data_is_shown_to_who_asks_and_that_is_written_down(
    run: Run, prepare: Prepare, settings: Settings, letters: list[int]
) -> None:
    asked: list[str] = []

    async def audit(client: Client) -> None:
        asked[:] = [entry.target for entry in await entries(client, settings)]

    for arguments in (
        ("list", "--json"),
        ("show", str(letters[1])),
        ("show", str(letters[1]), "--json"),
    ):
        assert SECRET not in run(deadletters, *arguments).output
        prepare(audit)
        assert asked == []
    assert SECRET in run(deadletters, "show", str(letters[1]), "--unmask").output
    assert SECRET in run(deadletters, "list", "--json", "--unmask").output
    prepare(audit)
    assert asked == [f"dead letter {letters[1]}", "dead letters"]


def test_bytes_are_shown_and_never_obeyed(run: Run, letters: list[int]) -> None:
    shown = run(deadletters, "show", str(letters[2]))
    assert "\x1b" not in shown.output
    assert "[2J" in shown.output
    assert run(deadletters, "show", "999").exit_code == 1


def test_a_dry_run_says_what_would_go_where_and_sends_nothing(run: Run, letters: list[int]) -> None:
    result = run(deadletters, "redrive", "--until", "1h", "--dry-run", "--json")
    assert result.exit_code == 1
    told = {each["letter"]: each for each in lines(result.stdout)}
    assert told[letters[0]]["steps"] == list(slip.NEW_TURN)
    assert "choose a route" in told[letters[1]]["problem"]
    assert "edit it first" in told[letters[2]]["problem"]
    assert all(not one["redrives"] for one in lines(run(deadletters, "list", "--json").stdout))


def test_letters_are_sent_on_once_unless_told_so(run: Run, letters: list[int]) -> None:
    one = str(letters[0])
    asked = run(deadletters, "redrive", one, said="n\n")
    assert (asked.exit_code, "Send 1 on?" in asked.output) == (1, True)
    assert run(deadletters, "redrive", one, said="y\n").exit_code == 0
    (told,) = lines(run(deadletters, "redrive", one, "--json", "--yes").stdout)
    assert (told["redriven"], "already" in told["problem"]) == (False, True)
    (told,) = lines(run(deadletters, "redrive", one, "--json", "--yes", "--again").stdout)
    assert (told["redriven"], told["topic"]) == (True, slip.CONVERSATION)
    listed = lines(run(deadletters, "list", "--json").stdout)[-1]
    assert ([each["attempt"] for each in listed["redrives"]], listed["became"]) == (
        [1, 2],
        "under way",
    )
    left = lines(run(deadletters, "list", "--json", "--open").stdout)
    assert [each["offset"] for each in left] == letters[:0:-1]


def test_letters_that_are_set_aside_are_no_longer_open(run: Run, letters: list[int]) -> None:
    one = str(letters[0])
    assert run(deadletters, "aside", one).exit_code == 2
    assert run(deadletters, "aside", one, "--note", "a test of ours").exit_code == 0
    assert "a test of ours" in run(deadletters, "show", one).output
    left = lines(run(deadletters, "list", "--json", "--open").stdout)
    assert letters[0] not in [each["offset"] for each in left]
    audited = lines(run(audit_command, "--json", "--action", "set aside").stdout)
    assert [(each["target"], each["detail"]) for each in audited] == [
        (f"dead letter {one}", {"note": "a test of ours"})
    ]
    assert "a test of ours" in run(audit_command, "--since", "1h").output
    assert "no such entries" in run(audit_command, "--operator", "nobody").output


def test_a_route_and_an_edited_message_are_checked_and_sent(
    run: Run, letters: list[int], tmp_path: Path
) -> None:
    circle = str(letters[1])
    bad = run(deadletters, "redrive", circle, "--route", "nowhere", "--yes")
    assert (bad.exit_code, "no mailbox is called 'nowhere'" in bad.output) == (1, True)
    good = run(deadletters, "redrive", circle, "--route", "response_aggregator", "--yes", "--json")
    assert lines(good.stdout)[0]["steps"] == [slip.CONVERSATION, slip.RESPONSE_AGGREGATOR]
    message = tmp_path / "message.json"
    message.write_text(turn("t3").encode().decode())
    mended = run(
        deadletters, "redrive", str(letters[2]), "--message", str(message), "--yes", "--json"
    )
    assert lines(mended.stdout)[0]["edited"] == ["everything"]
    assert mended.exit_code == 0


@pytest.mark.parametrize(
    "arguments", [(), ("1", "--json"), ("1", "2", "--message", "/dev/null"), ("x",)]
)
def test_what_is_not_said_clearly_is_asked_for(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(deadletters, "redrive", *arguments).exit_code == 2
