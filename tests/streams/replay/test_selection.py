from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from streams.message import Message
from streams.payload import IntentName
from streams.replay.selection import Selection
from tests.streams.replay.turns import AT, finished


@pytest.mark.parametrize(
    ("wanted", "turn", "other"),
    [
        ({"session": "s1"}, finished(), finished(session="s2")),
        ({"since": AT}, finished(), finished(minutes=-1)),
        ({"until": AT}, finished(), finished(minutes=1)),
        (
            {"intent": "refund_status"},
            finished(intent=IntentName.REFUND_STATUS),
            finished(),
        ),
        ({"outcome": "failed"}, finished(reply=None), finished()),
        ({"filter": "payload.text == 'yes'"}, finished(text="yes"), finished(text="no")),
        ({"filter": "trace[?duration_ms > `2`]"}, finished(), None),
    ],
)
def test_a_turn_is_meant_that_fulfils_what_is_given(
    wanted: Any, turn: Message, other: Message | None
) -> None:
    selection = Selection.model_validate(wanted)
    assert selection.matches(turn)
    assert other is None or not selection.matches(other)
    again = Selection.model_validate_json(selection.model_dump_json())
    assert again == selection
    assert again.matches(turn)


def test_everything_that_is_given_counts() -> None:
    both = Selection(since=AT, until=AT + timedelta(minutes=2), session="s1")
    assert both.matches(finished(minutes=1))
    assert not both.matches(finished(minutes=1, session="s2"))
    assert not both.matches(finished(minutes=3))
    assert Selection().matches(finished())


def test_an_expression_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValidationError, match="ends too early"):
        Selection(filter="payload.")


def test_times_without_a_zone_are_local_ones() -> None:
    local = AT.astimezone().replace(tzinfo=None)
    assert Selection(since=local).since == AT
