"""The whole system through its front door, as `make run` starts it."""

import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web
from playwright.async_api import expect

from mocks.cast import ANGRY, CAST, POLITE
from mocks.laptop import addresses
from mocks.servers import free_port
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import stream_name
from streams.gateway import Gateway
from streams.message import Message
from streams.reply import Reply
from streams.topics import JOURNAL, REPLIES, topics
from tables.history import History
from tests.browser import chromium, needs_browser
from tests.faust_apps import records
from tests.waiting import until
from tests.whole_mesh import ROOT, WholeMesh, until_ready, whole_mesh

pytestmark = pytest.mark.timeout(300)

QUESTION = "Hello, could you please tell me when my order #W7000201 arrives?"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeMesh]:
    """One running system for all tests that leave it whole."""
    with whole_mesh(tmp_path_factory.mktemp("mesh") / "data") as running:
        yield running


def command(mesh: WholeMesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=mesh.environment,
        cwd=ROOT,
        timeout=120,
    )


async def ask(mesh: WholeMesh, text: str, email: str = "", **fields: Any) -> dict[str, Any]:
    body = {"message": text, "email": email or CAST[POLITE].email, **fields}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{mesh.url}/api/chat", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())


def test_all_scenarios_end_as_they_must(mesh: WholeMesh) -> None:
    done = command(mesh, "app.py", "scenarios", "--json")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["problem"] for result in results] == [""] * 5, done.stderr
    assert done.returncode == 0
    for result in results:
        for turn in result["turns"]:
            assert turn["hops"][0] == "conversation"
            assert turn["reply"]["route"][-1] == "response_aggregator"
            # News of a hop may be overtaken by the reply, never the other way round.
            assert turn["hops"] == turn["reply"]["route"][: len(turn["hops"])]
    # And once more: what they did is undone before they begin.
    assert command(mesh, "app.py", "scenarios").returncode == 0


def test_scenarios_fail_when_the_mesh_does(mesh: WholeMesh) -> None:
    """Known fault: demo scripts printed success after failing."""
    done = command(mesh, "app.py", "scenarios", "--json", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert all(not json.loads(line)["ok"] for line in done.stdout.splitlines())


async def test_the_http_api_answers_with_the_documented_fields(mesh: WholeMesh) -> None:
    answer = await ask(mesh, QUESTION)
    assert set(answer) == {
        "session_id",
        "message_id",
        "response",
        "state",
        "intent",
        "sentiment",
        "route",
        "actions",
    }
    assert answer["state"] == "answered"
    assert "#W7000201" in answer["response"]
    assert answer["route"][0] == "conversation"
    assert answer["route"][-1] == "response_aggregator"
    assert "guardrail_validator" in answer["route"]


@pytest.mark.browser
@needs_browser[1]
async def test_a_customer_writes_in_the_page_and_reads_the_answer(mesh: WholeMesh) -> None:
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 375, "height": 812})
        await page.goto(mesh.url)
        await page.keyboard.type("jonah.petrak@example.com")
        await page.keyboard.press("Enter")
        await expect(page.locator("#link-state")).to_have_text("Connected")
        await page.keyboard.type("I want to return my order #W7000401")
        await page.keyboard.press("Enter")
        answer = page.locator(".theirs .text").last
        await expect(answer).to_contain_text("Shall I take back")
        await page.get_by_role("button", name="No").click()
        await expect(page.locator(".theirs .text")).to_have_count(2)
        await expect(page.locator(".theirs .text").last).not_to_contain_text("Shall I")


async def test_topics_are_kept_as_long_as_the_settings_say(mesh: WholeMesh) -> None:
    settings = mesh.settings()
    client = await connect(parse_url(settings.broker_url), name="test")
    try:
        await ask(mesh, QUESTION)
        for topic in topics(settings).values():
            info = await client.jetstream().stream_info(stream_name(settings.prefix, topic.name))
            assert info.config.max_age == topic.retention_seconds, topic.name
    finally:
        await client.close()


