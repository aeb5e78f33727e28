"""The servers' own configuration: accepted, enough for worker and pages, and no more than that."""

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client

from mocks.laptop import Part
from mocks.servers import executable
from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import AccessDenied
from streams.bridge.layout import subject
from streams.checkup.roles import Role
from streams.checkup.roles import rights as needed
from streams.slip import SENTIMENT_ANALYZER
from tests.k8s.manifests import K8S, OVERLAYS, ROOT, built, secrets
from tests.k8s.topology import ConfiguredNats, Topology, log, running
from tests.waiting import until


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nats_server_accepts_the_configuration(overlay: str, tmp_path: Path) -> None:
    manifests = built(overlay)
    nats = manifests.container("nats")
    server = ConfiguredNats(tmp_path, "mesh-nats-0", manifests.files(nats))
    told = subprocess.run(
        [executable("nats-server"), "-t", *nats.spec["command"][1:3]],
        cwd=server.etc,
        env=os.environ | {one["name"]: one.get("value", "mesh-nats-0") for one in nats.spec["env"]},
        capture_output=True,
        text=True,
    )
    assert "is valid" in told.stdout + told.stderr


def test_servers_of_a_cluster_know_each_other_by_the_names_that_pods_have() -> None:
    conf = (K8S / "overlays" / "production" / "nats" / "cluster.conf").read_text()
    nats = built("production").get("StatefulSet", "mesh-nats")["spec"]
    pods = {f"mesh-nats-{n}.{nats['serviceName']}" for n in range(nats["replicas"])}
    assert set(re.findall(r"nats-route://([\w.-]+):6222", conf)) == pods
    for name in ("mesh-worker", "mesh-web"):
        url = parse_url(secrets("production")[name]["broker_url"])
        assert {server.removeprefix("nats://") for server in url.servers} == {
            f"{pod}:4222" for pod in pods
        }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_name_by_which_servers_are_called_is_in_their_certificate(
    overlay: str, tmp_path: Path
) -> None:
    """By a handshake with each name: the other tests reach them all as localhost."""
    for name, content in secrets(overlay)["mesh-nats-tls"].items():
        (tmp_path / name).write_text(content)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    asking = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    urls = (parse_url(secrets(overlay)[name]["broker_url"]) for name in ("mesh-worker", "mesh-web"))
    called = {str(urlsplit(server).hostname) for url in urls for server in url.servers}
    replicas = built(overlay).get("StatefulSet", "mesh-nats")["spec"]["replicas"]
    assert called == {f"mesh-nats-{n}.mesh-nats" for n in range(replicas)}
    for host in sorted(called | {"localhost"}):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = asking.wrap_bio(to_client, to_server, server_hostname=host)
        server = serving.wrap_bio(to_server, to_client, server_side=True)
        for side in (client, server, client):
            # Who waits for the other's part says so; a wrong name is another error.
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        assert client.getpeercert(), host


def rights(text: str, role: str, operation: str) -> set[str]:
    """Return what a configuration allows a role."""
    found = re.search(rf"^{role}: \{{\n(.*?)^\}}", text, re.S | re.M)
    assert found is not None
    listed = re.search(rf"{operation}: \[(.*?)\]", found[1], re.S)
    assert listed is not None
    return set(re.findall(r'"([^"]+)"', listed[1]))


