"""Several workers share the work, whoever comes, goes, crashes, or is slow: real processes."""

import asyncio
import itertools
import json
import signal
from pathlib import Path

import pytest

from mocks.servers import NatsServer
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import partition_for
from tests.waiting import until

from .book import KEYS, PARTITIONS, Book, now
from .conftest import Start, exit_statuses

pytestmark = pytest.mark.faults

LONG = "90"
"""A session longer than tests wait: what happens does not happen because it has ended."""


async def test_three_workers_restarted_in_turn_do_nothing_twice(book: Book, start: Start) -> None:
    await book.open("first", "second")
    settings = {"TOPICS": "first,second", "TABLE": "1", "CONCURRENCY": "2", "PAUSE": "0.01"}
    settings["SESSION"] = LONG
    names = iter("abcdefgh")
    workers = {name: start(name, **settings) for name in itertools.islice(names, 3)}
    asker = start("asker", module="asker", **settings)
    book.load("first", "second")
    await book.working(*workers)
    for name in list(workers):
        began = now()
        workers[name].send(signal.SIGTERM)
        left = workers.pop(name)
        await book.taken_over(workers, began)
        assert await exit_statuses(left) == [0]
        fresh = next(names)
        workers[fresh] = start(fresh, **settings)
        await book.working(fresh)
    await book.rest()
    await book.all_done()
    assert not book.twice()
    answers = book.entries("answer", "wrong")
    assert len(answers) > 20
    assert not [entry for entry in answers if entry.what == "wrong"]
    assert await exit_statuses(asker) == [0]
    check_shares(book, "first", "second", "ledger-last-changelog")
    assert await exit_statuses(*workers.values()) == [0, 0, 0]


def check_shares(book: Book, *topics: str) -> None:
    """In every generation each partition has one owner, the same for all topics of that number."""
    for generation in range(1, book.generation() + 1):
        shares = book.shares(generation)
        owned = [
            {topic: tuple(share.get("active", {}).get(topic, ())) for topic in topics}
            for share in shares.values()
        ]
        assert all(len(set(mine.values())) == 1 for mine in owned), (generation, shares)
        numbers = [number for mine in owned for number in mine[topics[0]]]
        assert len(numbers) == len(set(numbers)), (generation, shares)


async def test_the_work_of_a_killed_and_of_a_stopped_worker_moves(book: Book, start: Start) -> None:
    await book.open()
    settings = {"SESSION": "3", "PAUSE": "0.005", "TABLE": "1"}
    one, two, three = (start(name, **settings) for name in ("one", "two", "three"))
    book.load()
    await book.working("one", "two", "three")
    began = now()
    one.kill()
    await book.taken_over({"two", "three"}, began)
    began = now()
    two.send(signal.SIGSTOP)
    await book.taken_over({"three"}, began)
    await book.rest()
    await book.all_done()
    # Everything is done and committed; the worker that was stopped now continues.
    begun, continued = len(book.entries("begin", worker="two")), now()
    two.send(signal.SIGCONT)
    await until(lambda: "giving up all partitions" in two.output, "it notices")
    book.load()
    await book.working("two", since=now())
    await book.rest()
    await book.all_done()
    assert await exit_statuses(two) == [0]
    assert await exit_statuses(three) == [0]
    # What it had in hand it may have finished, but it began with nothing that it did not own.
    stale = [
        entry
        for entry in book.entries("begin", worker="two")[begun:]
        if entry.time < book.entries("assigned", worker="two", since=continued)[0].time
    ]
    assert not stale
    # Nor did it commit: where the group goes on is where the others had come to.
    done = len(book.entries("begin"))
    four = start("four", **settings | {"SESSION": LONG})
    await until(lambda: "Worker ready" in four.output, "the group goes on")
    await book.send(16)
    await book.all_done()
    assert await exit_statuses(four) == [0]
    assert len(book.entries("begin")) == done + 16


async def test_a_leader_killed_while_it_gives_up_its_partitions(book: Book, start: Start) -> None:
    await book.open()
    leader = start("leader", PAUSE="60", SESSION=LONG, OPTIONS="&drain=60")
    await until(lambda: "Worker ready" in leader.output, "the leader is there")
    await book.send(16)
    await book.working("leader")
    two = start("two", SESSION=LONG)
    generation = await book.rebalancing("ledger")
    assert not book.shares(generation)  # it waits for the leader, which waits for its agents
    leader.kill()
    await book.all_done()
    assert {entry.worker for entry in book.entries("end")} == {"two"}
    assert await exit_statuses(two) == [0]


async def test_a_worker_that_blocks_for_longer_than_its_session_is_waited_for(
    book: Book, start: Start
) -> None:
    await book.open()
    slow, other = start("slow", SESSION="6"), start("other", SESSION=LONG)
    shares = await book.joined(("slow", "other"))
    book.load()
    await book.tell("block:slow:8", shares["slow"]["active"]["first"][0])
    await book.begun("block:slow:8")
    third = start("third", SESSION=LONG)
    await book.working("third")
    await book.rest()
    await book.all_done()
    assert not book.twice()
    assert await exit_statuses(slow, other, third) == [0, 0, 0]
    assert "lost" not in slow.output


