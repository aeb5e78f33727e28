"""Every way to log in, with a server that wants it so: an app works, or says why it cannot."""

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import faust
import nats.errors
import nkeys
import pytest

from mocks import servers
from mocks.servers import free_port
from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import AccessDenied, BridgeError, ConfigurationError
from streams.bridge.link import Link
from streams.bridge.transport import Transport
from tests.faust_apps import running
from tests.waiting import until

from .conftest import Configured, Serve, Worker

StartWorker = Callable[..., Worker]
Work = Callable[[], Awaitable[Link]]

PASSWORD = "p/w:?#@;,%+ é"
IN_URL = quote(PASSWORD, safe="")


class Key:
    """An nkey pair."""

    def __init__(self, kind: int) -> None:
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), kind)).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public: str = self._pair.public_key.decode()

    def issue(self, subject: str, kind: str, **claims: Any) -> str:
        """Return a JWT in which this key vouches for another."""
        body = {
            "jti": os.urandom(8).hex(),
            "iat": int(time.time()),
            "iss": self.public,
            "sub": subject,
            "name": kind,
            "nats": {"type": kind, "version": 2, **claims},
        }
        parts = [
            unpadded(json.dumps(part)) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)
        ]
        return ".".join([*parts, unpadded(self._pair.sign(".".join(parts).encode()))])


def unpadded(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Realm:
    """An operator, its accounts and users: decentralised authentication without `nsc`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._operator = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self._system = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        self.account = Key(nkeys.PREFIX_BYTE_ACCOUNT)

    def config(self) -> str:
        """Return what a server needs to know of the realm."""
        limits: dict[str, int] = dict.fromkeys(
            ("subs", "data", "payload", "conn", "leaf", "imports", "exports"), -1
        )
        storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
        accounts = {
            self._system.public: {"limits": limits},
            self.account.public: {"limits": limits | storage},
        }
        preload = "".join(
            f"{public}: {self._operator.issue(public, 'account', **claims)}\n"
            for public, claims in accounts.items()
        )
        operator = self._operator.issue(
            self._operator.public, "operator", system_account=self._system.public
        )
        return f"operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {preload} }}\n"

    def credentials(self, name: str, account: Key | None = None) -> Path:
        """Write the credentials file of a new user."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        jwt = (account or self.account).issue(user.public, "user", subs=-1, data=-1, payload=-1)
        file = self.folder / f"{name}.creds"
        file.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )
        return file


@pytest.fixture
def realm(tmp_path: Path) -> Realm:
    return Realm(tmp_path)


class Certificates:
    """An authority, and what it has signed for a server here, one elsewhere, and a client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key("ca")
        self._openssl("req", "-x509", "-new", "-subj", "/CN=ca", "-key", "ca.key", "-out", "ca.pem")
        self._sign("server", "subjectAltName=IP:127.0.0.1")
        self._sign("elsewhere", "subjectAltName=DNS:elsewhere")
        self._sign("client", "extendedKeyUsage=clientAuth")

    def _sign(self, name: str, extension: str) -> None:
        self._key(name)
        (self.folder / f"{name}.ext").write_text(extension)
        self._openssl("req", "-new", "-subj", f"/CN={name}", "-key", f"{name}.key", "-out", "csr")
        self._openssl(
            *("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )

    def _key(self, name: str) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def _openssl(self, *command: str) -> None:
        subprocess.run(["openssl", *command], cwd=self.folder, check=True, capture_output=True)

    def config(self, name: str = "server", more: str = "") -> str:
        """Return the configuration of a server with the certificate of that name."""
        files = f'cert_file: "{self.folder}/{name}.pem", key_file: "{self.folder}/{name}.key"'
        return f"tls {{ {files}, {more} }}\n"

    @property
    def mutual(self) -> str:
        """The configuration of a server that wants certificates from clients too."""
        return self.config(more=f'ca_file: "{self.folder}/ca.pem", verify: true')

    @property
    def ca(self) -> str:
        """The option with which a client trusts the authority."""
        return f"tls_ca={self.folder}/ca.pem"

    @property
    def client(self) -> str:
        """The options with which a client shows its own certificate."""
        return f"tls_cert={self.folder}/client.pem&tls_key={self.folder}/client.key"

    def context(self) -> ssl.SSLContext:
        """Return a TLS context as an application makes it."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.asynccontextmanager
