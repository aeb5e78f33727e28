"""Breaks when nats-py changes what our parser stands in for."""

import asyncio
import itertools
from types import SimpleNamespace

import nats.protocol.parser
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from streams.bridge.parser import (
    FastParser,
    RawHandler,
    subscribe_raw,
    unsubscribe_raw,
    write,
)
from tests.waiting import until


class Recorder:
    """Stands where nats-py's client stands for its parser."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self._transport: object = None

    async def _process_msg(self, *args: object) -> None:
        await asyncio.sleep(0)  # as when a subscription's queue is full
        self.seen.append(args)

    async def _process_ping(self) -> None:
        self.seen.append(("ping",))

    async def _process_pong(self) -> None:
        self.seen.append(("pong",))

    async def _process_err(self, text: str) -> None:
        self.seen.append(("error", text))

    async def _process_info(self, info: dict[str, object]) -> None:
        self.seen.append(("info", info))


token = st.text("abcdefghij.>-_", min_size=1, max_size=20).map(str.encode)
message = st.tuples(token, st.integers(1, 99), st.none() | token, st.binary(max_size=60)).map(
    lambda m: (
        b"MSG %b %d %b%d\r\n%b\r\n" % (m[0], m[1], m[2] + b" " if m[2] else b"", len(m[3]), m[3])
    )
)
headed = st.tuples(token, st.integers(1, 99), token, st.binary(max_size=60)).map(
    lambda m: (
        b"HMSG %b %d %b 19 %d\r\nNATS/1.0\r\nA: bcd\r\n%b\r\n"
        % (m[0], m[1], m[2], len(m[3]) + 19, b"\r\n"[:1] + m[3])
    )
)
control = st.sampled_from(
    [b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Stale Connection'\r\n", b'INFO {"a":1}\r\n']
)


@given(st.lists(message | headed | control, max_size=8), st.lists(st.integers(0, 400)))
def test_our_parser_sees_what_nats_pys_sees(commands: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(commands)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[a:b] for a, b in itertools.pairwise(places)]
    ours, theirs = Recorder(), Recorder()

    async def run() -> None:
        fast, original = FastParser(ours), nats.protocol.parser.Parser(theirs)
        for chunk in chunks:
            await fast.parse(chunk)
            await original.parse(chunk)
        assert not fast.buf

    asyncio.run(run())
    assert ours.seen == theirs.seen


@given(
    st.lists(st.tuples(message | headed | control, st.integers(0, 60), st.booleans()), max_size=12),
    st.integers(1, 3),
)
def test_bytes_from_the_socket_are_seen_in_order_whoever_handles_them(
    commands: list[tuple[bytes, int, bool]], every: int
) -> None:
    recorder, theirs = Recorder(), Recorder()

    def handler(number: int) -> RawHandler:
        return lambda subject, reply, header, payload: recorder.seen.append(
            (number, subject, reply, payload, header or None)
        )

    async def run() -> None:
        reader = asyncio.StreamReader()
        recorder._transport = SimpleNamespace(_io_reader=reader)
        fast, original = FastParser(recorder), nats.protocol.parser.Parser(theirs)
        fast.raw = {b"%d" % number: handler(number) for number in range(0, 100, every)}

        async def read_loop() -> None:
            while data := await reader.read(32):
                await fast.parse(data)

        async def feed(data: bytes, *, turn: bool = True) -> None:
            reader.feed_data(data)
            await original.parse(data)
            if turn:
                await asyncio.sleep(0)

        reading = asyncio.create_task(read_loop())
        await feed(b"PING\r\n")  # the first bytes of a connection come through the read loop
        await until(lambda: recorder.seen)
        left = b""
        for command, cut, turn in commands:
            await feed(left + command[:cut], turn=turn)
            left = command[cut:]
        await feed(left)
        reader.feed_eof()
        await reading
        assert not fast.buf

    asyncio.run(run())
    assert recorder.seen == theirs.seen


async def test_what_is_ours_needs_no_read_loop(client: Client, prefix: str) -> None:
    got: list[bytes] = []
    await subscribe_raw(client, f"{prefix}.a", lambda *args: got.append(args[3]))
    await client.flush()  # the first bytes of a connection come through the read loop
    assert client._reading_task is not None
    client._reading_task.cancel()
    await asyncio.wait([client._reading_task])
    write(client, b"PUB %b.a 1\r\nx\r\n" % prefix.encode())
    await until(lambda: got == [b"x"])


async def test_complaints_over_rights_keep_the_case_of_their_subject() -> None:
    told: list[str] = []
    recorder = Recorder()
    parser = FastParser(recorder, told.append)
    for chunk in (b"PING\r\n-ERR 'Permissions Viol", b'ation for Publish to "A.b"\'\r\nPONG\r\n'):
        await parser.parse(chunk)
    assert told == ['Permissions Violation for Publish to "A.b"']
    assert recorder.seen == [("ping",), ("pong",)]


async def test_raw_subscriptions_and_writes(client: Client, prefix: str) -> None:
    got: list[tuple[bytes, bytes, bytes, bytes]] = []
    number = await subscribe_raw(client, f"{prefix}.*", lambda *args: got.append(args))
    await client.publish(f"{prefix}.a", b"1", reply="r", headers={"X": "y"})
    assert write(client, b"PUB %b.b 1\r\n2\r\n" % prefix.encode())
    await until(lambda: len(got) == 2)
    assert sorted(got) == [
        (f"{prefix}.a".encode(), b"r", b"NATS/1.0\r\nX: y\r\n\r\n", b"1"),
        (f"{prefix}.b".encode(), b"", b"", b"2"),
    ]
    await unsubscribe_raw(client, number)
    await client.publish(f"{prefix}.c", b"3")
    await client.flush()
    assert len(got) == 2


async def test_an_error_in_a_raw_handler_does_not_end_the_connection(
    client: Client, prefix: str
) -> None:
    def fail(*args: object) -> None:
        raise ValueError("on purpose")

    number = await subscribe_raw(client, f"{prefix}.x", fail)
    await client.publish(f"{prefix}.x", b"")
    await client.flush()
    assert client.is_connected
    await unsubscribe_raw(client, number)
