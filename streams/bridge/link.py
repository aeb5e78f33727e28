"""What an app's consumer and producer share: one connection, one publisher, the known topics."""

import asyncio
import contextlib
import itertools
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import nats.errors
from faust.auth import SASLCredentials, SSLCredentials
from faust.types import AppT
from faust.types.enums import ProcessingGuarantee
from faust.types.topics import TopicT
from mode.utils.times import want_seconds
from nats.aio.client import Client
from nats.js import JetStreamContext

from . import topics
from .bucket import Bucket, SharedBucket
from .connection import (
    ConnectionOptions,
    check_jetstream,
    check_transactions,
    connect,
    parse_url,
)
from .errors import (
    AccessDenied,
    BridgeError,
    ConfigurationError,
    NotConnected,
    TopicGone,
    UnknownTopic,
)
from .fixup import hide_logins, whole_urls
from .internals import close
from .layout import offsets_base, shared_stream
from .publisher import Publisher
from .rights import Right
from .topics import TopicInfo, TopicSpec

logger = logging.getLogger(__name__)

LEAST_SECONDS: Final = 1.0
"""How long storing what is finished may take at least, whatever is left of the option `drain`."""
OPTION_PREFIX: Final = "nats."
"""Keys of a topic's `config` that begin so are ours; others (Kafka's) are passed over."""


def always() -> bool:
    """Return True: nothing forbids writing."""
    return True


