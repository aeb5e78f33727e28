"""The contestants of the chain comparison do what is measured. Nothing is timed here."""

import importlib.util

import pytest

from tests.bench.chain_bridge import OnTheBridge
from tests.bench.chain_faststream import OnFastStream
from tests.bench.chain_nats_py import HandWritten
from tests.bench.chains import running
from tests.bench.contestant import KEYS, Contestant

needs_faststream = pytest.mark.skipif(
    importlib.util.find_spec("faststream") is None,
    reason="FastStream is in the benchmark's own environment alone",
)


@pytest.mark.parametrize(
    "contestant",
    [
        OnTheBridge("at_least_once", table=True),
        HandWritten(named=True),
        pytest.param(OnFastStream(checked=False), marks=needs_faststream),
    ],
    ids=lambda contestant: contestant.name,
)
async def test_a_chain_delivers_every_message_once_whole_and_in_order(
    contestant: Contestant,
) -> None:
    async with running(contestant) as (driver, _):
        driver.in_flight = 100
        driver.fill()
        await driver.arrivals(2 * KEYS)
        await driver.drain()  # raises if one is lost, doubled, or not worked on by each agent
        assert driver.in_order
