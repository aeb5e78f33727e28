"""What the contestants of the chain comparison have in common: the task, and how each is run.

The task: seven agents in a row. Each decodes the message, counts the hop in it, encodes it and
sends it to the next topic; the input counts as done when the output is acknowledged. Topics have
four partitions, streams are files with one replica, and all work is done by one process.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from nats.aio.client import Client

from streams.bridge.layout import partition_for

PARTITIONS = 4
AGENTS = 7
KEYS = 500
#: As long as the text of a customer's mail; makes a message of about 1 KB.
TEXT = ("My parcel was to arrive on Tuesday and it has not; may I ask where it is? " * 13)[:900]


class Input(NamedTuple):
    """A message for the first topic, in the form that the contestant takes."""

    subject: str
    headers: dict[str, str]
    value: bytes


class Output(NamedTuple):
    """Where the last topic can be read."""

    stream: str
    filter: str


class Contestant(Protocol):
    """One way to write the chain."""

    name: str
    says: str
    """What it is, in one line."""
    ours: bool
    """Whether it runs on the bridge."""

    def command(self) -> list[str]:
        """Return the arguments to `python` that run the worker."""

    def environment(self) -> Mapping[str, str]:
        """Return what the worker's environment needs, besides SERVER and FOLDER."""

    async def prepare(self, client: Client) -> None:
        """Make what the worker expects to find on the server."""

    def input(self, number: int) -> Input:
        """Return message `number` for the first topic."""

    async def output(self, client: Client) -> Output | None:
        """Return where the last topic is, or None if it is not there yet."""


def message(number: int) -> tuple[str, bytes]:
    """Return key and value of message `number`."""
    key = f"session-{number % KEYS}"
    return key, json.dumps({"id": number, "key": key, "hops": 0, "text": TEXT}).encode()


def partition(key: str) -> int:
    """Return the partition of a key."""
    return partition_for(key.encode(), PARTITIONS)


def server() -> str:
    """Return the URL of the nats-server (workers)."""
    return os.environ["SERVER"]


def folder() -> Path:
    """Return where the worker may keep data."""
    return Path(os.environ["FOLDER"])