async def test_a_conversation_goes_on_with_its_session(mesh: WholeMesh) -> None:
    first = await ask(mesh, "I want to cancel my order.", "maribel.soto@example.com")
    second = await ask(
        mesh, "no, do not do that", "maribel.soto@example.com", session_id=first["session_id"]
    )
    assert second["session_id"] == first["session_id"]
    assert second["actions"] == []


async def test_the_context_is_really_fetched(mesh: WholeMesh) -> None:
    """Known fault: the context was never fetched and nobody noticed."""
    answer = await ask(mesh, QUESTION)
    turn = await turn_of(mesh, answer)
    context = turn.payload.context
    assert context is not None
    assert context.customer is not None
    assert context.customer.email == CAST[POLITE].email
    assert [order.id for order in context.orders if order.id in context.focus] == ["#W7000201"]
    assert context.missing == []
    hop = next(hop for hop in turn.trace if hop.actor == "context_retriever")
    asked = {exchange.target for exchange in hop.exchanges}
    assert "cache" in asked or {"customers", "orders"} <= asked


async def test_nobody_elses_order_is_told(mesh: WholeMesh) -> None:
    theirs = CAST[ANGRY].order_ids[0]
    answer = await ask(mesh, f"Where is my order {theirs}?")
    assert "delayed" not in answer["response"].lower()
    assert answer["actions"] == []
    assert answer["state"] in ("answered", "needs_information")


async def test_many_customers_at_once_each_get_their_own_answer(mesh: WholeMesh) -> None:
    answers = await asyncio.gather(*(ask(mesh, QUESTION) for _ in range(40)))
    assert len({answer["session_id"] for answer in answers}) == 40
    assert {answer["state"] for answer in answers} == {"answered"}


async def test_history_shows_the_turn_and_its_actions(mesh: WholeMesh) -> None:
    answer = await ask(mesh, QUESTION)
    history = History(mesh.data_dir / "history.sqlite")
    found = await until(lambda: history.conversation(answer["session_id"]))
    assert found["turns"][0]["response"] == answer["response"]
    assert found["turns"][0]["route"] == answer["route"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["agents"], "mesh.decision_router"),
        (["tables"], "mesh.sessions"),
        (["model", "--help"], "Usage"),
    ],
)
def test_fausts_own_commands_work(mesh: WholeMesh, arguments: list[str], expected: str) -> None:
    done = command(mesh, "-m", "faust", "-A", "app", *arguments)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


