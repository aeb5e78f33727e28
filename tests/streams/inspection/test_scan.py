import json
import random
from contextlib import aclosing
from typing import Any

import pytest
from nats.aio.client import Client

from streams.bridge.layout import encode_headers, subject
from streams.bridge.topics import TopicSpec, declare
from streams.errors import GatewayUnavailable
from streams.inspection import scan as scanning
from streams.inspection.expression import Expression
from streams.inspection.record import RecordView
from streams.inspection.scan import End, Filter, NoSuchTopic, Progress, Query, scan
from streams.settings import Settings
from tests.streams.inspection.conftest import Fill

COUNT = 700


@pytest.fixture
async def filled(client: Client, settings: Settings) -> list[tuple[int, int, str]]:
    """Records all over two topics' partitions, in a shared stream: offset, partition, key."""
    js = client.jetstream()
    for name in ("t", "other"):
        await declare(js, TopicSpec(name, 3, prefix=settings.prefix, shared=True))
    luck = random.Random(5)
    written = []
    for number in range(COUNT):
        topic = "t" if number < 60 or luck.random() < 0.15 else "other"
        partition, key = luck.randrange(3), f"k{luck.randrange(4)}"
        document = {"number": number, "mood": luck.choice(["good", "bad"])}
        sent = await js.publish(
            subject(settings.prefix, topic, partition),
            json.dumps(document).encode(),
            headers=encode_headers(key.encode(), b""),
        )
        if topic == "t":
            written.append((sent.seq, partition, key))
    return written


async def run(client: Client, settings: Settings, query: Query) -> tuple[list[RecordView], End]:
    records: list[RecordView] = []
    end: End | None = None
    async for each in scan(client, settings.prefix, query):
        if isinstance(each, RecordView):
            records.append(each)
        elif isinstance(each, End):
            end = each
    assert end is not None
    return records, end


async def test_all_records_oldest_and_newest_first(
    client: Client, settings: Settings, filled: list[tuple[int, int, str]]
) -> None:
    """Also where other topics' records lie between, and far more of them."""
    expected = [offset for offset, _, _ in filled]
    for newest_first in (False, True):
        records, end = await run(
            client, settings, Query("t", newest_first=newest_first, limit=COUNT)
        )
        offsets = [record.offset for record in records]
        assert offsets == (expected[::-1] if newest_first else expected)
        assert (end.reason, end.go_on) == ("end", None)
        assert (end.progress.scanned, end.progress.total) == (len(expected), len(expected))


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_follow_one_another_without_gap_or_repetition(
    client: Client, settings: Settings, filled: list[tuple[int, int, str]], newest_first: bool
) -> None:
    offsets: list[int] = []
    go_on: int | None = None
    while True:
        query = Query("t", newest_first=newest_first, offset=go_on, limit=17)
        records, end = await run(client, settings, query)
        offsets += [record.offset for record in records]
        if (go_on := end.go_on) is None:
            break
        assert end.reason == "limit"
        assert len(records) == 17
    expected = [offset for offset, _, _ in filled]
    assert offsets == (expected[::-1] if newest_first else expected)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_partition_key_text_and_expression(
    client: Client, settings: Settings, filled: list[tuple[int, int, str]], newest_first: bool
) -> None:
    async def offsets(**wanted: Any) -> list[int]:
        query = Query("t", Filter(**wanted), newest_first=newest_first, limit=COUNT)
        records, _ = await run(client, settings, query)
        return sorted(record.offset for record in records)

    assert await offsets(partition=1) == [o for o, p, _ in filled if p == 1]
    assert await offsets(key="k2") == [o for o, _, k in filled if k == "k2"]
    assert await offsets(key="k2", partition=0) == [o for o, p, k in filled if (p, k) == (0, "k2")]
    bad = await offsets(text="BAD")
    assert bad == await offsets(expression=Expression("mood == 'bad'"))
    assert 0 < len(bad) < len(filled)
    assert await offsets(expression=Expression("number < `10`"), partition=2) == [
        o for o, p, _ in filled[:10] if p == 2
    ]
    assert await offsets(text="nowhere") == []


