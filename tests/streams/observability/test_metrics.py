from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streams.message import Exchange, Hop, Message
from streams.observability.metrics import Metrics, may_scrape, new_registry
from streams.payload import Payload, Response
from streams.settings import Settings

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def exchange(target: Any, request: dict[str, Any], **fields: Any) -> Exchange:
    return Exchange(target=target, request=request, duration_ms=20, **fields)


def hop(*exchanges: Exchange) -> Hop:
    return Hop(actor="intent_analyzer", started_at=NOW, duration_ms=40, exchanges=list(exchanges))


def answer(**fields: Any) -> dict[str, Any]:
    return {
        "text": "x",
        "finish_reason": "stop",
        "prompt_tokens": 9,
        "completion_tokens": 4,
    } | fields


def test_two_apps_in_a_process_do_not_meet(metrics: Metrics) -> None:
    other = Metrics()
    metrics.hop(hop(), "done")
    labels = {"actor": "intent_analyzer", "outcome": "done"}
    assert value(metrics, "mesh_hops_total", **labels) == 1
    assert value(other, "mesh_hops_total", **labels) == 0
    assert new_registry() is not new_registry()


def test_failures_are_series_before_the_first_one(metrics: Metrics) -> None:
    """An alarm on an increase never rings for a series that begins at 1."""
    assert value(metrics, "mesh_hops_total", actor="conversation", outcome="failed") == 0
    assert value(metrics, "mesh_dead_letters_total", actor="conversation", reason="failed") == 0


def test_calls_to_the_shop_are_timed_by_how_they_ended(metrics: Metrics) -> None:
    order = {"method": "GET", "path": "/orders/W1"}
    metrics.hop(
        hop(
            exchange("orders", order, response={"status": 200, "body": {}}),
            exchange("orders", order, response={"status": 404, "body": {}}),
            exchange("orders", order, error="ShopUnavailable: orders: no answer"),
            exchange("tracking", order, response={"status": 200, "body": {}}),
        ),
        "done",
    )
    for outcome in ("ok", "refused", "failed"):
        labels = {"service": "orders", "outcome": outcome}
        assert value(metrics, "mesh_shop_call_seconds_count", **labels) == 1
        assert value(metrics, "mesh_shop_call_seconds_sum", **labels) == pytest.approx(0.02)
    labels = {"service": "tracking", "outcome": "ok"}
    assert value(metrics, "mesh_shop_call_seconds_count", **labels) == 1


def test_looks_into_the_cache_are_hits_misses_or_failures(metrics: Metrics) -> None:
    look = {"command": "get", "key": "k"}
    metrics.hop(
        hop(
            exchange("cache", look, response={"a": 1}),
            exchange("cache", look),
            exchange("cache", look),
            exchange("cache", look, error="TimeoutError: "),
        ),
        "done",
    )
    found = {r: value(metrics, "mesh_cache_lookups_total", result=r) for r in ("hit", "miss")}
    assert found == {"hit": 1, "miss": 2}
    assert value(metrics, "mesh_cache_lookups_total", result="failed") == 1


def test_a_model_without_a_price_has_no_cost_rather_than_none(metrics: Metrics) -> None:
    priced, own = {"model": "openai/gpt-4o-mini"}, {"model": "hosted_vllm/own"}
    metrics.hop(
        hop(
            exchange("llm", priced, response=answer(cost_usd=0.25)),
            exchange("llm", priced, response=answer(cost_usd=0.5)),
            exchange("llm", own, response=answer()),
            exchange("llm", own, error="ModelUnavailable: no answer within 15 s"),
            # Cut off: of no use, and paid for all the same.
            exchange("llm", priced, response=answer(cost_usd=1), error="ModelUnavailable: cut off"),
        ),
        "done",
    )
    assert value(metrics, "mesh_model_cost_usd_total", **priced) == 1.75
    assert value(metrics, "mesh_model_cost_usd_total", **own) is None
    assert value(metrics, "mesh_model_unpriced_calls_total", **own) == 1
    assert value(metrics, "mesh_model_unpriced_calls_total", **priced) is None
    assert value(metrics, "mesh_model_tokens_total", kind="prompt", **priced) == 27
    assert value(metrics, "mesh_model_tokens_total", kind="completion", **own) == 4
    assert value(metrics, "mesh_model_call_seconds_count", outcome="ok", **priced) == 2
    assert value(metrics, "mesh_model_call_seconds_count", outcome="failed", **priced) == 1
    assert value(metrics, "mesh_model_call_seconds_count", outcome="failed", **own) == 1


def test_counting_does_not_fail_whatever_an_actor_has_recorded(metrics: Metrics) -> None:
    responses: tuple[Any, ...] = ("text", 7, [], {}, None)
    strange = [
        exchange(target, {}, response=response)
        for target in ("llm", "customers", "cache")
        for response in responses
    ]
    metrics.hop(hop(*strange), "done")
    assert value(metrics, "mesh_hop_seconds_count", actor="intent_analyzer") == 1


def test_a_turn_counts_from_the_customers_message_on(metrics: Metrics) -> None:
    payload = Payload(text="hello", at=NOW, response=Response(text="hi", source="template"))
    turn = Message(id="m", session_id="s", payload=payload)
    metrics.turn(turn, (NOW + timedelta(seconds=3)).timestamp())
    metrics.turn(turn, (NOW - timedelta(seconds=3)).timestamp())  # clocks differ
    assert value(metrics, "mesh_turn_seconds_sum", state="answered") == 3
    assert value(metrics, "mesh_turn_seconds_count", state="answered") == 2


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        ("Bearer right", True),
        ("bearer  right ", True),
        ("Bearer wrong", False),
        ("Bearer ", False),
        ("Bearer", False),
        ("Basic right", False),
        ("right", False),
        ("", False),
        ("Bearer rigÿht\udcff", False),
    ],
)
def test_metrics_take_the_token_of_the_settings(authorization: str, allowed: bool) -> None:
    settings = Settings.model_validate({"metrics_token": "right"})
    assert may_scrape(settings, authorization) is allowed
