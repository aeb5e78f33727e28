"""Answers to `ask()` and its like: read by whoever asked, outside the group."""

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from faust.agents.models import ReqRepResponse
from faust.agents.replies import ReplyPromise
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.models import maybe_model
from faust.types import TP, AppT
from faust.types.topics import TopicT
from mode import Service

from .inputs import Input
from .reader import batches

if TYPE_CHECKING:
    from .link import Link

logger = logging.getLogger(__name__)


class Replies(Service):
    """Reads the topics that answers come on, and hands each to who waits for it.

    Faust subscribes to such a topic as to any other. That takes three seconds and a rebalance,
    and an agent that asks for the first time holds up the rebalance that its own answer needs. A
    topic that nobody else reads needs no group.
    """

    def __init__(self, app: AppT, link: "Link", **kwargs: Any) -> None:
        self.app = app
        self.link = link
        self._waiting: dict[str, WeakSet[ReplyPromise]] = {}
        self._topics: set[str] = set()
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        """Read the app's own reply topic, if its settings want it from the beginning."""
        if self.app.conf.reply_create_topic:
            await self._read(self.app.conf.reply_to)

    async def add(self, correlation_id: str, promise: ReplyPromise) -> None:
        """Let a promise be fulfilled when the answer comes."""
        self._waiting.setdefault(correlation_id, WeakSet()).add(promise)
        await self._read(promise.reply_to)

    async def _read(self, name: str) -> None:
        if name in self._topics:
            return
        self._topics.add(name)
        topic = self.app.topic(
            name,
            partitions=1,
            replicas=self.app.conf.topic_replication_factor,
            deleting=True,
            retention=self.app.conf.reply_expires,
            value_type=ReqRepResponse,
        )
        try:
            await topic.maybe_declare()
        except BaseException:
            self._topics.discard(name)
            raise
        self.add_future(self._fulfil(name, topic))

    async def _fulfil(self, name: str, topic: TopicT) -> None:
        link = self.link
        info = await link.topic(name)
        place = info.filter(0)
        reading = batches(link.client, info.stream, place, on_gone=link.publisher.fail)
        async with aclosing(reading) as found:
            async for batch, _ in found:
                for record in batch:
                    try:
                        event = await topic.decode(Input(TP(name, 0), record, None), propagate=True)
                    except (KeyDecodeError, ValueDecodeError) as exc:
                        logger.warning("%s: passed over, as it is no answer: %s", name, exc)
                        continue
                    self._tell(cast(ReqRepResponse, event.value))

    def _tell(self, reply: ReqRepResponse) -> None:
        value = maybe_model(reply.value)
        for promise in self._waiting.pop(reply.correlation_id, ()):
            promise.fulfill(reply.correlation_id, value)
