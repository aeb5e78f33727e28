"""What may be committed is everything up to the first record that is not acknowledged."""

from hypothesis import given
from hypothesis import strategies as st

from streams.bridge.delivered import DeliveredOffsets


@given(
    st.sets(st.integers(1, 10_000), min_size=1)
    .map(sorted)
    .flatmap(lambda offsets: st.tuples(st.just(offsets), st.permutations(offsets)))
)
def test_commits_grow_to_the_first_gap_in_acknowledgements(
    case: tuple[list[int], list[int]],
) -> None:
    offsets, order = case
    delivered = DeliveredOffsets()
    for offset in offsets:
        delivered.add(offset)
    acknowledged: set[int] = set()
    committed: int | None = None
    for offset in order:
        acknowledged.add(offset)
        committable = delivered.committable(acknowledged)
        if committable is not None:
            assert committed is None or committable > committed
            committed = committable
        unfinished = [other for other in offsets if other not in acknowledged]
        limit = unfinished[0] if unfinished else offsets[-1] + 1
        assert committed is None or committed <= limit
        finished = [other for other in offsets if other < limit]
        assert committed == (finished[-1] + 1 if finished else None)
    assert len(delivered) == 0


def test_an_acknowledgement_further_on_commits_nothing() -> None:
    delivered = DeliveredOffsets()
    for offset in (8, 16, 24):
        delivered.add(offset)
    assert delivered.committable({16}) is None
    assert delivered.committable({8, 16}) == 17


def test_what_lies_before_the_committed_offset_does_not_hold_up() -> None:
    delivered = DeliveredOffsets()
    delivered.add(3)
    delivered.add(9)
    assert delivered.committable({9}, committed=5) == 10


def test_a_delivery_can_be_taken_back() -> None:
    delivered = DeliveredOffsets()
    delivered.add(3)
    delivered.add(9)
    delivered.take_back(9)
    assert delivered.committable({3, 9}) == 4
    assert len(delivered) == 0
