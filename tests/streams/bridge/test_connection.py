"""What a broker URL says, and a connection that does not give up."""

import asyncio
import traceback
from pathlib import Path

import pytest
from yarl import URL

from mocks.servers import NatsServer
from streams.bridge.connection import check_jetstream, connect, parse_url
from streams.bridge.errors import ConfigurationError, JetStreamUnavailable
from tests.waiting import until

from .conftest import WithoutJetStream

SECRET = "s3cret"


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
        ("nats://host/path", "after the host"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_url(url)


@pytest.mark.parametrize("between", ["/", "?", "#", "@/", ":/", "?x=", "?prefix=x&", "[", "\u2100"])
@pytest.mark.parametrize("login", ["ann:1", "ann:pw", "t0k"])
def test_a_login_that_should_have_been_quoted_is_not_repeated(login: str, between: str) -> None:
    with pytest.raises(ConfigurationError, match="%XX") as error:
        parse_url(f"nats://{login}{between}{SECRET}@host")
    assert SECRET not in "".join(traceback.format_exception(error.value))


def test_a_list_of_urls_is_not_split_further() -> None:
    options = parse_url([URL("nats://ann:p%2Cw%3B@one"), URL("nats://two")])
    assert options.servers == ("nats://one:4222", "nats://two:4222")
    assert options.password == "p,w;"


async def test_jetstream_off_is_said_clearly(tmp_path: Path) -> None:
    with WithoutJetStream(tmp_path) as server:
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


async def test_flushing_asks_after_everything_that_was_sent() -> None:
    """nats-py's own would ask first: what a subscription waits for could be missed."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","max_payload":1024}\r\n')
        while line := await reader.readline():
            heard.append(line.split()[0] if line.strip() else b"")
            if heard[-1] == b"PING":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = await connect(parse_url(f"nats://127.0.0.1:{port}"), name="test")
        greeted = len(heard)
        await client.subscribe("a")
        await client.publish("a", b"")
        await client.flush()
        assert [word for word in heard[greeted:] if word] == [b"SUB", b"PUB", b"PING"]
        await client.close()
