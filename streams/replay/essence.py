"""What of an actor's output decides something, what only details it, and what varies by itself.

`stable` leaves out what differs between two runs of the same code on the same answers, or between
two shops that do the same: nobody wants to hear of it. `decision` is the part of that by which a
customer is served otherwise. What is between the two is a detail: a weight, a wording, a reason.
"""

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from streams.message import Message
from streams.payload import SLOTS, Json, Payload

_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {
    name: TypeAdapter(field.annotation)
    for name, field in Payload.model_fields.items()
    if name in SLOTS and field.annotation is not None
}

#: What the shop makes up when it does something: another time it is called otherwise.
_MADE_UP: Final = frozenset(
    {
        "ticket",
        "investigation_id",
        "dispute_id",
        "return_id",
        "exchange_id",
        "credit_id",
        "label_url",
    }
)
#: Read off the shop's own clock, or off what else was done to the same account meanwhile.
_CIRCUMSTANCES: Final = frozenset({"expires_at", "answer_by", "balance"})


def stable(slot: str, value: Any) -> Any:
    """Return a slot's JSON value without what varies by itself, defaults filled in."""
    value = _complete(slot, value)
    trim = _STABLE.get(slot)
    return value if trim is None or value is None else _tried(trim, value)


def decision(slot: str, value: Any) -> Any:
    """Return what a stable value decides. Of a slot that this code does not know, all of it."""
    choose = _DECISION.get(slot)
    return value if choose is None or value is None else _tried(choose, value)


def made_up(message: Message) -> dict[str, str]:
    """Return the names that the shop made up in this turn, and which kind of name each is."""
    found: dict[str, str] = {}
    payload = message.payload
    for result in payload.execution.results if payload.execution else []:
        for name in _MADE_UP & result.detail.keys():
            if (value := result.detail[name]) is not None:
                found[str(value)] = name
    if payload.escalation is not None and payload.escalation.ticket:
        found[payload.escalation.ticket] = "ticket"
    return found


def _complete(slot: str, value: Any) -> Any:
    """Return a value as today's code writes it: older recordings lack newer fields."""
    adapter = _ADAPTERS.get(slot)
    if adapter is None:
        return value
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError:
        return value  # from other code; it is compared as it is


def _tried(part: Any, value: Any) -> Any:
    try:
        return part(value)
    except (AttributeError, KeyError, TypeError):
        return value  # of another shape than ours: all of it counts


def _without(value: Json, *names: str) -> Json:
    return {name: inner for name, inner in value.items() if name not in names}


def _actions(actions: list[Json]) -> list[Json]:
    # An action's id is made of session, turn and number: a name, not a decision.
    return [_without(action, "id") for action in actions]


def _stable_history(history: list[Json]) -> list[Json]:
    # When the bot said something is when a worker got to it.
    return [_without(line, "at") for line in history]


def _stable_context(context: Json) -> Json:
    # Whether the cache had it depends on who asked in the seconds before; and sources are asked
    # at the same time, so what is missing stands in the order in which they gave up.
    return {**_without(context, "cached"), "missing": sorted(context["missing"])}


def _stable_plan(plan: Json) -> Json:
    return {**plan, "actions": _actions(plan["actions"]), "confirm": _actions(plan["confirm"])}


def _stable_execution(execution: Json) -> Json:
    results = [
        {
            # Both are made of the turn's id, as an action's id is.
            **_without(result, "action_id", "idempotency_key"),
            "detail": _stable_detail(result["detail"]),
        }
        for result in execution["results"]
    ]
    return {**execution, "results": results}


def _stable_detail(detail: Json) -> Json:
    """Keep that there is such a name, not the name; and not that the shop knew the key already."""
    return {
        name: (value is not None) if name in _MADE_UP else value
        for name, value in detail.items()
        if name != "repeated"
    }


def _stable_guardrail(guardrail: Json) -> Json:
    # The checks do not depend on each other: their order says nothing.
    return {**guardrail, "verdicts": sorted(guardrail["verdicts"], key=lambda one: one["check"])}


def _stable_escalation(escalation: Json) -> Json:
    return {**escalation, "ticket": escalation["ticket"] is not None}


_STABLE: Final = {
    "history": _stable_history,
    "awaiting": _actions,
    "context": _stable_context,
    "plan": _stable_plan,
    "execution": _stable_execution,
    "guardrail": _stable_guardrail,
    "escalation": _stable_escalation,
}


def _no_decision(_: Any) -> None:
    """Count turns and lines as details: what follows from them, the actors decide."""


def _decided_sentiment(sentiment: Json) -> Json:
    # The score and the cues are weights and evidence; what they led to is in the rest.
    return _only(sentiment, "label", "urgency", "complaint", "escalation")


def _decided_intent(intent: Json) -> Json:
    # Also wished for is also wished for, in whatever order. How sure the analyzer was, and where
    # in the text it found what, shows in the plan where it matters.
    return {**_only(intent, "name", "confirmation"), "also": sorted(intent["also"])}


def _decided_context(context: Json) -> Json:
    # What the shop tells is the world, not a decision; whose and which of it was taken is one.
    customer = context["customer"]
    return {
        "customer": None if customer is None else customer["id"],
        "focus": context["focus"],
        "foreign": sorted(context["foreign"]),
    }


def _decided_actions(actions: list[Json]) -> list[Json]:
    # The text is how it is put to the customer; the reply shows it.
    return [_without(action, "text") for action in actions]


def _decided_plan(plan: Json) -> Json:
    return {
        "actions": _decided_actions(plan["actions"]),
        "confirm": _decided_actions(plan["confirm"]),
        "ask": plan["ask"],
        # That a person takes over is decided; why is told in other words by other cues.
        "escalate": plan["escalate"] is not None,
    }


def _decided_execution(execution: Json) -> list[Json]:
    return [
        {
            **_only(result, "kind", "order_id", "ok"),
            "detail": _without(result["detail"], *_CIRCUMSTANCES),
        }
        for result in execution["results"]
    ]


def _decided_guardrail(guardrail: Json) -> Json:
    checks = [{"check": one["check"], "passed": one["passed"]} for one in guardrail["verdicts"]]
    return {"passed": guardrail["passed"], "verdicts": checks}


def _decided_escalation(escalation: Json) -> Json:
    return _only(escalation, "kind", "ticket")


def _decided_response(response: Json) -> str:
    return str(response["text"])


def _only(value: Json, *names: str) -> Json:
    return {name: value[name] for name in names}


_DECISION: Final = {
    "turn": _no_decision,
    "history": _no_decision,
    "awaiting": _decided_actions,
    "sentiment": _decided_sentiment,
    "intent": _decided_intent,
    "context": _decided_context,
    "plan": _decided_plan,
    "execution": _decided_execution,
    "guardrail": _decided_guardrail,
    "escalation": _decided_escalation,
    "response": _decided_response,
}
