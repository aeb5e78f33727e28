"""The chain on FastStream with JetStream: push subscribers, publishing as it recommends.

Of what it offers, a subscriber a partition that returns what its publisher sends came out
fastest, and keeps the order of each key. One subscriber a topic with the partition as a path
parameter, pull subscribers, and `max_workers` from 4 to 500 with any of these, took up to three
times the processor time. A second kind does without FastStream's checks of arguments, as agents
on the bridge do. Its line of log a message is off in both.

FastStream is not in the project's environment, only in the benchmark's own.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from tests.bench.chain_nats_py import PREFIX, make_streams
from tests.bench.contestant import AGENTS, PARTITIONS, Input, Output, message, partition, server

if TYPE_CHECKING:
    from faststream import FastStream

IN_FLIGHT = 4_000


def make_app(*, checked: bool) -> "FastStream":
    """Return the app, as its users would write it."""
    from faststream import AckPolicy, FastStream
    from faststream.nats import JStream, NatsBroker

    broker = NatsBroker(server(), logger=None, apply_types=checked)
    streams = [JStream(f"{PREFIX}-hop{number}", declare=False) for number in range(AGENTS + 1)]
    for number in range(AGENTS):
        for place in range(PARTITIONS):
            subscriber = broker.subscriber(
                f"{PREFIX}.hop{number}.{place}",
                stream=streams[number],
                durable=f"hop{number}-{place}",
                config=ConsumerConfig(max_ack_pending=IN_FLIGHT, ack_wait=60),
                ack_policy=AckPolicy.NACK_ON_ERROR,
            )
            publisher = broker.publisher(
                f"{PREFIX}.hop{number + 1}.{place}", stream=streams[number + 1]
            )

            async def hop(value: dict[str, Any]) -> dict[str, Any]:
                value["hops"] += 1
                return value  # published, then the input is acknowledged

            subscriber(publisher(hop))
    return FastStream(broker, logger=None)


class OnFastStream:
    """This contestant, in two kinds."""

    ours = False

    def __init__(self, *, checked: bool) -> None:
        self.checked = checked
        self.name = "faststream" if checked else "faststream-bare"
        self.says = "FastStream with JetStream: push subscribers"
        if not checked:
            self.says += ", apply_types=False"

    def command(self) -> list[str]:
        """Return the arguments to `python` that run the worker."""
        return ["-m", "tests.bench.chain_faststream"]

    def environment(self) -> Mapping[str, str]:
        """Return what the worker's environment needs."""
        return {"CHECKED": "1" if self.checked else ""}

    async def prepare(self, client: Client) -> None:
        """Make the streams."""
        await make_streams(client)

    def input(self, number: int) -> Input:
        """Return message `number` for the first topic."""
        key, value = message(number)
        headers = {"content-type": "application/json"}
        return Input(f"{PREFIX}.hop0.{partition(key)}", headers, value)

    async def output(self, client: Client) -> Output | None:
        """Return where the last topic is."""
        return Output(f"{PREFIX}-hop{AGENTS}", f"{PREFIX}.hop{AGENTS}.*")


if __name__ == "__main__":
    asyncio.run(make_app(checked=bool(os.environ["CHECKED"])).run())
