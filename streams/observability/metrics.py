"""What a process counts for Prometheus, in a registry of its own.

Nothing is measured here. An actor's hop records how long it took, how it ended and what it asked
of the outside; the mailbox hands each finished hop over, and this turns it into series.

Nobody finds a customer's words or name in them, but whoever sees them learns how the shop does. So
`/metrics` takes a token, which opens nothing else.
"""

import hmac
from typing import Final, Generic, Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from streams.message import Exchange, Hop, Message
from streams.payload import Json
from streams.reply import state_of
from streams.settings import Settings
from streams.topics import MAILBOXES, actor_name

Outcome = Literal["done", "rerouted", "retry", "failed", "held"]
#: Why a record is a dead letter: it is no message, it came to the wrong mailbox, or nobody is left
#: to turn to after its actor failed.
Burial = Literal["unreadable", "misaddressed", "failed"]

PATH: Final = "/metrics"

#: Upper bounds in seconds. An actor takes from half a millisecond to a model's patience.
BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)

_OUTCOMES: Final[tuple[Outcome, ...]] = ("done", "rerouted", "retry", "failed", "held")
_BURIALS: Final[tuple[Burial, ...]] = ("unreadable", "misaddressed", "failed")

_M = TypeVar("_M", Counter, Histogram)


def may_scrape(settings: Settings, authorization: str) -> bool:
    """Say whether a request with this `Authorization` header may see the metrics."""
    scheme, _, token = authorization.partition(" ")
    same = hmac.compare_digest(
        token.strip().encode(errors="surrogateescape"), settings.metrics_bearer()
    )
    return scheme.lower() == "bearer" and same


def new_registry() -> CollectorRegistry:
    """Return a registry that tells of this process: processor time, memory, files, collections.

    Not prometheus_client's global one, where two apps in a process would meet.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Children(Generic[_M], dict[tuple[str, ...], _M]):
    """A metric's series by their label values.

    Asking the metric itself checks the labels and takes a lock, each time.
    """

    def __init__(self, metric: _M) -> None:
        super().__init__()
        self._metric: _M = metric

    def __missing__(self, labels: tuple[str, ...]) -> _M:
        child: _M = self._metric.labels(*labels)
        self[labels] = child
        return child


class Metrics:
    """The series of one worker's actors."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self._hops = self._counter(
            "mesh_hops",
            "Messages that an actor has worked on, by how that ended.",
            "actor",
            "outcome",
        )
        self._hop_seconds = self._histogram(
            "mesh_hop_seconds", "Time that an actor worked on a message.", "actor"
        )
        self._wait_seconds = self._histogram(
            "mesh_wait_seconds",
            "Time that a message waited in a mailbox, by the clocks of server and worker.",
            "actor",
        )
        self._errors = self._counter(
            "mesh_errors", "Errors that actors have raised, by their class.", "actor", "kind"
        )
        self._dead_letters = self._counter(
            "mesh_dead_letters", "Records put among the dead letters.", "actor", "reason"
        )
        self._turn_seconds = self._histogram(
            "mesh_turn_seconds",
            "Time from a customer's message to its reply, by the state that the turn ended in.",
            "state",
        )
        self._shop_seconds = self._histogram(
            "mesh_shop_call_seconds",
            "Time of calls to the shop, their further tries included: ok, refused or failed.",
            "service",
            "outcome",
        )
        self._cache = self._counter(
            "mesh_cache_lookups", "Looks into the cache: hit, miss or failed.", "result"
        )
        self._model_seconds = self._histogram(
            "mesh_model_call_seconds", "Time of questions to the model.", "model", "outcome"
        )
        self._tokens = self._counter(
            "mesh_model_tokens", "Tokens that the model has read and written.", "model", "kind"
        )
        self._cost = self._counter(
            "mesh_model_cost_usd", "What priced answers of the model have cost.", "model"
        )
        self._unpriced = self._counter(
            "mesh_model_unpriced_calls", "Answers of a model whose price is not known.", "model"
        )
        # A series that begins with its first failure has no increase to raise an alarm by.
        for actor in map(actor_name, MAILBOXES):
            for outcome in _OUTCOMES:
                self._hops[actor, outcome]
            for reason in _BURIALS:
                self._dead_letters[actor, reason]
        for result in ("hit", "miss", "failed"):
            self._cache[(result,)]

    def _counter(self, name: str, says: str, *labels: str) -> Children[Counter]:
        return Children(Counter(name, says, labels, registry=self.registry))

    def _histogram(self, name: str, says: str, *labels: str) -> Children[Histogram]:
        metric = Histogram(name, says, labels, buckets=BUCKETS, registry=self.registry)
        return Children(metric)

    def waited(self, actor: str, seconds: float) -> None:
        """Count the time that a message was in the mailbox; clocks that differ can make it < 0."""
        self._wait_seconds[(actor,)].observe(max(0.0, seconds))

    def hop(self, hop: Hop, outcome: Outcome, trace: str | None = None) -> None:
        """Count a hop that has ended, and all that its actor asked of the outside.

        `trace` leads from a point of the histogram to the trace of the hop that made it.
        """
        example = None if trace is None else {"trace_id": trace}
        self._hops[hop.actor, outcome].inc()
        self._hop_seconds[(hop.actor,)].observe(hop.duration_ms / 1000, example)
        for exchange in hop.exchanges:
            self._exchange(exchange)

    def error(self, actor: str, error: Exception) -> None:
        """Count what an actor has raised."""
        self._errors[actor, type(error).__name__].inc()

    def buried(self, actor: str, reason: Burial) -> None:
        """Count a dead letter."""
        self._dead_letters[actor, reason].inc()

    def turn(self, message: Message, now: float) -> None:
        """Count a turn that ends at `now`, in seconds since 1970."""
        seconds = max(0.0, now - message.payload.at.timestamp())
        self._turn_seconds[(state_of(message),)].observe(seconds)

    def _exchange(self, exchange: Exchange) -> None:
        seconds = exchange.duration_ms / 1000
        failed = exchange.error is not None
        # Whatever an actor has recorded: counting it must not fail.
        answer = exchange.response if isinstance(exchange.response, dict) else {}
        if exchange.target == "cache":
            found = "miss" if exchange.response is None else "hit"
            self._cache[("failed" if failed else found,)].inc()
        elif exchange.target == "llm":
            model = str(exchange.request.get("model", ""))
            self._model_seconds[model, "failed" if failed else "ok"].observe(seconds)
            if answer:  # one that is of no use has its price too
                self._usage(model, answer)
        else:
            refused = not failed and answer.get("status", 0) >= 400
            outcome = "failed" if failed else "refused" if refused else "ok"
            self._shop_seconds[exchange.target, outcome].observe(seconds)

    def _usage(self, model: str, answer: Json) -> None:
        for kind in ("prompt", "completion"):
            if tokens := answer.get(f"{kind}_tokens"):
                self._tokens[model, kind].inc(tokens)
        cost = answer.get("cost_usd")
        if cost is None:
            self._unpriced[(model,)].inc()
        else:
            self._cost[(model,)].inc(cost)
