"""Records in flight: stored in order, once, or failing in a way that nobody overlooks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from nats.aio.client import Client

from mocks.servers import NatsServer
from streams.bridge import publisher as module
from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import AccessDenied, BridgeError, Fenced, SendFailed, TopicGone
from streams.bridge.layout import subject
from streams.bridge.publisher import BYTES, Kind, Publisher
from streams.bridge.rights import Right
from streams.bridge.topics import TopicSpec, declare
from tests.waiting import DEADLINE, until


@pytest.fixture
async def publisher(client: Client) -> AsyncIterator[Publisher]:
    publisher = Publisher(client)
    await publisher.start()
    yield publisher
    await publisher.stop()


async def test_acknowledgements_give_sequences_in_order(
    publisher: Publisher, client: Client, prefix: str
) -> None:
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix))
    where = subject(prefix, "t", 0)
    futures = [publisher.publish(where, b"%d" % number, {}) for number in range(500)]
    await publisher.flush()
    assert [future.result() for future in futures] == list(range(1, 501))
    assert publisher.size == 0


async def test_an_id_is_stored_once(publisher: Publisher, client: Client, prefix: str) -> None:
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix))
    where = subject(prefix, "t", 0)
    one = await publisher.publish(where, b"1", {"Nats-Msg-Id": "same"})
    assert await publisher.publish(where, b"1", {"Nats-Msg-Id": "same"}) == one


async def test_what_the_server_refuses_fails_the_flush(client: Client, prefix: str) -> None:
    told: list[BridgeError] = []
    publisher = Publisher(client, on_failure=told.append)
    await publisher.start()
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix))
    wrong = {"Nats-Expected-Last-Sequence": "7"}
    future = publisher.publish(subject(prefix, "t", 0), b"", wrong)
    with pytest.raises(SendFailed, match="wrong last sequence"):
        await future
    with pytest.raises(SendFailed):
        await publisher.flush()
    assert len(told) == 1
    await publisher.stop()


async def test_what_is_too_large_is_refused_at_once(publisher: Publisher, prefix: str) -> None:
    with pytest.raises(SendFailed, match="bytes"):
        publisher.publish(f"{prefix}.t.0", bytes(publisher.client.max_payload), {})
    await publisher.flush()


async def test_what_nobody_needs_any_more_fails_alone(publisher: Publisher, prefix: str) -> None:
    with pytest.raises(SendFailed, match="no stream takes"):
        await publisher.publish(f"{prefix}.gone.0", b"", {}, Kind(vital=False))
    await publisher.flush()


async def test_a_topic_that_comes_into_being_late_gets_its_records(
    publisher: Publisher, client: Client, prefix: str
) -> None:
    future = publisher.publish(subject(prefix, "late", 0), b"1", {})
    await until(lambda: publisher._holds, "there is no topic yet")
    await declare(client.jetstream(), TopicSpec("late", 1, prefix=prefix))
    assert await asyncio.wait_for(future, DEADLINE) == 1


async def test_a_later_change_of_a_key_stands_for_the_earlier(
    publisher: Publisher, client: Client, prefix: str
) -> None:
    topic = await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix, compacted=True))
    where = subject(prefix, "t", 0, b"key")
    futures = [
        publisher.publish(where, b"%d" % number, {}, Kind(superseding=True)) for number in range(5)
    ]
    publisher.send_again()
    await publisher.flush()
    assert futures[-1].result() >= 5
    last = await client.jetstream().get_last_msg(topic.stream, where)
    assert last.data == b"4"


async def test_changes_of_tables_are_given_up_and_nothing_else(
    publisher: Publisher, client: Client, prefix: str
) -> None:
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix, compacted=True))
    await declare(client.jetstream(), TopicSpec("sets", 1, prefix=prefix))
    compacted, kept = subject(prefix, "t", 0, b"key"), subject(prefix, "sets", 0)
    changes = [
        *(
            publisher.publish(compacted, b"", {}, Kind(superseding=True, change=True))
            for _ in range(3)
        ),
        publisher.publish(kept, b"", {}, Kind(change=True)),
    ]
    output = publisher.publish(compacted, b"1", {}, Kind(superseding=True))
    publisher.forget_changes(Fenced("gone"))
    assert all(isinstance(future.exception(), Fenced) for future in changes)
    await publisher.flush()
    assert output.result()


async def test_a_killed_server_loses_nothing_in_flight(own_server: NatsServer, prefix: str) -> None:
    back = asyncio.Event()

    async def reconnected() -> None:
        sender.send_again()
        back.set()

    client = await connect(parse_url(own_server.url), name="test", on_reconnect=reconnected)
    sender = Publisher(client, limit=100)
    await sender.start()
    topic = await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix))
    where = subject(prefix, "t", 0)

    async def send(count: int) -> None:
        for number in range(count):
            await sender.room()
            sender.publish(where, b"%d" % number, {"Nats-Msg-Id": str(number)})
            if number == 500:
                own_server.kill()
        await sender.flush()

    sending = asyncio.create_task(send(3000))
    await until(lambda: not own_server.running)
    own_server.start()
    await asyncio.wait_for(sending, DEADLINE)
    assert (await client.jetstream().stream_info(topic.stream)).state.messages == 3000
    await sender.stop()
    await client.close()


async def test_what_is_large_counts_by_its_bytes(
    publisher: Publisher, client: Client, prefix: str
) -> None:
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix))
    for _ in range(BYTES // 1_000_000 + 1):
        assert not publisher.full
        publisher.publish(subject(prefix, "t", 0), bytes(1_000_000), {})
    assert publisher.full
    await publisher.room()
    await publisher.flush()
    assert not publisher.full


async def test_a_full_stream_gets_its_records_in_order_once_there_is_room(
    publisher: Publisher, client: Client, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    js = client.jetstream()
    topic = await declare(js, TopicSpec("t", 1, prefix=prefix))
    other = await declare(js, TopicSpec("other", 1, prefix=prefix))
    config = (await js.stream_info(topic.stream)).config
    await js.update_stream(config.evolve(discard="new", max_msgs=2))
    futures = []
    for number in range(20):
        futures.append(publisher.publish(subject(prefix, "t", 0), b"%d" % number, {}))
        if number == 10:  # some are refused before others are sent
            await until(lambda: publisher._holds)
    assert await publisher.publish(subject(prefix, "other", 0), b"", {}) == 1, other
    await until(lambda: publisher.size == 18)
    await js.purge_stream(topic.stream)
    await js.update_stream(config.evolve(discard="new", max_msgs=-1))
    await publisher.flush()
    assert [future.result() for future in futures] == list(range(1, 21))
    assert caplog.text.count("raise its limit") == 1


async def test_a_topic_that_is_gone_fails_after_a_while(
    publisher: Publisher, client: Client, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.bridge.publisher.NOBODY_SECONDS", 0.5)
    futures = [publisher.publish(subject(prefix, "gone", 0), b"", {}) for _ in range(3)]
    for future in futures:
        with pytest.raises(TopicGone, match=f"{prefix}--gone"):
            await asyncio.wait_for(future, DEADLINE)
    with pytest.raises(TopicGone):
        await publisher.flush()


async def test_what_was_in_flight_when_the_connection_broke_is_not_overtaken(
    own_server: NatsServer, prefix: str
) -> None:
    client = await connect(parse_url(own_server.url), name="test")
    sender = Publisher(client)
    await sender.start()
    await declare(client.jetstream(), TopicSpec("t", 1, prefix=prefix))
    where = subject(prefix, "t", 0)
    own_server.kill()
    await until(lambda: not client.is_connected)
    futures = [sender.publish(where, b"%d" % number, {}) for number in range(100)]
    own_server.start()
    await until(lambda: client.is_connected)
    futures += [sender.publish(where, b"%d" % number, {}) for number in range(100, 200)]
    await asyncio.wait_for(
        sender.flush(), DEADLINE
    )  # it finds out by itself that it must send again
    assert [future.result() for future in futures] == list(range(1, 201))
    await sender.stop()
    await client.close()


async def test_a_missing_right_is_named(own_server: NatsServer, prefix: str) -> None:
    own_server.stop()
    own_server.config = lambda: (  # type: ignore[method-assign]
        NatsServer.config(own_server)
        + 'authorization { users: [{ user: u, password: p, permissions: { publish: "_INBOX.>" }}]}'
    )
    own_server.start()
    complaints: list[Right] = []
    url = own_server.url.replace("://", "://u:p@")
    client = await connect(parse_url(url), name="test", on_denied=complaints.append)
    publisher = Publisher(client)
    await publisher.start()
    future = publisher.publish(subject(prefix, "Topic", 0), b"", {})
    await until(lambda: complaints)
    assert publisher.refused(complaints[0])
    with pytest.raises(AccessDenied, match="Topic"):
        await future
    await publisher.stop()
    await client.close()


@pytest.fixture
async def counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[NatsServer, Publisher, list[None]]]:
    """A publisher whose turns of staying awake are counted, with a server and topic of its own."""
    monkeypatch.setattr(module, "AWAKE_SECONDS", 0.05)  # on a slow machine too, answers are faster
    turns: list[None] = []
    with NatsServer(tmp_path) as server:
        client = await connect(parse_url(server.url), name="test")
        publisher = Publisher(client)
        await publisher.start()
        await declare(client.jetstream(), TopicSpec("t", 1, prefix="awake"))
        turn = publisher._turn

        def counting() -> None:
            turns.append(None)
            turn()

        monkeypatch.setattr(publisher, "_turn", counting)
        yield server, publisher, turns
        await publisher.stop()
        await client.close()


WHERE = subject("awake", "t", 0)


async def test_it_stays_awake_for_answers_that_come_at_once(
    counted: tuple[NatsServer, Publisher, list[None]],
) -> None:
    server, publisher, turns = counted
    await publisher.publish(WHERE, b"", {})
    assert turns
    server.pause()
    future = publisher.publish(WHERE, b"", {})
    await until(lambda: not publisher._awake)
    while_it_waited = len(turns)
    await asyncio.sleep(0.2)
    server.resume()
    await future
    assert len(turns) == while_it_waited  # it had long gone to sleep
    await publisher.publish(WHERE, b"", {})
    assert len(turns) == while_it_waited  # the answer before had taken long
    while not publisher._near:  # until one has not
        await publisher.publish(WHERE, b"", {})
    await publisher.publish(WHERE, b"", {})
    assert len(turns) > while_it_waited


async def test_it_sleeps_while_more_than_one_record_is_under_way(
    counted: tuple[NatsServer, Publisher, list[None]],
) -> None:
    _, publisher, turns = counted
    held = publisher.publish("awake.nowhere.0", b"", {})
    await until(lambda: publisher._holds)
    await until(lambda: not publisher._awake)
    turns.clear()
    publisher._probe(monotonic())  # it is sent again, and nobody stays awake for that
    for _ in range(20):
        await publisher.publish(WHERE, b"", {})
    assert not turns
    assert not held.done()
