import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from streams import slip
from streams.bridge.connection import connect, parse_url
from streams.bridge.topics import describe
from streams.errors import MeshError
from streams.inspection.broker import Client
from streams.mailbox import Work
from streams.message import Message
from streams.payload import Payload, Response
from streams.replay import namespace
from streams.replay.player import Given, Manner, Played, Player, Strand
from streams.settings import Settings
from streams.slip import CLOSE
from streams.trace import exchange
from tests.streams.actors import open_bench

Play = Callable[..., Awaitable[list[Played]]]

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    client = await connect(parse_url(nats_url), name="test")
    yield client
    await client.close()


def settings(nats_url: str, data_dir: Path) -> Settings:
    return Settings(
        broker_url=nats_url,
        prefix=namespace.new_prefix(),
        data_dir=data_dir,
        retry_delay=0.001,
        partitions=2,
    )


def turn(number: int, session: str = "", text: str = "") -> Message:
    return Message(
        id=f"t{number}",
        session_id=session or f"s{number}",
        payload=Payload(text=text or f"words {number}", at=AT + timedelta(seconds=number)),
    )


class Outside:
    """A model that says something else each time, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def say(self) -> str:
        self.asked += 1
        return f"answer {self.asked}"


def actors(outside: Outside, wish: Callable[[str], str] = str) -> dict[str, Work]:
    """A mesh in which one actor asks the outside: enough to replay."""

    async def pass_on(message: Message) -> Message:
        return message

    async def answer(message: Message) -> Message:
        async with exchange("llm", {"text": wish(message.payload.text)}) as said:
            if said.wanted:
                said.response = outside.say()
        message.payload.response = Response(text=said.response, source="model")
        message.slip = message.slip.reroute(CLOSE)
        return message

    async def close(message: Message) -> Message:
        if message.payload.text == "unclosable":
            raise MeshError("cannot be closed")
        return message

    async def apologise(message: Message) -> Message:
        kind = message.error.kind if message.error else ""
        message.payload.response = Response(text=f"sorry: {kind}", source="template")
        message.slip = message.slip.reroute(CLOSE)
        return message

    return {
        slip.CONVERSATION: pass_on,
        slip.SENTIMENT_ANALYZER: answer,
        slip.ESCALATION_ROUTER: apologise,
        slip.RESPONSE_AGGREGATOR: close,
    }


def ended(played: Played) -> Message:
    """Return the replayed turn, which has an end."""
    assert played.replayed is not None, played.reason
    return played.replayed


def said(message: Message) -> str:
    assert message.payload.response is not None
    return message.payload.response.text


async def strands(turns: list[Message]) -> AsyncIterator[Strand]:
    """Yield plain turns by their sessions, recorded ones each for itself."""
    given = [Given(place, message) for place, message in enumerate(turns)]
    for _, strand in groupby(
        given, key=lambda one: (one.recorded.session_id, one.place if one.recorded.trace else None)
    ):
        yield list(strand)


@asynccontextmanager
async def replaying(
    client: Client, settings: Settings, actors: dict[str, Work]
) -> AsyncIterator[Play]:
    async with open_bench(settings, actors):

        async def play(turns: list[Message], **manner: object) -> list[Played]:
            how = Manner(run="r", **({"patience": 60} | manner))  # type: ignore[arg-type]
            player = Player(client, settings, how)
            found = [played async for played in player.play(strands(turns))]
            return sorted(found, key=lambda played: (played.place, played.attempt))

        yield play
    await namespace.clear(client, settings.prefix)


async def test_turns_are_told_what_they_were_told_and_nobody_outside_is_asked(
    client: Client, nats_url: str, tmp_path: Path
) -> None:
    outside = Outside()
    plain = [turn(number) for number in range(30)]
    async with replaying(client, settings(nats_url, tmp_path), actors(outside)) as play:
        first = await play(plain, live=("*",))
    assert outside.asked == 30
    recorded = [ended(played) for played in first]
    assert all(played.recorded.trace == [] for played in first)
    async with replaying(client, settings(nats_url, tmp_path), actors(outside)) as play:
        again = await play(recorded, in_flight=4)
    assert outside.asked == 30
    assert [played.place for played in again] == list(range(30))
    for played in again:
        assert said(ended(played)) == said(played.recorded)
        actor = ended(played).trace[1]
        assert [e.request for e in actor.exchanges] == [{"text": played.recorded.payload.text}]


async def test_a_question_that_nobody_asked_fails_as_not_recorded(
    client: Client, nats_url: str, tmp_path: Path
) -> None:
    outside = Outside()
    async with replaying(client, settings(nats_url, tmp_path), actors(outside)) as play:
        (first,) = await play([turn(1)], live=("sentiment_analyzer",))
    changed = actors(outside, wish=str.upper)
    async with replaying(client, settings(nats_url, tmp_path), changed) as play:
        (again,) = await play([ended(first)])
    assert outside.asked == 1
    hop = ended(again).trace[1]
    assert hop.outcome == "failed"
    assert (hop.error or "").startswith("NotRecorded: ")
    assert [(e.error or "").partition(":")[0] for e in hop.exchanges] == ["NotRecorded"]


async def test_a_turn_that_cannot_be_closed_is_told_with_the_reason(
    client: Client, nats_url: str, tmp_path: Path
) -> None:
    async with replaying(client, settings(nats_url, tmp_path), actors(Outside())) as play:
        bad, good = await play([turn(1, text="unclosable"), turn(2)], live=("*",))
    assert good.replayed is not None
    assert bad.replayed is None
    assert "dead letters" in bad.reason
    assert "cannot be closed" in bad.reason


async def test_a_turn_that_no_record_can_hold_fails_alone(
    client: Client, nats_url: str, tmp_path: Path
) -> None:
    async with replaying(client, settings(nats_url, tmp_path), actors(Outside())) as play:
        huge = turn(1, text="x" * (client.max_payload + 1))
        bad, good = await play([huge, turn(2)], live=("*",))
    assert good.replayed is not None
    assert "no record may" in bad.reason


async def test_attempts_have_ids_of_their_own_and_are_told_by_the_recorded_ones(
    client: Client, nats_url: str, tmp_path: Path
) -> None:
    outside = Outside()
    async with replaying(client, settings(nats_url, tmp_path), actors(outside)) as play:
        played = await play([turn(1), turn(2)], live=("*",), attempts=3)
    assert [(one.place, one.attempt) for one in played] == [
        (place, attempt) for place in (0, 1) for attempt in (1, 2, 3)
    ]
    assert {ended(one).id for one in played} == {"t1", "t2"}
    assert {ended(one).session_id for one in played} == {"s1", "s2"}
    assert len({said(ended(one)) for one in played}) == 6


async def test_turns_of_one_plain_conversation_wait_for_each_other(
    client: Client, nats_url: str, tmp_path: Path
) -> None:
    turns = [turn(number, session=f"s{number // 5}") for number in range(20)]
    async with replaying(client, settings(nats_url, tmp_path), actors(Outside())) as play:
        played = await play(turns, live=("*",))
    for one, following in pairwise(map(ended, played)):
        if one.session_id == following.session_id:
            assert one.trace[-1].started_at < following.trace[0].started_at


async def test_the_namespace_is_gone_afterwards_and_leftovers_are_swept(
    client: Client, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = settings(nats_url, tmp_path), settings(nats_url, tmp_path)
    async with replaying(client, own, actors(Outside())) as play:
        await play([turn(1)], live=("*",))
        js = client.jetstream()
        assert await describe(js, own.prefix)
        monkeypatch.setattr(namespace, "STARTS_WITHIN", timedelta(0))
        assert own.prefix not in await namespace.sweep(client)  # its worker is alive
    names = {info.config.name or "" for info in await js.streams_info()}
    assert not [name for name in names if own.prefix in name]
    async with open_bench(other, actors(Outside())):
        pass
    await until_swept(client, other.prefix)
    names = {info.config.name or "" for info in await js.streams_info()}
    assert not [name for name in names if other.prefix in name]


async def until_swept(client: Client, prefix: str) -> None:
    async with asyncio.timeout(30):
        while prefix not in await namespace.sweep(client):
            await asyncio.sleep(0.1)