async def test_a_worker_that_blocks_for_too_long_is_left_out_and_comes_back(
    book: Book, start: Start
) -> None:
    await book.open()
    # Where the one that blocks leads, the dead is found out by the end of its session alone.
    settings = {"SESSION": "6", "REBALANCE": "5"}
    slow, other, third = (start(name, **settings) for name in ("slow", "other", "third"))
    await book.joined(("slow", "other", "third"))
    book.load()
    for partition in range(PARTITIONS):  # shares may change: whichever it has
        await book.tell("block:slow:until told", partition)
    blocks = await book.begun("block:slow:until told", worker="slow")
    third.kill()
    await book.taken_over({"other"}, blocks.time)
    book.let_go()
    await book.working("slow", since=now())
    await book.rest()
    await book.all_done()
    assert "giving up all partitions" in slow.output
    assert await exit_statuses(slow, other) == [0, 0]


async def test_workers_with_different_topics_and_tables(book: Book, start: Start) -> None:
    await book.open("first", "second", "third")
    every = {"STANDBYS": "1", "STORE": "rocksdb://", "SESSION": LONG}
    workers = {
        "one": start("one", TOPICS="first", **every),  # the leader knows of no table
        "two": start("two", TOPICS="first,second", TABLE="1", **every),
        "three": start("three", TOPICS="second,third", TABLE="1", **every),
        "four": start("four", TOPICS="third,first", **every),
    }
    serving = {
        "first": {"one", "two", "four"},
        "second": {"two", "three"},
        "third": {"three", "four"},
    }
    # With standbys Faust fills one worker after the other: some may have nothing to do.
    await book.joined(workers)
    book.load(*serving)
    for topic, names in serving.items():
        await book.taken_over(names, 0, topic)
    began = now()
    left = workers.pop("two")
    left.send(signal.SIGTERM)
    await book.taken_over({"one", "four"}, began, "first")
    await book.taken_over({"three"}, began, "second")
    await book.rest()
    await book.all_done()
    assert not book.twice()
    for entry in book.entries("begin"):
        assert entry.worker in serving[entry.topic]
    assert await exit_statuses(left) == [0]
    assert await exit_statuses(*workers.values()) == [0, 0, 0]


@pytest.mark.parametrize(("store", "count"), [("memory://", 2), ("rocksdb://", 3)])
async def test_a_standby_takes_over_with_what_it_has(
    book: Book, start: Start, store: str, count: int
) -> None:
    await book.open()
    settings = {"TABLE": "1", "STANDBYS": str(count - 1), "STORE": store, "SESSION": "60"}
    workers = {name: start(name, **settings) for name in "abc"[:count]}
    before = await book.joined(workers)
    await book.send(320)
    await book.all_done()
    changelog = "ledger-last-changelog"

    def has_read(worker: str, number: int) -> list[int]:
        """Return which changes of a partition a worker has read, not written."""
        return [
            entry.offset
            for entry in book.entries("change", worker=worker)
            if (entry.topic, entry.partition) == (changelog, number)
        ]

    victim = next(name for name in workers if before[name].get("active"))
    lost = before[victim]["active"][changelog]
    for number in lost:
        last = await book.last_offset(changelog, number)
        for name in workers.keys() - {victim}:
            await until(lambda: last in has_read(name, number), f"{name} has {number}")  # noqa: B023
    generation = book.generation()
    workers.pop(victim).kill()
    after = await book.joined(workers, after=generation)
    await book.send(32)
    await book.all_done()
    heirs = {n: name for n in lost for name in workers if n in after[name]["active"][changelog]}
    assert set(heirs) == set(lost)
    for number, heir in heirs.items():
        assert len(has_read(heir, number)) == len(set(has_read(heir, number))), "none read twice"
        await book.tell("dump", number)
    await until(lambda: len(book.entries("table")) == len(heirs), "tables shown")
    for entry in book.entries("table"):
        keys = [key for key in KEYS if heirs.get(partition_for(key, PARTITIONS)) == entry.worker]
        assert keys
        assert {key.decode() for key in keys} <= set(json.loads(entry.text))
    assert set(await exit_statuses(*workers.values())) == {0}


async def test_a_server_that_restarts_leaves_the_group_as_it_is(
    own_server: NatsServer, prefix: str, start: Start, tmp_path: Path
) -> None:
    client = await connect(parse_url(own_server.url), name="test")
    book = Book(client, prefix, tmp_path / "ledger")
    await book.open()
    settings = {"SESSION": "30", "PAUSE": "0.01", "TABLE": "1"}
    workers = {name: start(name, url=own_server.url, **settings) for name in ("one", "two")}
    await book.joined(workers)
    await book.send(64)
    await book.working(*workers)
    generation = book.generation()
    own_server.kill()
    await asyncio.sleep(2)
    own_server.start()
    await until(lambda: client.is_connected)
    since = now()
    await book.send(160)
    await book.working(*workers, since=since)
    await book.all_done()
    assert book.generation() == generation
    assert not book.twice()
    assert await exit_statuses(*workers.values()) == [0, 0]
    await book.close()
    await client.close()