def test_rights_are_those_that_the_bridge_documents() -> None:
    ours = (K8S / "base" / "nats" / "nats.conf").read_text()
    bridge = (ROOT / "streams" / "bridge" / "README.md").read_text().replace("shop", "mesh")
    worker = {way: rights(bridge, "WORKER", way) for way in ("publish", "subscribe")}
    # A worker gives topics that are there the limits of its settings.
    assert rights(ours, "WORKER", "publish") == worker["publish"] | {"$JS.API.STREAM.UPDATE.*"}
    assert rights(ours, "WORKER", "subscribe") == worker["subscribe"] | {"mesh.pulse"}
    # Pages send and look; they answer no questions, delete no topic and share no transactions.
    web = rights(bridge, "CLIENT", "publish") | rights(bridge, "VIEWER", "publish")
    web -= {"$JS.API.STREAM.DELETE.*", "$JS.API.CONSUMER.CREATE.*.*.mesh.=offsets.>"}
    assert rights(ours, "WEB", "publish") == web
    assert rights(ours, "WEB", "subscribe") == {"_INBOX.mesh.>", "mesh.>"}
    # And those that `app.py doctor` tries.
    roles: tuple[Role, ...] = ("worker", "web")
    for role in roles:
        for way in ("publish", "subscribe"):
            tried = {right.subject for right in needed(role, "mesh") if right.operation == way}
            assert tried == rights(ours, role.upper(), way)


LOOKS = (
    "/api/streams/conversation/{session}",
    "/api/streams/mesh",
    "/api/streams/publish",
    "/health",
)


@dataclass
class Place:
    """The local overlay in processes, with a worker and pages."""

    topology: Topology
    worker: Part
    web: Part

    def ask(self, path: str, body: Any = None) -> Any:
        """Return what the pages answer to an operator."""
        token = secrets("local")["mesh-web"]["operator_token"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.web.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "X-Operator": "tests",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            documents = [json.loads(line) for line in answer.read().splitlines() if line]
        return documents if len(documents) > 1 else documents[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running("local", tmp_path_factory.mktemp("local")) as topology:
        parts = [topology.part("worker"), topology.part("web")]
        try:
            for part in parts:
                part.launch()
            for part in parts:
                part.wait_ready(90)
            yield Place(topology, *parts)
        finally:
            for part in parts:
                part.stop()


def test_the_rights_are_enough_for_turns_and_for_looking(place: Place) -> None:
    asked = {"message": "Where is my order #W7000201?", "email": "tobias.wren@example.com"}
    turn = place.ask("/api/chat", asked)
    assert (turn["state"], turn["route"][-1]) == ("answered", "response_aggregator")
    seen = place.ask("/api/streams")
    assert {topic["name"] for topic in seen["topics"]} >= {"mesh.conversation", "mesh.journal"}
    assert any(member["alive"] for group in seen["groups"] for member in group["members"])
    assert turn["session_id"] in str(place.ask("/api/streams/mesh.journal/records"))
    for path in LOOKS:
        assert place.ask(path.format(session=turn["session_id"])), path
    for part in (place.worker, place.web):
        assert "no right to" not in log(part)
        assert '"level": "ERROR"' not in log(part)


async def test_the_rights_are_enough_for_dead_letters(place: Place) -> None:
    operator = place.topology.login("operator", "OPERATOR_PASSWORD")
    client = await connect(parse_url(operator), name="test")
    await client.jetstream().publish(subject("mesh", SENTIMENT_ANALYZER, 0), b"garbage")
    await client.close()
    letters: list[Any] = []
    while not letters:
        letters = (await asyncio.to_thread(place.ask, "/api/streams/deadletters"))["letters"]
    base = f"/api/streams/deadletters/{letters[0]['offset']}"
    assert "garbage" in str(await asyncio.to_thread(place.ask, base))
    await asyncio.to_thread(place.ask, f"{base}/aside", {"note": "a test"})
    assert "no right to" not in log(place.web)


@pytest.mark.parametrize("part", ["worker", "web"])
def test_the_doctor_finds_nothing_inside_the_pods(place: Place, part: str) -> None:
    environment = place.topology.environment(part)
    told = subprocess.run(
        [sys.executable, "app.py", "doctor", "--json", "--role", part],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment}
        | {"MESH_DATA_DIR": str(place.topology.folder / "doctor")},
        capture_output=True,
        text=True,
    )
    found = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one for one in found if one["verdict"] != "ok"] == []
    assert {"rights", "topics"} <= {one["check"] for one in found}
    assert told.returncode == 0


