"""Reading the ledger that workers write, and giving them something to do."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from streams.bridge.bucket import Bucket
from streams.bridge.generations import State
from streams.bridge.layout import encode_headers, partition_for, subject
from streams.bridge.publisher import Publisher
from streams.bridge.topics import TopicSpec, declare, lookup
from tests.waiting import until

PARTITIONS = 4
KEYS = [b"k%d" % number for number in range(16)]
"""These fall into all four partitions."""


class Entry(NamedTuple):
    """One line of the ledger."""

    time: float
    """Of the machine's monotonic clock, the same in all processes."""
    worker: str
    what: str
    topic: str
    partition: int
    offset: int
    text: str


class Book:
    """Work for the ledger's workers, and what they have noted of it."""

    def __init__(self, client: Client, prefix: str, path: Path) -> None:
        self.client = client
        self.prefix = prefix
        self.path = path
        self.publisher = Publisher(client)
        self.sent: set[str] = set()
        self._load: asyncio.Task[None] | None = None

    async def open(self, *topics: str) -> None:
        """Declare what the workers read."""
        for topic in topics or ("first",):
            spec = TopicSpec(topic, PARTITIONS, prefix=self.prefix)
            await declare(self.client.jetstream(), spec)
        await self.publisher.start()

    async def close(self) -> None:
        """Send no more."""
        await self.rest()
        await self.publisher.stop()

    # -- work

    async def send(self, count: int, topic: str = "first") -> None:
        """Send plain records, over all partitions."""
        for _ in range(count):
            number = len(self.sent)
            text = f"n:{number}"
            self.sent.add(text)
            self._publish(KEYS[number % len(KEYS)], text, topic)
        await self.publisher.flush()

    async def tell(self, text: str, partition: int = 0, topic: str = "first") -> None:
        """Send a command to whoever owns a partition."""
        key = next(key for key in KEYS if partition_for(key, PARTITIONS) == partition)
        self._publish(key, text, topic)
        await self.publisher.flush()

    def let_go(self) -> None:
        """Let a worker go on that blocks until it is told."""
        self.path.with_suffix(".told").touch()

    def _publish(self, key: bytes, text: str, topic: str) -> None:
        where = subject(self.prefix, topic, partition_for(key, PARTITIONS))
        self.publisher.publish(where, text.encode(), encode_headers(key, b""))

    def load(self, *topics: str) -> None:
        """Send all the time, about 80 records a second each, until `rest`."""

        async def load() -> None:
            while True:
                for topic in topics or ("first",):
                    await self.send(16, topic)
                await asyncio.sleep(0.2)

        self._load = asyncio.get_running_loop().create_task(load())

    async def rest(self) -> None:
        """End `load`."""
        if self._load is not None:
            self._load.cancel()
            await asyncio.wait([self._load])
            self._load = None

    # -- what came of it

    def entries(self, *what: str, since: float = 0.0, worker: str = "") -> list[Entry]:
        """Return what was noted, oldest first."""
        if not self.path.exists():
            return []
        found = []
        written, _, _ = self.path.read_text().rpartition("\n")  # a line may be on its way
        for line in written.splitlines():
            moment, who, kind, topic, partition, offset, text = line.split(" ", 6)
            entry = Entry(float(moment), who, kind, topic, int(partition), int(offset), text)
            if (not what or kind in what) and entry.time >= since and worker in ("", who):
                found.append(entry)
        return found

    def executions(self) -> Counter[str]:
        """Return how often each record was begun."""
        return Counter(entry.text for entry in self.entries("begin") if entry.text in self.sent)

    def twice(self) -> list[list[Entry]]:
        """Return all that is noted about records that were begun more than once."""
        repeated = {text for text, count in self.executions().items() if count > 1}
        return [
            [entry for entry in self.entries("begin", "end") if entry.text == text]
            for text in sorted(repeated)
        ]

    async def all_done(self) -> None:
        """Wait until every record that was sent has been worked on to its end."""

        def done() -> bool:
            return self.sent <= {entry.text for entry in self.entries("end")}

        await until(done, "all records worked on", seconds=90)

    async def begun(self, text: str, worker: str = "") -> Entry:
        """Wait until somebody, or this worker, has begun with a record; return the entry."""

        def found() -> list[Entry]:
            return [entry for entry in self.entries("begin", worker=worker) if entry.text == text]

        first: Entry = (await until(found, f"{text} is begun"))[0]
        return first

    async def working(self, *workers: str, since: float = 0.0) -> None:
        """Wait until each of these has begun with something."""

        def all_have() -> bool:
            return set(workers) <= {entry.worker for entry in self.entries("begin", since=since)}

        await until(all_have, f"{workers} work")

    async def taken_over(self, by: Iterable[str], since: float, topic: str = "first") -> float:
        """Wait until `by` work on all partitions; return when the last began, since `since`."""
        workers = set(by)

        def firsts() -> dict[int, float]:
            first: dict[int, float] = {}
            for entry in self.entries("begin", since=since):
                if entry.worker in workers and entry.topic == topic:
                    first.setdefault(entry.partition, entry.time)
            return first

        await until(lambda: len(firsts()) == PARTITIONS, f"{workers} take over")
        return max(firsts().values()) - since

    async def last_offset(self, topic: str, partition: int) -> int:
        """Return the offset of a partition's last record, 0 if it has none."""
        js = self.client.jetstream()
        info = await lookup(js, self.prefix, topic)
        assert info is not None
        try:
            return (await js.get_last_msg(info.stream, info.filter(partition))).seq or 0
        except NotFoundError:
            return 0

    async def joined(self, workers: Iterable[str], *, after: int = 0) -> dict[str, dict[str, Any]]:
        """Wait until these, and no others, work in one generation; return their shares in it."""
        names = set(workers)

        def all_have() -> dict[str, dict[str, Any]] | None:
            shares = self.shares(generation := self.generation())
            return shares if generation > after and set(shares) == names else None

        shares: dict[str, dict[str, Any]] = await until(all_have, f"{names} share")
        return shares

    async def rebalancing(self, group: str, after: int = 1) -> int:
        """Wait until a group gives up its partitions for a generation past `after`; return it."""
        bucket = Bucket(self.client, f"{self.prefix}-groups")

        async def begun() -> int:
            entry = await bucket.get(f"group.{group}.state")
            state = State.decode(entry.value, entry.revision) if entry and entry.value else State()
            return state.generation if state.generation > after and state.phase == "join" else 0

        generation: int = await until(begun, f"a generation of {group} begins")
        return generation

    def shares(self, generation: int) -> dict[str, dict[str, Any]]:
        """Return what each worker was assigned in a generation."""
        return {
            entry.worker: json.loads(entry.text)
            for entry in self.entries("assigned")
            if entry.offset == generation
        }

    def generation(self) -> int:
        """Return the last generation that anybody took up."""
        return max((entry.offset for entry in self.entries("assigned")), default=0)


def now() -> float:
    """Return the time that the ledger's lines carry."""
    return time.monotonic()
