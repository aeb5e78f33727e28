"""No room for more, on a stream, an account, a server, a disk: workers say so, wait, and go on."""

import asyncio
import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest

from mocks.servers import NatsServer
from streams.bridge.layout import stream_name
from streams.bridge.topics import TopicSpec, declare

from .conftest import Worker, until
from .feed import PARTITIONS, Feed, feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


class SmallServer(NatsServer):
    """A server that may keep 64 MB."""

    advice = "raise max_file_store"

    def config(self) -> str:
        return super().config().replace("jetstream {", "jetstream { max_file_store: 64MB,")


class SmallAccount(NatsServer):
    """A server whose only account may keep 64 MB."""

    advice = "the account's JetStream limit is reached"

    def config(self) -> str:
        account = "{ users: [{ user: u, password: p }], jetstream: { max_file: 64MB } }"
        return super().config() + f"accounts {{ A: {account} }}\nno_auth_user: u\n"


async def fill(feed: Feed) -> None:
    """Leave no room on a server, not even for a byte."""
    js = feed.client.jetstream()
    await js.add_stream(name="filler", subjects=["filler"])
    for size in (1_000_000, 10_000, 100, 1):
        with contextlib.suppress(nats.js.errors.APIError):
            while True:
                await js.publish("filler", bytes(size))


@pytest.mark.parametrize("kind", [SmallServer, SmallAccount])
async def test_a_limit_that_is_reached_stops_nothing_for_good(
    prefix: str,
    start_worker: StartWorker,
    tmp_path: Path,
    kind: type[SmallServer] | type[SmallAccount],
) -> None:
    with kind(tmp_path / "small") as server:
        async with feeding(server.url, prefix) as feed:
            worker = start_worker(server.url, SESSION="3")
            await feed.send(2000)
            await feed.arrived("third", 200)
            await fill(feed)
            await until(lambda: kind.advice in worker.output, "the worker says what to do")
            await until(lambda: "giving up all partitions" in worker.output, "its lease lapses")
            done = await feed.count("third")
            await asyncio.sleep(1)
            assert await feed.count("third") == done < 2000
            await feed.client.jetstream().purge_stream("filler")
            await feed.send(500)
            await feed.check()
            assert worker.stop() == 0


async def test_a_full_stream_that_discards_what_is_new_holds_up_its_senders(
    feed: Feed, prefix: str, start_worker: StartWorker
) -> None:
    js = feed.client.jetstream()
    await declare(js, TopicSpec("third", PARTITIONS, prefix=prefix))
    config = (await js.stream_info(stream_name(prefix, "third"))).config
    await js.update_stream(config.evolve(discard="new", max_msgs=100))
    worker = start_worker()
    await feed.send(1000)
    await until(lambda: "the stream takes nothing new" in worker.output, "the worker says why")
    assert await feed.count("third") == 100
    await js.update_stream(config.evolve(discard="new", max_msgs=-1))
    await feed.check()
    assert worker.output.count("the stream takes nothing new") < 5
    assert worker.stop() == 0
    third = await feed.values("third")
    for key in {record.key for record in third}:
        numbers = [int(r.value[:-3]) for r in third if r.key == key and r.value]
        assert numbers == sorted(numbers), "a key's records stay in order"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk(small_disk: Path, prefix: str, start_worker: StartWorker) -> None:
    with NatsServer(small_disk / "nats") as server:
        async with feeding(server.url, prefix) as feed:
            worker = start_worker(server.url, SESSION="3")
            await feed.send(2000)
            await feed.arrived("third", 200)
            ballast = small_disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(100_000))
            await until(lambda: "a full disk" in worker.output, "the worker says where to look")
            assert "no space left on device" in server.log.read_text()
            ballast.unlink()
            # A stream that could not be written takes nothing more before its server is restarted.
            server.stop()
            server.start()
            await feed.check()
            assert worker.stop() == 0
