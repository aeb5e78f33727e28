"""A turn as the journal keeps it, with every slot filled and every kind of hop, to change."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from streams.message import Exchange, Hop, Message
from streams.payload import Json, Payload
from streams.slip import RouteSlip

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ACTION: Json = {
    "id": "s1-m1-1",
    "kind": "refund_amount",
    "order_id": "#W1",
    "arguments": {"amount": 19.5},
    "confirm": True,
    "text": "refund $19.50",
}
FILLED: dict[str, Json] = {
    "conversation": {
        "turn": 2,
        "history": [
            {"role": "customer", "text": "My parcel is late.", "at": "2026-03-02T09:20:00Z"},
            {"role": "bot", "text": "Shall I refund $19.50?", "at": "2026-03-02T09:20:01Z"},
        ],
        "awaiting": [ACTION],
    },
    "sentiment_analyzer": {
        "sentiment": {"label": "negative", "score": -0.4, "emotions": ["worry"], "cues": ["late"]}
    },
    "intent_analyzer": {
        "intent": {
            "name": "refund_status",
            "confidence": 0.9,
            "also": ["complaint", "delivery_delay"],
            "entities": [{"type": "order_id", "value": "#W1", "start": 3, "end": 6}],
            "confirmation": "yes",
            "source": "model",
        }
    },
    "context_retriever": {
        "context": {
            "customer": {"id": "c1", "name": {"first_name": "Ada"}, "email": "ada@example.com"},
            "orders": [{"id": "#W1", "customer_id": "c1", "status": "shipped", "total": 80}],
            "focus": ["#W1"],
            "foreign": ["#W9"],
            "missing": ["parcels of #W1: no answer", "products: no answer"],
            "cached": ["orders"],
        }
    },
    "decision_router": {"plan": {"actions": [ACTION], "reasons": ["the customer said yes"]}},
    "execution_coordinator": {
        "execution": {
            "results": [
                {
                    "action_id": "s1-m1-1",
                    "kind": "refund_amount",
                    "ok": True,
                    "order_id": "#W1",
                    "detail": {"refund_amount": 19.5, "ticket": "T-7", "balance": 3},
                    "idempotency_key": "s1-m1-1",
                }
            ]
        }
    },
    "response_generator": {
        "response": {
            "text": "I have refunded $19.50 for order #W1. It will reach you within five days, "
            "and your ticket is T-7.",
            "source": "model",
            "facts": ["the customer said yes"],
        }
    },
    "guardrail_validator": {
        "guardrail": {
            "passed": True,
            "verdicts": [
                {"check": "facts", "passed": True},
                {"check": "tone", "passed": True, "reason": "polite"},
            ],
        }
    },
    "escalation_router": {
        "escalation": {"kind": "handover", "reason": "asked for", "ticket": "T-8"}
    },
    "response_aggregator": {},
}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "refund?"}]}


def a_turn() -> Message:
    """Return a finished turn."""
    trace = [
        Hop(
            actor=actor,
            started_at=AT + timedelta(seconds=place),
            duration_ms=10,
            added=_written(added),
        )
        for place, (actor, added) in enumerate(FILLED.items())
    ]
    trace[4].outcome = "rerouted"
    trace[2].exchanges = [_answer("llm", ASKED, {"text": "{}", "prompt_tokens": 5, "cost_usd": 1})]
    trace[3].exchanges = [
        _answer("cache", {"get": "orders"}, None),
        _answer("orders", {"method": "GET", "path": "/orders"}, {"status": 200, "body": {}}),
    ]
    trace[5].exchanges = [_answer("orders", {"method": "POST", "path": "/orders/1/refund"}, {})]
    slots = {slot: value for hop in trace for slot, value in hop.added.items()}
    return Message(
        id="m1",
        session_id="s1",
        slip=RouteSlip(steps=()),
        payload=Payload.model_validate({"text": "Yes please", "at": AT, **slots}),
        trace=trace,
    )


def _answer(target: Any, request: Json, response: Any) -> Exchange:
    return Exchange(target=target, request=request, response=response, duration_ms=5)


def _written(added: Json) -> Json:
    """Return slots as a mailbox writes them: with all that they hold by default."""
    payload = Payload.model_validate({"text": "", "at": AT, **added})
    return payload.model_dump(mode="json", include=set(added))


def edited(message: Message, place: int, edit: Callable[[Json], None]) -> Message:
    """Return a copy where a hop's output, and the payload after it, are changed by `edit`."""
    copy = message.model_copy(deep=True)
    added = json.loads(json.dumps(copy.trace[place].added))
    edit(added)
    copy.trace[place].added = added
    slots = {slot: value for hop in copy.trace for slot, value in hop.added.items()}
    words = copy.payload.model_dump(include={"text", "at", "email", "channel"})
    copy.payload = Payload.model_validate({**words, **slots})
    return copy


def place_of(actor: str) -> int:
    """Return the place of an actor's hop."""
    return list(FILLED).index(actor)
