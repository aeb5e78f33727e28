"""The mesh as a graph of what really ran: actors, and the ways that turns took between them.

How many records came to each mailbox and how many wait there is counted by the server. Which ways
they took, how long they waited and were worked on, and what went wrong is in the traces of turns
that have ended: of these the newest are read from the journal, so many a look at most. So a look
costs the same however much the mesh does, and nothing is read while nobody looks.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import BaseModel, ValidationError

from streams.bridge import direct
from streams.bridge.layout import every_partition
from streams.dead_letters import ORIGIN
from streams.inspection.broker import Client
from streams.inspection.conversation import CUSTOMER
from streams.inspection.overview import RATE_SECONDS, Overview, TopicView
from streams.post import reaching
from streams.reply import Progress
from streams.settings import Settings
from streams.topics import DEAD_LETTERS, JOURNAL, MAILBOX_OF, REPLIES, actor_name

FIRST: Final = 100
"""Turns that the first look reads."""
MOST: Final = 40
"""Turns that each further look reads; of more than that the newest."""
KEPT: Final = 300
"""Turns that the figures are made from, the newest ones."""
LETTERS: Final = 50
"""Dead letters whose origin is looked up, the newest ones."""

BEHIND_SECONDS: Final = 5.0
BEHIND_LEAST: Final = 10
"""Fewer records than this are no backlog, however seldom they come."""

GRAVE: Final = actor_name(DEAD_LETTERS)

Outcome = Literal["done", "rerouted", "retry", "failed"]
Way = Literal["step", "retry", "failure"]


class Times(BaseModel):
    """Milliseconds: the median, and what 95 of 100 do not exceed."""

    p50: float
    p95: float


class Node(BaseModel):
    """An actor; also the customer, whose messages come and go, and the dead letters."""

    name: str
    topic: str | None = None
    """Its mailbox."""
    last_minute: int = 0
    """Records that came in the last 60 seconds."""
    lag: int | None = None
    """Records that wait, or are being worked on, or were lately: a commit takes a second."""
    behind: bool = False
    """Whether that is more than comes in five seconds."""
    hops: int = 0
    """Hops that the figures below are from."""
    worked: Times | None = None
    waited: Times | None = None
    retries: int = 0
    failures: int = 0


class Edge(BaseModel):
    """A way that turns took from one actor to the next."""

    source: str
    target: str
    hops: int
    """How often the turns that were looked at took it."""
    per_minute: float
    """How often all turns took it in the last 60 seconds: the target's records, by this share."""
    waited: Times | None = None
    kind: Way = "step"
    """Whether it is the next step, another try, or where a failure turned to."""


class MeshView(BaseModel):
    """The graph at one moment."""

    at: datetime
    nodes: list[Node]
    edges: list[Edge]
    turns: int
    """Turns whose traces the figures are made from."""
    since: datetime | None = None
    """When the oldest of these turns ended."""


class _Hop(BaseModel):
    actor: str
    started_at: datetime
    duration_ms: float = 0
    outcome: Outcome = "done"


class _Traced(BaseModel):
    """What we want of a turn in the journal; all else is not even looked at."""

    trace: list[_Hop] = []


@dataclass(frozen=True)
class _Turn:
    ended: float
    hops: list[_Hop]


