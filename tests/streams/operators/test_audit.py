import asyncio
from pathlib import Path

import pytest
from nats.aio.client import Client

from streams.bridge.connection import connect, parse_url
from streams.bridge.direct import BATCH
from streams.errors import GatewayUnavailable
from streams.operators.audit import Entry, append, entries
from streams.post import Overtaken, put
from streams.settings import Settings
from streams.topics import AUDIT


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path) -> Settings:
    return Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path, partitions=3)


def entry(target: str, operator: str = "Änne Ó Hara", **detail: object) -> Entry:
    return Entry(operator=operator, action="redrive", target=target, detail=detail)


async def test_entries_are_read_back_in_order_whole_and_by_what_they_are_about(
    settings: Settings, client: Client
) -> None:
    written = [entry(f"dead letter {number % 5}", number=number) for number in range(12)]
    offsets = [await append(client, settings, each) for each in written]
    read = await entries(client, settings)
    assert [each.offset for each in read] == offsets == sorted(offsets)
    assert [each.model_copy(update={"offset": 0}) for each in read] == written
    about = await entries(client, settings, target="dead letter 3")
    assert [each.detail["number"] for each in about] == [3, 8]
    assert await entries(client, settings, target="dead letter 33") == []
    assert [each.offset for each in await entries(client, settings, after=offsets[9])] == offsets[
        10:
    ]


async def test_a_long_audit_is_read_whole(settings: Settings, client: Client) -> None:
    count = BATCH + 10
    await asyncio.gather(*(append(client, settings, entry(f"t{n}")) for n in range(count)))
    assert {each.target for each in await entries(client, settings)} == {
        f"t{n}" for n in range(count)
    }


async def test_of_two_who_do_the_same_at_once_one_does(settings: Settings, client: Client) -> None:
    claims = await asyncio.gather(
        *(append(client, settings, entry("letter", operator=str(n)), after=0) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(claim, Overtaken) for claim in claims) == 4
    (first,) = await entries(client, settings, target="letter")
    with pytest.raises(Overtaken):
        await append(client, settings, entry("letter"), after=first.offset - 1)
    assert await append(client, settings, entry("letter"), after=first.offset) > first.offset


async def test_a_record_under_the_same_id_is_there_once(settings: Settings, client: Client) -> None:
    one = await put(client, settings, AUDIT, key=b"k", value=b"{}", message_id="same")
    again = await put(client, settings, AUDIT, key=b"k", value=b"{}", message_id="same")
    assert (again.offset, one.repeated, again.repeated) == (one.offset, False, True)


async def test_without_topics_it_is_said_that_nothing_was_written(
    nats_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.post.ACKNOWLEDGED_WITHIN", 0.2)
    settings = Settings(broker_url=nats_url, prefix=prefix)
    client = await connect(parse_url(settings.faust_broker()), name="test")
    with pytest.raises(GatewayUnavailable):
        await append(client, settings, entry("letter"))
    await client.close()