async def working(url: str, datadir: Path, **settings: Any) -> AsyncIterator[Work]:
    """Run an app that works on records, from its first one to a stop in good order."""
    app = faust.App(
        "app",
        broker=url,
        datadir=datadir,
        topic_partitions=1,
        web_enabled=False,
        stream_recovery_delay=0.0,
        **settings,
    )
    topic = app.topic("in", value_serializer="raw")
    got: list[bytes] = []

    @app.agent(topic)
    async def keep(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            got.append(value)

    async def work() -> Link:
        """Let the app work on one more record; return its link to the broker."""
        sent = b"%d" % len(got)
        await topic.send(value=sent)
        await until(lambda: got[-1:] == [sent], "the record arrives", 60)
        return cast(Transport, app.transport).link

    async with running(app):
        await work()
        yield work


@pytest.mark.parametrize("where", ["before the host", "options", "Faust's credentials"])
async def test_user_and_password(serve: Serve, tmp_path: Path, where: str) -> None:
    server = serve(f'authorization {{ user: "ann", password: "{PASSWORD}" }}')
    url = server.url
    settings: dict[str, Any] = {}
    if where == "before the host":
        url = server.url_for(f"ann:{IN_URL}")
    elif where == "options":
        url = f"{url}?user=ann&password={IN_URL}"
    else:
        settings["broker_credentials"] = faust.SASLCredentials(username="ann", password=PASSWORD)
    async with working(url, tmp_path, **settings):
        pass


@pytest.mark.parametrize("where", ["before the host", "option"])
async def test_token(serve: Serve, tmp_path: Path, where: str) -> None:
    server = serve(f'authorization {{ token: "{PASSWORD}" }}')
    url = f"{server.url}?token={IN_URL}" if where == "option" else server.url_for(IN_URL)
    async with working(url, tmp_path):
        pass


async def test_nkey(serve: Serve, tmp_path: Path) -> None:
    key = Key(nkeys.PREFIX_BYTE_USER)
    server = serve(f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}")
    file = tmp_path / "user.nk"
    file.write_text(f"{key.seed}\n")
    async with working(f"{server.url}?nkey={file}", tmp_path):
        pass
    file.write_text(Key(nkeys.PREFIX_BYTE_USER).seed)
    await refused(f"{server.url}?nkey={file}", AccessDenied, "refuses the login")
    file.write_text(key.seed[:20])
    await refused(f"{server.url}?nkey={file}", ConfigurationError, "user.nk: this is not a seed")
    await refused(f"{server.url}?nkey=/no/file", ConfigurationError, "cannot be read: .*/no/file")


async def test_credentials_file(serve: Serve, realm: Realm, tmp_path: Path) -> None:
    server = serve(realm.config())
    good = realm.credentials("good")
    async with working(f"{server.url}?credentials={good}", tmp_path):
        pass
    stranger = realm.credentials("stranger", Key(nkeys.PREFIX_BYTE_ACCOUNT))
    await refused(f"{server.url}?credentials={stranger}", AccessDenied, "refuses the login")
    await refused(server.url, AccessDenied, "refuses the login")
    await refused(f"{server.url}?credentials=/no/file", ConfigurationError, "/no/file")
    jwt, seed = good.read_text().split("\n\n")
    for text, complaint in (
        ("", "no JWT in it"),
        (seed, "no JWT in it"),
        (jwt, "no seed in it"),
        (jwt + seed.replace("\nSU", "\nXX"), "the seed is damaged"),
    ):
        good.write_text(text)
        await refused(f"{server.url}?credentials={good}", ConfigurationError, complaint)


async def test_credentials_are_read_anew_at_every_reconnect(serve: Serve, realm: Realm) -> None:
    server = serve(realm.config())
    file = realm.credentials("user")
    client = await connect(parse_url(f"{server.url}?credentials={file}"), name="test")
    server.kill()
    realm.account = Key(nkeys.PREFIX_BYTE_ACCOUNT)
    server.more = realm.config()
    realm.credentials("user")
    server.start()
    await until(lambda: client.is_connected)
    await client.close()


@pytest.mark.parametrize(
    "how", ["tls_ca", "tls", "SSLCredentials", "ssl_context", "SASLCredentials with ssl_context"]
)
async def test_tls(serve: Serve, certificates: Certificates, tmp_path: Path, how: str) -> None:
    login = 'authorization { user: "ann", password: "pw" }' if how.startswith("SASL") else ""
    url = serve(certificates.config() + login).url
    settings: dict[str, Any] = {}
    if how == "tls_ca":
        url = f"{url}?{certificates.ca}"
    elif how == "tls":
        url = f"{url}?tls=1&{certificates.ca}"
    elif how == "SSLCredentials":
        settings["broker_credentials"] = faust.SSLCredentials(certificates.context())
    elif how == "ssl_context":
        settings["ssl_context"] = certificates.context()
    else:
        settings["broker_credentials"] = faust.SASLCredentials(
            username="ann", password="pw", ssl_context=certificates.context()
        )
    async with working(url, tmp_path, **settings):
        pass


@pytest.mark.parametrize("how", ["files", "ssl_context"])
async def test_tls_with_a_certificate_of_our_own(
    serve: Serve, certificates: Certificates, tmp_path: Path, how: str
) -> None:
    url = serve(certificates.mutual).url
    settings: dict[str, Any] = {}
    if how == "files":
        url = f"{url}?{certificates.ca}&{certificates.client}"
    else:
        settings["ssl_context"] = certificates.context()
    async with working(url, tmp_path, **settings):
        pass


async def test_tls_that_comes_to_nothing(
    serve: Serve, certificates: Certificates, tmp_path: Path
) -> None:
    ca = certificates.ca
    url = serve(certificates.config()).url
    await refused(url, ConfigurationError, "unable to get local issuer certificate.*tls_ca")
    await refused(f"{url}?tls_ca=/no/file", ConfigurationError, "/no/file")
    mixed = f"tls_cert={certificates.folder}/client.pem&tls_key={certificates.folder}/ca.key"
    await refused(f"{url}?{ca}&{mixed}", ConfigurationError, "client.pem.*ca.key")
    elsewhere = serve(certificates.config("elsewhere")).url
    await refused(f"{elsewhere}?{ca}", ConfigurationError, "not valid for '127.0.0.1'")
    mutual = serve(certificates.mutual).url
    await refused(f"{mutual}?{ca}", ConfigurationError, "CERTIFICATE_REQUIRED.*tls_cert")


async def test_a_password_is_not_sent_in_the_clear_where_tls_is_wanted() -> None:
    heard = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stand for somebody in between, who greets like a server without TLS."""
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","auth_required":true}\r\n')
        while data := await reader.read(4096):
            heard.extend(data)
        writer.close()

    async with await asyncio.start_server(pretend, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        url = f"nats://ann:secret@127.0.0.1:{port}?tls=1"
        await refused(url, ConfigurationError, "the server does not ask for it")
        server.close()
    assert not heard


async def refused(url: str, error: type[BridgeError], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        await connect(parse_url(url), name="test")


async def test_a_worker_without_a_good_login_ends_with_an_error(
    serve: Serve, start_worker: StartWorker, certificates: Certificates
) -> None:
    password = serve('authorization { user: "ann", password: "right" }').url_for("ann:s3cret")
    token = serve('authorization { token: "right" }').url_for("s3cret")
    tls = serve(certificates.config()).url_for("ann:s3cret")
    workers = {
        start_worker(password, LEVEL="debug"): "AccessDenied: .* refuses the login",
        start_worker(token, LEVEL="debug"): "AccessDenied: .* refuses the login",
        start_worker(tls, LEVEL="debug"): "ConfigurationError: no TLS with .* certificate verify",
    }
    for worker, complaint in workers.items():
        assert await asyncio.to_thread(worker.process.wait, 60) != 0
        assert re.search(complaint, worker.output)
        assert "s3cret" not in worker.output


async def test_a_connection_that_is_given_up_says_so_whatever_waits_to_be_sent(
    serve: Serve,
) -> None:
    login = 'authorization { user: "ann", password: "%s" }'
    server = serve(login % "pw")
    closed = asyncio.Event()

    async def on_close() -> None:
        closed.set()

    url = parse_url(server.url_for("ann:pw"))
    client = await connect(url, name="test", on_close=on_close)
    server.kill()
    server.more = login % "new"
    server.start()
    while not closed.is_set():
        with contextlib.suppress(nats.errors.Error):
            await client.publish("subject", b"x")
        await asyncio.sleep(0.02)


async def test_a_login_that_is_good_no_longer_ends_the_worker(
    serve: Serve, start_worker: StartWorker
) -> None:
    login = 'authorization { user: "ann", password: "%s" }'
    server = serve(login % "pw")
    worker = start_worker(server.url_for("ann:pw"))
    await until(lambda: "Worker ready" in worker.output, "worker ready")
    server.kill()
    server.more = login % "new"
    server.start()
    assert await asyncio.to_thread(worker.process.wait, 60) != 0
    assert "refuses the login" in worker.output
    assert "AccessDenied" in worker.output


async def test_a_login_that_is_refused_for_a_moment_is_tried_again(
    serve: Serve,
) -> None:
    login = 'authorization { user: "ann", password: "%s" }'
    server = serve(login % "pw")
    client = await connect(parse_url(server.url_for("ann:pw")), name="test")
    server.kill()
    server.more = login % "new"
    server.start()
    await until(lambda: "authentication error" in server.log.read_text(), "refused")
    server.kill()
    server.more = login % "pw"
    server.start()
    await until(lambda: client.is_connected)
    await client.close()


async def test_several_servers_the_first_of_which_is_dead(nats_url: str, tmp_path: Path) -> None:
    dead = f"nats://127.0.0.1:{free_port()}"
    for broker in (f"{dead};{nats_url}", f"{nats_url};{dead}"):
        async with working(f"{broker}?prefix=t{time.time_ns()}", tmp_path):
            pass


async def test_a_worker_goes_on_with_the_other_server_when_its_own_is_killed(
    tmp_path: Path,
) -> None:
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    nodes = [
        Configured(
            tmp_path / f"n{port}",
            f"server_name: n{port}\n"
            f"cluster {{ name: three, listen: 127.0.0.1:{port}, routes: [{routes}] }}\n",
        )
        for port in ports
    ]
    with servers.running(*nodes):
        await until(lambda: [n for n in nodes if "new metadata leader" in n.log.read_text()])
        broker = f"{nodes[0].url};{nodes[1].url}?replicas=3"
        async with working(broker, tmp_path) as work:
            for _ in range(2):
                address = (await work()).client.connected_url
                assert address is not None
                ours = next(node for node in nodes if node.port == address.port)
                ours.kill()
                await work()
                ours.start()


async def test_no_secret_is_shown_while_a_worker_lives(
    serve: Serve, start_worker: StartWorker, realm: Realm
) -> None:
    password = serve('authorization { user: "ann", password: "s3cret" }')
    token = serve('authorization { token: "s3cret" }')
    credentials = realm.credentials("user")
    key = Key(nkeys.PREFIX_BYTE_USER)
    nkey = realm.folder / "user.nk"
    nkey.write_text(key.seed)
    by_key = serve(f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}")
    logins = {
        f"{password.url_for('ann:s3cret')}?prefix=one": "s3cret",
        f"{password.url}?prefix=two&user=ann&password=s3cret": "s3cret",
        f"{token.url_for('s3cret')}?prefix=three": "s3cret",
        f"{by_key.url}?prefix=four&nkey={nkey}": key.seed,
        f"{serve(realm.config()).url}?prefix=five&credentials={credentials}": (
            credentials.read_text().splitlines()[-2]
        ),
    }
    workers = {start_worker(BROKER=url, LEVEL="debug"): secret for url, secret in logins.items()}
    await until(lambda: all("Worker ready" in w.output for w in workers), "all ready", 90)
    for worker, secret in workers.items():
        assert worker.stop() == 0
        assert "URL('nats://127.0.0.1" in worker.output, "the banner shows where the broker is"
        assert secret not in worker.output


def test_an_app_forgets_the_login_in_its_broker_url_once_it_is_read() -> None:
    app = faust.App("forgetful", broker="nats://ann:s3cret@host;nats://other?token=s3cret&prefix=p")
    app.finalize()
    link = cast(Transport, app.transport).link
    assert (link.options.password, link.options.token) == ("s3cret", "s3cret")
    assert cast(Transport, app.producer_transport).link is link
    shown = (repr(app), app.label, repr(link.options), str(app.conf.broker_producer))
    assert not [text for text in shown if "s3cret" in text]
    assert str(app.conf.broker) == "[URL('nats://host'), URL('nats://other/?prefix=p')]"


def test_not_even_the_banner_of_an_app_without_agents_shows_it(
    serve: Serve, tmp_path: Path, repository: Path
) -> None:
    url = serve('authorization { user: "ann", password: "s3cret" }').url_for("ann:s3cret")
    (tmp_path / "quiet.py").write_text(f"""
import os, signal, faust
app = faust.App("quiet", broker={url!r}, datadir="data", web_enabled=False)
@app.task
async def run():
    print("it runs", app)
    os.kill(os.getpid(), signal.SIGTERM)
if __name__ == "__main__":
    app.main()
""")
    ran = subprocess.run(
        [sys.executable, "quiet.py", "worker", "--without-web"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{repository}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert "transport   | [URL('nats://127.0.0.1" in ran.stdout
    assert "it runs" in ran.stdout
    assert "s3cret" not in ran.stdout
