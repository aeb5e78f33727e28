from contextlib import aclosing

import pytest
from nats.aio.client import Client

from streams.bridge.layout import subject
from streams.bridge.topics import TopicSpec, declare
from streams.inspection import tail as tailing
from streams.inspection.scan import Filter, NoSuchTopic
from streams.inspection.tail import AT_ONCE, tail
from streams.settings import Settings
from tests.streams.inspection.conftest import Fill


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again without a pause: tests decide what is new."""
    monkeypatch.setattr(tailing, "LOOK_SECONDS", 0.0)


async def test_what_comes_from_now_on_and_nothing_from_before(
    client: Client, settings: Settings, fill: Fill
) -> None:
    await declare(client.jetstream(), TopicSpec("t", 2, prefix=settings.prefix))
    await fill("t", b'"before"')
    async with aclosing(tail(client, settings.prefix, "t", Filter())) as news:
        assert (await anext(news)).records == []
        assert (await anext(news)).records == []
        await fill("t", b'"a"')
        await fill("t", b'"b"', partition=1)
        heard = await anext(news)
        assert [record.value for record in heard.records] == ["a", "b"]
        assert (heard.dropped, heard.seen) == (0, 2)
        assert (await anext(news)).records == []


async def test_only_what_is_wanted(client: Client, settings: Settings, fill: Fill) -> None:
    await declare(client.jetstream(), TopicSpec("t", 2, prefix=settings.prefix))
    async with aclosing(tail(client, settings.prefix, "t", Filter(text="yes"))) as news:
        await anext(news)
        for value in (b'"no"', b'"yes"', b'"no"'):
            await fill("t", value)
        heard = await anext(news)
        assert [record.value for record in heard.records] == ["yes"]
        assert heard.seen == 3


@pytest.mark.parametrize("partition", [None, 1])
async def test_of_too_much_the_newest_is_read_and_the_rest_counted(
    client: Client, settings: Settings, fill: Fill, partition: int | None
) -> None:
    """Who is slow is not waited for: what came meanwhile is passed over, and that is said."""
    js = client.jetstream()
    await declare(js, TopicSpec("t", 2, prefix=settings.prefix))
    count = 20 * AT_ONCE
    async with aclosing(tail(client, settings.prefix, "t", Filter(partition=partition))) as news:
        await anext(news)
        for number in range(count):
            place = 1 if number % 5 == 0 or number >= count - 3 * AT_ONCE else 0
            await js.publish(subject(settings.prefix, "t", place), b"%d" % number)
        there = count if partition is None else count // 5 + 3 * AT_ONCE * 4 // 5
        values: list[int] = []
        dropped = 0
        while not values or values[-1] != count - 1:
            heard = await anext(news)
            values += [record.value for record in heard.records]
            dropped += heard.dropped
        assert values == sorted(values)
        assert len(values) < 3 * AT_ONCE
        assert dropped + len(values) == there
        # And it goes on as before.
        await fill("t", b"-1", partition=1)
        heard = await anext(news)
        assert ([record.value for record in heard.records], heard.dropped) == ([-1], 0)


async def test_a_topic_that_is_not_there(client: Client, settings: Settings) -> None:
    with pytest.raises(NoSuchTopic):
        async for _ in tail(client, settings.prefix, "t", Filter()):
            pass
