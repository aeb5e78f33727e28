"""Keeping a member's lease, and answering for it, apart from the loop that does the work."""

import asyncio
import concurrent.futures
import logging
import threading
import time

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from .bucket import Bucket
from .connection import ConnectionOptions, connect, patiently
from .errors import BridgeError

logger = logging.getLogger(__name__)


class Heartbeat:
    """A thread with a connection of its own that renews one key and answers one subject.

    A loop that is busy for seconds does not look dead that way, and a process that is gone looks
    dead at once: nobody answers its subject any more. The lease lapses when it could not be
    renewed for `session` seconds; it then stays lapsed until `renew_lapsed()`, even if renewing
    works again meanwhile, so that nobody overlooks that others may have taken over.
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
    ) -> None:
        self.options = options
        self.bucket = bucket
        self.key = key
        self.subject = subject
        self.interval = interval
        self.session = session
        self.patience = patience
        """Seconds without `touch()` after which the main loop counts as stuck; 0 for never."""
        self._value = b""
        self._renewed = time.monotonic()
        self._touched = time.monotonic()
        self._lapsed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread: threading.Thread | None = None
        self._client: Client | None = None

    @property
    def lapsed(self) -> bool:
        """Whether the lease was, or may have been, lost since it was last known to be ours."""
        if not self._lapsed and time.monotonic() - self._renewed > self.session * 0.8:
            self._lapsed = True
        return self._lapsed

    def renew_lapsed(self) -> None:
        """Take up a lapsed lease again; everything held under the old one is given up."""
        self._renewed = time.monotonic()
        self._lapsed = False

    def touch(self) -> None:
        """Say that the main loop is alive."""
        self._touched = time.monotonic()

    async def start(self, value: bytes) -> None:
        """Start the thread; return once the key is written and the subject answers.

        That may be long, while JetStream is away.
        """
        self._value = value
        self._thread = threading.Thread(target=self._run, name="nats-heartbeat", daemon=True)
        self._thread.start()
        await asyncio.wrap_future(self._ready)

    async def set(self, value: bytes) -> None:
        """Write another value under the key, now; return when it is stored."""
        self._value = value
        if self._loop is None:
            raise BridgeError("the heartbeat has not started")
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._put(), self._loop))

    async def stop(self) -> None:
        """Remove the key and end the thread; never waits long, whatever the server does."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        await asyncio.to_thread(self._thread.join, 5.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as exc:
            if not self._ready.done():
                self._ready.set_exception(exc)
            else:
                logger.exception("the heartbeat has ended; the lease will lapse")

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        client = self._client = await connect(self.options, name=f"{self.key} heartbeat")
        try:
            await client.subscribe(self.subject, cb=_answer)
            await patiently(client, "join the group", self._put)
            self._ready.set_result(None)
            while not self._stopping.is_set():
                try:
                    await asyncio.wait_for(self._stopping.wait(), self.interval)
                except TimeoutError:
                    await self._beat()
            if client.is_connected:
                await Bucket(client, self.bucket).delete(self.key)
        except (TimeoutError, nats.errors.Error, BridgeError) as exc:
            if not self._ready.done():
                raise
            logger.info("leaving without a word: %s", exc or type(exc).__name__)
        finally:
            await client.close()

    async def _beat(self) -> None:
        stuck = self.patience and time.monotonic() - self._touched > self.patience
        if stuck:
            logger.error("the event loop is stuck for %.0f s: letting the lease go", self.patience)
            return
        try:
            await self._put()
        except (TimeoutError, nats.errors.Error, BridgeError) as exc:
            logger.warning("the lease could not be renewed: %s", exc or type(exc).__name__)

    async def _put(self) -> None:
        assert self._client is not None  # noqa: S101 - _main() sets it before anything else
        began = time.monotonic()
        bucket = Bucket(self._client, self.bucket)
        await bucket.put(self.key, self._value, ttl=self.session, timeout=max(1.0, self.interval))
        if not self.lapsed:
            self._renewed = began


async def _answer(message: Msg) -> None:
    await message.respond(b"")
