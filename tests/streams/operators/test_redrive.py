import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from streams import slip
from streams.errors import GatewayUnavailable
from streams.gateway import Gateway
from streams.message import ByHand, Hop, Message, Recovery
from streams.operators.audit import entries
from streams.operators.draft import BadDraft
from streams.operators.fates import Fate, fates
from streams.operators.letters import Letter, NoLetter, Wanted, find, read
from streams.operators.redrive import AlreadyRedriven, Change, edited, plan, redrive, set_aside
from streams.post import put
from streams.settings import Settings
from streams.slip import HOP_LIMIT, RouteSlip
from streams.topics import JOURNAL
from tests.faust_apps import at_least, records
from tests.streams.operators.letters import NOW, bury, turn
from tests.streams.small_mesh import TO_THE_BREAKABLE, BreakableMesh, connected, replies
from tests.waiting import until


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        broker_url=nats_url, prefix=prefix, data_dir=tmp_path, partitions=2, retry_delay=0.01
    )


def letter(message: Message | None, value: bytes = b"?", key: bytes | None = b"s1") -> Letter:
    return Letter(
        offset=7,
        buried_at=NOW,
        reason="it broke",
        topic=slip.INTENT_ANALYZER,
        origin=f"{slip.INTENT_ANALYZER}/1/3",
        key=key,
        value=message.encode() if message else value,
        headers=(),
        message=message,
        problem="" if message else "not a version 1 message",
    )


# What is sent on


def test_a_letter_goes_on_where_it_was_through_the_door_and_keeps_turn_and_trace() -> None:
    before = turn(
        slip=RouteSlip(steps=(slip.INTENT_ANALYZER, slip.DECISION_ROUTER), done=("mesh.x",)),
        trace=[Hop(actor="x", started_at=NOW)],
        recovery=Recovery(attempts={"intent_analyzer": 4}),
    )
    after = plan(letter(before), Change(), "ines", 2, NOW)
    assert after.slip.steps == (slip.CONVERSATION, slip.INTENT_ANALYZER, slip.DECISION_ROUTER)
    assert after.slip.done == before.slip.done
    assert (after.id, after.session_id, after.trace) == ("t1", "s1", before.trace)
    assert after.payload == before.payload
    assert after.recovery == Recovery()
    assert after.by_hand == [ByHand(kind="redriven", operator="ines", at=NOW, letter=7, attempt=2)]
    assert before.by_hand == []


def test_a_letter_that_lay_before_the_door_passes_it_once() -> None:
    assert plan(letter(turn()), Change(), "ines", 1, NOW).slip.steps == slip.NEW_TURN


def test_a_turn_that_went_in_circles_needs_a_route_and_can_go_on_with_one() -> None:
    before = turn(
        slip=RouteSlip(steps=(slip.DECISION_ROUTER,), done=(slip.DECISION_ROUTER,) * HOP_LIMIT)
    )
    with pytest.raises(BadDraft, match="choose a route"):
        plan(letter(before), Change(), "ines", 1, NOW)
    after = plan(letter(before), Change(steps=[slip.RESPONSE_AGGREGATOR]), "ines", 1, NOW)
    assert after.slip == RouteSlip(steps=(slip.CONVERSATION, slip.RESPONSE_AGGREGATOR))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (Change(steps=[]), "slip.steps"),
        (Change(steps=["mesh.nowhere"]), "slip.steps.1"),
        (Change(on_error="mesh.nowhere"), "slip.on_error"),
        (Change(steps=[slip.INTENT_ANALYZER] * HOP_LIMIT), "slip.steps"),
    ],
)
def test_a_route_that_leads_nowhere_is_refused(change: Change, path: str) -> None:
    with pytest.raises(BadDraft) as bad:
        plan(letter(turn()), change, "ines", 1, NOW)
    assert [problem.path for problem in bad.value.problems] == [path]


