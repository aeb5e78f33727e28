"""A worker that is asked to end does end, at any moment, and its exit status is true."""

import asyncio
import signal

import pytest

from mocks.servers import NatsServer
from tests.waiting import DEADLINE, until

from .book import Book
from .conftest import Start, Worker, exit_statuses

pytestmark = pytest.mark.faults

BRIEFLY = "&drain=1"
"""For workers that cannot finish, or commit, what they have begun."""


async def said(worker: Worker, text: str) -> None:
    """Wait until a worker's log has a text."""
    await until(lambda: text in worker.output, text)


async def test_whatever_an_agent_is_doing(book: Book, start: Start) -> None:
    names = ("idle", "hanging", "urged", "blocking", "crashing")
    await book.open(*names)
    # Those that hang are to wait for nothing for long when they end.
    workers = {name: start(name, APP_ID=name, TOPICS=name, OPTIONS=BRIEFLY) for name in names}
    workers["producer"] = start("producer", APP_ID="producer", PRODUCER_ONLY="1")
    workers["asker"] = start("asker", module="asker", APP_ID="nobody")
    for name, command in {
        "hanging": "hang",
        "urged": "hang",
        "blocking": "block:blocking:3",
        "crashing": "crash",
    }.items():
        await said(workers[name], "Worker ready")
        await book.tell(command, topic=name)
        await book.begun(command)
    await said(workers["idle"], "Worker ready")
    await said(workers["producer"], "[^Worker]: Ready")
    await until(lambda: book.entries("question"), "the client waits for an answer")
    crashed = workers.pop("crashing")
    assert await asyncio.to_thread(crashed.process.wait, DEADLINE) != 0
    workers["urged"].send(signal.SIGTERM)
    await said(workers["urged"], "[^Worker]: Stopping...")
    workers["urged"].send(signal.SIGINT)
    for worker in workers.values():
        worker.send(signal.SIGTERM)
    statuses = await exit_statuses(*workers.values())
    assert dict(zip(workers, statuses, strict=True)) == dict.fromkeys(workers, 0)


async def test_before_during_and_after_a_rebalance(book: Book, start: Start) -> None:
    await book.open("early", "joining", "draining", "restoring")
    early = start("early", APP_ID="early", TOPICS="early")
    joining = start("joining", APP_ID="joining", TOPICS="joining")
    await said(early, "[^--Consumer]: Starting")
    early.send(signal.SIGTERM)
    await said(joining, "generation 1")
    joining.send(signal.SIGTERM)
    # One that is asked to end while it gives up its partitions for another, and the other.
    settings = {"APP_ID": "draining", "TOPICS": "draining", "OPTIONS": "&drain=3"}
    draining = start("draining", PAUSE="60", **settings)
    await said(draining, "Worker ready")
    await book.send(16, "draining")
    await book.working("draining")
    another = start("another", **settings)
    await book.rebalancing("draining")
    draining.send(signal.SIGTERM)
    another.send(signal.SIGTERM)
    # One that reads back its table.
    settings = {"APP_ID": "restoring", "TOPICS": "restoring", "TABLE": "1"}
    first = start("first", **settings)
    await book.send(64, "restoring")
    await until(lambda: len(book.entries("end", worker="first")) == 64, "the table is filled")
    assert await exit_statuses(first) == [0]
    restoring = start("restoring", RECOVERY_PAUSE="2", **settings)
    await until(lambda: book.entries("change", worker="restoring"), "it reads back its table")
    workers = {
        "early": early,
        "joining": joining,
        "draining": draining,
        "another": another,
        "restoring": restoring,
    }
    statuses = await exit_statuses(*workers.values())
    assert dict(zip(workers, statuses, strict=True)) == dict.fromkeys(workers, 0)
    assert "Worker ready" not in restoring.output


async def test_after_it_was_stopped_past_its_session(book: Book, start: Start) -> None:
    await book.open()
    workers = [start(name, SESSION="2", PAUSE="0.005", TABLE="1") for name in ("one", "two")]
    other = start("other", SESSION="2", PAUSE="0.005", TABLE="1")
    book.load()
    await book.working("one", "two", "other")
    for worker in workers:
        worker.send(signal.SIGSTOP)
    workers[0].send(signal.SIGTERM)  # which it takes note of before anything else
    await book.taken_over({"other"}, book.entries()[-1].time)
    for worker in workers:
        worker.send(signal.SIGCONT)
    assert await exit_statuses(*workers) == [0, 0]
    await book.rest()
    await book.all_done()
    assert await exit_statuses(other) == [0]


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_while_the_server_is_away(own_server: NatsServer, start: Start, how: str) -> None:
    worker = start("worker", url=own_server.url, TABLE="1", OPTIONS=BRIEFLY)
    asker = start("asker", module="asker", url=own_server.url, OPTIONS=BRIEFLY)
    await said(worker, "Worker ready")
    getattr(own_server, how)()
    early = start("early", url=own_server.url, OPTIONS=BRIEFLY)
    await said(early, "waiting for NATS")
    await asyncio.sleep(1)
    statuses = await exit_statuses(worker, asker, early)
    own_server.resume()
    assert statuses == [0, 0, 0]