class Link:
    """The connection of one Faust app, opened by the first who needs it, closed by the last."""

    def __init__(self, app: AppT, options: ConnectionOptions) -> None:
        self.app = app
        self.options = options
        self.topics: dict[str, TopicInfo] = {}
        """All topics that this app has met so far."""
        self.on_reconnect: list[Callable[[], None]] = []
        self.may_write: Callable[[], bool] = always
        """Asked before bytes leave; the consumer puts its lease here."""
        self._client: Client | None = None
        self._publisher: Publisher | None = None
        self._users = 0
        self._unique = secrets.token_hex(8)
        self._ids = itertools.count(1)
        self._opening = asyncio.Lock()
        self._drained_at: float | None = None
        """When the time is over that ending may take; None while the app goes on."""
        self._crashing: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, app: AppT, urls: list[Any]) -> "Link":
        """Return the app's link; Faust makes two transports, which shall share one.

        The login is for the link alone: it goes out of the app's settings, which Faust prints.
        """
        link: Link | None = app.__dict__.get("_nats_link")
        if link is None:
            link = app.__dict__["_nats_link"] = cls(app, _options(app, whole_urls(app, urls)))
        hide_logins(app)
        return link

    @property
    def is_open(self) -> bool:
        """Whether there is a connection; it may be interrupted at the moment."""
        return self._client is not None

    @property
    def client(self) -> Client:
        """The connection; NotConnected before `acquire`."""
        if self._client is None:
            raise NotConnected("the connection is not open")
        return self._client

    @property
    def js(self) -> JetStreamContext:
        """The connection's JetStream context."""
        return self.client.jetstream(timeout=5.0)

    @property
    def publisher(self) -> Publisher:
        """What all records of the app are sent through."""
        if self._publisher is None:
            raise NotConnected("the connection is not open")
        return self._publisher

    @property
    def unstored(self) -> int:
        """How many records JetStream has not acknowledged yet."""
        return 0 if self._publisher is None else self._publisher.size

    @property
    def replicas(self) -> int:
        """Replicas of what the bridge itself creates."""
        return self.options.replicas or int(self.app.conf.topic_replication_factor or 1)

    def bucket(self) -> Bucket:
        """Return the bucket in which the groups of this prefix keep what they agree on."""
        return Bucket(self.client, f"{self.options.prefix}-groups")

    def offsets_bucket(self) -> Bucket:
        """Return where offsets are committed: beside the records, where topics share a stream.

        Call it when the topics of the app are known.
        """
        if any(info.shared for info in self.topics.values()):
            prefix = self.options.prefix
            return SharedBucket(self.client, shared_stream(prefix), offsets_base(prefix))
        return self.bucket()

    @property
    def exactly_once(self) -> bool:
        """Whether the app's settings ask for transactions."""
        # mypy: Faust declares the setting as the enumeration's class.
        return bool(
            cast(Any, self.app.conf).processing_guarantee == ProcessingGuarantee.EXACTLY_ONCE
        )

    def unique_id(self) -> str:
        """Return a message id that no other record ever has."""
        return f"{self._unique}-{next(self._ids)}"

    async def acquire(self) -> None:
        """Open the connection, or share the one that is open."""
        async with self._opening:
            self._users += 1
            if self._client is not None:
                return
            try:
                await self._open()
            except BaseException:
                self._users -= 1
                raise

    async def release(self) -> None:
        """Close the connection if nobody else uses it."""
        async with self._opening:
            self._users -= 1
            if self._users:
                return
            client, self._client = self._client, None
            publisher, self._publisher = self._publisher, None
            self.topics.clear()
            if publisher is not None:
                await publisher.stop()
            if client is not None:
                await close(client)

    async def _open(self) -> None:
        self._crashing = None
        client = await connect(
            self.options,
            name=self.app.conf.id,
            on_disconnect=self._disconnected,
            on_reconnect=self._reconnected,
            on_close=self._closed,
            on_denied=self._denied,
        )
        try:
            await check_jetstream(client)
            if self.exactly_once:
                check_transactions(client)
            self._publisher = Publisher(
                client, on_failure=self._fail, may_write=lambda: self.may_write()
            )
            await self._publisher.start()
        except BaseException:
            await client.close()
            raise
        self._client = client

    async def _disconnected(self) -> None:
        if self._client is not None:
            logger.warning("connection to NATS lost; the worker pauses until it is back")

    async def _reconnected(self) -> None:
        logger.info("connection to NATS is back")
        if self._publisher is not None:
            self._publisher.send_again()
        for tell in self.on_reconnect:
            tell()

    async def _closed(self) -> None:
        if self._client is not None:  # not by us
            error = self._client.last_error
            self._fail(AccessDenied(f"the server has closed the connection for good: {error}"))

    def _denied(self, right: Right) -> None:
        """End the worker, unless a record is refused that does not matter to it, or to anybody."""
        if self._publisher is not None and self._publisher.refused(right):
            return
        if not right.dispensable:
            self._fail(right.denied())

    def _fail(self, error: BridgeError) -> None:
        """End the worker: what was to be stored cannot be. The first error is the one to tell."""
        if self._crashing is None:
            self._crashing = asyncio.get_running_loop().create_task(self.app.crash(error))

    def time_to_drain(self) -> float:
        """Return how many seconds finishing may take: all that is done at a stop shares `drain`."""
        drain = self.options.drain
        if not self.app.should_stop:
            self._drained_at = None
            return drain
        now = asyncio.get_running_loop().time()
        if self._drained_at is None:
            self._drained_at = now + drain
        return max(0.0, self._drained_at - now)

    # -- topics

    async def topic(self, name: str) -> TopicInfo:
        """Return a topic, looked up or created as the app describes it; UnknownTopic if neither.

        As with Kafka, a topic that is used before it was declared comes into being with default
        settings, unless the app's `topic_allow_declare` is off.
        """
        info = self.topics.get(name)
        if info is not None:
            return info
        described = self._find(name)
        if described is not None and described.partitions:
            info = await self._declare_as_described(name, described, described.partitions)
        else:
            info = await topics.lookup(self.js, self.options.prefix, name)
            if info is None:
                info = await self._bring_into_being(name, described)
        if self.exactly_once:
            topics.check_shared(info)
        self.topics[name] = info
        return info

    async def look_up_again(self, name: str) -> TopicInfo:
        """Return a topic as it is now; TopicGone if it was deleted since we met it."""
        for wait in (0.5, 1.0, 2.0, 4.0, 0.0):
            info = await topics.lookup(self.js, self.options.prefix, name)
            if info is not None and info.partitions == self.topics[name].partitions:
                self.topics[name] = info
                return info
            await asyncio.sleep(wait)  # a server that has just come back may not know yet
        error = TopicGone.of(self.topics[name].stream)
        self._fail(error)
        raise error

    def identity(self, name: str) -> str:
        """Return what tells a topic that we have met from an earlier one of that name."""
        return self.topics[name].identity

    async def _bring_into_being(self, name: str, described: TopicT | None) -> TopicInfo:
        conf = self.app.conf
        if not conf.topic_allow_declare:
            raise UnknownTopic(f"topic {name!r} does not exist")
        if described is not None:
            return await self._declare_as_described(name, described, conf.topic_partitions)
        if name.startswith(conf.reply_to_prefix):
            # As the asker declares it, who may be doing so at this moment.
            return await self.declare(name, 1, retention=conf.reply_expires)
        # Somebody who knows better may be about to declare it: an app that starts beside us.
        for _ in range(10):
            await asyncio.sleep(0.1)
            info = await topics.lookup(self.js, self.options.prefix, name)
            if info is not None:
                return info
        logger.warning("topic %r was not declared; it gets default settings", name)
        return await self.declare(name, conf.topic_partitions)

    async def _declare_as_described(
        self, name: str, described: TopicT, partitions: int
    ) -> TopicInfo:
        if not self.app.conf.topic_allow_declare:
            info = await topics.lookup(self.js, self.options.prefix, name)
            if info is None:
                raise UnknownTopic(f"topic {name!r} does not exist")
            return info
        return await self.declare(
            name,
            partitions,
            replicas=described.replicas,
            config=described.config,
            retention=described.retention,
            compacting=described.compacting,
            deleting=described.deleting,
        )

    async def remove_reply_topic(self) -> None:
        """Delete the topic that only this process gets replies on, if it has made one."""
        conf = self.app.conf
        info = self.topics.get(conf.reply_to)
        # A name that the user has chosen is to be kept.
        made_up = re.fullmatch(re.escape(conf.reply_to_prefix) + "[0-9a-f-]{36}", conf.reply_to)
        if info is None or made_up is None or not self.client.is_connected:
            return
        with contextlib.suppress(nats.errors.Error, TimeoutError, AccessDenied):
            await topics.remove(self.js, info)

    def _find(self, name: str) -> TopicT | None:
        """Return how the app describes a topic, if it does so anywhere."""
        for channel in self.app.topics:
            if name in channel.topics:
                return channel
        for agent in self.app.agents.values():
            described = agent.channel
            if isinstance(described, TopicT) and name in described.topics:
                return described
        return None

    async def declare(
        self,
        name: str,
        partitions: int,
        *,
        replicas: int | None = None,
        config: Mapping[str, Any] | None = None,
        retention: Any = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
    ) -> TopicInfo:
        """Create a topic with Faust's settings, or check the one that exists."""
        options = self.options
        max_age = want_seconds(retention) if retention else None
        if max_age:
            max_age += self._window_size(name)
        spec = TopicSpec(
            name,
            partitions,
            prefix=options.prefix,
            compacted=bool(compacting),
            max_age=max_age,
            storage=options.storage,
            replicas=options.replicas or replicas or 1,
            duplicate_window=options.duplicate_window,
            owner=self.app.conf.id,
            shared=self.exactly_once,
        )
        spec = with_options(spec, config or {})
        if compacting and not deleting:
            spec = replace(spec, max_age=None)
        info = self.topics[name] = await topics.declare(self.js, spec)
        return info

    def _window_size(self, name: str) -> float:
        """Return how long the windows are that a changelog is about; 0.0 if it is about none.

        Faust wants a windowed table's changes kept for as long as windows are kept after their
        end. Here records go exactly then, so the time until that end must be added.
        """
        for table in self.app.tables.values():
            window = cast(Any, table).window
            if window is not None and cast(Any, table).changelog_topic.get_topic_name() == name:
                lengths = (end - start for start, end in window.ranges(time.time()))
                return float(math.ceil(max(lengths)))
        return 0.0


