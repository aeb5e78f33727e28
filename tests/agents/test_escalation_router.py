"""The last resort: once more, an honest reply, or a colleague. And it always comes to an end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.escalation_router import choose, handle, retried, suggest_reply, summarize
from agents.shop import Shop
from mocks.cast import ANGRY, CAST, VIP
from streams.errors import MeshError
from streams.message import Failure, Hop, Message, Recovery
from streams.payload import (
    ActionResult,
    Context,
    Execution,
    Guardrail,
    Intent,
    IntentName,
    Json,
    Order,
    Parcel,
    PastIssue,
    Payload,
    Plan,
    PlannedAction,
    Response,
    Sentiment,
    Utterance,
    Verdict,
)
from streams.settings import Settings
from streams.slip import (
    ACT_AND_ANSWER,
    ANSWER,
    CLOSE,
    CONVERSATION,
    ESCALATION_ROUTER,
    EXECUTION_COORDINATOR,
    NEW_TURN,
    RESPONSE_AGGREGATOR,
    RouteSlip,
)
from streams.topics import MAILBOXES, actor_name
from streams.trace import recording
from tests.agents.conftest import NOW, ShopFront

TRACE = PlannedAction(
    id="trace-T1",
    kind="trace_parcel",
    order_id="#W7000101",
    text="ask Swiftline to look for parcel T1",
)
TRACED = ActionResult(
    action_id="trace-T1",
    kind="trace_parcel",
    ok=True,
    order_id="#W7000101",
    detail={"investigation_id": "IN-1", "answer_by": "2025-06-23T17:00:00Z"},
    idempotency_key="trace-T1",
)


def context(who: str | None = ANGRY) -> Context:
    if who is None:
        return Context()
    member = CAST[who]
    return Context.model_validate(
        {
            "customer": {
                "id": member.customer_id,
                "name": {"first_name": member.first_name, "last_name": member.last_name},
                "email": member.email,
                "tier": member.tier,
                "payment_methods": [
                    {"id": "c", "source": "credit_card", "brand": "visa", "last_four": "7001"}
                ],
            },
            "orders": [
                Order(
                    id=member.order_ids[0],
                    customer_id=member.customer_id,
                    status="shipped",
                    total=149.0,
                    items=[{"name": "Headset"}],
                    payments=[
                        {"type": "payment", "amount": 149.0, "method_id": "c", "status": "settled"}
                    ],
                )
            ],
            "parcels": [
                Parcel.model_validate(
                    {
                        "tracking_id": "T1",
                        "order_id": member.order_ids[0],
                        "carrier": "Swiftline",
                        "status": "delayed",
                        "promised_delivery": "2025-06-14",
                        "estimated_delivery": "2025-06-20",
                    }
                )
            ],
            "past_issues": [
                PastIssue(id="IS-1", opened_at=NOW, subject="Late parcel", status="closed")
            ],
            "focus": [member.order_ids[0]],
        }
    )


def angry() -> Sentiment:
    return Sentiment(
        label="negative", score=-0.9, emotions=["anger"], urgency="high", complaint=True
    )


def message(
    *, error: Failure | None = None, recovery: Recovery | None = None, **slots: Any
) -> Message:
    slots.setdefault("context", context())
    slots.setdefault("intent", Intent(name=IntentName.DELIVERY_DELAY, confidence=0.9, also=[]))
    payload = Payload(
        text="Where is my headset? This is the second time I ask!",
        email="dagny.okafor@example.com",
        at=NOW,
        **slots,
    )
    slip = RouteSlip(steps=(ESCALATION_ROUTER,)).advance()
    return Message(
        id="turn-1",
        session_id="s",
        slip=slip,
        payload=payload,
        error=error,
        recovery=recovery or Recovery(),
    )


def failure(subject: str, kind: str = "KeyError", text: str = "boom") -> Failure:
    return Failure(actor=actor_name(subject), kind=kind, text=text, at=NOW)


def tried_before(subject: str) -> Recovery:
    return Recovery(attempts={f"escalation_router:{actor_name(subject)}": 1})


@pytest.fixture
async def no_shop(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shop that is down."""
    monkeypatch.setattr("agents.shop.RETRY_DELAY", 0.0)
    client = Shop(Settings(customers_url="http://127.0.0.1:1"))
    await client.start()
    yield client
    await client.close()


# Once more


