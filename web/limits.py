"""How many messages a session may send: a sliding minute, kept in memory by each process."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

WINDOW: Final = 60.0


class RateLimit:
    """Counts the messages of every session that was active in the last minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._sent: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()

    def take(self, session_id: str, message_id: str) -> float:
        """Count a message and return 0, or return the seconds until the next one is welcome.

        A message that is sent again under its id counts once: a client that retries because we
        failed it is not to be punished for that.
        """
        now = self._clock()
        self._forget_before(now - WINDOW)
        sent = self._sent.setdefault(session_id, deque())
        while sent and sent[0][0] <= now - WINDOW:
            sent.popleft()
        if any(known == message_id for _, known in sent):
            return 0.0
        if len(sent) >= self._per_minute:
            return sent[0][0] + WINDOW - now
        sent.append((now, message_id))
        self._sent.move_to_end(session_id)
        return 0.0

    def __len__(self) -> int:
        return len(self._sent)

    def _forget_before(self, horizon: float) -> None:
        # Sessions lie in the order of their last message, so the idle ones come first.
        while self._sent:
            session_id, sent = next(iter(self._sent.items()))
            if sent and sent[-1][0] > horizon:
                return
            del self._sent[session_id]