async def test_from_an_offset_and_from_a_time(
    client: Client, settings: Settings, filled: list[tuple[int, int, str]]
) -> None:
    expected = [offset for offset, _, _ in filled]
    middle = expected[len(expected) // 2]
    records, _ = await run(client, settings, Query("t", limit=COUNT))
    times = {record.offset: record.at.timestamp() for record in records}

    async def offsets(**query: Any) -> list[int]:
        found, _ = await run(client, settings, Query("t", limit=COUNT, **query))
        return [record.offset for record in found]

    later = [o for o in expected if o >= middle]
    assert await offsets(newest_first=False, offset=middle) == later
    assert await offsets(offset=middle) == [o for o in expected if o <= middle][::-1]
    assert await offsets(newest_first=False, at=times[middle]) == later
    assert await offsets(at=times[middle]) == [o for o in expected if o < middle][::-1]
    assert await offsets(newest_first=False, at=times[expected[0]] - 60, offset=middle) == later
    assert await offsets(newest_first=False, at=times[expected[-1]] + 60) == []
    assert await offsets(at=times[expected[-1]] + 60) == expected[::-1]
    assert await offsets(at=times[expected[0]] - 60) == []


@pytest.mark.parametrize(
    ("bound", "reason", "scanned"),
    [({"max_records": 10}, "records", 10), ({"max_bytes": 100}, "bytes", 4)],
)
async def test_a_bound_ends_a_scan_and_says_where_to_go_on(
    client: Client,
    settings: Settings,
    filled: list[tuple[int, int, str]],
    bound: dict[str, int],
    reason: str,
    scanned: int,
) -> None:
    query = Query("t", Filter(text="nowhere"), newest_first=False, **bound)
    records, end = await run(client, settings, query)
    assert (records, end.reason, end.progress.scanned) == ([], reason, scanned)
    assert end.go_on == filled[scanned][0]
    assert end.progress.total == len(filled)


async def test_a_scan_tells_how_far_it_is_and_can_be_left(
    client: Client,
    settings: Settings,
    filled: list[tuple[int, int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "PROGRESS_SECONDS", 0.0)
    async with aclosing(scan(client, settings.prefix, Query("t", Filter(text="nowhere")))) as each:
        told = [await anext(each) for _ in range(3)]
    assert [progress.scanned for progress in told if isinstance(progress, Progress)] == [1, 2, 3]


async def test_windows_that_are_too_large_are_read_in_parts(
    client: Client,
    settings: Settings,
    filled: list[tuple[int, int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "HELD", 20)
    monkeypatch.setattr(scanning, "HELD_BYTES", 300)
    records, _ = await run(client, settings, Query("t", limit=COUNT))
    assert [record.offset for record in records] == [offset for offset, _, _ in filled][::-1]


async def test_keys_in_subjects(client: Client, settings: Settings, fill: Fill) -> None:
    await declare(
        client.jetstream(), TopicSpec("keyed", 2, prefix=settings.prefix, key_in_subject=True)
    )
    wanted = [await fill("keyed", b"1", key=b"a b", partition=1)]
    await fill("keyed", b"1", key=b"other")
    wanted.append(await fill("keyed", None, key=b"a b", partition=1))
    records, end = await run(client, settings, Query("keyed", Filter(key="a b")))
    assert [record.offset for record in records] == wanted[::-1]
    assert records[0].form == "null"
    assert end.progress.total == 2  # the other key's records are not even looked at


async def test_filters_see_what_is_shown(client: Client, settings: Settings, fill: Fill) -> None:
    """Or who may not see personal data could find it out by asking for it piece by piece."""
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=settings.prefix))
    await fill("t", b'{"email": "ann@example.com"}')
    starts = Expression("starts_with(email, 'ann')")
    for wanted, count in (
        (Filter(text="ann@example.com"), 0),
        (Filter(expression=starts), 0),
        (Filter(text="a•••@example.com"), 1),
        (Filter(text="@EXAMPLE"), 1),
        (Filter(text="ann@example.com", unmask=True), 1),
        (Filter(expression=starts, unmask=True), 1),
    ):
        records, _ = await run(client, settings, Query("t", wanted))
        assert len(records) == count, wanted


async def test_large_records(client: Client, settings: Settings, fill: Fill) -> None:
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=settings.prefix))
    value = json.dumps({"text": "x" * 500_000}).encode()
    for _ in range(4):
        await fill("t", value)
    for newest_first in (True, False):
        records, _ = await run(client, settings, Query("t", newest_first=newest_first))
        assert [record.size for record in records] == [len(value)] * 4


async def test_an_empty_topic_and_one_that_is_not_there(client: Client, settings: Settings) -> None:
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=settings.prefix))
    for newest_first in (True, False):
        records, end = await run(client, settings, Query("t", newest_first=newest_first))
        assert (records, end.reason, end.progress.total) == ([], "end", 0)
    with pytest.raises(NoSuchTopic, match="'nothing'"):
        await run(client, settings, Query("nothing"))


async def test_a_broker_that_is_away_is_said(client: Client, settings: Settings) -> None:
    await client.close()
    with pytest.raises(GatewayUnavailable):
        await run(client, settings, Query("t"))
