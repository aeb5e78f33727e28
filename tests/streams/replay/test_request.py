from typing import Any

import pytest
from pydantic import ValidationError

from streams.replay.request import ReplayRequest, WhatIf

EDIT: dict[str, Any] = {"session_id": "s1", "message_id": "m1", "hop": 4, "slots": {}}


def test_what_a_page_sends_comes_back_as_it_was() -> None:
    request = ReplayRequest.model_validate(
        {
            "session": "s1",
            "since": "2026-01-01T00:00:00Z",
            "intent": "cancel_order",
            "live": ["response_generator"],
            "what_if": EDIT | {"slots": {"guardrail": None, "plan": {"ask": "Which one?"}}},
        }
    )

    assert ReplayRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"live": ["nobody"]}, "there is no actor 'nobody'"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "later than"),
        ({"session": "other", "what_if": EDIT}, "another session"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"intent": "dance"}, "Input should be"),
        ({"sorce": "x"}, "not permitted"),
    ],
)
def test_what_cannot_be_replayed_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ReplayRequest.model_validate(wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"slots": {"text": "other words"}}, "no actor fills 'text'"),
        ({"slots": {"plan": {"actions": "all"}}}, "plan.actions"),
        ({"steps": ["mesh.nowhere"]}, "no mailbox owns 'mesh.nowhere'"),
        ({"steps": []}, "at least 1 item"),
        ({"hop": -1}, "greater than or equal to 0"),
    ],
)
def test_an_edit_that_no_actor_could_have_made_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        WhatIf.model_validate(EDIT | wrong)
