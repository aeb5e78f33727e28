"""What agents have begun is finished and committed, and counted once, before partitions move."""
# Apps are made by a fixture without a type, as tests look into them.
# mypy: disable-error-code="untyped-decorator"

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from faust.types import TP, StreamT

from tests.faust_apps import running
from tests.waiting import until

NewApp = Callable[..., Any]
PLACE = TP("in", 0)


class Gates:
    """Lets each execution of an agent go on when the test says so."""

    def __init__(self, new_app: NewApp, broker: str) -> None:
        self.new_app = new_app
        self.broker = broker
        self.begun: list[tuple[str, int]] = []
        self.open: list[asyncio.Event] = []
        self.ended = 0

    async def pass_through(self, name: str, value: int) -> None:
        gate = asyncio.Event()
        self.begun.append((name, value))
        self.open.append(gate)
        await gate.wait()
        self.ended += 1

    def worker(self, name: str, *, drain: int = 2, **settings: Any) -> tuple[Any, Any]:
        """Return an app that asks here before it is done with anything, and its topic."""
        app = self.new_app(broker=f"{self.broker}&drain={drain}")
        topic = app.topic("in", value_type=int, partitions=1)

        @app.agent(topic, **settings)
        async def agent(stream: StreamT[Any]) -> None:
            async for value in stream:
                await self.pass_through(name, value)

        return app, topic


@pytest.fixture
def gates(new_app: NewApp, nats_url: str, prefix: str) -> Gates:
    return Gates(new_app, f"{nats_url}?prefix={prefix}")


async def test_what_is_acknowledged_during_a_commit_is_committed_before_the_end(
    gates: Gates,
) -> None:
    one, topic = gates.worker("one", drain=20)
    held = asyncio.Event()

    async def go_on_once_it_ends() -> None:
        await until(lambda: one.should_stop)
        held.set()

    async with running(one):
        commit = one.consumer._commit
        committing: list[Any] = []

        async def slowly(offsets: Any) -> bool:
            committing.append(offsets)
            if len(committing) == 1:
                await held.wait()
            return bool(await commit(offsets))

        one.consumer._commit = slowly
        await topic.send(value=1)
        await topic.send(value=2)
        await until(lambda: len(gates.begun) == 1)
        gates.open[0].set()
        await until(lambda: committing, "the first is being committed")
        await until(lambda: len(gates.begun) == 2)
        gates.open[1].set()
        going_on = asyncio.ensure_future(go_on_once_it_ends())
    await going_on
    two, topic = gates.worker("two")
    async with running(two):
        await topic.send(value=3)
        await until(lambda: len(gates.begun) == 3)
        gates.open[2].set()
    assert gates.begun == [("one", 1), ("one", 2), ("two", 3)]


async def test_a_rebalance_waits_for_a_worker_that_is_about_to_end(gates: Gates) -> None:
    one, topic = gates.worker("one", drain=20)
    two, topic_of_two = gates.worker("two", drain=20)

    async def let_it_end_once_another_has_come() -> None:
        await until(lambda: len(one.consumer._member.state.members) == 2, "it is to rejoin")
        await asyncio.sleep(0.2)
        gates.open[0].set()

    async with running(one):
        await topic.send(value=1)
        await until(lambda: gates.begun)
        stopping = asyncio.ensure_future(one.stop())
        await until(lambda: one.should_stop)
        ending = asyncio.ensure_future(let_it_end_once_another_has_come())
        async with running(two):
            await asyncio.gather(ending, stopping)
            await until(lambda: PLACE in two.consumer.assignment())
            await topic_of_two.send(value=2)
            await until(lambda: len(gates.begun) == 2)
            gates.open[1].set()
    assert gates.begun == [("one", 1), ("two", 2)]


async def test_an_agent_that_ends_after_its_partition_has_moved_counts_for_nothing(
    gates: Gates,
) -> None:
    app, topic = gates.worker("one", concurrency=2)
    async with running(app):
        await topic.send(value=1)
        await until(lambda: gates.begun)
        await app.consumer._member.rejoin()  # the agent does not finish in time
        await until(lambda: len(gates.begun) == 2, "the other actor gets the event again")
        gates.open[0].set()
        await until(lambda: gates.ended == 1)
        await app.consumer.commit()
        assert app.consumer._committed_offset[PLACE] in (None, 1)
        gates.open[1].set()
        await until(lambda: app.consumer._committed_offset[PLACE] == 2)
    assert gates.begun == [("one", 1), ("one", 1)]