def test_an_edited_letter_stays_in_its_conversation_and_keeps_its_trace() -> None:
    before = turn(trace=[Hop(actor="x", started_at=NOW)])
    document = json.loads(before.encode())
    document["payload"]["text"] = "mended"
    document["trace"] = []
    after = plan(letter(before), Change(text=json.dumps(document)), "ines", 1, NOW)
    assert (after.payload.text, after.trace) == ("mended", before.trace)
    assert edited(letter(before), after) == ["payload.text"]
    for name in ("id", "session_id"):
        with pytest.raises(BadDraft, match=f"{name}: must stay"):
            plan(
                letter(before),
                Change(text=json.dumps(document | {name: "other"})),
                "ines",
                1,
                NOW,
            )


def test_a_new_route_makes_the_old_one_not_matter() -> None:
    document = json.loads(turn().encode())
    document["slip"]["steps"] = ["mesh.nowhere"]
    change = Change(text=json.dumps(document), steps=[slip.RESPONSE_AGGREGATOR])
    assert plan(letter(turn()), change, "ines", 1, NOW).slip.steps[-1] == slip.RESPONSE_AGGREGATOR
    bad = change.model_copy(update={"text": json.dumps(document | {"payload": 1})})
    with pytest.raises(BadDraft, match="payload"):
        plan(letter(turn()), bad, "ines", 1, NOW)


def test_bytes_that_are_no_message_are_edited_first() -> None:
    with pytest.raises(BadDraft, match="edit it first"):
        plan(letter(None), Change(), "ines", 1, NOW)
    after = plan(letter(None), Change(text=turn().encode().decode()), "ines", 1, NOW)
    assert edited(letter(None), after) == ["everything"]
    other = turn().model_copy(update={"session_id": "s2"}).encode().decode()
    with pytest.raises(BadDraft, match="must stay 's1'"):
        plan(letter(None), Change(text=other), "ines", 1, NOW)
    assert plan(letter(None, key=None), Change(text=other), "ines", 1, NOW).session_id == "s2"


# Finding letters


async def test_letters_are_found_newest_first_by_reason_topic_and_time(
    settings: Settings, client: Client
) -> None:
    days = [
        await bury(client, settings, reason="Timeout of the shop", at=NOW - timedelta(days=2)),
        await bury(client, settings, reason="no mailbox", topic=slip.DECISION_ROUTER),
        await bury(client, settings, reason="timeout again", at=NOW + timedelta(days=2)),
    ]

    async def offsets(**wanted: Any) -> list[int]:
        return [one.offset for one in (await find(client, settings, Wanted(**wanted))).letters]

    assert await offsets() == days[::-1]
    assert await offsets(reason="TIMEOUT") == [days[2], days[0]]
    assert await offsets(topic=slip.DECISION_ROUTER) == [days[1]]
    assert await offsets(since=NOW) == [days[2], days[1]]
    assert await offsets(until=NOW) == [days[1], days[0]]
    found = await read(client, settings, days[0])
    assert (found.reason, found.origin, found.value) == (
        "Timeout of the shop",
        f"{slip.INTENT_ANALYZER}/0/1",
        b"?",
    )
    with pytest.raises(NoLetter):
        await read(client, settings, days[-1] + 1)


async def test_many_letters_come_in_pages(settings: Settings, client: Client) -> None:
    assert (await find(client, settings, Wanted())).letters == []
    buried = await asyncio.gather(*(bury(client, settings, b"%d" % n) for n in range(320)))
    seen: list[int] = []
    before = None
    while True:
        page = await find(client, settings, Wanted(), before=before)
        seen += [one.offset for one in page.letters]
        if page.before is None:
            break
        before = page.before
    assert seen == sorted(buried, reverse=True)


