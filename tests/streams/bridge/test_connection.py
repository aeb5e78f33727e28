"""Logging in every way that NATS knows, and saying clearly what went wrong."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import faust
import nkeys
import pytest

from mocks.servers import NatsServer
from streams.bridge.connection import check_jetstream, connect, parse_url
from streams.bridge.errors import AccessDenied, ConfigurationError, JetStreamUnavailable

from .conftest import running, until


def test_a_url_says_servers_login_and_options() -> None:
    options = parse_url("nats://ann:s%20x@one:4333;nats://two?prefix=mesh&replicas=3")
    assert options.servers == ("nats://one:4333", "nats://two:4222")
    assert (options.user, options.password) == ("ann", "s x")
    assert (options.prefix, options.replicas) == ("mesh", 3)
    assert "s x" not in repr(options)


def test_servers_may_be_separated_by_commas_and_hosts_may_be_ipv6() -> None:
    options = parse_url("nats://secret@[::1]:1,tls://two")
    assert options.servers == ("nats://[::1]:1", "tls://two:4222")
    assert options.token == "secret"


def test_a_single_name_before_the_host_is_a_token() -> None:
    assert parse_url("nats://t0k@host").token == "t0k"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("kafka://host", "scheme"),
        ("nats://host?nonsense=1", "unknown option"),
        ("nats://host?replicas=many", "replicas"),
        ("nats://host?storage=paper", "storage"),
        ("nats://host?tls=perhaps", "tls"),
        ("nats://host:port", "broker URL"),
        ("nats://host?prefix=a.b", "prefix"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_url(url)


class Configured(NatsServer):
    """A server with more configuration."""

    extra = ""

    def config(self) -> str:
        return super().config() + self.extra


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Configured]:
    server = Configured(tmp_path / "nats")
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("extra", "good", "bad"),
    [
        ('authorization { user: "ann", password: "pw" }', "ann:pw@", "ann:wrong@"),
        ('authorization { token: "t0k" }', "t0k@", ""),
    ],
)
async def test_user_and_token(configured: Configured, extra: str, good: str, bad: str) -> None:
    configured.extra = extra
    configured.start()
    address = f"127.0.0.1:{configured.port}"
    client = await connect(parse_url(f"nats://{good}{address}"), name="test")
    await check_jetstream(client)
    await client.close()
    with pytest.raises(AccessDenied, match="refuses the login"):
        await connect(parse_url(f"nats://{bad}{address}"), name="test")


async def test_fausts_own_credentials_log_in(configured: Configured, tmp_path: Path) -> None:
    configured.extra = 'authorization { user: "ann", password: "pw" }'
    configured.start()
    app = faust.App(
        "with-credentials",
        broker=configured.url,
        broker_credentials=faust.SASLCredentials(username="ann", password="pw"),
        datadir=str(tmp_path / "data"),
        topic_partitions=1,
        web_enabled=False,
    )
    got: list[bytes] = []
    topic = app.topic("in", value_serializer="raw")

    @app.agent(topic)
    async def keep(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            got.append(value)

    async with running(app):
        await topic.send(value=b"hello")
        await until(lambda: got)
    assert got == [b"hello"]


async def test_nkey(configured: Configured, tmp_path: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    file = tmp_path / "user.nk"
    file.write_bytes(bytes(seed))
    configured.extra = f"authorization {{ users: [ {{ nkey: {public} }} ] }}"
    configured.start()
    client = await connect(parse_url(f"{configured.url}?nkey={file}"), name="test")
    await check_jetstream(client)
    await client.close()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await connect(parse_url(f"{configured.url}?nkey={tmp_path}/none"), name="test")


async def test_tls_with_an_authority_of_our_own(configured: Configured, tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    configured.extra = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    configured.start()
    client = await connect(parse_url(f"{configured.url}?tls_ca={certificate}"), name="test")
    await check_jetstream(client)
    await client.close()


async def test_jetstream_off_is_said_clearly(tmp_path: Path) -> None:
    class Plain(NatsServer):
        def config(self) -> str:
            return f"host: 127.0.0.1\nport: {self.port}\n"

        def ready(self) -> bool:
            return self.log.exists() and b"Server is ready" in self.log.read_bytes()

    with Plain(tmp_path) as server:
        client = await connect(parse_url(server.url), name="test")
        with pytest.raises(JetStreamUnavailable, match="not enabled"):
            await check_jetstream(client)
        await client.close()


async def test_it_waits_for_a_server_and_comes_back_to_one(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    told: list[str] = []

    async def lost() -> None:
        told.append("lost")

    async def back() -> None:
        told.append("back")

    connecting = asyncio.create_task(
        connect(parse_url(server.url), name="test", on_disconnect=lost, on_reconnect=back)
    )
    await asyncio.sleep(0.1)
    assert not connecting.done()
    server.start()
    try:
        client = await connecting
        server.kill()
        await until(lambda: "lost" in told)
        server.start()
        await until(lambda: "back" in told)
        await check_jetstream(client)
        await client.close()
    finally:
        server.stop()


def self_signed(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate
