"""What became of the turns that went through this process: health is judged by answers.

A broker that answers and workers that are there do not mean that customers get replies.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 60.0
FORGET_AFTER: Final = 600.0


@dataclass(frozen=True)
class Turns:
    """How turns fared lately."""

    waiting: int
    late: int
    failing: bool  # the newest news is a turn without an answer


class TurnWatch:
    """Notes when a turn was sent and answered, and which turns had no answer in time."""

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._sent: dict[str, float] = {}
        self._late: deque[float] = deque()  # when turns became late
        self._overdue: dict[str, float] = {}  # late turns that somebody still waits for
        self._answered = float("-inf")

    def sent(self, turn: str) -> None:
        """Begin to wait for the answer to `turn`."""
        if turn not in self._overdue:
            self._sent.setdefault(turn, self._clock())

    def answered(self, turn: str) -> None:
        """End the wait: the answer came."""
        self._sort()
        known = self._sent.pop(turn, None) is not None
        if self._overdue.pop(turn, None) is not None or known:
            self._answered = self._clock()

    def gave_up(self, turn: str) -> None:
        """End the wait as one that took too long; the turn is late from now on."""
        self._sort()
        if self._sent.pop(turn, None) is not None:
            self._late.append(self._clock())
        self._overdue.pop(turn, None)

    def forget(self, turns: Iterable[str]) -> None:
        """End the wait without a verdict: nobody is there any more to see the answer."""
        self._sort()
        for turn in turns:
            self._sent.pop(turn, None)
            self._overdue.pop(turn, None)

    def look(self) -> Turns:
        """Return how turns fare now."""
        self._sort()
        late = len(self._late) + sum(
            1 for since in self._overdue.values() if since <= self._clock() - WINDOW
        )
        newest = max((*self._late, *self._overdue.values()), default=float("-inf"))
        return Turns(
            waiting=len(self._sent) + len(self._overdue),
            late=late,
            failing=late > 0 and newest >= self._answered,
        )

    def _sort(self) -> None:
        """Move turns whose time is up to the late ones, and drop what is long past."""
        now = self._clock()
        for turn, since in list(self._sent.items()):
            if (due := since + self._patience) <= now:
                del self._sent[turn]
                self._overdue[turn] = due
                self._late.append(due)
        while self._late and self._late[0] <= now - WINDOW:
            self._late.popleft()
        for turn, since in list(self._overdue.items()):
            if since <= now - FORGET_AFTER:
                del self._overdue[turn]
