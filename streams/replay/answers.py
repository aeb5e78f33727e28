"""What one hop of a replay is told by the outside: the recorded answers, each given once."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pydantic_core import to_jsonable_python

from streams.errors import MeshError, ModelUnavailable, ShopUnavailable
from streams.message import Exchange, Hop, Message, RecordedHop, Replay
from streams.payload import Json
from streams.replay.request import EVERYBODY

_KNOWN_FAILURES: Final[dict[str, type[MeshError]]] = {
    kind.__name__: kind for kind in (ModelUnavailable, ShopUnavailable)
}


class Answers:
    """The recorded answers that an actor's hop may use.

    The n-th hop of an actor is told what its n-th hop was told, tries that failed included; what
    is not found there may have been asked by somebody else then. An answer that is used is taken
    out of the message: it goes on in the trace of the hop that used it.
    """

    def __init__(self, replay: Replay, actor: str, nth: int, turn_at: datetime) -> None:
        self.pace = replay.pace
        self.live = EVERYBODY in replay.live or actor in replay.live
        own = [hop for hop in replay.hops if hop.actor == actor]
        self._own = own[nth] if nth < len(own) else None
        self._hops = replay.hops
        self.now = self._own.started_at if self._own else turn_at
        """When the hop was made in the recording; of one that was not, when the customer wrote."""

    @classmethod
    def of(cls, message: Message, actor: str) -> "Answers | None":
        """Return the answers for the hop that `actor` is about to make; None out of a replay."""
        if message.replay is None:
            return None
        made = sum(1 for hop in message.trace if hop.actor == actor)
        return cls(message.replay, actor, made, message.payload.at)

    def take(self, target: str, request: Json) -> Exchange | None:
        """Return the recorded exchange with the same question; None if nobody asked it."""
        asked = to_jsonable_python(request)
        for hop in self._in_order():
            for place, exchange in enumerate(hop.exchanges):
                if exchange.target == target and exchange.request == asked:
                    return hop.exchanges.pop(place)
        return None

    def _in_order(self) -> Iterator[RecordedHop]:
        if self._own is not None:
            yield self._own
        yield from (hop for hop in self._hops if hop is not self._own)


def failure(recorded: str) -> Exception:
    """Return the error that an exchange ended with, from how the trace writes it."""
    kind, _, text = recorded.partition(": ")
    known = _KNOWN_FAILURES.get(kind)
    return MeshError(recorded) if known is None else known(text)


def recorded_hops(trace: list[Hop]) -> list[RecordedHop]:
    """Return what a replay needs of a trace."""
    return [
        RecordedHop(actor=hop.actor, started_at=hop.started_at, exchanges=hop.exchanges)
        for hop in trace
    ]
