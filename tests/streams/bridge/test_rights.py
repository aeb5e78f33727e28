"""The rights in the README are enough, none of them is too many, and a missing one is named."""

# mypy: disable-error-code="untyped-decorator"

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faust.types import StreamT
from nats.aio.client import Client

from streams.bridge.bucket import Bucket, SharedBucket
from streams.bridge.connection import check_jetstream, connect, parse_url
from streams.bridge.direct import batch, first, last
from streams.bridge.errors import AccessDenied
from streams.bridge.generations import State
from streams.bridge.groups import read_groups
from streams.bridge.layout import encode_headers, offsets_base, shared_stream, subject
from streams.bridge.publisher import Publisher
from streams.bridge.rights import Right
from streams.bridge.topics import TopicSpec, declare, describe, lookup
from tests.faust_apps import running
from tests.waiting import DEADLINE, until

from .conftest import Configured, Serve, Worker, together

NewApp = Callable[..., Any]
StartWorker = Callable[..., Worker]
Send = Callable[[range], Awaitable[None]]

README = Path(__file__).resolve().parents[3] / "streams" / "bridge" / "README.md"


class Line(NamedTuple):
    """One right of the list in the README, where the prefix is `shop`."""

    operation: str
    subject: str
    remark: str

    @property
    def for_asking(self) -> bool:
        return self.remark.startswith("ask()")

    @property
    def dispensable(self) -> bool:
        return ".DELETE." in self.subject

    def covers(self, right: Right, prefix: str) -> bool:
        """Say whether this line grants the right."""
        subject = re.escape(self.subject.replace("shop", prefix))
        pattern = subject.replace(r"\*", "[^.]+").replace(">", ".+")
        return right.operation == self.operation and bool(re.fullmatch(pattern, right.subject))

    def __str__(self) -> str:
        return f"{self.operation} {self.subject}"


def snippet() -> str:
    """Return the server configuration in the README."""
    found = re.search(r"^```conf\n(.*?)^```", README.read_text(), re.S | re.M)
    assert found is not None
    return found[1]


def lines(role: str) -> list[Line]:
    """Return what the README grants to a role."""
    found = re.search(rf"^{role}: \{{\n(.*?)^\}}", snippet(), re.S | re.M)
    assert found is not None
    rights: list[Line] = []
    operation = ""
    for line in found[1].splitlines():
        if begins := re.fullmatch(r" +(publish|subscribe): \[", line):
            operation = begins[1]
        elif right := re.fullmatch(r' +"([^"]+)" *(?:# (.*))?', line):
            rights.append(Line(operation, right[1], right[2] or ""))
    return rights


def granting(users: Mapping[str, Sequence[Line]]) -> str:
    """Return a server's configuration: `admin` may do all, others what is listed, in their prefix.

    A user's prefix is its name.
    """
    logins = ["{ user: admin, password: pw }"]
    for user, rights in users.items():
        permissions = {
            operation: [right.subject for right in rights if right.operation == operation]
            or {"deny": ">"}  # an empty list would mean everything
            for operation in ("publish", "subscribe")
        }
        allowed = json.dumps(permissions).replace("shop", user)
        logins.append(f"{{ user: {user}, password: pw, permissions: {allowed} }}")
    return f"authorization {{ users: [ {', '.join(logins)} ] }}\n"


def named(output: str) -> list[Right]:
    """Return the rights that are named in what a process has printed."""
    found = re.findall(r"no right to (publish|subscribe) to (\S+): it has to be granted", output)
    return [Right(operation, subject) for operation, subject in found]


def check_complaints(output: str, missing: Line, prefix: str) -> None:
    """The missing right is named, and no other."""
    complaints = named(output)
    assert complaints
    assert [right for right in complaints if not missing.covers(right, prefix)] == []