async def test_a_search_says_how_far_it_looked_and_goes_on_from_there(
    settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.operators.letters.LOOK", 10)
    monkeypatch.setattr("streams.operators.letters.WINDOW", 5)
    first = await bury(client, settings, reason="the needle")
    await asyncio.gather(*(bury(client, settings) for n in range(24)))
    looked, before = 0, None
    for _ in range(3):
        page = await find(client, settings, Wanted(reason="needle"), before=before)
        looked, before = looked + page.looked, page.before
    assert ([one.offset for one in page.letters], before, looked) == ([first], None, 25)


# Sending on, whole


@asynccontextmanager
async def mesh(settings: Settings) -> AsyncIterator[tuple[BreakableMesh, Gateway]]:
    small = BreakableMesh(settings)
    async with small.running(), connected(settings) as gateway:
        yield small, gateway


async def letters(gateway: Gateway, count: int) -> list[Letter]:
    async def enough() -> list[Letter]:
        found = (await find(gateway.client, gateway.settings, Wanted())).letters
        return found if len(found) >= count else []

    found: list[Letter] = await until(enough, f"{count} letters")
    return found


async def fate(gateway: Gateway, one: Letter, became: str) -> Fate:
    async def fulfilled() -> Fate | None:
        (found,) = await fates(gateway.client, gateway.settings, [one])
        return found if found.became == became else None

    found: Fate = await until(fulfilled, f"the letter is {became}")
    return found


async def test_the_customer_gets_the_reply_of_a_redriven_turn_after_the_apology(
    settings: Settings,
) -> None:
    async with mesh(settings) as (small, gateway):
        client = gateway.client
        await gateway.send(turn(slip=TO_THE_BREAKABLE))
        (apology,) = await replies(gateway, "s1", 1)
        (one,) = await letters(gateway, 1)
        assert (apology.state, one.topic) == ("failed", slip.ESCALATION_ROUTER)
        assert await fates(client, settings, [one]) == [Fate()]
        # Not mended yet: it comes back.
        await redrive(client, settings, "ines", one.offset, Change(), seen=0)
        newer, _ = await letters(gateway, 2)
        assert (await fate(gateway, one, "buried again")).again == newer.offset
        small.broken = False
        done = await redrive(client, settings, "tom", newer.offset, Change(), seen=0)
        found = await replies(gateway, "s1", 3)
        assert [(reply.sequence, reply.message_id) for reply in found] == [
            (1, "t1"),
            (2, "t1"),
            (3, "t1"),
        ]
        assert (found[2].response, found[2].state) == ("mended", "answered")
        told = await fate(gateway, newer, "answered")
        assert [(each.operator, each.attempt, each.arrived) for each in told.redrives] == [
            ("tom", 1, True)
        ]
        journal = await at_least(settings.broker_url, settings.prefix, JOURNAL, 3)
        last = Message.decode(journal[-1].value or b"")
        assert last.payload.turn == 1
        assert [hand.operator for hand in last.by_hand] == ["ines", "tom"]
        assert [hop.actor for hop in last.trace][-3:] == [
            "conversation",
            "escalation_router",
            "response_aggregator",
        ]
        assert len(last.trace) > 3
        audit = await entries(client, settings, target=newer.target)
        assert [(each.operator, each.action) for each in audit] == [
            ("tom", "redrive"),
            ("tom", "redriven"),
        ]
        assert audit[1].detail["offset"] == done.offset
        assert "hello" not in audit[0].model_dump_json()


async def test_a_mended_letter_frees_its_session_and_those_that_wait_in_it(
    settings: Settings,
) -> None:
    """A turn that was buried without a word to the customer stays active until it ends."""
    async with mesh(settings) as (small, gateway):
        lost = turn(slip=RouteSlip(steps=(slip.CONVERSATION, slip.INTENT_ANALYZER)))
        await gateway.send(lost)
        await gateway.send(turn("t2", "later"))
        # A worker of another version wrote it so that this one cannot read it.
        value = lost.encode().replace(b'"version":1', b'"version":2')
        await put(
            gateway.client,
            settings,
            slip.INTENT_ANALYZER,
            key=b"s1",
            value=value,
            message_id="broken",
        )
        (one,) = await letters(gateway, 1)
        assert (one.message, one.value, one.session_id) == (None, value, "s1")
        await until(lambda: (session := small.sessions.get("s1")) and session.waiting)
        assert await gateway.replies("s1") == []
        small.broken = False
        mended = one.text().replace('"version":2', '"version":1')
        change = Change(text=mended, steps=[slip.SENTIMENT_ANALYZER])
        await redrive(gateway.client, settings, "ines", one.offset, change, seen=0)
        first, second = await replies(gateway, "s1", 2)
        assert (first.message_id, second.message_id) == ("t1", "t2")
        assert second.response == "hello|later"
        told = await fate(gateway, one, "answered")
        assert told.redrives[0].edited == ["everything"]


async def test_two_operators_who_press_at_once_redrive_once(
    settings: Settings, client: Client
) -> None:
    offset = await bury(client, settings, turn().encode())
    pressed = await asyncio.gather(
        *(redrive(client, settings, who, offset, Change(), seen=0) for who in ("a", "b", "c")),
        return_exceptions=True,
    )
    assert sum(isinstance(each, AlreadyRedriven) for each in pressed) == 2
    assert len(await records(settings.broker_url, settings.prefix, slip.CONVERSATION)) == 1
    (told,) = await fates(client, settings, [await read(client, settings, offset)])
    assert (len(told.redrives), told.became) == (1, "under way")
    # Who has seen that may send it once more, on purpose.
    again = await redrive(client, settings, "a", offset, Change(), seen=1)
    assert again.attempt == 2


async def test_a_redrive_that_broke_off_is_seen_and_may_be_done_again(
    settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = await bury(client, settings, turn().encode())

    async def away(*_: object, **__: object) -> None:
        raise GatewayUnavailable("the broker is gone")

    with monkeypatch.context() as broken:
        broken.setattr("streams.operators.redrive.put", away)
        with pytest.raises(GatewayUnavailable):
            await redrive(client, settings, "ines", offset, Change(), seen=0)
    one = await read(client, settings, offset)
    (told,) = await fates(client, settings, [one])
    assert (told.became, [each.arrived for each in told.redrives]) == ("unknown", [False])
    again = await redrive(client, settings, "ines", offset, Change(), seen=1)
    assert (again.attempt, (await fates(client, settings, [one]))[0].became) == (2, "under way")


async def test_what_became_of_a_letter_is_known_for_as_long_as_replies_are_kept(
    settings: Settings, client: Client
) -> None:
    offset = await bury(client, settings, turn().encode())
    await redrive(client, settings, "ines", offset, Change(), seen=0)
    one = await read(client, settings, offset)
    brief = settings.model_copy(update={"reply_days": 1e-9})
    assert [fate.became for fate in await fates(client, brief, [one])] == ["long past"]
    assert [fate.became for fate in await fates(client, settings, [one])] == ["under way"]


async def test_a_letter_that_is_set_aside_says_why_until_it_is_redriven(
    settings: Settings, client: Client
) -> None:
    offset = await bury(client, settings, turn().encode())
    one = await read(client, settings, offset)
    await set_aside(client, settings, "ines", offset, "a test of ours")
    (told,) = await fates(client, settings, [one])
    assert told.aside is not None
    assert (told.became, told.open, told.aside.operator, told.aside.detail) == (
        "set aside",
        False,
        "ines",
        {"note": "a test of ours"},
    )
    await redrive(client, settings, "ines", offset, Change(), seen=0)
    (told,) = await fates(client, settings, [one])
    assert (told.became, told.aside) == ("under way", None)
    with pytest.raises(NoLetter):
        await set_aside(client, settings, "ines", offset + 1, "x")


async def test_a_letter_that_cannot_go_on_is_not_claimed(
    settings: Settings, client: Client
) -> None:
    offset = await bury(client, settings, b"?")
    with pytest.raises(BadDraft):
        await redrive(client, settings, "ines", offset, Change(), seen=0)
    with pytest.raises(NoLetter):
        await redrive(client, settings, "ines", offset + 1, Change(), seen=0)
    assert await entries(client, settings) == []
