"""The connection of those who look, and one error for whatever keeps the broker from answering."""

from collections.abc import Iterator
from contextlib import contextmanager

from nats.aio.client import Client
from nats.errors import Error as NatsError

from streams.bridge.errors import BridgeError
from streams.gateway import GatewayUnavailable

__all__ = ["Client", "answering"]


@contextmanager
def answering() -> Iterator[None]:
    """Raise GatewayUnavailable, with the reason, for any error of the connection."""
    try:
        yield
    except (NatsError, BridgeError, TimeoutError) as error:
        raise GatewayUnavailable(str(error) or "the broker does not answer in time") from error