@pytest.fixture
def documented(serve: Serve, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """A server that is configured as the README says."""
    monkeypatch.setenv("WORKER_PASSWORD", "wpw")
    monkeypatch.setenv("CLIENT_PASSWORD", "cpw")
    monkeypatch.setenv("VIEWER_PASSWORD", "vpw")
    return serve(snippet().replace("shop", prefix))


@contextlib.asynccontextmanager
async def sending(app: Any) -> AsyncIterator[Send]:
    """Send numbered records to the chain, from an app that does nothing else."""
    app.producer_only = True
    app.finalize()
    topic = app.topic("first", partitions=4, key_serializer="raw", value_serializer="raw")

    async def send(numbers: range) -> None:
        for number in numbers:
            await topic.send(key=b"%d" % (number % 40), value=b"%d." % number)
        await app.producer.flush()

    await app.start()
    yield send
    await app.stop()


async def test_a_whole_life_under_the_documented_rights(
    documented: Configured, new_app: NewApp, prefix: str, start_worker: StartWorker
) -> None:
    url = documented.url_for("worker:wpw")
    client = await connect(parse_url(f"{url}?prefix={prefix}"), name="test")

    async def arrived(count: int) -> None:
        """Wait until so many records are at the end of the chain, and in the table."""

        async def all_there() -> bool:
            ends = ("third", "chain-seen-changelog")
            found = [await lookup(client.jetstream(), prefix, topic) for topic in ends]
            return all(info is not None and info.messages == count for info in found)

        await until(all_there, f"{count} records at the end")

    async with sending(new_app("sender", url=documented.url_for("client:cpw"))) as send:
        one = start_worker(url, DATA="one")
        await send(range(200))
        await arrived(200)
        two = start_worker(url, DATA="two")
        await together(one, two)
        await send(range(200, 400))
        await arrived(400)
        one.kill()
        await send(range(400, 600))
        await arrived(600)
        assert two.stop() == 0

    # From here on with less: all topics are there, and nobody asks.
    documented.stop()
    documented.more = re.sub(r".*(until topics|ask\(\)).*\n", "", documented.more)
    documented.start()
    async with sending(new_app("sender", url=documented.url_for("client:cpw"))) as send:
        three = start_worker(url, DATA="three", DECLARED="1")
        await send(range(600, 800))
        await arrived(800)
        assert three.stop() == 0
    await client.close()
    assert [named(worker.output) for worker in (one, two, three)] == [[], [], []]


async def look(url: str, prefix: str, *, shared: bool) -> None:
    """Look at everything that there is for those who look."""
    client = await connect(parse_url(f"{url}?prefix={prefix}"), name="viewer")
    try:
        (info,) = await describe(client.jetstream(), prefix)
        (group,) = await read_groups(client, prefix)
        assert (info.topic, info.shared, group.name) == ("t", shared, "g")
        assert len(group.committed) == (1 if shared else 0)
        found = await first(client, info.stream, info.filter(0))
        assert found == await last(client, info.stream, info.filter(0))
        records, _ = await batch(client, info.stream, info.filter(0), 1, 5)
        assert records == [found]
    finally:
        await client.close()


async def put_some(client: Client, prefix: str, *, shared: bool) -> None:
    """Make a topic with a record, and a group; where topics share a stream also its offset."""
    js = client.jetstream()
    await declare(js, TopicSpec("t", 1, prefix=prefix, shared=shared))
    await js.publish(subject(prefix, "t", 0), b"1")
    groups = Bucket(client, f"{prefix}-groups")
    await groups.create(storage="memory", replicas=1)
    await groups.put("group.g.state", State().encode())
    if shared:
        offsets = SharedBucket(client, shared_stream(prefix), offsets_base(prefix))
        await offsets.put("offset.g.t.0", b'{"offset": 1}')


async def test_who_looks_needs_the_documented_rights_and_all_of_them(
    serve: Serve, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = [line for line in lines("VIEWER") if not line.dispensable]
    lacking = {f"{prefix}x{place}": line for place, line in enumerate(needed)}
    whole = {f"{prefix}own": False, f"{prefix}shared": True}
    granted = {user: [line for line in needed if line != lacking[user]] for user in lacking}
    server = serve(granting(granted | {user: lines("VIEWER") for user in whole}))
    admin = await connect(parse_url(server.url_for("admin:pw")), name="admin")

    async def without(user: str, missing: Line) -> None:
        shared = "share a stream" in missing.remark
        await put_some(admin, user, shared=shared)
        with pytest.raises((AccessDenied, TimeoutError)):
            await look(server.url_for(f"{user}:pw"), user, shared=shared)

    for user, shared in whole.items():
        await put_some(admin, user, shared=shared)
        await look(server.url_for(f"{user}:pw"), user, shared=shared)
    monkeypatch.setattr("streams.bridge.groups.READ_SECONDS", 2.0)  # who is refused waits for it
    await asyncio.gather(*(without(user, missing) for user, missing in lacking.items()))
    await admin.close()


def asked(app: Any) -> tuple[Any, Any]:
    """Return the app with an agent that answers."""

    @app.agent(app.topic("questions", value_type=int), name="double")
    async def double(stream: StreamT[Any]) -> Any:
        async for value in stream:
            yield value * 2

    return app, double


async def test_a_right_that_was_granted_meanwhile_helps_after_a_reconnect(
    serve: Serve, prefix: str
) -> None:
    rights = lines("CLIENT")
    deaf = [line for line in rights if line.operation != "subscribe"]
    server = serve(granting({prefix: deaf}))
    url = f"{server.url_for(f'{prefix}:pw')}?prefix={prefix}"
    denied: list[Right] = []
    client = await connect(parse_url(url), name="test", on_denied=denied.append)
    for _ in range(2):  # the second time it is known already
        with pytest.raises(AccessDenied, match=f"no right to subscribe to _INBOX.{prefix}"):
            await check_jetstream(client)
    assert [right.operation for right in denied] == ["subscribe"]
    server.kill()
    server.more = granting({prefix: rights})
    server.start()
    await until(lambda: client.is_connected)
    await until(lambda: works(client), "it is heard again")
    await client.close()


async def works(client: Client) -> bool:
    with contextlib.suppress(AccessDenied):
        await check_jetstream(client)
        return True
    return False


async def test_asking_under_the_documented_rights(
    documented: Configured, new_app: NewApp, caplog: pytest.LogCaptureFixture
) -> None:
    worker, agent = asked(new_app(url=documented.url_for("worker:wpw")))
    client, asking = asked(new_app(url=documented.url_for("client:cpw")))
    async with running(worker):
        assert await asyncio.wait_for(agent.ask(21), DEADLINE) == 42
        await client.start_client()
        assert await asyncio.wait_for(asking.ask(4), DEADLINE) == 8
        await client.stop()
    assert named(caplog.text) == []


class Sender(Worker):
    """A process that sends one record."""

    def command(self, module: str) -> list[str]:
        return ["faust", "-A", f"tests.streams.bridge.{module}", "send", "first", "x"]


class Lacking(NamedTuple):
    """A process that lacks one right, with a user and a prefix of its own."""

    kind: type[Worker]
    missing: Line
    user: str

    @property
    def rights(self) -> list[Line]:
        role = "CLIENT" if self.kind is Sender else "WORKER"
        return [line for line in lines(role) if line != self.missing and not line.for_asking]

    def live(self, url: str, folder: Path) -> tuple[int, str]:
        """Start the process; return its exit status and what it has printed.

        It is only stopped if it is a worker that goes on without the right.
        """
        # Members talk to each other once there are two.
        two = self.missing.operation == "publish" and self.missing.subject.startswith("_")
        processes: list[Worker] = []
        try:
            for name in ("one", "two") if two else ("one",):
                settings = {"BROKER": url, "DATADIR": str(folder / f"{self.user}-{name}")}
                processes.append(self.kind(settings, folder / f"{self.user}-{name}.log"))
            first = processes[0]
            deadline = time.monotonic() + 90
            while all(process.process.poll() is None for process in processes):
                if self.missing.dispensable and "Worker ready" in first.output:
                    first.stop()
                assert time.monotonic() < deadline, f"{self} never ended:\n{first.output}"
                time.sleep(0.1)
            output = "".join(process.output for process in processes)
            ended = next(p.process for p in processes if p.process.poll() is not None)
            return ended.returncode, output
        finally:
            for process in processes:
                process.kill()

    def __str__(self) -> str:
        return f"{self.kind.__name__}: {self.missing}"


LACKING = [
    Lacking(kind, missing, f"{kind.__name__}{number}")
    for kind, role in ((Worker, "WORKER"), (Sender, "CLIENT"))
    for number, missing in enumerate(lines(role))
    if not missing.for_asking
]


async def fill(server: Configured, prefix: str) -> None:
    """Give workers something to do."""
    client = await connect(parse_url(server.url_for("admin:pw")), name="test")
    await declare(client.jetstream(), TopicSpec("first", 4, prefix=prefix))
    publisher = Publisher(client)
    await publisher.start()
    for number in range(40):
        key, value = b"%d" % number, b"%d." % number
        publisher.publish(subject(prefix, "first", number % 4), value, encode_headers(key, value))
    await publisher.flush()
    await publisher.stop()
    await client.close()


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Any]]]:
    """All processes that lack a right, a few at a time, by user: they mostly wait."""
    folder = tmp_path_factory.mktemp("lives")
    server = Configured(folder / "nats", granting({case.user: case.rights for case in LACKING}))
    with server, ThreadPoolExecutor(4) as pool:
        for case in LACKING:
            asyncio.run(fill(server, case.user))
        yield {
            case.user: pool.submit(
                case.live, f"{server.url_for(f'{case.user}:pw')}?prefix={case.user}", folder
            )
            for case in LACKING
        }


