import time
from functools import partial
from pathlib import Path

import pytest

from mocks.servers import NatsServer
from streams.gateway import Gateway
from streams.settings import Settings
from tests.waiting import until
from tests.web.conftest import Clients, Socket, Web
from tests.web.responder import Responder
from web import create_web
from web.turns import TurnWatch


class Clock:
    """The time that turns are judged by: it passes, and more of it when a test says so."""

    passed = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.passed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turn_timeout() -> float:
    """Far longer than a turn takes here; for tests that do not wait for it to be over."""
    return 30.0


@pytest.fixture
def settings(own_broker: NatsServer, prefix: str, tmp_path: Path, turn_timeout: float) -> Settings:
    return Settings(
        broker_url=own_broker.url, prefix=prefix, data_dir=tmp_path, turn_timeout=turn_timeout
    )


@pytest.fixture
async def client(
    settings: Settings,
    gateway: Gateway,
    aiohttp_client: Clients,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Web:
    monkeypatch.setattr("web.health.FRESH", 0.05)
    monkeypatch.setattr("web.room.TurnWatch", partial(TurnWatch, clock=clock))
    return Web(await aiohttp_client(create_web(settings, gateway)))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give workers more time to answer a pulse, where there is one that does."""
    monkeypatch.setattr("streams.gateway.PULSE_WITHIN", 30.0)
    monkeypatch.setattr("web.health.LOOK_WITHIN", 60.0)


async def ready(client: Web) -> bool:
    return (await client.get("/health/ready"))[0] == 200


@pytest.mark.usefixtures("patient")
async def test_health_is_good_when_turns_are_answered(client: Web, responder: Responder) -> None:
    await client.chat("hello")
    assert await client.get("/health/live") == (200, {"status": "alive"})
    assert await client.get("/health/connected") == (200, {"status": "connected"})
    assert await client.get("/health/ready") == (200, {"status": "ready"})
    status, report = await client.get("/health")
    assert (status, report["status"]) == (200, "ok")
    assert all(check["ok"] for check in report["checks"].values())


async def test_health_is_bad_when_no_worker_answers(
    client: Web, responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.gateway.PULSE_WITHIN", 0.1)
    responder.alive = False
    status, report = await client.get("/health")
    assert (status, report["status"]) == (503, "down")
    assert report["checks"]["broker"]["ok"]
    assert not report["checks"]["workers"]["ok"]
    status, told = await client.get("/health/ready")
    assert (status, told["status"]) == (503, "unready")
    assert "worker" in told["reasons"][0]
    assert (await client.get("/health/live"))[0] == 200
    assert (await client.get("/health/connected"))[0] == 200
    monkeypatch.setattr("streams.gateway.PULSE_WITHIN", 30.0)
    responder.alive = True
    await until(lambda: ready(client))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("turn_timeout", [1.5])
async def test_health_is_not_good_while_turns_time_out(client: Web, responder: Responder) -> None:
    responder.silent = True  # broker and worker answer pings, and nobody gets a reply
    assert (await client.chat("hello?"))[0] == 504
    status, report = await client.get("/health")
    assert (status, report["status"]) == (503, "down")
    assert report["checks"]["workers"]["ok"]
    assert not report["checks"]["turns"]["ok"]
    assert not await ready(client)
    responder.silent = False

    async def answered() -> bool:
        return (await client.chat("hello"))[0] == 200

    await until(answered)
    status, report = await client.get("/health")
    assert (status, report["status"]) == (200, "degraded")
    assert await ready(client)


@pytest.mark.usefixtures("patient")
async def test_health_is_not_good_while_sockets_wait_in_vain(
    client: Web, responder: Responder, clock: Clock, turn_timeout: float
) -> None:
    responder.silent = True
    _, token = await client.session()
    socket = await client.socket(token)
    await socket.say("hello?", "m-1")
    await socket.receive("accepted")
    assert await ready(client)
    clock.passed += turn_timeout
    assert not await ready(client)
    assert (await client.get("/health"))[1]["checks"]["turns"]["late"] == 1


@pytest.mark.usefixtures("patient")
async def test_a_conversation_that_a_human_holds_is_not_late(
    client: Web, responder: Responder, clock: Clock, turn_timeout: float
) -> None:
    responder.script["a human please"] = {"state": "escalated"}
    _, token = await client.session()
    socket = await client.socket(token)
    await socket.say("a human please", "m-1")
    await socket.receive("reply")
    responder.silent = True
    await socket.say("are you there?", "m-2")
    await socket.receive("accepted")
    clock.passed += 2 * turn_timeout
    assert (await client.get("/health"))[1]["status"] == "ok"


async def test_after_a_broker_restart_the_gateway_comes_back(
    client: Web, responder: Responder, own_broker: NatsServer
) -> None:
    session_id, token = await client.session()
    socket = await client.socket(token)
    await socket.say("before", "m-1")
    assert (await socket.receive("reply"))["response"] == "BEFORE"

    own_broker.kill()

    async def missed() -> bool:
        status, report = await client.get("/health")
        return status == 503 and not report["checks"]["broker"]["ok"]

    await until(missed)
    await socket.say("during", "m-2")
    error = await socket.receive("error")
    assert (error["code"], error["message_id"]) == ("unavailable", "m-2")
    status, body = await client.chat("during", session_id=session_id, message_id="m-3")
    assert (status, body["error"]["code"], body["message_id"]) == (503, "unavailable", "m-3")
    newcomer = Socket(await client.http.ws_connect("/ws"))
    await newcomer.send(type="hello", token=token)
    assert (await newcomer.next())["code"] == "unavailable"

    own_broker.start()
    await until(lambda: ready(client))
    # The same socket, the same message under the same id.
    await socket.say("during", "m-2")
    assert (await socket.receive("reply"))["response"] == "DURING"
    status, body = await client.chat("after", session_id=session_id)
    assert (status, body["response"]) == (200, "AFTER")
    assert (await socket.receive("reply"))["response"] == "AFTER"
    await newcomer.send(type="hello", token=token, after=2)
    assert [r["response"] for r in (await newcomer.next())["replies"]] == ["AFTER"]


async def test_pages_start_before_the_broker_does(
    tmp_path: Path, prefix: str, aiohttp_client: Clients
) -> None:
    broker = NatsServer(tmp_path / "late")
    settings = Settings(broker_url=broker.url, prefix=prefix, data_dir=tmp_path)
    gateway = Gateway(settings)
    await gateway.start()
    client = Web(await aiohttp_client(create_web(settings, gateway)))
    try:
        assert (await client.get("/health/live"))[0] == 200
        assert (await client.get("/health/ready"))[0] == 503
        status, told = await client.get("/health/connected")
        assert (status, told["reasons"]) == (503, ["The message broker cannot be reached."])
        assert (await client.chat("hello"))[0] == 503
        with broker:
            await until(lambda: gateway.connected)
            async with Responder(settings):
                await until(lambda: ready(client))
                assert (await client.chat("hello"))[0] == 200
    finally:
        await gateway.close()
