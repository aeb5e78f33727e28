"""The worker that fault tests kill: agents in a row, and a table that remembers who came by."""

import asyncio
import logging
import os
import sys
from typing import Any, cast

import faust
from faust.types import StreamT

STORE = os.environ.get("STORE", "memory://")
PAUSE = float(os.environ.get("PAUSE", "0"))
TAKE = int(os.environ.get("TAKE", "0"))

log = logging.getLogger(__name__)
app = faust.App(
    os.environ.get("APP_ID", "chain"),
    broker=os.environ["BROKER"],
    datadir=os.environ["DATADIR"],
    store=STORE,
    topic_partitions=int(os.environ.get("PARTITIONS", "4")),
    web_enabled=False,
    broker_commit_interval=0.3,
    broker_heartbeat_interval=0.5,
    broker_session_timeout=float(os.environ.get("SESSION", "6")),
    table_standby_replicas=int(os.environ.get("STANDBYS", "0")),
    stream_recovery_delay=0.0,
    processing_guarantee=os.environ.get("GUARANTEE", "at_least_once"),
    producer_threaded=bool(os.environ.get("THREADED")),
    topic_allow_declare=not os.environ.get("DECLARED"),
)
first = app.topic("first", key_serializer="raw", value_serializer="raw")
second = app.topic("second", key_serializer="raw", value_serializer="raw")
third = app.topic("third", key_serializer="raw", value_serializer="raw")
counted = app.topic("counted", key_serializer="raw", value_serializer="raw")
seen = app.Table("seen", key_type=bytes, value_type=bytes)

counts = app.Table("counts", default=int, key_type=bytes, value_type=int)


@app.agent(first, name="one", concurrency=int(os.environ.get("CONCURRENCY", "1")))
async def one(stream: StreamT[Any]) -> None:
    """Pass on, slowly or several at once if the test says so."""
    if TAKE:
        async for events in cast(Any, stream).take_events(TAKE, within=0.1):
            for event in events:
                await second.send(key=event.key, value=event.value + b"1")
    async for key, value in stream.items():
        if PAUSE:
            log.info("one begins with %r", value)
            await asyncio.sleep(PAUSE)
        await second.send(key=key, value=value + b"1")


@app.agent(second, name="two")
async def two(stream: StreamT[Any]) -> None:
    """Remember, and pass on."""
    async for key, value in stream.items():
        seen[value] = b"seen"
        await third.send(key=key, value=value + b"2")


@app.agent(third, name="three")
async def three(stream: StreamT[Any]) -> None:
    """Count what each key has sent so far: what is worked on twice shows."""
    async for key, value in stream.items():
        counts[key] += 1
        await counted.send(key=key, value=value + b":%d" % counts[key])


if __name__ == "__main__":
    sys.argv = ["chain", "worker", "--without-web", "-l", os.environ.get("LEVEL", "info")]
    app.main()
