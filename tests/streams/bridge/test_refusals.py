"""Which refusals pass, and what people are told to do about them."""

import nats.errors
import nats.js.errors
import pytest

from streams.bridge.refusals import away, explain, passes


@pytest.mark.parametrize(
    ("code", "err_code", "description", "passing"),
    [
        (503, 10008, "JetStream system temporarily unavailable", True),
        (503, 10023, "insufficient resources", True),
        (400, 10002, "resource limits exceeded for account", True),
        (503, 10077, "maximum bytes exceeded", True),
        (503, 10077, "message too large", False),
        (409, 10158, "duplicate message id is in process", True),
        (429, 10167, "too many requests", True),
        (400, 10054, "message size exceeds maximum allowed", False),
        (400, 10071, "wrong last sequence: 3", False),
    ],
)
def test_a_refused_record(code: int, err_code: int, description: str, passing: bool) -> None:
    error = {"code": code, "err_code": err_code, "description": description}
    assert passes(error) is passing
    assert explain(error).startswith(description)


def test_who_must_act_is_told_what_to_do() -> None:
    assert "free space" in explain({"err_code": 10023, "description": "insufficient resources"})
    assert explain({"err_code": 10071, "description": "wrong"}) == "wrong"
    assert explain({}) == "refused"


def test_an_api_request_fails_for_now_or_for_good() -> None:
    api = nats.js.errors.APIError
    assert away(TimeoutError())
    assert away(nats.errors.NoRespondersError())
    assert away(nats.js.errors.ServiceUnavailableError())
    assert away(api(code=503, err_code=10008))
    assert away(api(code=400, err_code=10005, description="no suitable peers, peer offline"))
    assert not away(api(code=400, err_code=10005, description="no suitable peers, tags"))
    assert not away(api(code=503, err_code=10039, description="not enabled for account"))
    assert not away(api(code=503, err_code=10023))
    assert not away(nats.js.errors.NotFoundError(code=404, err_code=10059))
    assert not away(nats.errors.ConnectionClosedError())
    assert not away(ValueError())
