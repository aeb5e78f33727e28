import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mocks.servers import NatsServer
from streams import slip
from streams.errors import GatewayUnavailable
from streams.gateway import Gateway
from streams.message import Message
from streams.payload import Payload
from streams.replies import reply_subject
from streams.reply import Progress, Reply
from streams.settings import Settings
from streams.topics import JOURNAL
from tests.faust_apps import at_least
from tests.streams.small_mesh import SmallMesh, connected, replies
from tests.waiting import DEADLINE, until


def turn(text: str = "hello", session_id: str = "s1", turn_id: str = "") -> Message:
    return Message(
        id=turn_id or secrets.token_hex(4),
        session_id=session_id,
        payload=Payload(text=text, email="ann@example.com", at=datetime.now(UTC)),
    )


@pytest.fixture
def settings(nats_url: str, prefix: str, tmp_path: Path) -> Settings:
    return Settings(broker_url=nats_url, prefix=prefix, data_dir=tmp_path, partitions=2)


async def test_a_turn_goes_in_and_progress_and_reply_come_out(settings: Settings) -> None:
    """Known fault: replies never arrived because nobody listened where they went."""
    async with SmallMesh(settings).running(), connected(settings) as gateway:
        async with gateway.listen("s1") as listener:
            sent = turn("hello")
            await gateway.send(sent)
            seen: list[Reply | Progress] = []
            async with asyncio.timeout(DEADLINE):
                async for frame in listener:
                    seen.append(frame)
                    if isinstance(frame, Reply):
                        break
        reply = seen[-1]
        assert isinstance(reply, Reply)
        assert (reply.message_id, reply.sequence, reply.response) == (sent.id, 1, "|hello")
        actors = [frame.actor for frame in seen if isinstance(frame, Progress)]
        assert actors == ["conversation", "sentiment_analyzer", "response_aggregator"]
        assert reply.route == actors
        assert await gateway.replies("s1") == [reply]
        assert await gateway.replies("s1", after=1) == []
        assert await gateway.replies("other") == []


async def test_the_same_turn_sent_twice_is_worked_on_once(settings: Settings) -> None:
    async with SmallMesh(settings).running(), connected(settings) as gateway:
        sent = turn()
        await gateway.send(sent)
        await gateway.send(sent)
        await gateway.send(turn("second"))
        found = await replies(gateway, "s1", 2)
        journal = await at_least(settings.broker_url, settings.prefix, JOURNAL, 2)
    assert [reply.response for reply in found] == ["|hello", "hello|second"]
    assert len(journal) == 2


async def test_turns_of_one_session_are_worked_on_one_at_a_time_in_order(
    settings: Settings,
) -> None:
    small = SmallMesh(settings)
    small.release.clear()
    async with small.running(), connected(settings) as gateway:
        for number in range(6):
            await gateway.send(turn(f"m{number}"))
        await until(lambda: (s := small.sessions.get("s1")) and len(s.waiting) == 5)
        small.release.set()
        found = await replies(gateway, "s1", 6)
    assert [reply.sequence for reply in found] == [1, 2, 3, 4, 5, 6]
    assert found[-1].response == "m0 m1 m2 m3 m4|m5"


async def test_one_turn_too_many_is_answered_and_does_not_block_the_others(
    settings: Settings,
) -> None:
    small = SmallMesh(settings.model_copy(update={"pending_turns": 1}))

    @small.mesh.actor(slip.ESCALATION_ROUTER)
    async def apologise(message: Message) -> Message:
        message.slip = message.slip.reroute(slip.CLOSE)
        return message

    small.release.clear()
    async with small.running(), connected(settings) as gateway:
        for number in range(3):
            await gateway.send(turn(f"m{number}", turn_id=f"t{number}"))
        (refused,) = await replies(gateway, "s1", 1)
        assert (refused.message_id, refused.state) == ("t2", "failed")
        small.release.set()
        found = await replies(gateway, "s1", 3)
    assert [reply.message_id for reply in found] == ["t2", "t0", "t1"]


async def test_sessions_are_kept_apart(settings: Settings) -> None:
    async with (
        SmallMesh(settings).running(),
        connected(settings) as gateway,
        gateway.listen("mine") as listener,
    ):
        await gateway.send(turn("secret", session_id="other"))
        await replies(gateway, "other", 1)
        await gateway.send(turn("hello", session_id="mine"))
        async with asyncio.timeout(DEADLINE):
            async for frame in listener:
                assert frame.session_id == "mine"
                if isinstance(frame, Reply):
                    break


async def test_sessions_survive_a_restart_of_the_worker(settings: Settings) -> None:
    async with connected(settings) as gateway:
        async with SmallMesh(settings).running():
            await gateway.send(turn("first"))
            await replies(gateway, "s1", 1)
        async with SmallMesh(settings).running():
            await gateway.send(turn("second"))
            found = await replies(gateway, "s1", 2)
    assert found[1].response == "first|second"
    assert found[1].sequence == 2


async def test_a_turn_sent_while_no_worker_is_there_waits_for_one(settings: Settings) -> None:
    async with connected(settings) as gateway:
        await until(lambda: gateway.declared, "the topics")
        await gateway.send(turn("early"))
        assert not (await gateway.ping()).ready
        async with SmallMesh(settings).running():
            (reply,) = await replies(gateway, "s1", 1)
            assert reply.response == "|early"
            assert (await gateway.ping()).ready


async def test_without_a_broker_everything_says_so_and_comes_back_with_it(tmp_path: Path) -> None:
    """Known fault: after a broker restart the gateway never came back."""
    with NatsServer(tmp_path / "nats") as server:
        settings = Settings(broker_url=server.url, data_dir=tmp_path, partitions=2)
        async with SmallMesh(settings).running(), connected(settings) as gateway:
            await gateway.send(turn("before"))
            await replies(gateway, "s1", 1)
            server.kill()
            await until(lambda: not gateway.connected)
            with pytest.raises(GatewayUnavailable):
                await gateway.send(turn("during"))
            with pytest.raises(GatewayUnavailable):
                await gateway.replies("s1")
            assert not (await gateway.ping()).broker
            server.start()
            await until(lambda: gateway.connected, "the gateway coming back")
            await gateway.send(turn("after"))
            found = await replies(gateway, "s1", 2)
            assert found[-1].response == "before|after"


async def test_a_long_session_is_read_back_whole(settings: Settings) -> None:
    """Longer than one batch, and each reply stored twice, as after a crash long ago."""
    count = 600
    async with connected(settings) as gateway:
        await until(lambda: gateway.declared, "the topics")
        client = gateway.client
        for number in range(1, count + 1):
            reply = Reply(
                session_id="s1",
                message_id=f"t{number}",
                sequence=number,
                at=datetime.now(UTC),
                response=f"answer {number}",
                state="answered",
            )
            for _ in range(2):
                await client.publish(
                    reply_subject(settings, "s1"), reply.model_dump_json().encode()
                )
        await client.flush()
        found = await replies(gateway, "s1", count)
        assert [reply.sequence for reply in found] == list(range(1, count + 1))
        later = await gateway.replies("s1", after=count - 2)
        assert [reply.sequence for reply in later] == [count - 1, count]


async def test_a_gateway_starts_while_the_broker_is_away(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    gateway = Gateway(Settings(broker_url=server.url, data_dir=tmp_path))
    await gateway.start()
    try:
        with pytest.raises(GatewayUnavailable):
            await gateway.send(turn())
        with server:
            await until(lambda: gateway.declared, "the gateway finding the broker")
            await gateway.send(turn())
    finally:
        await gateway.close()