def test_the_doctor_names_what_a_login_lacks(place: Place) -> None:
    environment = place.topology.environment("web")
    told = subprocess.run(
        [sys.executable, "app.py", "doctor", "--json", "--role", "worker"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment}
        | {"MESH_DATA_DIR": str(place.topology.folder / "doctor")},
        capture_output=True,
        text=True,
    )
    (lacking,) = (
        one for one in map(json.loads, told.stdout.splitlines()) if one["check"] == "rights"
    )
    named = set(re.findall(r"publish ([^,]+)", lacking["text"]))
    assert lacking["verdict"] == "failed", lacking
    assert named == {
        "$KV.mesh-groups.>",
        "_BRIDGE.mesh-groups.>",
        "_INBOX.mesh.>",
        "$JS.API.STREAM.UPDATE.*",
        "$JS.API.STREAM.DELETE.*",
    }
    assert told.returncode == 1


async def attempt(url: str, api: str) -> None:
    """Ask JetStream for something; AccessDenied if the login has no right to."""
    client = await connect(parse_url(url), name="test")
    try:
        await client.request(api, b"", timeout=5)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("user", "password", "api"),
    [
        ("worker-a", "WORKER_A_PASSWORD", "$JS.API.STREAM.PURGE.mesh--mesh=2Ejournal"),
        ("worker-b", "WORKER_B_PASSWORD", "$JS.API.STREAM.SNAPSHOT.mesh--mesh=2Ejournal"),
        ("web-a", "WEB_A_PASSWORD", "$JS.API.STREAM.DELETE.mesh--mesh=2Ejournal"),
        ("web-b", "WEB_B_PASSWORD", "$KV.mesh-groups.group.mesh.state"),
    ],
)
async def test_nobody_may_do_more(place: Place, user: str, password: str, api: str) -> None:
    with pytest.raises(AccessDenied, match=f"no right to publish to {re.escape(api)}"):
        await attempt(place.topology.login(user, password), api)


async def test_the_operator_may_do_all(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    await attempt(place.topology.login("operator", "OPERATOR_PASSWORD"), "$JS.API.STREAM.LIST")
    assert caplog.text == "", "every command of an operator would print this"


async def test_nobody_gets_in_without_a_login_or_without_tls(place: Place) -> None:
    server = place.topology.nats[0]
    authority = place.topology.folder / "secrets" / "nats-ca.crt"
    with pytest.raises(AccessDenied):
        await connect(parse_url(f"nats://localhost:{server.port}?tls_ca={authority}"), name="x")
    plain = Client()
    with pytest.raises((ssl.SSLError, OSError)):
        await plain.connect(f"nats://localhost:{server.port}", allow_reconnect=False)


async def test_a_password_is_changed_while_everybody_stays_connected(place: Place) -> None:
    """As k8s/README.md says: the unused login gets a new one, servers reload, workers move."""
    (server,) = place.topology.nats
    kept = server.etc / "passwords.conf"
    begun = kept.read_text()
    before = await connect(
        parse_url(place.topology.login("worker-a", "WORKER_A_PASSWORD")), name="a"
    )
    try:
        await reload(server, re.sub(r'(WORKER_B_PASSWORD: )".*"', r'\1"changed-for-b"', begun))
        moved = place.topology.login("worker-b", "WORKER_B_PASSWORD")
        with pytest.raises(AccessDenied):
            await attempt(moved, "$JS.API.INFO")
        await attempt(re.sub(r":[0-9a-f]{48}@", ":changed-for-b@", moved), "$JS.API.INFO")
        assert before.is_connected
        assert before.stats["reconnects"] == 0
    finally:
        await reload(server, begun)
        await before.close()


async def reload(server: ConfiguredNats, passwords: str) -> None:
    """Give a server other passwords, as a changed Secret and `--signal reload` do."""
    server.write("passwords.conf", passwords)
    assert server.process is not None
    done = server.log.read_text().count("Reloaded server configuration")
    server.process.send_signal(signal.SIGHUP)
    await until(
        lambda: server.log.read_text().count("Reloaded server configuration") > done, "the reload"
    )
    await asyncio.sleep(0)