@pytest.mark.parametrize("subject", [s for s in MAILBOXES if s != ESCALATION_ROUTER])
async def test_a_failure_that_may_pass_is_tried_once_more(no_shop: Shop, subject: str) -> None:
    came = message(error=failure(subject))
    again = await handle(came, no_shop)
    assert again.slip.next() == subject
    assert again.error is None
    assert again.payload.escalation is not None
    assert again.payload.escalation.kind == "retry"
    assert again.recovery.attempts == {f"escalation_router:{actor_name(subject)}": 1}
    assert came.recovery.attempts == {}


@pytest.mark.parametrize(
    ("subject", "plan", "steps"),
    [
        (NEW_TURN[1], None, NEW_TURN[1:]),
        (NEW_TURN[4], None, NEW_TURN[4:]),
        (EXECUTION_COORDINATOR, Plan(actions=[TRACE]), ACT_AND_ANSWER),
        (
            EXECUTION_COORDINATOR,
            Plan(actions=[TRACE], escalate="VIP"),
            (EXECUTION_COORDINATOR, ESCALATION_ROUTER),
        ),
        (ANSWER[1], Plan(), ANSWER[1:]),
        (RESPONSE_AGGREGATOR, Plan(), CLOSE),
    ],
)
def test_a_retry_goes_on_where_the_route_broke_off(
    subject: str, plan: Plan | None, steps: tuple[str, ...]
) -> None:
    assert retried(message(error=failure(subject), plan=plan), "x").slip.steps == steps


@pytest.mark.parametrize(
    "error",
    [
        failure(NEW_TURN[3], "ShopUnavailable"),
        failure(NEW_TURN[3], "UnknownSubject"),
        failure(NEW_TURN[3], "HopLimitExceeded"),
        failure("mesh.nobody"),
        failure(ESCALATION_ROUTER),
    ],
)
def test_what_would_be_the_same_again_is_not_tried_again(error: Failure) -> None:
    assert choose(message(error=error))[0] != "retry"


def test_a_second_failure_of_the_same_actor_is_not_tried_again() -> None:
    came = message(error=failure(NEW_TURN[2]), recovery=tried_before(NEW_TURN[2]))
    assert choose(came)[0] == "handover"
    other = message(error=failure(NEW_TURN[3]), recovery=tried_before(NEW_TURN[2]))
    assert choose(other)[0] == "retry"


def test_where_closing_fails_again_the_dead_letters_are_next() -> None:
    again = retried(message(error=failure(RESPONSE_AGGREGATOR)), "x")
    assert again.slip.on_error == RESPONSE_AGGREGATOR, "its own way out: the mailbox buries it"
    came = message(error=failure(RESPONSE_AGGREGATOR), recovery=tried_before(RESPONSE_AGGREGATOR))
    with pytest.raises(MeshError, match="cannot be closed"):
        choose(came)


# An honest reply


async def test_while_the_customers_data_cannot_be_seen(no_shop: Shop) -> None:
    came = message(error=failure(NEW_TURN[3], "ShopUnavailable"), context=None)
    closed = await handle(came, no_shop)
    assert closed.slip.steps == CLOSE
    assert closed.payload.escalation is not None
    assert closed.payload.escalation.kind == "fallback"
    assert closed.payload.response is not None
    assert closed.payload.response.source == "template"
    assert "cannot look up your data" in closed.payload.response.text
    assert "Nothing was changed." in closed.payload.response.text


@pytest.mark.parametrize(
    "slots",
    [
        {"sentiment": Sentiment(label="negative", score=-0.5, escalation=True)},
        {"sentiment": Sentiment(label="negative", score=-0.5, urgency="critical")},
        {"intent": Intent(name=IntentName.HUMAN_AGENT, confidence=0.9)},
        {"plan": Plan(actions=[TRACE])},
    ],
)
def test_what_cannot_wait_goes_to_a_person(slots: Json) -> None:
    came = message(error=failure(NEW_TURN[3], "ShopUnavailable"), **slots)
    assert choose(came)[0] == "handover"


# The handover


