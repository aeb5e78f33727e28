"""The cache: answers of the shop, kept for seconds in Redis, and never a reason to fail.

A cache that is down or slow is a miss. That is said once when an outage begins and once when it
ends, not with every turn between.
"""

import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from streams.payload import Json
from streams.trace import exchange, replaying

log = logging.getLogger(__name__)

#: A look into the cache has to be faster than asking the shop, or it is not worth it.
TIMEOUT: Final = 0.5

#: Connections at most; who finds all in use waits for one as long as for an answer.
CONNECTIONS: Final = 64

#: Seconds after a failure in which Redis is left alone: a hung server costs one turn, not each.
PAUSE: Final = 1.0

#: Deletions that wait for the end of an outage. More would only be of entries expired by then.
OWED: Final = 10_000

_T = TypeVar("_T")


class Cache:
    """JSON values by key, each with its own time to live.

    Connects on first use. `prefix` keeps two meshes apart that share one Redis. In a replay it
    holds what it held when the turn was recorded, and takes in nothing.
    """

    def __init__(self, redis_url: str, *, prefix: str = "mesh") -> None:
        self._prefix = prefix
        pool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            decode_responses=True,
            # Once more at once: a connection left over from before a restart is not an outage.
            retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
        )
        self._redis = Redis.from_pool(pool)
        self._down_until: float | None = None
        self._owed: set[str] = set()

    async def get(self, key: str) -> Json | None:
        """Return the value kept under `key`; None if there is none, or none to be had."""
        request = {"command": "get", "key": key}

        async def ask() -> Json | None:
            async with exchange("cache", request) as answer:
                if answer.wanted:
                    answer.response = _decoded(await self._redis.get(self._name(key)))
            found: Json | None = answer.response
            return found

        return await self._try(ask)

    async def set(self, key: str, value: Json, seconds: float) -> None:
        """Keep `value` under `key` for a time; for no time at all, keep nothing."""
        milliseconds = int(seconds * 1000)
        if milliseconds < 1 or replaying():
            return
        text = json.dumps(value, separators=(",", ":"))

        async def ask() -> None:
            await self._redis.set(self._name(key), text, px=milliseconds)

        await self._try(ask)

    async def delete(self, *keys: str) -> None:
        """Forget `keys`. What an outage prevents is made up for before the next use."""
        if replaying():
            return
        # Owed from the start: `_try` settles it, now or when Redis is back.
        self._owed.update(self._name(key) for key in keys)
        while len(self._owed) > OWED:
            self._owed.pop()
        if self._owed:
            await self._try(_nothing)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"

    async def _try(self, ask: Callable[[], Awaitable[_T]]) -> _T | None:
        """Return what `ask` returns, or None while Redis is down."""
        if self._down_until is not None and time.monotonic() < self._down_until:
            return None
        try:
            await self._settle()
            result = await ask()
        except (RedisError, OSError) as error:
            if self._down_until is None:
                log.warning("the cache is down, the shop is asked directly: %s", error)
            self._down_until = time.monotonic() + PAUSE
            return None
        if self._down_until is not None:
            log.warning("the cache is back")
            self._down_until = None
        return result

    async def _settle(self) -> None:
        """Make the deletions that are owed: nobody may read what an action made untrue."""
        owed = tuple(self._owed)
        if owed:
            await self._redis.delete(*owed)
            self._owed.difference_update(owed)


async def _nothing() -> None:
    return None


def _decoded(text: str | bytes | None) -> Json | None:
    """Return a kept value; what is not a JSON object was not kept by us, and is a miss."""
    try:
        value = json.loads(text) if text else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
