"""The worker whose every execution is on record, and which does what records tell it to.

It appends lines to the file that LEDGER names: when an agent begins and ends with a record, what
it was assigned, and which changes it reads from changelogs. So a test sees what was worked on,
how often, by whom, when, and in which order. See `book.py` for who reads it.
"""
# mypy: disable-error-code="untyped-decorator"

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import faust
from faust.types import StreamT

NAME = os.environ.get("NAME", "worker")
PAUSE = float(os.environ.get("PAUSE", "0"))
TABLE = bool(os.environ.get("TABLE"))

app = faust.App(
    os.environ.get("APP_ID", "ledger"),
    broker=os.environ["BROKER"],
    datadir=os.environ["DATADIR"],
    store=os.environ.get("STORE", "memory://"),
    topic_partitions=4,
    web_enabled=False,
    broker_commit_interval=float(os.environ.get("COMMIT", "0.3")),
    broker_heartbeat_interval=0.5,
    broker_session_timeout=float(os.environ.get("SESSION", "6")),
    broker_rebalance_timeout=float(os.environ.get("REBALANCE", "60")),
    broker_max_poll_interval=float(os.environ.get("PATIENCE", "1000")),
    table_standby_replicas=int(os.environ.get("STANDBYS", "0")),
    stream_recovery_delay=0.0,
)
app.producer_only = bool(os.environ.get("PRODUCER_ONLY"))
LEDGER = Path(os.environ["LEDGER"])
_file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what: str, topic: str = "-", partition: int = 0, offset: int = 0, text: str = "") -> None:
    """Append a line; one short write is never torn."""
    line = f"{time.monotonic():.4f} {NAME} {what} {topic} {partition} {offset} {text}\n"
    os.write(_file, line.encode())


async def changed(event: Any) -> None:
    """Note a change that is read from a changelog."""
    note("change", event.message.topic, event.message.partition, event.message.offset)
    await asyncio.sleep(float(os.environ.get("RECOVERY_PAUSE", "0")))


if TABLE:
    last = app.Table("last", key_type=bytes, value_type=bytes, on_changelog_event=changed)


@cast(Any, app.on_partitions_assigned).connect
async def assigned(app: Any, *args: Any, **kwargs: Any) -> None:
    """Note what this worker is to do, and what it stands by for."""
    shares: dict[str, Any] = {}
    for kind, tps in (
        ("active", app.assignor.assigned_actives()),
        ("standby", app.assignor.assigned_standbys()),
    ):
        for tp in sorted(tps):
            shares.setdefault(kind, {}).setdefault(tp.topic, []).append(tp.partition)
    note("assigned", offset=app.consumer_generation_id, text=json.dumps(shares))


def block(how_long: str) -> None:
    """Let nothing else happen in this process, for some seconds or until the test says so."""
    if how_long != "until told":
        time.sleep(float(how_long))
        return
    while not LEDGER.with_suffix(".told").exists():
        time.sleep(0.05)


async def obey(command: str, argument: str) -> None:
    """Do what a record says."""
    if command == "block":
        who, _, how_long = argument.partition(":")
        if who == NAME:  # others shall go on when the record comes to them
            block(how_long)
    elif command == "hang":
        await asyncio.get_running_loop().create_future()
    elif command == "crash":
        await app.crash(RuntimeError("as the test has asked"))
    elif command == "dump":
        note("table", text=json.dumps(sorted(key.decode() for key in last)))
    elif PAUSE:
        await asyncio.sleep(PAUSE)


def serve(name: str) -> None:
    """Add an agent that works on a topic."""
    topic = app.topic(name, key_serializer="raw", value_serializer="raw")

    async def work(stream: StreamT[Any]) -> None:
        async for event in stream.events():
            message, text = event.message, event.value.decode()
            place = message.topic, message.partition, message.offset, text
            note("begin", *place)
            command, _, argument = text.partition(":")
            await obey(command, argument)
            if TABLE and command == "n":
                last[event.key] = event.value
            note("end", *place)

    app.agent(topic, name=f"on-{name}", concurrency=int(os.environ.get("CONCURRENCY", "1")))(work)


for name in os.environ.get("TOPICS", "first").split(","):
    serve(name)


@app.agent(app.topic("questions", value_type=cast(Any, int)), name="double")
async def double(stream: StreamT[Any]) -> Any:
    """Answer."""
    async for value in stream:
        yield value * 2


if __name__ == "__main__":
    sys.argv = ["ledger", "worker", "--without-web", "-l", "info"]
    app.main()
