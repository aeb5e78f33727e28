"""An agent that has much to do leaves the event loop to others now and then."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import faust
import pytest

from tests.waiting import DEADLINE

EVENTS: Final = 400
WORK_SECONDS: Final = 0.0003
#: A turn is due after each millisecond of work; a machine that is slower takes more, not fewer.
TURNS: Final = 60


@pytest.fixture
def app(tmp_path: Path) -> faust.App:
    return faust.App("x", broker="nats://unused?prefix=x", datadir=tmp_path, web_enabled=False)


def plain(app: faust.App) -> Any:
    return filled(app.stream(app.channel()))


def with_processor(app: faust.App) -> Any:
    stream = plain(app)
    stream.add_processor(lambda value: value)
    return stream


def filtered(app: faust.App) -> Any:
    return plain(app).filter(lambda value: True)


def over_an_iterator(app: faust.App) -> Any:
    async def values() -> AsyncIterator[int]:
        for number in range(EVENTS):
            yield number

    return app.stream(values())


def filled(stream: Any) -> Any:
    for number in range(EVENTS):
        stream.channel.queue.force_put_nowait(number)
    return stream


@pytest.mark.parametrize("make", [plain, with_processor, filtered, over_an_iterator])
async def test_others_get_their_turn(app: faust.App, make: Callable[[faust.App], Any]) -> None:
    turns = seen = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(others())
    await asyncio.sleep(0)
    turns = 0
    async for value in make(app):
        assert value == seen
        seen += 1
        until = time.perf_counter() + WORK_SECONDS
        while time.perf_counter() < until:
            pass
        if seen == EVENTS:
            break
    found = turns
    waiting.cancel()
    assert found >= TURNS


async def test_an_error_thrown_into_a_waiting_stream_comes_alone(app: faust.App) -> None:
    stream: Any = app.stream(app.channel())
    stream.channel.queue.force_put_nowait(1)
    values = aiter(stream)
    assert await anext(values) == 1
    reading = asyncio.ensure_future(anext(values))
    await asyncio.sleep(0.05)
    await stream.channel.queue.throw(KeyError("broken"))
    with pytest.raises(KeyError) as caught:
        await asyncio.wait_for(reading, DEADLINE)
    assert caught.value.__context__ is None
