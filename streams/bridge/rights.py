"""Rights that the server denies: read out of its complaints, told to whoever waits in vain."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from nats.aio.client import DEFAULT_FLUSH_TIMEOUT, Client
from nats.aio.msg import Msg

from .errors import AccessDenied
from .internals import written

_COMPLAINT = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"', re.I)


class Right(NamedTuple):
    """A right that the server denies us."""

    operation: Literal["publish", "subscribe"]
    subject: str

    @property
    def dispensable(self) -> bool:
        """Whether nothing worse than left-overs follows: it was for deleting what has served."""
        return self.operation == "publish" and bool(
            re.match(r"\$JS\.API\.(STREAM|CONSUMER)\.DELETE\.", self.subject)
        )

    def denied(self) -> AccessDenied:
        """Return the error that names the right."""
        return AccessDenied(
            f"no right to {self.operation} to {self.subject}: it has to be granted in the server's "
            'configuration ("Rights" in the bridge\'s README lists what is needed)'
        )


def denied_right(complaint: str) -> Right | None:
    """Return the right that a complaint of the server is about; None if it is about another matter.

    JetStream does not answer who lacks a right: the complaint, on the side, is all there is.
    """
    match = _COMPLAINT.search(complaint)
    if match is None:
        return None
    return Right("publish" if match[1].lower() == "publish" else "subscribe", match[2])


@dataclass(eq=False, slots=True)
class _Question:
    """A request that waits for its answer."""

    subject: str
    limit: asyncio.Timeout
    denied: Right | None = None

    def refuse(self, right: Right) -> None:
        if self.denied is None:
            self.denied = right
            self.limit.reschedule(asyncio.get_running_loop().time())


class GuardedClient(Client):
    """nats-py's client, whose requests fail at once with AccessDenied when a right is missing.

    nats-py would let each wait for its full timeout, and then say that there was no answer.
    """

    def __init__(self, inbox: str) -> None:
        super().__init__()
        self.inbox = inbox
        """What the subjects begin with on which this connection gets answers."""
        self._questions: set[_Question] = set()
        self._deaf: Right | None = None

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """Send a request and return the answer; AccessDenied names the right that is missing."""
        if self._deaf is not None:
            raise self._deaf.denied()
        question = _Question(subject, asyncio.timeout(None))
        self._questions.add(question)
        try:
            async with question.limit:
                return await super().request(subject, payload, timeout, old_style, headers)
        except TimeoutError:
            if question.denied is not None:
                raise question.denied.denied() from None
            raise
        finally:
            self._questions.discard(question)

    async def flush(self, timeout: int = DEFAULT_FLUSH_TIMEOUT) -> None:
        """Return once the server has seen all that was sent before; its complaints came first."""
        await written(self)
        await super().flush(timeout)

    def refuse(self, right: Right) -> None:
        """Let the requests fail that come to nothing without this right."""
        if right.operation == "subscribe" and right.subject.startswith(f"{self.inbox}."):
            self._deaf = right  # no answer will ever be heard
        for question in self._questions:
            if self._deaf is not None or right == ("publish", question.subject):
                question.refuse(right)

    def hear_again(self) -> None:
        """Try requests again: the connection is new, and rights may have been granted."""
        self._deaf = None
