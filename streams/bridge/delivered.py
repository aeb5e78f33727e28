"""Which offset of a partition may be committed, when offsets have gaps."""

from collections import deque
from collections.abc import Set


class DeliveredOffsets:
    """The offsets of one partition that were delivered and are not committed, in order.

    Stream sequences are shared by all partitions of a topic, so a partition's offsets have gaps
    that mean nothing. What may be committed is therefore not found by counting but by order of
    delivery: everything up to the first delivered record that is not acknowledged yet.
    """

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, offset: int) -> None:
        """Note a delivery; offsets must grow."""
        self._waiting.append(offset)

    def take_back(self, offset: int) -> None:
        """Undo the last `add`: the record was not delivered after all."""
        if self._waiting and self._waiting[-1] == offset:
            self._waiting.pop()

    def committable(self, acknowledged: Set[int], committed: int | None = None) -> int | None:
        """Remove what is finished from the front; return the offset to read next, or None.

        Finished is what is in `acknowledged`, and what lies before `committed` (a record read
        again on purpose; nobody notes its acknowledgement a second time). None means that
        nothing was finished since the last call.
        """
        waiting = self._waiting
        finished: int | None = None
        while waiting and (
            waiting[0] in acknowledged or (committed is not None and waiting[0] < committed)
        ):
            finished = waiting.popleft()
        return None if finished is None else finished + 1