def _options(app: AppT, urls: list[Any]) -> ConnectionOptions:
    """Return the URL's options, completed by Faust's own settings."""
    options = parse_url(urls)
    conf = app.conf
    if conf.ssl_context is not None:
        options = replace(options, ssl_context=conf.ssl_context)
    credentials = conf.broker_credentials
    if credentials is None:
        return options
    if isinstance(credentials, SSLCredentials):
        return replace(options, ssl_context=credentials.context)
    if isinstance(credentials, SASLCredentials):
        return replace(
            options,
            user=credentials.username,
            password=credentials.password,
            ssl_context=credentials.ssl_context or options.ssl_context,
        )
    raise ConfigurationError(
        f"broker_credentials: NATS knows no {type(credentials).__name__}; use SASLCredentials "
        "(user and password), SSLCredentials, or token, credentials and nkey in the broker URL"
    )


def with_options(spec: TopicSpec, config: Mapping[str, Any]) -> TopicSpec:
    """Return `spec` changed by the `nats.…` options of a topic's config."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "key_in_subject": bool,
        "max_age": want_seconds,
        "max_bytes": int,
        "storage": str,
        "duplicate_window": want_seconds,
        "tombstone_age": want_seconds,
        "replicas": int,
    }
    changes: dict[str, Any] = {}
    for name, value in config.items():
        if not name.startswith(OPTION_PREFIX):
            continue
        option = name.removeprefix(OPTION_PREFIX)
        if option not in kinds:
            known = ", ".join(OPTION_PREFIX + kind for kind in kinds)
            raise ConfigurationError(f"topic {spec.topic!r}: no option {name!r}; there are {known}")
        changes[option] = kinds[option](value)
    return replace(spec, **changes)
