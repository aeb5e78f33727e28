"""Putting one record on a topic of the mesh, from a process without Faust."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError

from streams.bridge.errors import BridgeError
from streams.bridge.layout import MESSAGE_ID, encode_headers, partition_for, subject
from streams.errors import GatewayUnavailable, MeshError
from streams.settings import Settings
from streams.topics import topics

ACKNOWLEDGED_WITHIN: Final = 5.0  # seconds
SEND_AGAIN: Final = 0.1  # seconds

_EXPECT: Final = "Nats-Expected-Last-Subject-Sequence"
_OVERTAKEN: Final = 10071  # JetStream's code for: another record of this subject came meanwhile


class Overtaken(MeshError):
    """Somebody else put a record where this one was to be the next."""


@dataclass(frozen=True)
class Stored:
    """Where a record is now."""

    offset: int
    repeated: bool  # it was there already, under the same id


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Say in our words what a broker says that does not answer, or not as it should."""
    try:
        yield
    except (NatsError, BridgeError, TimeoutError) as error:
        raise GatewayUnavailable(f"{what}: {error or type(error).__name__}") from error


async def put(
    client: Client,
    settings: Settings,
    topic: str,
    *,
    key: bytes,
    value: bytes,
    message_id: str,
    headers: Mapping[str, bytes] | None = None,
    after: int | None = None,
) -> Stored:
    """Put a record on `topic`; returns when JetStream has it on disk.

    Under the same `message_id` it is there once, for as long as the topic recognises ids. With
    `after`, on a topic that keeps keys in its subjects, it is stored only if the last record of
    its key has that offset (0: there is none), else Overtaken. GatewayUnavailable when no
    acknowledgement comes: then nobody knows whether it arrived, and putting it again is right.
    """
    partition = partition_for(key, settings.partitions)
    in_subject = topics(settings)[topic].key_in_subject
    place = subject(settings.prefix, topic, partition, key if in_subject else None)
    encoded = encode_headers(key, value, headers) | {MESSAGE_ID: message_id}
    if after is not None:
        encoded[_EXPECT] = str(after)
    deadline = asyncio.get_running_loop().time() + ACKNOWLEDGED_WITHIN
    while True:
        try:
            stored = await client.jetstream().publish(
                place, value, headers=encoded, timeout=ACKNOWLEDGED_WITHIN
            )
        except NoStreamResponseError as error:
            # A server that has just started takes connections before it has its streams.
            if asyncio.get_running_loop().time() > deadline:
                raise GatewayUnavailable("the topics are not there") from error
            await asyncio.sleep(SEND_AGAIN)
        except APIError as error:
            if error.err_code == _OVERTAKEN:
                raise Overtaken("another record came first") from error
            raise GatewayUnavailable(f"the message broker did not take it: {error}") from error
        except NatsError as error:
            raise GatewayUnavailable(f"the message broker did not take it: {error}") from error
        else:
            return Stored(stored.seq, bool(stored.duplicate))
