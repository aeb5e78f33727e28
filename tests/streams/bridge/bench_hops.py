"""How fast a chain of agents is: `python tests/streams/bridge/bench_hops.py [options]`.

Seven agents in a row on four partitions, messages of 1 KB JSON, one worker process: this
process feeds the first topic and reads the last one.
"""

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faust
import psutil
from faust.types import StreamT

from mocks.servers import NatsServer
from streams.bridge import decode
from streams.bridge.connection import connect, parse_url
from streams.bridge.layout import encode_headers, partition_for, subject
from streams.bridge.publisher import Publisher

PARTITIONS = 4
AGENTS = 7


def worker() -> None:
    """Run the chain as a Faust worker."""
    app = faust.App(
        "bench",
        broker=os.environ["BROKER"],
        topic_partitions=PARTITIONS,
        web_enabled=False,
        datadir=os.environ["DATADIR"],
    )
    topics = [app.topic(f"hop{number}", value_serializer="json") for number in range(AGENTS + 1)]
    table = app.Table("last", default=int) if os.environ.get("TABLE") else None

    def add_agent(number: int) -> None:
        async def hop(stream: StreamT[Any]) -> None:
            async for key, value in stream.items():
                value["hops"] += 1
                if table is not None and number == 3:
                    table[key] += 1
                await topics[number + 1].send(key=key, value=value)

        app.agent(topics[number], name=f"hop{number}")(hop)

    for number in range(AGENTS):
        add_agent(number)
    sys.argv = ["bench", "worker", "--without-web", "-l", os.environ.get("LOGLEVEL", "warn")]
    app.main()


async def measure(
    url: str, count: int, in_flight: int, process: psutil.Process
) -> dict[str, float]:
    """Send `count` messages, at most `in_flight` under way; return what it took."""
    client = await connect(parse_url(url), name="bench")
    publisher = Publisher(client)
    await publisher.start()
    started: dict[str, float] = {}
    latencies: list[float] = []
    room = asyncio.Semaphore(in_flight)
    done = asyncio.Event()
    prefix = secrets.token_hex(4)

    async def arrived(message: object) -> None:
        record = decode(message)
        sent = started.pop(json.loads(record.value or b"")["id"], None)
        if sent is None:
            return
        latencies.append(time.perf_counter() - sent)
        room.release()
        if len(latencies) == count:
            done.set()

    await client.subscribe(f"bench.hop{AGENTS}.*", cb=arrived, pending_msgs_limit=0)
    await client.flush()
    filler = "x" * 900
    cpu = sum(process.cpu_times()[:2])
    begin = time.perf_counter()
    for number in range(count):
        await room.acquire()
        name = f"{prefix}-{number}"
        key = f"session-{number % 500}".encode()
        value = json.dumps({"id": name, "hops": 0, "text": filler}).encode()
        started[name] = time.perf_counter()
        partition = partition_for(key, PARTITIONS)
        publisher.publish(subject("bench", "hop0", partition), value, encode_headers(key, value))
    await done.wait()
    took = time.perf_counter() - begin
    cpu = sum(process.cpu_times()[:2]) - cpu
    await publisher.stop()
    await client.close()
    latencies.sort()
    return {
        "p50_ms": statistics.median(latencies) * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "per_second": count / took,
        "cpu_us_per_hop": cpu / count / AGENTS * 1_000_000,
    }


async def run(url: str, count: int, process: psutil.Process) -> None:
    """Print the figures for one message at a time and for many in flight."""
    for in_flight, n in ((1, 20), (1, max(100, count // 10)), (1000, count), (1000, count)):
        figures = await measure(url, n, in_flight, process)
        text = "  ".join(f"{name}={value:,.1f}" for name, value in figures.items())
        print(f"in_flight={in_flight:5} count={n:6}  {text}", flush=True)


def main() -> None:
    """Start a server and a worker, measure, end both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--table", action="store_true", help="with a table in the fourth agent")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker()
        return
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats") as server:
        url = f"{server.url}?prefix=bench"
        env = dict(os.environ, BROKER=url, DATADIR=folder, TABLE="1" if options.table else "")
        child = subprocess.Popen([sys.executable, __file__, "--worker"], env=env)
        try:
            time.sleep(5)
            asyncio.run(run(url, options.count, psutil.Process(child.pid)))
        finally:
            child.terminate()
            child.wait(30)


if __name__ == "__main__":
    main()
