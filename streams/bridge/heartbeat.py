"""Keeping a member's lease, and answering for it, apart from the loop that does the work."""

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from .bucket import Bucket, Conflict
from .connection import ConnectionOptions, connect, patiently
from .errors import AccessDenied, BridgeError
from .rights import Right

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 5.0
STRIKE_SECONDS: Final = 1.0
"""A member is dead when nobody answers for it now and so many seconds later."""
DOUBT_SECONDS: Final = 0.4 * STRIKE_SECONDS
"""Seconds without an answering connection after which others may be about to give us up."""
LAPSE: Final = 0.8
"""The share of its lifetime after which a lease that was not renewed counts as lost."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now() -> float:
    """Return seconds that count on while the machine sleeps, if it can tell."""
    return time.clock_gettime(_CLOCK)


class Heartbeat:
    """A thread with a connection of its own that renews one key and answers one subject.

    A loop that is busy for seconds does not look dead that way, and a process that is gone looks
    dead at once: nobody answers its subject any more.

    The key is renewed by compare-and-set, so that its owner learns when it was taken away. The
    lease lapses then, and when it could not be renewed for most of its lifetime; it stays lapsed
    until `renew()`, so that nobody overlooks that others may have taken over.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        bucket: str,
        key: str,
        subject: str,
        *,
        interval: float,
        session: float,
        patience: float,
        on_change: Callable[[], None],
        failed: Callable[[BridgeError], None],
    ) -> None:
        self.options = options
        self.bucket = bucket
        self.key = key
        self.subject = subject
        self.lifetime = max(1, int(session))
        """Of the key, in seconds; the server counts whole ones."""
        self.interval = min(interval, self.lifetime * LAPSE / 3)
        """Seconds between renewals: a lost one or two do not end the lease."""
        self.patience = patience
        """Seconds without `touch()` after which the main loop counts as stuck; 0 for never."""
        self.failed = failed
        """Told, in the main loop, that the lease can never be renewed again, and why."""
        self._on_change = on_change
        self._main = asyncio.get_running_loop()
        self._value = b""
        self._revision: int | None = None
        self._touched = _now()
        self._lapses = self._touched + self.lifetime * LAPSE
        """When the lease lapses if it is not renewed until then."""
        self._doubtful_since: float | None = None
        self._lapsed = False
        self._stopping = threading.Event()
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        """The connection, from when it is made until we close it."""

    @property
    def lapsed(self) -> bool:
        """Whether the lease was, or may have been, lost since it was last known to be ours."""
        if not self._lapsed and _now() > self._lapses:
            self._lapsed = True
        return self._lapsed

    @property
    def held(self) -> bool:
        """Whether nobody else can have been given what we hold.

        Not so for the moment, without being lapsed, when nobody could have answered for us just
        now: others may have given us up, which the next renewal tells.
        """
        doubtful = self._doubtful_since
        return not self.lapsed and (doubtful is None or _now() - doubtful < DOUBT_SECONDS)

    def touch(self) -> None:
        """Say that the main loop is alive."""
        self._touched = _now()

    async def start(self, value: bytes) -> None:
        """Start the thread; return once the key is written and the subject answers.

        That may be long, while JetStream is away.
        """
        self._value = value
        self._thread = threading.Thread(target=self._run, name="nats-heartbeat", daemon=True)
        self._thread.start()
        await asyncio.wrap_future(self._ready)

    async def set(self, value: bytes) -> None:
        """Write another value under the key, now; return when it is stored, or the lease lapsed.

        TimeoutError or an error of nats-py means that it will be written with the next beat.
        """
        self._value = value
        await self._in_thread(afresh=False)

    async def renew(self, value: bytes) -> None:
        """Take up a lapsed lease again; everything held under the old one has been given up."""
        self._value = value
        await self._in_thread(afresh=True)

    async def stop(self) -> None:
        """Remove the key and end the thread; never waits long, whatever the server does."""
        self._stopping.set()
        if self._thread is not None:
            self._poke()
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    async def _in_thread(self, *, afresh: bool) -> None:
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            raise BridgeError("the heartbeat does not run")
        put = asyncio.run_coroutine_threadsafe(self._put(afresh=afresh), self._loop)
        await asyncio.wrap_future(put)

    def _poke(self) -> None:
        """Let the thread look around now."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._awake.set)

    # -- in the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._beat_for_ever())
        except Exception as exc:
            if not self._ready.done():
                self._ready.set_exception(exc)
            else:
                logger.exception("the heartbeat has ended; the lease is lost")
        self._lapse()

    async def _beat_for_ever(self) -> None:
        self._awake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        client = await self._connect()
        if client is None:
            return
        self._client = client
        self._bucket = Bucket(client, self.bucket)
        try:
            await client.subscribe(self.subject, cb=_answer)
            await patiently(client, "join the group", self._begin)
            if not self._ready.done():
                self._ready.set_result(None)
            while not self._stopping.is_set():
                pause = self.interval if self._doubtful_since is None else DOUBT_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._awake.wait()
                self._awake.clear()
                await self._beat()
            if client.is_connected:
                await self._bucket.delete(self.key)
        except (TimeoutError, nats.errors.Error, BridgeError) as exc:
            if not self._ready.done():
                raise
            logger.info("leaving without a word: %s", exc or type(exc).__name__)
        finally:
            self._client = None  # closed by us
            await client.close()

    async def _connect(self) -> Client | None:
        """Return a connection, or None if `stop` was called before there was one."""
        connecting = asyncio.ensure_future(
            connect(
                self.options,
                name=f"{self.key} heartbeat",
                on_disconnect=self._disconnected,
                on_reconnect=self._reconnected,
                on_denied=self._denied,
                on_close=self._closed,
            )
        )
        while not connecting.done() and not self._stopping.is_set():
            await asyncio.wait([connecting], timeout=0.1)
        if not connecting.done():
            connecting.cancel()
            await asyncio.wait([connecting])
            return None
        return connecting.result()

    async def _disconnected(self) -> None:
        self._doubt()

    async def _reconnected(self) -> None:
        self._awake.set()

    def _doubt(self) -> None:
        if self._doubtful_since is None:
            self._doubtful_since = _now()

    def _denied(self, right: Right) -> None:
        self._fail(right.denied())

    async def _closed(self) -> None:
        if self._client is not None:
            error = self._client.last_error
            self._fail(AccessDenied(f"the server has closed the connection for good: {error}"))

    def _fail(self, error: BridgeError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
        elif not self._stopping.is_set():
            self._main.call_soon_threadsafe(self.failed, error)

    async def _beat(self) -> None:
        if self._stopping.is_set() or self.lapsed:
            return
        if self.patience and _now() - self._touched > self.patience:
            logger.error("the event loop is stuck for %.0f s: letting the lease go", self.patience)
            return
        try:
            await self._put()
        except (TimeoutError, nats.errors.Error, BridgeError) as exc:
            log = logger.warning if self._doubtful_since is None else logger.debug
            log("the lease could not be renewed: %s", exc or type(exc).__name__)
            self._doubt()

    async def _put(self, *, afresh: bool = False) -> None:
        async with self._writing:
            while afresh or not self.lapsed:
                began = _now()
                try:
                    self._revision = await self._bucket.put(
                        self.key,
                        self._value,
                        revision=None if afresh else self._revision,
                        ttl=self.lifetime,
                        timeout=max(1.0, self.interval),
                    )
                except Conflict:
                    await self._recheck()
                    continue
                self._lapses = began + self.lifetime * LAPSE
                doubtful, self._doubtful_since = self._doubtful_since, None
                if afresh:
                    self._lapsed = False
                if doubtful is not None:
                    self._tell()
                return

    async def _begin(self) -> None:
        if self._stopping.is_set():
            raise BridgeError("stopped before the group was joined")
        await self._put(afresh=True)

    async def _recheck(self) -> None:
        """Tell a key that was taken away from our own write whose answer was lost."""
        entry = await self._bucket.get(self.key)
        document: dict[str, Any] = json.loads(entry.value) if entry and entry.value else {}
        if document and not document.get("expelled"):
            assert entry is not None  # noqa: S101 - it has a document
            self._revision = entry.revision
            return
        self._lapse()
        if document:
            # Nobody need wait any longer: from here on we hold nothing.
            await self._bucket.delete(self.key)

    def _lapse(self) -> None:
        self._lapsed = True
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the main loop has ended
            self._main.call_soon_threadsafe(self._on_change)


async def _answer(message: Msg) -> None:
    await message.respond(b"")
