"""A session's replies as they come, in order and each once, whatever happens to connections.

Live replies travel by plain subject interest: what passes while a connection is down is not heard.
So the stream is read back whenever a number is missing, when the broker is back, and after silence.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from streams.errors import GatewayUnavailable
from streams.gateway import Gateway, Listener
from streams.reply import Progress, Reply

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5  # seconds between looks at the connection
SILENCE: Final = 4.0  # seconds without news before reading back, doubled each time
LONGEST_SILENCE: Final = 60.0


class Inbox:
    """The replies after the sequence `seen`, and progress, of one session."""

    def __init__(self, gateway: Gateway, listener: Listener, session_id: str, seen: int) -> None:
        self._gateway = gateway
        self._listener = listener
        self._session_id = session_id
        self._silence = SILENCE
        self.seen = seen

    async def missed(self) -> list[Reply]:
        """Return the replies not seen so far that are in the stream; GatewayUnavailable."""
        missed = []
        for reply in await self._gateway.replies(self._session_id, self.seen):
            if reply.sequence > self.seen:
                self.seen = reply.sequence
                missed.append(reply)
        return missed

    def expect(self) -> None:
        """Look sooner for news: a message was just sent."""
        self._silence = SILENCE

    async def news(self) -> AsyncGenerator[Reply | Progress, None]:
        """Yield progress and replies until the listener ends."""
        loop = asyncio.get_running_loop()
        heard_at, connected = loop.time(), self._gateway.connected
        # One waiting task over all rounds: cancelling it at each round could lose an item.
        waiting = asyncio.ensure_future(anext(self._listener))
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=LOOK_EVERY)
                back = self._gateway.connected and not connected
                connected = self._gateway.connected
                if done:
                    item = waiting.result()
                    waiting = asyncio.ensure_future(anext(self._listener))
                    heard_at, self._silence = loop.time(), SILENCE
                    for news in await self._in_order(item):
                        yield news
                elif back or (connected and loop.time() - heard_at >= self._silence):
                    heard_at = loop.time()
                    self._silence = min(2 * self._silence, LONGEST_SILENCE)
                    for reply in await self._read_back():
                        yield reply
        except StopAsyncIteration:
            return
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})

    async def _in_order(self, item: Reply | Progress) -> list[Reply | Progress]:
        if isinstance(item, Progress):
            return [item]
        found: list[Reply | Progress] = []
        if item.sequence > self.seen + 1:
            found.extend(await self._read_back())
        if item.sequence > self.seen:  # else a copy, or among those just read back
            self.seen = item.sequence
            found.append(item)
        return found

    async def _read_back(self) -> list[Reply]:
        try:
            return await self.missed()
        except GatewayUnavailable as error:
            log.debug("replies of %s not read back: %s", self._session_id, error)
            return []


@asynccontextmanager
async def inbox(gateway: Gateway, session_id: str, seen: int) -> AsyncIterator[Inbox]:
    """Listen to a session for the time of the block, from before anything is read back."""
    async with gateway.listen(session_id) as listener:
        yield Inbox(gateway, listener, session_id, seen)
