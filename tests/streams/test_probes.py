"""A worker's readiness through its life; whether its port answers, the whole mesh's tests see."""

import asyncio
from pathlib import Path
from typing import Any

import faust

from streams.probes import unready
from tests.faust_apps import running
from tests.waiting import until


def app_with_table(broker: str, folder: Path) -> faust.App:
    app = faust.App(
        "probed",
        broker=broker,
        datadir=str(folder),
        web_enabled=False,
        table_standby_replicas=0,
    )
    words = app.topic("words", partitions=1, key_serializer="raw", value_serializer="raw")
    counts = app.Table("counts", default=int, partitions=1)

    @app.agent(words)
    async def count(stream: faust.StreamT[Any]) -> None:
        async for word in stream:
            counts[str(word)] += 1

    return app


async def test_a_worker_is_ready_from_its_first_share_to_its_stop(
    nats_url: str, prefix: str, tmp_path: Path
) -> None:
    app = app_with_table(f"{nats_url}?prefix={prefix}", tmp_path)
    go_on, reached = asyncio.Event(), asyncio.Event()

    async def hold(*_: object, **__: object) -> None:
        reached.set()
        await go_on.wait()

    app.on_partitions_assigned.connect(hold)
    assert unready(app) == "It is starting."
    starting = asyncio.ensure_future(app.start())
    await reached.wait()
    assert unready(app) is not None
    go_on.set()
    await starting
    await until(lambda: unready(app) is None, "readiness")
    await app.stop()
    assert unready(app) == "It is stopping."


async def test_a_worker_that_is_given_nothing_is_ready_to_step_in(
    nats_url: str, prefix: str, tmp_path: Path
) -> None:
    broker = f"{nats_url}?prefix={prefix}"
    async with running(app_with_table(broker, tmp_path / "one")):
        spare = app_with_table(broker, tmp_path / "two")
        await spare.start()
        try:
            await until(lambda: unready(spare) is None, "readiness")
            assert not spare.consumer.assignment()
        finally:
            await spare.stop()
