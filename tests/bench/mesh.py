"""How fast is the mesh? Whole turns through the whole system, the model mock instant.

Turns alone, fifty at once, and as many as it takes with a thousand in flight; measured from the
gateway, as a page would see it.
"""

import asyncio
import secrets
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streams.gateway import Gateway
from streams.message import Message
from streams.payload import Payload
from streams.reply import Reply
from tests.whole_mesh import whole_mesh

TEXT = "Hello, could you please tell me when my order #W7000201 arrives?"
#: Turns with a thousand in flight.
TURNS, QUICK_TURNS = 3000, 200
EMAIL = "tobias.wren@example.com"
#: The demo that this project grew from, measured on this kind of machine.
BEFORE = {"alone_ms": 203.0, "fifty_at_once_ms": 3500.0, "turns_per_second": 15.0}


async def turn(gateway: Gateway) -> float:
    """Send a turn in a session of its own and return the seconds until its reply."""
    session = secrets.token_hex(8)
    payload = Payload(text=TEXT, email=EMAIL, at=datetime.now(UTC))
    async with gateway.listen(session) as listener:
        started = time.perf_counter()
        await gateway.send(Message(id="t1", session_id=session, payload=payload))
        async for frame in listener:
            if isinstance(frame, Reply):
                if frame.state != "answered":
                    raise RuntimeError(f"a turn ended {frame.state}: {frame.response}")
                return time.perf_counter() - started
    raise AssertionError("unreachable")


async def at_once(gateway: Gateway, turns: int, in_flight: int) -> tuple[list[float], float]:
    """Return the seconds of each turn and of all, with at most `in_flight` under way."""
    gate = asyncio.Semaphore(in_flight)

    async def one() -> float:
        async with gate:
            return await turn(gateway)

    started = time.perf_counter()
    each = await asyncio.gather(*(one() for _ in range(turns)))
    return each, time.perf_counter() - started


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Return median and 99th percentile in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50_ms": round(statistics.median(ordered) * 1000, 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
    }


async def measure(gateway: Gateway, turns: int) -> dict[str, dict[str, float]]:
    """Return the figures."""
    await at_once(gateway, 200, 50)  # warm: imports, caches, connections
    alone = [await turn(gateway) for _ in range(200)]
    fifty, _ = await at_once(gateway, 50, 50)
    many, seconds = await at_once(gateway, turns, 1000)
    return {
        "alone": milliseconds(alone),
        "fifty at once": {**milliseconds(fifty), "all_ms": round(max(fifty) * 1000, 1)},
        "1,000 in flight": {
            **milliseconds(many),
            "turns_per_second": round(len(many) / seconds, 1),
        },
    }


async def measured(workers: int, turns: int) -> dict[str, dict[str, float]]:
    """Run a mesh with so many workers and return its figures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        whole_mesh(Path(folder) / "data", {"MESH_WORKERS": str(workers)}) as mesh,
    ):
        gateway = Gateway(mesh.settings())
        await gateway.start()
        while not gateway.declared:
            await asyncio.sleep(0.05)
        try:
            return await measure(gateway, turns)
        finally:
            await gateway.close()


def times_as_fast(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the ratios to the demo before, above 1 where we are faster."""
    return {
        "alone": round(BEFORE["alone_ms"] / figures["alone"]["p50_ms"], 1),
        "fifty at once": round(BEFORE["fifty_at_once_ms"] / figures["fifty at once"]["all_ms"], 1),
        "throughput": round(
            figures["1,000 in flight"]["turns_per_second"] / BEFORE["turns_per_second"], 1
        ),
    }


async def measure_with_workers(turns: int) -> dict[str, Any]:
    """Run the mesh with one worker and with two; print and return the figures."""
    results = {}
    for workers in (1, 2):
        figures = await measured(workers, turns)
        ratios = times_as_fast(figures)
        results[f"{workers} workers"] = {"figures": figures, "times_as_fast": ratios}
        print(f"workers: {workers}")
        for name, values in figures.items():
            print(f"  {name:16}", "  ".join(f"{key} {value}" for key, value in values.items()))
        shown = "  ".join(f"{name} {ratio}" for name, ratio in ratios.items())
        print(f"  times as fast as the demo before: {shown}")
    return {"before": BEFORE, "results": results}