async def test_a_handover_opens_a_ticket_and_says_so(front: ShopFront, shop: Shop) -> None:
    came = message(
        plan=Plan(actions=[TRACE], escalate="the customer is very angry about a repeated issue"),
        execution=Execution(results=[TRACED]),
        sentiment=angry(),
    )
    closed = await handle(came, shop)
    escalation, response = closed.payload.escalation, closed.payload.response
    assert escalation is not None
    assert response is not None
    assert closed.slip.steps == CLOSE
    assert escalation.kind == "handover"
    (ticket, *_) = await shop.issues(CAST[ANGRY].customer_id)
    assert escalation.ticket == ticket.id
    assert ticket.order_id == "#W7000101"
    assert (ticket.model_extra or {})["text"] == escalation.summary
    assert response.text == (
        "I am sorry for the trouble you are having with this. "
        "Parcel T1 of order #W7000101 was promised for June 14 and is now expected on June 20. "
        "The carrier has been asked to look for the parcel of order #W7000101 (number IN-1). "
        f"I am handing this over to our team: they have ticket {ticket.id} and can see our "
        "conversation. They will get in touch with you by e-mail."
    )
    assert response.facts
    # The same message again, after a crash: the same ticket.
    again = await handle(came, shop)
    assert again.payload.escalation == escalation
    assert [call.key for call in front.calls if call.method == "POST"] == ["s-turn-1-handover"] * 2


async def test_a_handover_happens_while_the_shop_is_down(no_shop: Shop) -> None:
    came = message(plan=Plan(escalate="the customer asked for a person"))
    with recording(Hop(actor="escalation_router", started_at=NOW)) as hop:
        closed = await handle(came, no_shop)
    assert closed.payload.escalation is not None
    assert closed.payload.escalation.kind == "handover"
    assert closed.payload.escalation.ticket is None
    assert closed.payload.response is not None
    assert "ticket" not in closed.payload.response.text
    assert hop.notes[0].startswith("no ticket: customers: POST")


async def test_a_shop_that_refuses_the_ticket_does_not_stop_the_handover(shop: Shop) -> None:
    stranger = context().model_copy(update={"focus": ["#W7000201"]})
    closed = await handle(message(plan=Plan(escalate="x"), context=stranger), shop)
    assert closed.payload.escalation is not None
    assert (closed.payload.escalation.kind, closed.payload.escalation.ticket) == ("handover", None)


async def test_who_is_not_known_is_handed_over_without_a_ticket(
    front: ShopFront, shop: Shop
) -> None:
    closed = await handle(message(plan=Plan(escalate="x"), context=context(None)), shop)
    assert closed.payload.escalation is not None
    assert closed.payload.escalation.ticket is None
    assert front.calls == []


async def test_who_asked_for_a_person_gets_no_apology(no_shop: Shop) -> None:
    wish = Intent(name=IntentName.HUMAN_AGENT, confidence=0.9)
    closed = await handle(message(plan=Plan(escalate="asked"), intent=wish), no_shop)
    assert closed.payload.response is not None
    assert closed.payload.response.text.startswith("I am handing this over to our team")


async def test_a_reply_that_never_passed_is_not_shown(no_shop: Shop) -> None:
    came = message(
        plan=Plan(),
        response=Response(text="You get 1000 dollars!", source="model"),
        guardrail=Guardrail(
            passed=False, verdicts=[Verdict(check="promises", passed=False, reason="invented")]
        ),
    )
    closed = await handle(came, no_shop)
    assert closed.payload.response is not None
    assert "1000" not in closed.payload.response.text
    assert closed.payload.escalation is not None
    assert closed.payload.escalation.reason == "no reply passed the checks: promises: invented"
    assert "You get 1000 dollars!" in closed.payload.escalation.summary


async def test_what_may_have_been_done_is_said(no_shop: Shop) -> None:
    came = message(
        error=failure(EXECUTION_COORDINATOR, "ShopUnavailable"), plan=Plan(actions=[TRACE])
    )
    closed = await handle(came, no_shop)
    assert closed.payload.response is not None
    assert (
        "cannot tell yet whether it went through: ask Swiftline to look for parcel T1"
        in closed.payload.response.text
    )
    assert closed.payload.escalation is not None
    assert "Must be checked, may be done" in closed.payload.escalation.summary


async def test_what_was_refused_is_said(no_shop: Shop) -> None:
    no = TRACED.model_copy(update={"ok": False, "detail": {}, "error": "too old"})
    came = message(plan=Plan(actions=[TRACE], escalate="x"), execution=Execution(results=[no]))
    closed = await handle(came, no_shop)
    assert closed.payload.response is not None
    assert "This I could not do: ask Swiftline" in closed.payload.response.text


# What the colleague reads


