import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import slip
from streams.errors import HopLimitExceeded
from streams.slip import HOP_LIMIT, RouteSlip
from streams.topics import MAILBOXES

subjects = st.sampled_from(MAILBOXES)
steps = st.lists(subjects, max_size=HOP_LIMIT).map(tuple)


@given(steps)
def test_advancing_walks_every_step_in_order_and_ends(route: tuple[str, ...]) -> None:
    walked = []
    current = RouteSlip(steps=route)
    while (subject := current.next()) is not None:
        walked.append(subject)
        current = current.advance()
    assert tuple(walked) == route == current.done
    assert current.steps == ()


@given(steps, steps)
def test_reroute_replaces_what_is_to_come_and_keeps_what_is_behind(
    route: tuple[str, ...], other: tuple[str, ...]
) -> None:
    current = RouteSlip(steps=(slip.CONVERSATION, *route)).advance().reroute(other)
    assert current.steps == other
    assert current.done == (slip.CONVERSATION,)


@given(steps, steps)
def test_insert_goes_before_what_is_to_come(route: tuple[str, ...], first: tuple[str, ...]) -> None:
    assert RouteSlip(steps=route).insert(first).steps == (*first, *route)


def test_a_slip_is_a_value() -> None:
    original = RouteSlip()
    original.advance()
    original.reroute(())
    original.insert((slip.CONVERSATION,))
    assert original == RouteSlip()


def test_a_route_without_an_end_stops_at_the_hop_limit() -> None:
    current = RouteSlip(steps=(slip.DECISION_ROUTER,))
    for _ in range(HOP_LIMIT):
        current = current.advance().insert((slip.DECISION_ROUTER,))
    with pytest.raises(HopLimitExceeded, match=r"32 hops .* next 'mesh.decision_router'"):
        current.advance()


def test_advancing_past_the_end_is_an_error() -> None:
    with pytest.raises(IndexError):
        RouteSlip(steps=()).advance()


@given(steps, steps, subjects)
def test_slips_survive_json(done: tuple[str, ...], route: tuple[str, ...], on_error: str) -> None:
    original = RouteSlip(steps=route, done=done, on_error=on_error)
    assert RouteSlip.model_validate_json(original.model_dump_json()) == original


def test_the_standard_slips_name_mailboxes_that_exist() -> None:
    for standard in (
        slip.NEW_TURN,
        slip.ACT_AND_ANSWER,
        slip.ANSWER,
        slip.ESCALATE,
        slip.CLOSE,
        (RouteSlip().on_error,),
    ):
        assert set(standard) <= set(MAILBOXES)
