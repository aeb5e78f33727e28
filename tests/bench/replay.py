"""How fast is a replay? The same turns worked on by a mesh, and replayed by one, in one run.

One worker each. A mesh and the replay of what it did take turns, so that the noise of the machine
is about the same in both; what it takes to start the mesh that replays is left out.
"""

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import app
from streams.gateway import Gateway
from streams.replay.comparison import TurnComparison
from streams.replay.request import ReplayRequest
from tests.bench.mesh import at_once
from tests.whole_mesh import whole_mesh
from web.terminal.playing import Performance

IN_FLIGHT = 100
LONG, QUICK = (5, 600), (1, 150)
"""How many rounds, and the turns of each."""


@dataclass
class Replaying:
    """What was measured, a figure a round, in turns a second."""

    mesh: list[float] = field(default_factory=list)
    replay: list[float] = field(default_factory=list)
    turns: int = 0
    same: int = 0


class Clock:
    """Hears of turns that end, and when."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def hear(self, _: TurnComparison) -> None:
        """Note that a turn has ended."""
        self.times.append(time.perf_counter())

    def per_second(self) -> float:
        """Return the rate from the first tenth on: before that, a worker warms up."""
        begun = len(self.times) // 10
        return (len(self.times) - 1 - begun) / (self.times[-1] - self.times[begun])


async def measure(rounds: int, turns: int) -> Replaying:
    """Run a mesh, replay what it did, and return what was measured."""
    found = Replaying()
    with tempfile.TemporaryDirectory() as folder, whole_mesh(Path(folder) / "data") as mesh:
        os.environ.update(mesh.environment)  # by it the mesh that replays finds the other one
        settings = mesh.settings()
        gateway = Gateway(settings)
        await gateway.start()
        try:
            while not gateway.declared:
                await asyncio.sleep(0.05)
            await at_once(gateway, 2 * IN_FLIGHT, IN_FLIGHT)  # warm: imports, caches, connections
            for _ in range(rounds):
                since = datetime.now(UTC)
                _, seconds = await at_once(gateway, turns, IN_FLIGHT)
                found.mesh.append(turns / seconds)
                clock = Clock()
                request = ReplayRequest(since=since)
                run = await Performance(settings, app.replay_mesh, clock.hear).give(request)
                found.replay.append(clock.per_second())
                found.turns += run.summary().turns
                found.same += run.summary().verdicts["same"]
        finally:
            await gateway.close()
    return found
