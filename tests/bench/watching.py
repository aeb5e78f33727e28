"""What does it cost the mesh to be looked at? Turns a second with the pages open, and without.

One mesh under a steady load; windows with pages and without take turns, so that the noise of the
machine is about the same in both. The pages are real ones in a real browser, which stands for a
machine of its own: it gets what processor time nobody else wants.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from playwright.async_api import Page, expect

from streams.gateway import Gateway
from tests.bench.mesh import at_once, turn
from tests.browser import CHROMIUM, chromium
from tests.whole_mesh import WholeMesh, whole_mesh

IN_FLIGHT = 100
LONG, QUICK = (8, 15.0), (2, 6.0)
"""How many rounds, and the seconds of a window."""
SETTLE_SECONDS = 3.0
"""How long pages have been open, or gone, before it counts."""
LOWEST = 19
"""The browser's priority: on a machine of its own it would take nothing from the mesh."""
FOLLOWED = "mesh.decision_router"
"""The topic that is followed live: every turn passes it twice."""


@dataclass(frozen=True)
class Window:
    """What the mesh did for some seconds."""

    per_second: float
    """Turns that ended."""
    worker_ms: float
    """Processor time a turn: the worker's, which bounds the turns a second; …"""
    web_ms: float
    """… that of the process that serves the pages; …"""
    server_ms: float
    """… and nats-server's."""


@dataclass
class Watching:
    """What was measured, a figure a round."""

    without: list[Window] = field(default_factory=list)
    watched: list[Window] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    """Answers and frames a second that the pages got."""


class Load:
    """Keeps so many turns under way, and counts those that end."""

    def __init__(self, gateway: Gateway, mesh: WholeMesh) -> None:
        self._gateway = gateway
        self._parts = [mesh.part(name) for name in ("worker", "web", "nats-server")]
        self._ended = 0
        self._tasks = [asyncio.create_task(self._run()) for _ in range(IN_FLIGHT)]

    async def _run(self) -> None:
        while True:
            await turn(self._gateway)
            self._ended += 1

    async def window(self, seconds: float) -> Window:
        """Measure for so many seconds."""
        ended, started = self._ended, time.perf_counter()
        before = [_used(part) for part in self._parts]
        done, _ = await asyncio.wait(
            self._tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in done:
            task.result()  # raises: none of them ends by itself
        turns = self._ended - ended
        took = time.perf_counter() - started
        used = [_used(part) - spent for part, spent in zip(self._parts, before, strict=True)]
        return Window(turns / took, *(spent / turns * 1000 for spent in used))

    async def stop(self) -> None:
        """Begin no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


class Audience:
    """The pages that somebody has open who watches a mesh, and how much they are told."""

    def __init__(self) -> None:
        self.told = 0

    def listen(self, page: Page) -> None:
        """Count what a page gets."""
        page.on("response", lambda _: self._count())
        page.on("websocket", lambda socket: socket.on("framereceived", lambda _: self._count()))

    def _count(self) -> None:
        self.told += 1


@asynccontextmanager
async def watching(mesh: WholeMesh) -> AsyncIterator[Audience]:
    """Have the topics, the graph of actors and a topic's live tail open, signed in."""
    audience = Audience()
    # A browser each time: one that has been put behind all others opens no page in time.
    async with chromium() as browser:
        context = await browser.new_context()
        token = mesh.settings().operators_token().decode()
        answer = await context.request.post(
            f"{mesh.url}/api/operator", data={"token": token, "name": "bench"}
        )
        if not answer.ok:
            raise RuntimeError(f"no login: {answer.status} {await answer.text()}")
        for path in ("/streams", "/streams/mesh", f"/streams/{FOLLOWED}"):
            page = await context.new_page()
            audience.listen(page)
            await page.goto(f"{mesh.url}{path}")
        await page.wait_for_load_state("networkidle")  # the search that the page begins with
        await page.get_by_role("button", name="Follow live").click()
        await expect(page.get_by_text("Following:")).to_be_visible(timeout=30_000)
        give_way()
        yield audience


def give_way() -> None:
    """Put the browser behind all others who want the processor."""
    for child in psutil.Process().children(recursive=True):
        if "chrom" in child.name():
            for thread in child.threads():
                with suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, thread.id, LOWEST)
            # Linux may share out the time between sessions first, and only then by priority.
            with suppress(OSError):
                Path(f"/proc/{child.pid}/autogroup").write_text(str(LOWEST))


async def one_round(
    load: Load, mesh: WholeMesh, seconds: float, found: Watching, *, first: bool
) -> None:
    """Measure a window with pages and one without, in this order or the other."""

    async def without() -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        found.without.append(await load.window(seconds))

    async def watched() -> None:
        async with watching(mesh) as audience:
            await asyncio.sleep(SETTLE_SECONDS)
            told = audience.told
            window = await load.window(seconds)
            if audience.told == told:
                raise RuntimeError("the pages stand still: the machine has no time left for them")
            found.watched.append(window)
            found.told.append((audience.told - told) / seconds)

    for part in (watched, without) if first else (without, watched):
        await part()


async def measure(rounds: int, seconds: float) -> Watching:
    """Run a mesh and return what was measured."""
    if not CHROMIUM.exists():
        raise RuntimeError(f"this needs a browser at {CHROMIUM} (or CHROMIUM=…)")
    found = Watching()
    with tempfile.TemporaryDirectory() as folder, whole_mesh(Path(folder) / "data") as mesh:
        gateway = Gateway(mesh.settings())
        await gateway.start()
        while not gateway.declared:
            await asyncio.sleep(0.05)
        try:
            await at_once(gateway, 2 * IN_FLIGHT, IN_FLIGHT)  # warm: imports, caches, connections
            load = Load(gateway, mesh)
            try:
                for number in range(rounds):
                    await one_round(load, mesh, seconds, found, first=bool(number % 2))
            finally:
                await load.stop()
        finally:
            await gateway.close()
    return found
