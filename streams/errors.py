"""The errors that actors and mailboxes speak in: one shallow tree."""


class MeshError(Exception):
    """Base of every error that this project raises on purpose."""


class Undecodable(MeshError):
    """Bytes on a topic are not a message that this code reads; the text says why."""


class UnknownSubject(MeshError):
    """A route slip names a subject that no mailbox owns; the text holds the subject."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"no mailbox owns the subject {subject!r}")
        self.subject = subject


class HopLimitExceeded(MeshError):
    """A message has made as many hops as a slip allows and still has steps to go."""


class Retryable(MeshError):
    """What failed may work a little later: the mailbox tries the same actor again."""


class ShopUnavailable(Retryable):
    """The shop did not answer, or answered with a server's error, after all quick retries."""


class ShopRefused(MeshError):
    """The shop understood a call and refused it; `status` is 404, 409 or 422."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ModelUnavailable(MeshError):
    """The model failed, was too slow, or answered with something that is not what was asked."""


class NotRecorded(MeshError):
    """In a replay: an actor asked the outside what nobody asked when the turn was recorded."""


class GatewayUnavailable(MeshError):
    """The broker did not answer; what was to be sent may be sent again under the same id."""
