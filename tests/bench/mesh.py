"""How fast is the mesh? `make bench`: whole turns through the whole system, model mock instant.

Turns alone, fifty at once, and as many as it takes with a thousand in flight; measured from the
gateway, as a page would see it. Prints a table and writes `results/mesh.json`.
"""

import asyncio
import json
import platform
import secrets
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from streams.gateway import Gateway
from streams.message import Message
from streams.payload import Payload
from streams.reply import Reply
from tests.whole_mesh import whole_mesh

TEXT = "Hello, could you please tell me when my order #W7000201 arrives?"
EMAIL = "tobias.wren@example.com"
RESULTS = Path(__file__).parent / "results" / "mesh.json"
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


async def measure(gateway: Gateway) -> dict[str, dict[str, float]]:
    """Return the figures."""
    await at_once(gateway, 200, 50)  # warm: imports, caches, connections
    alone = [await turn(gateway) for _ in range(200)]
    fifty, _ = await at_once(gateway, 50, 50)
    many, seconds = await at_once(gateway, 3000, 1000)
    return {
        "alone": milliseconds(alone),
        "fifty at once": {**milliseconds(fifty), "all_ms": round(max(fifty) * 1000, 1)},
        "1,000 in flight": {
            **milliseconds(many),
            "turns_per_second": round(len(many) / seconds, 1),
        },
    }


async def main() -> None:
    """Run the mesh, measure it, print and write the figures."""
    with tempfile.TemporaryDirectory() as folder, whole_mesh(Path(folder) / "data") as mesh:
        gateway = Gateway(mesh.settings())
        await gateway.start()
        while not gateway.declared:
            await asyncio.sleep(0.05)
        figures = await measure(gateway)
        await gateway.close()
    ratios = {
        "alone": BEFORE["alone_ms"] / figures["alone"]["p50_ms"],
        "fifty at once": BEFORE["fifty_at_once_ms"] / figures["fifty at once"]["all_ms"],
        "throughput": figures["1,000 in flight"]["turns_per_second"] / BEFORE["turns_per_second"],
    }
    for name, values in figures.items():
        print(f"{name:16}", "  ".join(f"{key} {value}" for key, value in values.items()))
    print("times as fast as the demo before:")
    print("  ", "  ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items()))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "command": "make bench",
                "date": datetime.now(UTC).date().isoformat(),
                "machine": f"{platform.machine()}, Python {platform.python_version()}",
                "figures": figures,
                "before": BEFORE,
                "times_as_fast": {name: round(ratio, 1) for name, ratio in ratios.items()},
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    asyncio.run(main())
