"""The chain on the bridge: Faust agents, with and without a table in the middle one."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import faust
from faust.types import StreamT
from nats.aio.client import Client

from streams.bridge import topics
from streams.bridge.layout import encode_headers, subject
from tests.bench.contestant import (
    AGENTS,
    PARTITIONS,
    Input,
    Output,
    folder,
    message,
    partition,
    server,
)

PREFIX = "chain"
WITH_TABLE = AGENTS // 2


def make_app() -> faust.App:
    """Return the app, as its users would write it."""
    app = faust.App(
        "chain",
        broker=f"{server()}?prefix={PREFIX}",
        topic_partitions=PARTITIONS,
        web_enabled=False,
        datadir=folder(),
        processing_guarantee=os.environ["GUARANTEE"],
    )
    hops = [app.topic(f"hop{number}", value_serializer="json") for number in range(AGENTS + 1)]
    table = app.Table("seen", default=int) if os.environ["TABLE"] else None

    def add_agent(number: int) -> None:
        async def hop(stream: StreamT[Any]) -> None:
            async for key, value in stream.items():
                value["hops"] += 1
                if table is not None and number == WITH_TABLE:
                    table[key] += 1
                await hops[number + 1].send(key=key, value=value)

        app.agent(hops[number], name=f"hop{number}")(hop)

    for number in range(AGENTS):
        add_agent(number)
    return app


class OnTheBridge:
    """This contestant: both guarantees, with a table and without; and in exactly-once's layout."""

    ours = True

    def __init__(self, guarantee: str, *, table: bool, shared: bool = False) -> None:
        self.guarantee = guarantee
        self.table = table
        self.shared = shared
        self.name = {"at_least_once": "bridge", "exactly_once": "exactly-once"}[guarantee]
        self.says = f"Faust on the bridge, {guarantee}"
        if table:
            self.name += "-table"
            self.says += ", the agent in the middle counts in a table"
        if shared:
            self.name += "-shared"
            self.says += ", all topics in one stream as exactly_once has them"

    def command(self) -> list[str]:
        """Return the arguments to `python` that run the worker."""
        return ["-m", "tests.bench.chain_bridge", "worker", "--without-web", "-l", "warn"]

    def environment(self) -> Mapping[str, str]:
        """Return what the worker's environment needs."""
        return {"GUARANTEE": self.guarantee, "TABLE": "1" if self.table else ""}

    async def prepare(self, client: Client) -> None:
        """Make nothing but the layout: the worker declares its topics."""
        if self.shared:
            spec = topics.TopicSpec("hop0", PARTITIONS, prefix=PREFIX, shared=True)
            await topics.declare(client.jetstream(), spec)

    def input(self, number: int) -> Input:
        """Return message `number` for the first topic."""
        key, value = message(number)
        place = subject(PREFIX, "hop0", partition(key))
        return Input(place, encode_headers(key.encode(), value), value)

    async def output(self, client: Client) -> Output | None:
        """Return where the last topic is: it comes into being with the first message."""
        info = await topics.lookup(client.jetstream(), PREFIX, f"hop{AGENTS}")
        return None if info is None else Output(info.stream, f"{PREFIX}.{info.topic}.*")


if __name__ == "__main__":
    sys.argv[0] = "chain"
    make_app().main()