def test_the_summary_says_who_what_how_and_what_was_tried() -> None:
    came = message(
        plan=Plan(actions=[TRACE], reasons=["parcel T1 is 4 days late"]),
        execution=Execution(results=[TRACED]),
        sentiment=angry(),
        history=[Utterance(role="customer", text="Where is it?", at=NOW)],
    )
    came.payload.context = context().model_copy(update={"missing": ["products: HTTP 503"]})
    assert summarize(came, "very angry").splitlines() == [
        "Why: very angry",
        "Customer: Dagny Okafor (standard), dagny.okafor@example.com, id dagny_okafor_7001",
        "Wants: delivery_delay: “Where is my headset? This is the second time I ask!”",
        "Mood: negative (-0.90), anger; urgency high",
        "Order #W7000101: shipped, Headset, total $149.00; payment of $149.00 (settled) by "
        "the Visa card ending in 7001; parcel T1 with Swiftline: delayed (late), "
        "promised 2025-06-14, expected 2025-06-20",
        "Earlier issue IS-1 (closed, 2025-06-18): Late parcel",
        "Done: trace_parcel #W7000101 (investigation id: IN-1; answer by: 2025-06-23T17:00:00Z)",
        "Found: parcel T1 is 4 days late",
        "Not known: products: HTTP 503",
        "Before: customer: Where is it?",
    ]


def test_the_suggested_reply_begins_with_the_facts() -> None:
    came = message(
        plan=Plan(actions=[TRACE]), execution=Execution(results=[TRACED]), sentiment=angry()
    )
    text = suggest_reply(came.payload)
    assert text.startswith("Hello Dagny, I have taken over from our assistant. I am sorry")
    assert "order #W7000101, which is shipped" in text
    assert "promised for June 14 and is now expected on June 20" in text
    assert "(number IN-1)" in text
    assert suggest_reply(Payload(text="?", at=NOW)).startswith("Hello,")


def test_a_long_story_is_cut_but_not_the_reason() -> None:
    came = message(history=[Utterance(role="bot", text="x" * 5000, at=NOW)] * 10)
    summary = summarize(came, "because")
    assert summary.startswith("Why: because\n")
    assert len(summary) < 4000


# It always comes to an end


slots = st.fixed_dictionaries(
    {
        "context": st.sampled_from([None, context(), context(VIP), Context(missing=["orders: x"])]),
        "intent": st.none()
        | st.builds(
            Intent,
            name=st.sampled_from(list(IntentName)),
            confidence=st.floats(0, 1),
            also=st.just([]),
            entities=st.just([]),
            alternatives=st.just([]),
        ),
        "sentiment": st.sampled_from([None, angry()]),
        "plan": st.sampled_from(
            [None, Plan(), Plan(actions=[TRACE]), Plan(actions=[TRACE], escalate="x")]
        ),
        "execution": st.sampled_from([None, Execution(results=[TRACED])]),
        "guardrail": st.sampled_from([None, Guardrail(passed=False), Guardrail(passed=True)]),
    }
)
subjects = st.sampled_from([s for s in MAILBOXES if s != ESCALATION_ROUTER])
error_kinds = st.sampled_from(["KeyError", "ShopUnavailable", "UnknownSubject", "TimeoutError"])


@given(slots, st.lists(st.tuples(subjects, error_kinds), max_size=25))
def test_whatever_fails_however_often_the_turn_is_closed_or_buried(
    filled: Json, failures: list[tuple[str, str]]
) -> None:
    came = message(**filled)
    retries = 0
    for subject, kind in failures:
        came = came.model_copy(update={"error": failure(subject, kind)})
        try:
            way, reason = choose(came)
        except MeshError:
            return  # buried, for people to redrive
        if way != "retry":
            assert summarize(came, reason)
            assert suggest_reply(came.payload)
            return
        retries += 1
        came = retried(came, reason)
        assert came.slip.next() == subject
    assert retries <= len(MAILBOXES)


def test_the_first_actor_may_be_tried_again_too() -> None:
    assert retried(message(error=failure(CONVERSATION)), "x").slip.steps == NEW_TURN


async def test_who_writes_too_fast_is_asked_to_wait(no_shop: Shop) -> None:
    came = message(error=failure(NEW_TURN[0], "TooManyWaiting"))
    closed = await handle(came, no_shop)
    assert closed.payload.response is not None
    assert closed.payload.response.text.startswith("I am still working on your earlier messages")
    assert closed.payload.escalation is not None
    assert closed.payload.escalation.kind == "fallback"