@pytest.mark.parametrize("case", LACKING, ids=str)
async def test_who_lacks_a_right_ends_and_names_it(
    lives: Mapping[str, Future[tuple[int, str]]], case: Lacking
) -> None:
    status, output = await asyncio.wrap_future(lives[case.user])
    assert (status == 0) == case.missing.dispensable
    check_complaints(output, case.missing, case.user)


async def test_a_worker_that_loses_a_right_while_it_runs_ends_too(
    serve: Serve, prefix: str, start_worker: StartWorker
) -> None:
    server = serve(granting({prefix: lines("WORKER")}))
    await fill(server, prefix)
    worker = start_worker(server.url_for(f"{prefix}:pw"))
    await until(lambda: "Worker ready" in worker.output, "worker ready")
    server.kill()
    missing = Line("subscribe", "_INBOX.shop.>", "")  # it can no longer hear any answer
    server.more = granting({prefix: [line for line in lines("WORKER") if line[:2] != missing[:2]]})
    server.start()
    assert await asyncio.to_thread(worker.process.wait, 60) != 0
    check_complaints(worker.output, missing, prefix)


@pytest.mark.parametrize("missing", [line for line in lines("CLIENT") if line.for_asking], ids=str)
async def test_a_client_that_lacks_a_right_to_get_answers_says_which(
    serve: Serve,
    new_app: NewApp,
    prefix: str,
    caplog: pytest.LogCaptureFixture,
    missing: Line,
) -> None:
    rights = [line for line in lines("CLIENT") if line != missing]
    server = serve(granting({prefix: rights}))
    worker, _ = asked(new_app(url=server.url_for("admin:pw")))
    client, asking = asked(new_app(url=server.url_for(f"{prefix}:pw")))
    async with running(worker):
        await client.start_client()
        answer = asyncio.create_task(asking.ask(4))
        if missing.dispensable:
            assert await asyncio.wait_for(answer, DEADLINE) == 8
        else:
            await until(lambda: client.crashed, "it ends")
            answer.cancel()
        await client.stop()
    await asyncio.wait([answer])
    check_complaints(caplog.text, missing, prefix)
