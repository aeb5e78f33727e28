"""What a server has stored of an atomic batch of which it stored the beginning alone.

A stream without replicas takes a batch record by record, and the server looks at its own limits
and the account's before each one. When such a limit is reached on the way, what came before is
stored and seen by everybody, the rest is not, and nobody is told (nats-server 2.15). Limits of
the stream itself are looked at before, replicated streams take a batch as a whole, and a server
that was killed meanwhile stores the rest when it starts.
"""

from typing import Any, NamedTuple

import nats.js.errors
from nats.js import JetStreamContext


class Beginning(NamedTuple):
    """The part of a batch that is stored."""

    first: int
    """Sequence of the batch's first record; the others follow it without a gap."""
    records: int
    """How many are stored."""


class Search:
    """Looks for a batch in a stream, whichever of several attempts has stored something of it."""

    def __init__(self, js: JetStreamContext, stream: str, name: str, after: int) -> None:
        self.js = js
        self.stream = stream
        self.name = name
        """What the attempts' batch ids begin with, up to the last dot."""
        self.after = after
        """A sequence behind which the batch must be; grows with what was looked at."""

    async def find(self, subject: str, count: int) -> Beginning | None:
        """Return how many of `count` records are stored, the first of which has this subject.

        None if nothing is. Errors of nats-py and TimeoutError mean that nobody can tell now.
        """
        while True:
            try:
                message = await self.js.get_msg(self.stream, self.after + 1, subject, next=True)
            except nats.js.errors.NotFoundError:
                return None
            self.after = message.seq or 0
            if self._is_of_it(message):
                break
        first, stored, missing = self.after, 1, count + 1
        while missing - stored > 1:
            middle = (stored + missing) // 2
            if await self._is_there(first + middle - 1):
                stored = middle
            else:
                missing = middle
        self.after = first + stored - 1
        return Beginning(first, stored)

    async def _is_there(self, sequence: int) -> bool:
        try:
            return self._is_of_it(await self.js.get_msg(self.stream, sequence))
        except nats.js.errors.NotFoundError:
            return False

    def _is_of_it(self, message: Any) -> bool:
        batch: str = (message.headers or {}).get("Nats-Batch-Id", "")
        return batch.rpartition(".")[0] == self.name
