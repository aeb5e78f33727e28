"""The connection of those who look into the streams, for rooms that know nothing of NATS."""

from nats.aio.client import Client

__all__ = ["Client"]
