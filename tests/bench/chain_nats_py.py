"""The chain, hand-written on nats-py: push subscribers, acknowledgements awaited in flight.

As nats-py offers it for speed: a durable push consumer a topic, `publish_async`, and a task a
topic that takes the acknowledgements in order and only then acknowledges the inputs. The subject
says the partition, the body the key, so there are no headers to parse. A second kind names its
outputs after their inputs, so that a redelivery is not stored twice: that is what the bridge does.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, PubAck, StorageType, StreamConfig

from tests.bench.contestant import AGENTS, Input, Output, message, partition, server

PREFIX = "plain"
IN_FLIGHT = 4_000
ACK_SECONDS = 10.0


async def make_streams(client: Client) -> None:
    """Create a stream a topic, as durable as the bridge's."""
    for number in range(AGENTS + 1):
        await client.jetstream().add_stream(
            StreamConfig(
                name=f"{PREFIX}-hop{number}",
                subjects=[f"{PREFIX}.hop{number}.*"],
                storage=StorageType.FILE,
                num_replicas=1,
            )
        )


class Hop:
    """One agent of the chain."""

    def __init__(self, js: JetStreamContext, number: int, *, named: bool) -> None:
        self.js = js
        self.named = named
        self.number = number
        self.sent: asyncio.Queue[tuple[Msg, asyncio.Future[PubAck]]] = asyncio.Queue(IN_FLIGHT)

    async def run(self) -> None:
        """Subscribe, and acknowledge what is done until cancelled."""
        name = f"{PREFIX}-hop{self.number}"
        await self.js.subscribe(
            f"{PREFIX}.hop{self.number}.*",
            stream=name,
            durable=name,
            cb=self.handle,
            manual_ack=True,
            config=ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT, max_ack_pending=IN_FLIGHT, ack_wait=60
            ),
        )
        while True:
            await self.acknowledge(*await self.sent.get())

    async def handle(self, msg: Msg) -> None:
        """Do the agent's work and send the result on its way."""
        value = json.loads(msg.data)
        value["hops"] += 1
        place = msg.subject.rpartition(".")[2]
        headers = None
        if self.named:
            headers = {"Nats-Msg-Id": f"hop{self.number}/{msg.metadata.sequence.stream}"}
        acknowledgement = await self.js.publish_async(
            f"{PREFIX}.hop{self.number + 1}.{place}", json.dumps(value).encode(), headers=headers
        )
        await self.sent.put((msg, acknowledgement))

    async def acknowledge(self, msg: Msg, acknowledgement: "asyncio.Future[PubAck]") -> None:
        """Acknowledge an input once its output is stored; else let it come again."""
        if not acknowledgement.done():
            await asyncio.wait([acknowledgement], timeout=ACK_SECONDS)
        if acknowledgement.done() and acknowledgement.exception() is None:
            await msg.ack()
        else:
            await msg.nak()


async def worker(*, named: bool) -> None:
    """Run all agents until SIGTERM."""
    client = await nats.connect(server())
    js = client.jetstream(publish_async_max_pending=IN_FLIGHT)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(Hop(js, number, named=named).run()) for number in range(AGENTS)]
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        for task in tasks:
            task.cancel()
    await client.close()


class HandWritten:
    """This contestant, in two kinds."""

    ours = False

    def __init__(self, *, named: bool) -> None:
        self.named = named
        self.name = "nats-py"
        self.says = "hand-written on nats-py: push subscribers, publish_async"
        if named:
            self.name += "-dedup"
            self.says += ", outputs named after inputs"

    def command(self) -> list[str]:
        """Return the arguments to `python` that run the worker."""
        return ["-m", "tests.bench.chain_nats_py"]

    def environment(self) -> Mapping[str, str]:
        """Return what the worker's environment needs."""
        return {"NAMED": "1" if self.named else ""}

    async def prepare(self, client: Client) -> None:
        """Make the streams."""
        await make_streams(client)

    def input(self, number: int) -> Input:
        """Return message `number` for the first topic."""
        key, value = message(number)
        return Input(f"{PREFIX}.hop0.{partition(key)}", {}, value)

    async def output(self, client: Client) -> Output | None:
        """Return where the last topic is."""
        return Output(f"{PREFIX}-hop{AGENTS}", f"{PREFIX}.hop{AGENTS}.*")


if __name__ == "__main__":
    asyncio.run(worker(named=bool(os.environ["NAMED"])))
