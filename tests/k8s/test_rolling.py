"""Production's topology in processes, each of them restarted in turn while customers write in."""

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from mocks.cast import CAST, POLITE
from mocks.laptop import Part
from mocks.scenarios import Conversation, Line, Result, Shop, play, polite_question
from mocks.servers import Server
from streams.topics import DEAD_LETTERS, REPLIES
from tests.faust_apps import records
from tests.k8s.topology import Topology, log, running

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

CUSTOMERS = 3


@contextlib.asynccontextmanager
async def proxy(ports: list[int]) -> AsyncIterator[str]:
    """Spread connections over the nodes of the pages, past those that take none."""
    turn = itertools.count()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(turn)
        for place in range(len(ports)):
            port = ports[(first + place) % len(ports)]
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
                return
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


class Customers:
    """People who write in for as long as nobody says that it is enough."""

    def __init__(self, url: str, topology: Topology) -> None:
        self.url = url
        ports = topology.outside_ports
        self.shop = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.ended: list[Result] = []
        self.asked: list[str] = []
        self.enough = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        people = [self._scenarios(), *(self._asks() for _ in range(CUSTOMERS))]
        self._tasks = [asyncio.create_task(each) for each in people]
        try:
            yield
        finally:
            self.enough.set()
            await asyncio.gather(*self._tasks)

    async def several_turns(self) -> None:
        """Return once everybody has had time to see what was done to the mesh."""
        begun = len(self.asked)
        while len(self.asked) < begun + 2 * CUSTOMERS:
            assert not any(task.done() for task in self._tasks), "somebody has given up"
            await asyncio.sleep(0.05)

    async def _scenarios(self) -> None:
        while not self.enough.is_set():
            self.ended += await play(self.url, self.shop, lambda _: None)

    async def _asks(self) -> None:
        async with aiohttp.ClientSession() as http:
            who = CAST[POLITE]
            line = Line(http, self.url, who.email)
            chat = Conversation(line, lambda _: None)
            while not self.enough.is_set():
                await polite_question(who, chat, Shop(http, self.shop))
                self.asked.append(chat.turns[-1].message_id)
            await line.close()


def restart(server: Server, seconds: float = 120) -> None:
    """Stop a process in good order and start it again, as a rolling update does with a pod."""
    server.stop()
    server.launch()
    server.wait_ready(seconds)


async def test_each_process_is_restarted_and_no_customer_notices(tmp_path: Path) -> None:
    with running("production", tmp_path) as topology:
        workers = [topology.part("worker", number) for number in range(2)]
        # Customers write faster here than any person would.
        webs = [topology.part("web", number, turns_per_minute=100_000) for number in range(2)]
        parts: list[Part] = [*workers, *webs]
        try:
            for part in parts:
                part.launch()
            for part in parts:
                await asyncio.to_thread(part.wait_ready, 120)
            async with proxy([web.port for web in webs]) as url:
                customers = Customers(url, topology)
                async with customers.writing():
                    await customers.several_turns()
                    for process in (*topology.nats, topology.redis, *parts):
                        await asyncio.to_thread(restart, process)
                        await customers.several_turns()
            await check_replies(topology, customers)
            check_logs(parts)
        finally:
            for part in parts:
                part.stop()


async def check_replies(topology: Topology, customers: Customers) -> None:
    """Every scenario ended well, and every message has had one reply."""
    assert [(one.name, one.problem) for one in customers.ended if not one.ok] == []
    said = [turn.message_id for one in customers.ended for turn in one.turns] + customers.asked
    operator = topology.login("operator", "OPERATOR_PASSWORD")
    replies = [
        json.loads(record.value or b"{}") for record in await records(operator, "mesh", REPLIES)
    ]
    assert Counter(reply["message_id"] for reply in replies) == Counter(said)
    assert "failed" not in {reply["state"] for reply in replies}
    assert await records(operator, "mesh", DEAD_LETTERS) == []


def check_logs(parts: list[Part]) -> None:
    """Nobody lacked a right."""
    assert [part.name for part in parts if "no right to" in log(part)] == []