class MeshObserver:
    """Looks at the mesh, again and again, and reads only what has come since the last look."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._turns: deque[_Turn] = deque(maxlen=KEPT)
        self._origins: deque[str] = deque(maxlen=LETTERS)
        self._next: dict[str, int] = {}

    async def look(self, overview: Overview) -> MeshView:
        """Return the graph, with the counts of `overview`. GatewayUnavailable without a broker."""
        counted = {topic.name: topic for topic in overview.topics}
        with reaching("the mesh cannot be looked at"):
            for found in await self._news(counted.get(JOURNAL), FIRST, MOST):
                try:
                    traced = _Traced.model_validate_json(found.record.value or b"")
                except ValidationError:
                    continue
                self._turns.append(_Turn(found.stored, traced.trace))
            for found in await self._news(counted.get(DEAD_LETTERS), LETTERS, LETTERS):
                self._origins += [
                    actor_name(value.decode("utf-8", "replace").partition("/")[0])
                    for name, value in found.record.headers
                    if name == ORIGIN
                ]
        return self._view(counted)

    async def _news(self, topic: TopicView | None, first: int, most: int) -> list[direct.Found]:
        """Return the records that have come to a topic since the last look, the newest of them."""
        if topic is None:
            return []
        last = max((part.last_offset or 0 for part in topic.partitions), default=0)
        known = self._next.get(topic.name)
        start = max(known or 1, last - (first if known is None else most) + 1)
        self._next[topic.name] = last + 1
        if start > last:
            return []
        subjects = every_partition(self._settings.prefix, topic.name)
        found, _ = await direct.batch(self._client, topic.stream, subjects, start, last - start + 1)
        return found

    def _view(self, counted: Mapping[str, TopicView]) -> MeshView:
        graph = _Graph()
        for turn in self._turns:
            graph.add(turn.hops)
        for origin in self._origins:
            graph.ways.setdefault((origin, GRAVE, "failure"), []).append(None)
        return MeshView(
            at=datetime.now(UTC),
            nodes=list(_nodes(graph, counted)),
            edges=list(_edges(graph, counted)),
            turns=len(self._turns),
            since=datetime.fromtimestamp(self._turns[0].ended, UTC) if self._turns else None,
        )


class _Graph:
    """What the traces say: the hops of each actor, and the waits on each way."""

    def __init__(self) -> None:
        self.hops: dict[str, list[tuple[_Hop, float | None]]] = {}
        self.ways: dict[tuple[str, str, Way], list[float | None]] = {}

    def add(self, trace: list[_Hop]) -> None:
        """Add the trace of a turn that has ended."""
        before: _Hop | None = None
        for hop in trace:
            waited = None
            if before is not None:
                ready = before.started_at.timestamp() + before.duration_ms / 1000
                waited = max(0.0, hop.started_at.timestamp() - ready) * 1000
            source = before.actor if before is not None else CUSTOMER
            way = source, hop.actor, _kind(before)
            self.hops.setdefault(hop.actor, []).append((hop, waited))
            self.ways.setdefault(way, []).append(waited)
            before = hop
        if before is not None:
            self.ways.setdefault((before.actor, CUSTOMER, "step"), []).append(None)


def _kind(before: _Hop | None) -> Way:
    match before and before.outcome:
        case "retry":
            return "retry"
        case "failed":
            return "failure"
        case _:
            return "step"


def _nodes(graph: _Graph, counted: Mapping[str, TopicView]) -> Iterator[Node]:
    yield Node(name=CUSTOMER, topic=REPLIES, last_minute=_last_minute(counted, REPLIES))
    # An actor that is no more may still be in the traces.
    for name in dict.fromkeys((*MAILBOX_OF, *graph.hops)):
        topic = MAILBOX_OF.get(name)
        hops = graph.hops.get(name, [])
        seen = counted.get(topic) if topic else None
        yield Node(
            name=name,
            topic=topic,
            last_minute=seen.last_minute if seen else 0,
            lag=seen.lag if seen else None,
            behind=seen is not None and is_behind(seen.lag or 0, seen.last_minute),
            hops=len(hops),
            worked=_times(hop.duration_ms for hop, _ in hops),
            waited=_times(waited for _, waited in hops),
            retries=sum(hop.outcome == "retry" for hop, _ in hops),
            failures=sum(hop.outcome == "failed" for hop, _ in hops),
        )
    letters = counted.get(DEAD_LETTERS)
    if letters is not None and letters.messages:
        yield Node(
            name=GRAVE,
            topic=DEAD_LETTERS,
            last_minute=letters.last_minute,
            hops=letters.messages,
        )


def _edges(graph: _Graph, counted: Mapping[str, TopicView]) -> Iterator[Edge]:
    topics = MAILBOX_OF | {CUSTOMER: REPLIES, GRAVE: DEAD_LETTERS}
    into = Counter[str]()
    for (_, target, _), waits in graph.ways.items():
        into[target] += len(waits)
    for (source, target, kind), waits in graph.ways.items():
        share = len(waits) / into[target]
        yield Edge(
            source=source,
            target=target,
            kind=kind,
            hops=len(waits),
            per_minute=_last_minute(counted, topics.get(target, "")) * share,
            waited=_times(waits),
        )


def is_behind(lag: int, last_minute: int) -> bool:
    """Say whether so much waiting is a backlog, where so much came in the last minute."""
    return lag >= BEHIND_LEAST and lag > last_minute * BEHIND_SECONDS / RATE_SECONDS


def _last_minute(counted: Mapping[str, TopicView], topic: str) -> int:
    return counted[topic].last_minute if topic in counted else 0


def _times(values: Iterable[float | None]) -> Times | None:
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    last = len(ordered) - 1
    return Times(p50=ordered[last // 2], p95=ordered[math.ceil(last * 0.95)])


class NextTurn:
    """The next turn that begins, whoever's it is, and what is heard of its session from then on."""

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self._begun = asyncio.Event()

    async def session(self) -> str:
        """Return the session of that turn, however long it takes until there is one."""
        await self._begun.wait()
        return self.progress[0].session_id

    async def _on_progress(self, message: Msg) -> None:
        with suppress(ValidationError):
            heard = Progress.model_validate_json(message.data)
            if self._begun.is_set():
                if heard.session_id == self.progress[0].session_id:
                    self.progress.append(heard)
            elif heard.hop == 0:
                self.progress.append(heard)
                self._begun.set()


@asynccontextmanager
async def next_turn(client: Client, prefix: str) -> AsyncIterator[NextTurn]:
    """Listen to all that is begun. Once entered, no turn that begins is missed.

    GatewayUnavailable without a broker.
    """
    turn = NextTurn()
    with reaching("nobody can be followed"):
        subscription = await client.subscribe(f"{prefix}.progress.*", cb=turn._on_progress)
        await client.flush()
    try:
        yield turn
    finally:
        if not client.is_closed:
            with suppress(NatsError):
                await subscription.unsubscribe()
