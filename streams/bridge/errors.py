"""What can go wrong on the way to JetStream, as a shallow tree under `BridgeError`."""

from collections.abc import Mapping
from typing import Any

from .refusals import explain, passes


class BridgeError(Exception):
    """Base of all errors that the bridge raises itself."""


class ConfigurationError(BridgeError):
    """A broker URL, a topic option or a Faust setting asks for what the bridge cannot do."""


class NotConnected(BridgeError):
    """There is no connection, and waiting for one has ended."""


class AccessDenied(BridgeError):
    """The server refused the login, or the account lacks a right; the text names it."""


class JetStreamUnavailable(BridgeError):
    """The server answers, but JetStream is not enabled on it or for this account."""


class UnknownTopic(BridgeError):
    """No stream holds this topic, and nobody may create it."""


class TopicGone(BridgeError):
    """A topic's stream, or the group's bucket, was deleted while it was in use."""

    @classmethod
    def of(cls, stream: str) -> "TopicGone":
        """Return the error about a stream, with what can be done."""
        return cls(
            f"stream {stream!r} was deleted, or is another one by now: what it held is lost. "
            "Restore it from a backup; or start the workers again, which begin with a new one"
        )


class TopicMismatch(BridgeError):
    """A topic exists, but with other partitions or another layout than was asked for."""


class SendFailed(BridgeError):
    """JetStream refused a record for good: sending it again would not help."""


class BatchRefused(BridgeError):
    """JetStream stored nothing of an atomic batch."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        self.code = int(error.get("err_code", 0))
        """JetStream's own error code."""
        self.may_pass = passes(error)
        """Whether the same batch may be taken later."""
        super().__init__(f"{explain(error)} ({self.code})")


class Fenced(BridgeError):
    """Another member has claimed a partition; what this one still does there must not count."""
