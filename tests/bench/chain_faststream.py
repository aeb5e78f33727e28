"""The chain on FastStream with JetStream: push subscribers with workers, publishing as it offers.

FastStream is not in the project's environment, only in the benchmark's own: see `make bench`.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from tests.bench.chain_nats_py import PREFIX, make_streams
from tests.bench.contestant import AGENTS, Input, Output, message, partition, server

if TYPE_CHECKING:
    from faststream import FastStream

IN_FLIGHT = 4_000
WORKERS = 50


def make_app() -> "FastStream":
    """Return the app, as its users would write it; its line of log a message is off."""
    from faststream import AckPolicy, FastStream, Path
    from faststream.nats import JStream, NatsBroker

    broker = NatsBroker(server(), logger=None)

    def add_agent(number: int) -> None:
        following = f"{PREFIX}-hop{number + 1}"

        async def hop(value: dict[str, Any], place: str = Path()) -> None:
            value["hops"] += 1
            await broker.publish(value, f"{PREFIX}.hop{number + 1}.{place}", stream=following)

        broker.subscriber(
            f"{PREFIX}.hop{number}.{{place}}",
            stream=JStream(f"{PREFIX}-hop{number}", declare=False),
            durable=f"{PREFIX}-hop{number}",
            config=ConsumerConfig(max_ack_pending=IN_FLIGHT, ack_wait=60),
            ack_policy=AckPolicy.NACK_ON_ERROR,
            max_workers=WORKERS,
        )(hop)

    for number in range(AGENTS):
        add_agent(number)
    return FastStream(broker, logger=None)


class OnFastStream:
    """This contestant."""

    name = "faststream"
    ours = False
    says = f"FastStream with JetStream: push subscribers, max_workers={WORKERS}"

    def command(self) -> list[str]:
        """Return the arguments to `python` that run the worker."""
        return ["-m", "tests.bench.chain_faststream"]

    def environment(self) -> Mapping[str, str]:
        """Return what the worker's environment needs."""
        return {}

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
    asyncio.run(make_app().run())