async def test_faust_send_reaches_a_mailbox(mesh: WholeMesh) -> None:
    session = secrets.token_hex(4)
    turn = {
        "id": "by-hand",
        "session_id": session,
        "payload": {"text": "Thank you!", "email": None, "at": "2026-01-01T00:00:00Z"},
    }
    done = command(
        mesh, "-m", "faust", "-A", "app", "send", "mesh.conversation", json.dumps(turn),
        "-k", session,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    gateway = Gateway(mesh.settings())
    await gateway.start()
    try:
        await until(lambda: gateway.declared)
        replies: list[Reply] = await until(lambda: gateway.replies(session))
        assert [reply.message_id for reply in replies] == ["by-hand"]
    finally:
        await gateway.close()


async def test_fausts_own_pages_work(mesh: WholeMesh) -> None:
    async with aiohttp.ClientSession() as http:
        # Not its tables: whoever reaches the port could read conversations there.
        for path, status in (("/", 200), ("/router/", 200), ("/table/", 404)):
            async with http.get(f"http://127.0.0.1:{mesh.ports['worker']}{path}") as answer:
                assert answer.status == status, path


def test_a_second_mesh_on_the_same_data_is_refused(mesh: WholeMesh) -> None:
    done = command(mesh, "app.py", "run")
    assert done.returncode == 1
    assert "MESH_DATA_DIR" in done.stderr


def test_a_taken_port_is_named_with_the_setting_that_moves_it(
    mesh: WholeMesh, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "app.py", "run"],
        capture_output=True,
        text=True,
        env=mesh.environment | {"MESH_DATA_DIR": str(tmp_path)},
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 1
    for name in ("WEB", "WORKER", "CUSTOMERS", "ORDERS", "TRACKING", "LLM"):
        assert f"MESH_{name}_PORT" in done.stderr


async def test_a_second_instance_of_the_worker_does_no_harm(mesh: WholeMesh) -> None:
    """Known fault: a second instance of an actor crashed."""
    settings = mesh.settings()
    port = free_port()
    second = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "worker"],
        env=mesh.environment
        | {
            "MESH_BROKER_URL": settings.broker_url,
            "MESH_REDIS_URL": settings.redis_url,
            "MESH_WORKER_PORT": str(port),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        joined = False
        while not joined:  # turns are answered before, while and after it joins
            assert second.poll() is None
            assert (await ask(mesh, QUESTION))["state"] == "answered"
            joined = await asyncio.to_thread(answers, f"http://127.0.0.1:{port}/health/ready")
        for _ in range(5):
            assert (await ask(mesh, QUESTION))["state"] == "answered"
            assert second.poll() is None
    finally:
        second.terminate()
        assert await asyncio.to_thread(second.wait, 60) == 0
    await until_ready(mesh)
    assert (await ask(mesh, QUESTION))["state"] == "answered"


def answers(url: str) -> bool:
    """Say whether a page is there, and content."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def turn_of(mesh: WholeMesh, answer: dict[str, Any]) -> Message:
    """Return the finished turn behind an answer, from the journal."""
    settings = mesh.settings()

    async def found() -> Message | None:
        for record in await records(settings.broker_url, settings.prefix, JOURNAL):
            message = Message.decode(record.value or b"")
            if message.id == answer["message_id"]:
                return message
        return None

    turn: Message = await until(found, "the turn being in the journal")
    return turn


async def test_a_model_that_fails_is_replaced_by_rules_and_templates_and_the_trace_says_so(
    tmp_path: Path,
) -> None:
    with whole_mesh(
        tmp_path / "data", {"MESH_MOCK_LLM_FAILURE_RATE": "1", "MESH_LLM_TIMEOUT": "2"}
    ) as mesh:
        done = command(mesh, "app.py", "scenarios", "--json")
        assert done.returncode == 0, done.stdout
        answer = await ask(mesh, QUESTION)
        turn = await turn_of(mesh, answer)
    assert answer["state"] == "answered"
    assert turn.payload.intent is not None
    assert turn.payload.intent.source == "rules"
    assert turn.payload.response is not None
    assert turn.payload.response.source == "template"
    for actor in ("intent_analyzer", "response_generator"):
        hop = next(hop for hop in turn.trace if hop.actor == actor)
        assert hop.notes, f"{actor} does not say that it did without the model"
        assert [exchange.error is not None for exchange in hop.exchanges] == [True]


async def test_what_the_guardrail_refuses_does_not_go_out(tmp_path: Path) -> None:
    """Known fault: the guardrail came to a verdict that blocked nothing."""
    lie = "Your order #W9999999 was cancelled and I have refunded $5,000.00, you idiot."

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        system = body["messages"][0]["content"]
        text = lie if '"reply"' in system else '{"intent": "delivery_status", "confidence": 0.9}'
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        return web.json_response(
            {
                "id": "c1",
                "object": "chat.completion",
                "created": 1,
                "model": "liar",
                "choices": [choice | {"finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    liar = web.Application()
    liar.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(liar)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    system = whole_mesh(tmp_path / "data", {"MESH_LLM_API_BASE": f"http://127.0.0.1:{port}/v1"})
    mesh = await asyncio.to_thread(system.__enter__)
    try:
        answer = await ask(mesh, QUESTION)
        turn = await turn_of(mesh, answer)
    finally:
        await asyncio.to_thread(system.__exit__, None, None, None)
        await runner.cleanup()
    assert "5,000" not in answer["response"]
    assert "idiot" not in answer["response"]
    assert "#W7000201" in answer["response"]
    assert answer["state"] == "answered"
    verdicts = [
        hop.added["guardrail"]["passed"] for hop in turn.trace if hop.actor == "guardrail_validator"
    ]
    assert verdicts == [False, False, True]
    assert turn.recovery.guardrail_rounds == 2


@pytest.mark.faults
@pytest.mark.parametrize("workers", [1, 2])
async def test_killing_a_worker_with_turns_in_flight_loses_no_turn_and_doubles_none(
    tmp_path: Path, workers: int
) -> None:
    """Every turn is answered exactly once, in sessions that remember what came before."""
    sessions, turns = 30, 4
    with whole_mesh(
        tmp_path / "data", {"MESH_MOCK_LLM_LATENCY_MS": "20", "MESH_WORKERS": str(workers)}
    ) as mesh:
        settings = mesh.settings()
        gateway = Gateway(settings)
        await gateway.start()
        await until(lambda: gateway.declared)
        from tests.streams.test_gateway import turn

        names = [secrets.token_hex(8) for _ in range(sessions)]
        for number in range(turns):
            for name in names:
                message = turn(f"{QUESTION} ({number})", name, f"t{number}")
                await gateway.send(message)
            if number in (1, 3):
                (await _part(mesh, "worker")).kill()
        waiting = set(names)

        async def all_answered() -> bool:
            for name in list(waiting):
                if len(await gateway.replies(name)) == turns:
                    waiting.discard(name)
            return not waiting

        await until(all_answered, "all sessions having their replies", seconds=120)
        for name in names:
            replies = await gateway.replies(name)
            assert [reply.message_id for reply in replies] == [f"t{n}" for n in range(turns)]
            assert [reply.sequence for reply in replies] == list(range(1, turns + 1))
        stored = await records(settings.broker_url, settings.prefix, REPLIES)
        journal = await records(settings.broker_url, settings.prefix, JOURNAL)
        await gateway.close()
    replied = Counter(
        (record.key, json.loads(record.value or b"")["message_id"]) for record in stored
    )
    assert len(replied) == sessions * turns
    assert set(replied.values()) == {1}
    ended = [Message.decode(record.value or b"") for record in journal]
    assert len(ended) == sessions * turns
    assert all(len(m.payload.history) == 2 * (m.payload.turn - 1) for m in ended)


async def _part(mesh: WholeMesh, name: str) -> psutil.Process:
    """Return a part's process; it may be on its way back from the kill before."""

    def there() -> psutil.Process | None:
        with contextlib.suppress(LookupError):
            return mesh.part(name)
        return None

    part: psutil.Process = await until(there, f"{name} coming back")
    return part


@pytest.mark.faults
async def test_whatever_part_is_killed_the_mesh_comes_back(tmp_path: Path) -> None:
    with whole_mesh(tmp_path / "data") as mesh:
        first = await ask(mesh, QUESTION)
        for part in ("nats-server", "redis-server", "mocks", "web", "worker"):
            killed = await _part(mesh, part)
            killed.kill()
            await asyncio.to_thread(psutil.wait_procs, [killed])
            await _answers_again(mesh)
        again = await ask(mesh, "Thanks!", session_id=first["session_id"])
        assert again["state"] == "answered"


async def _answers_again(mesh: WholeMesh) -> None:
    async def answered() -> bool:
        try:
            await until_ready(mesh)
            return bool((await ask(mesh, QUESTION))["state"] == "answered")
        except (aiohttp.ClientError, AssertionError):
            return False

    await until(answered, "the mesh answering again", seconds=90)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    with whole_mesh(tmp_path / "data") as mesh:
        family = psutil.Process(mesh.process.pid).children(recursive=True)
        assert {p.name() for p in family} >= {"nats-server", "redis-server"}
        mesh.process.send_signal(number)
        assert mesh.process.wait(60) == 0
        gone, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []
        assert len(gone) == len(family)


def test_a_killed_mesh_leaves_no_process_behind(tmp_path: Path) -> None:
    with whole_mesh(tmp_path / "data") as mesh:
        family = psutil.Process(mesh.process.pid).children(recursive=True)
        assert set(addresses(mesh.data_dir)) == {"nats", "redis"}
        mesh.process.kill()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []
        assert addresses(mesh.data_dir) == {}, "what was left behind is not taken for a mesh"
