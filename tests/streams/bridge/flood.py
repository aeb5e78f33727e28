"""A worker whose agents are slower, or faster, than what is around them (test_backpressure.py)."""
# Faust's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

import asyncio
import os
import sys
from typing import Any

import faust
from faust.types import StreamT

SIZE = int(os.environ.get("SIZE", "10000"))
COUNT = int(os.environ.get("COUNT", "20000"))
FANOUT = 50

app = faust.App(
    "flood",
    broker=os.environ["BROKER"],
    datadir=os.environ["DATADIR"],
    store="memory://",
    topic_partitions=4,
    web_enabled=False,
    broker_commit_interval=0.3,
    stream_recovery_delay=0.0,
)
backlog = app.topic("backlog", key_serializer="raw", value_serializer="raw")
seeds = app.topic("seeds", key_serializer="raw", value_serializer="raw")
drops = app.topic("drops", key_serializer="raw", value_serializer="raw")
last = app.Table("last", key_type=bytes, value_type=bytes)


@app.agent(backlog, name="slow")
async def slow(stream: StreamT[Any]) -> None:
    """Hardly get anywhere."""
    async for _ in stream:
        await asyncio.sleep(1)


@app.agent(seeds, name="soon")
async def soon(stream: StreamT[Any]) -> None:
    """Send much at once, and change a table, without waiting for either."""
    async for key, value in stream.items():
        for number in range(FANOUT):
            drops.send_soon(key=key, value=value + b" %d " % number + bytes(SIZE))
        last[key] = value


@app.task
async def pour() -> None:
    """Send as fast as it goes."""
    for number in range(COUNT):
        await drops.send(key=b"pour", value=b"%d " % number + bytes(SIZE))


if __name__ == "__main__":
    sys.argv = ["flood", "worker", "--without-web", "-l", "info"]
    app.main()
