import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from agents.checkup import check_model
from mocks import llm
from mocks.servers import NatsServer, RedisServer, free_port
from streams.checkup.place import check_place
from streams.checkup.roles import Role
from streams.settings import Settings
from streams.topics import declare_topics
from tests.web.served import served
from tests.web.terminal.conftest import Prepare, Run
from web.terminal.doctor import create_doctor


def by_check(output: str) -> dict[str, dict[str, str]]:
    return {found["check"]: found for found in map(json.loads, output.splitlines())}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give servers more time: they are only as slow as a busy machine makes them."""
    monkeypatch.setattr("streams.checkup.broker.SECONDS", 30.0)


@pytest.fixture
def healthy(settings: Settings, redis_url: str) -> Settings:
    return settings.model_copy(update={"redis_url": redis_url})


ROLES: tuple[Role, ...] = ("worker", "web")

doctor = create_doctor(lambda _: {}, check_model)


def test_all_is_well_where_it_is(run: Run, healthy: Settings, prepare: Prepare) -> None:
    prepare(lambda client: declare_topics(client.jetstream(), healthy))
    result = run(doctor, "--json", mesh=healthy)
    found = by_check(result.stdout)
    assert {one["verdict"] for one in found.values()} == {"ok"}, result.stdout
    assert "all are there" in found["topics"]["text"]
    assert "nats-server 2." in found["version"]["text"]
    assert found.keys() >= {"disk", "rights", "clock", "JetStream", "Redis"}
    assert result.exit_code == 0


def test_trying_leaves_nothing_behind(run: Run, healthy: Settings, prepare: Prepare) -> None:
    assert run(doctor, mesh=healthy).exit_code == 0
    left: list[str] = []

    async def look(client: Any) -> None:
        js = client.jetstream()
        page = await js.streams_info()
        left.extend(info.config.name for info in page if healthy.prefix in info.config.name)

    prepare(look)
    assert left == []


def test_before_the_first_worker_it_says_so(run: Run, healthy: Settings) -> None:
    found = by_check(run(doctor, "--json", mesh=healthy).stdout)
    assert "the first worker makes them" in found["topics"]["text"]
    assert found["clock"]["verdict"] == "skipped"


def test_topics_that_are_otherwise_are_told(run: Run, healthy: Settings, prepare: Prepare) -> None:
    prepare(lambda client: declare_topics(client.jetstream(), healthy))
    other = healthy.model_copy(update={"partitions": 3})
    result = run(doctor, mesh=other)
    assert "mesh.conversation has 2 partitions, MESH_PARTITIONS is 3" in result.stdout
    assert result.exit_code == 1
    other = healthy.model_copy(update={"replicas": 3, "journal_days": 5})
    result = run(doctor, mesh=other)
    assert "mesh.journal has 1 copies, not 3" in result.stdout
    assert "mesh.journal keeps records for 90 days, not 5 days" in result.stdout
    assert "nats stream edit" in result.stdout
    assert result.exit_code == 0


def test_without_a_broker_the_rest_is_looked_at(
    run: Run, healthy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.checkup.broker.SECONDS", 0.5)
    nowhere = healthy.model_copy(update={"broker_url": f"nats://127.0.0.1:{free_port()}"})
    result = run(doctor, "--json", mesh=nowhere)
    found = by_check(result.stdout)
    assert found["broker"]["verdict"] == "failed"
    assert found["rights"]["verdict"] == "skipped"
    assert found["Redis"]["verdict"] == "ok"
    assert result.exit_code == 1


class Guarded(NatsServer):
    """A server with a login that has few rights, and no JetStream for anybody."""

    def config(self) -> str:
        return (
            f"host: 127.0.0.1\nport: {self.port}\n"
            "authorization { users: [ { user: few, password: pw, permissions: {"
            ' publish: ["mesh.>", "$JS.API.INFO"], subscribe: ["_INBOX.mesh.>"] } } ] }\n'
        )

    def ready(self) -> bool:
        return super(NatsServer, self).ready()


def test_what_a_login_lacks_is_named(run: Run, healthy: Settings, tmp_path: Path) -> None:
    with Guarded(tmp_path / "guarded") as server:
        few = {"broker_url": f"nats://few:pw@127.0.0.1:{server.port}", "prefix": "mesh"}
        result = run(doctor, "--json", "--role", "worker", mesh=healthy.model_copy(update=few))
        found = by_check(result.stdout)
        assert found["JetStream"]["verdict"] == "failed"
        assert "subscribe mesh.pulse" in found["rights"]["text"]
        assert "publish $JS.API.STREAM.CREATE.*" in found["rights"]["text"]
        assert "publish mesh.>" not in found["rights"]["text"]
        wrong = few | {"broker_url": f"nats://few:no@127.0.0.1:{server.port}"}
        found = by_check(run(doctor, "--json", mesh=healthy.model_copy(update=wrong)).stdout)
        assert "refuses the login" in found["broker"]["text"]


class Locked(RedisServer):
    """A redis-server that wants a password."""

    def command(self) -> list[str]:
        return [*super().command(), "--requirepass", "right"]


def test_redis_may_be_away_but_not_refuse_us(run: Run, settings: Settings, tmp_path: Path) -> None:
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    result = run(doctor, "--json", mesh=away)
    assert by_check(result.stdout)["Redis"]["verdict"] == "warning"
    assert result.exit_code == 0
    with Locked(tmp_path / "locked") as server:
        url = server.url.replace("//", "//:guess@")
        refused = settings.model_copy(update={"redis_url": url})
        result = run(doctor, "--json", mesh=refused)
        assert by_check(result.stdout)["Redis"]["verdict"] == "failed"
        assert "guess" not in result.stdout
        assert result.exit_code == 1


def test_services_are_asked_whether_they_answer(run: Run, healthy: Settings) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    command = create_doctor(lambda _: {"MESH_ORDERS_URL": nowhere}, check_model)
    result = run(command, "--json", mesh=healthy)
    found = by_check(result.stdout)["MESH_ORDERS_URL"]
    assert found["verdict"] == "failed"
    assert found["advice"].startswith("Look at MESH_ORDERS_URL")
    assert result.exit_code == 1
    assert "MESH_ORDERS_URL" not in run(command, "--role", "web", mesh=healthy).stdout


async def test_the_model_is_asked_a_question(settings: Settings) -> None:
    async with served(llm.create_app(api_key="right")) as url:
        # It waits for litellm to load, as a worker's first question does.
        base = {"llm_api_base": f"{url}/v1", "llm_api_key": "right", "llm_timeout": 120}
        good = Settings.model_validate(settings.model_dump() | base)
        assert (await check_model(good)).verdict == "ok"
        bad = Settings.model_validate(settings.model_dump() | base | {"llm_api_key": "wrong-key"})
        found = await check_model(bad)
        assert found.verdict == "failed"
        assert "wrong-key" not in found.text


def place(settings: Settings, **environment: str) -> dict[str, tuple[str, str]]:
    found = check_place(settings, environment, ROLES)
    return {one.check: (one.verdict, one.text) for one in found}


def test_a_variable_that_is_no_setting_is_told_with_what_is_meant(settings: Settings) -> None:
    verdict, text = place(settings, MESH_WEB_PROT="1", MESH_LLM_API_KEY_FILE="x", PATH="y")[
        "settings"
    ]
    assert verdict == "warning"
    assert text == "no setting has this name: MESH_WEB_PROT (is MESH_WEB_PORT meant?)"


def test_lines_of_the_file_are_looked_at_too(
    run: Run, healthy: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MESH_LLM_MODLE=x\n")
    found = by_check(run(doctor, "--json", mesh=healthy).stdout)
    assert "MESH_LLM_MODLE (is MESH_LLM_MODEL meant?)" in found["settings"]["text"]


def test_secrets_must_be_given_where_others_can_reach_us(settings: Settings) -> None:
    assert place(settings)["secrets"][0] == "ok"
    verdict, text = place(settings.model_copy(update={"web_host": "0.0.0.0"}))["secrets"]
    assert verdict == "warning"
    assert "MESH_OPERATOR_TOKEN" in text
    worker = check_place(settings.model_copy(update={"web_host": "0.0.0.0"}), {}, ["worker"])
    (told,) = (one.text for one in worker if one.check == "secrets")
    assert "MESH_METRICS_TOKEN: not set" in told
    short = Settings.model_validate(settings.model_dump() | {"secret_key": "short"})
    assert place(short)["secrets"] == ("warning", "MESH_SECRET_KEY has 5 characters")


def test_a_folder_that_cannot_be_or_is_open_to_all_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert place(Settings(data_dir=tmp_path / "file" / "below"))["data folder"][0] == "failed"
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    assert place(Settings(data_dir=shared))["data folder"][0] == "warning"
    shared.chmod(0o700)
    assert place(Settings(data_dir=shared))["data folder"][0] == "ok"
    assert os.listdir(shared) == []
    assert stat.S_IMODE(shared.stat().st_mode) == 0o700
