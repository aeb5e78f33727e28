"""No room for more, on a stream, an account, a server, a disk: workers say so, wait, and go on."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nats.js.errors
import pytest

from mocks.servers import NatsServer
from streams.bridge.topics import TopicSpec, declare

from .conftest import Worker, says
from .feed import PARTITIONS, Feed, feeding

pytestmark = pytest.mark.faults

StartWorker = Callable[..., Worker]


LIMIT = 64 * 1024 * 1024


class SmallServer(NatsServer):
    """A server that may keep 64 MB."""

    advice = "raise max_file_store"

    def config(self) -> str:
        return super().config().replace("jetstream {", f"jetstream {{ max_file_store: {LIMIT},")


class SmallAccount(NatsServer):
    """A server whose only account may keep 64 MB."""

    advice = "the account's JetStream limit is reached"

    def config(self) -> str:
        account = f"{{ users: [{{ user: u, password: p }}], jetstream: {{ max_file: {LIMIT} }} }}"
        return super().config() + f"accounts {{ A: {account} }}\nno_auth_user: u\n"


async def fill(feed: Feed, but: int = 0) -> None:
    """Leave no room on a server, not even for a byte; or so many bytes, about."""
    js = feed.client.jetstream()
    if but:
        while LIMIT - (await js.account_info()).storage > but + 1_000_000:
            await js.publish("filler", bytes(1_000_000))
        return
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
    guarantee: str,
) -> None:
    with kind(tmp_path / "small") as server:
        async with feeding(server.url, prefix, guarantee) as feed:
            js = feed.client.jetstream()
            await js.add_stream(name="filler", subjects=["filler"])
            await fill(feed, but=2_000_000)
            worker = start_worker(server.url, SESSION="3", GUARANTEE=guarantee, PAUSE="0.005")
            await feed.send(800)
            await feed.arrived("third", 100)
            await fill(feed)  # in the middle of work, though some topic may not exist yet
            await says(worker, kind.advice)
            await says(worker, "giving up all partitions")
            assert await feed.count("third") < 800
            await js.purge_stream("filler")
            await feed.send(300)
            await feed.check()
            assert worker.stop() == 0


async def test_a_full_stream_that_discards_what_is_new_holds_up_its_senders(
    nats_url: str, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    async with feeding(nats_url, prefix, guarantee) as feed:
        js = feed.client.jetstream()
        third = await declare(js, TopicSpec("third", PARTITIONS, prefix=prefix, shared=feed.exact))
        await feed.send(700)
        info = await js.stream_info(third.stream)
        # An event leaves one record in a stream of its own, several in one that topics share.
        most = info.state.messages + (1_500 if feed.exact else 100)
        await js.update_stream(info.config.evolve(discard="new", max_msgs=most))
        # Slowly: what is under way when there is room again may overtake what was refused before.
        worker = start_worker(GUARANTEE=guarantee, PAUSE="0.002")
        await says(worker, "the stream takes nothing new")
        assert (await js.stream_info(third.stream)).state.messages <= most
        assert await feed.count("third") < 700
        await js.update_stream(info.config.evolve(discard="new", max_msgs=-1))
        await feed.check()
        assert worker.output.count("the stream takes nothing new") < 5
        assert worker.stop() == 0
        records = await feed.values("third")
        for key in {record.key for record in records}:
            numbers = [int(r.value[:-3]) for r in records if r.key == key and r.value]
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


async def test_a_full_disk(
    small_disk: Path, prefix: str, start_worker: StartWorker, guarantee: str
) -> None:
    with NatsServer(small_disk / "nats") as server:
        async with feeding(server.url, prefix, guarantee) as feed:
            worker = start_worker(server.url, SESSION="3", GUARANTEE=guarantee)
            await feed.send(2000)
            await feed.arrived("third", 200)
            ballast = small_disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(100_000))
            await says(worker, "a full disk")
            assert "no space left on device" in server.log.read_text()
            ballast.unlink()
            # A stream that could not be written takes nothing more before its server is restarted.
            server.stop()
            server.start()
            await feed.check()
            assert worker.stop() == 0
