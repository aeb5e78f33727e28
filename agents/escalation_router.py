"""The second router: what becomes of a turn that failed, or that needs a person.

A failure that may pass is tried once more. Else the customer gets an honest reply, and, where
somebody should look at it, a colleague takes over: with a ticket in the shop, a summary, and a
reply to begin with. This is the last resort, so it leans on as little as it can: the handover
happens also while the shop is down, only without a ticket.
"""

from typing import Final, Literal

from agents.particulars import dollars, in_words, series
from agents.shop import Shop, is_late, payment_method
from streams.errors import MeshError, ShopRefused, ShopUnavailable
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import (
    ActionResult,
    Context,
    Escalation,
    IntentName,
    Order,
    Payload,
    PlannedAction,
    Response,
)
from streams.slip import (
    ACT_AND_ANSWER,
    ANSWER,
    CLOSE,
    ESCALATE,
    ESCALATION_ROUTER,
    EXECUTION_COORDINATOR,
    NEW_TURN,
    RESPONSE_AGGREGATOR,
)
from streams.topics import actor_name
from streams.trace import note

#: Further tries of a failed actor that this router grants, on top of the mailbox's own.
RETRIES: Final = 1

_TOO_MANY: Final = "TooManyWaiting"

STILL_WORKING: Final = (
    "I am still working on your earlier messages; please wait for my answers, then send this again."
)

#: Failures that would be the same the next time, or that the mailbox has retried enough.
_POINTLESS: Final = frozenset(
    {
        "ShopUnavailable",
        "ShopRefused",
        "UnknownSubject",
        "HopLimitExceeded",
        "Undecodable",
        "NotRecorded",
        _TOO_MANY,
    }
)

#: What the shop takes as the text of a ticket.
_TICKET_TEXT: Final = 4000

_Way = Literal["retry", "fallback", "handover"]


async def handle(message: Message, shop: Shop) -> Message:
    """Return the message with its way out: back to the failed actor, or closed with a reply."""
    way, reason = choose(message)
    if way == "retry":
        return retried(message, reason)
    if way == "fallback":
        escalation = Escalation(kind="fallback", reason=reason)
        waits = message.error is not None and message.error.kind == _TOO_MANY
        text = STILL_WORKING if waits else fallback_reply(message.payload)
        return _closed(message, escalation, text)
    summary = summarize(message, reason)
    ticket = await _open_ticket(message, shop, reason, summary)
    escalation = Escalation(
        kind="handover",
        reason=reason,
        summary=summary,
        suggested_reply=suggest_reply(message.payload),
        ticket=ticket,
    )
    return _closed(message, escalation, handover_reply(message, ticket))


def choose(message: Message) -> tuple[_Way, str]:
    """Return what to do about a turn, and why."""
    payload, failure = message.payload, message.error
    if failure is None:
        return "handover", _reason_without_failure(payload)
    reason = f"{failure.actor}: {failure.kind}: {failure.text}"
    if _rest_from(message) is not None and _may_retry(message):
        return "retry", reason
    if failure.actor == actor_name(RESPONSE_AGGREGATOR):
        # Nothing can be closed where closing fails. The mailbox buries it, for people to redrive.
        raise MeshError(f"the turn cannot be closed: {reason}")
    if failure.kind != _TOO_MANY and _needs_a_person(message):
        return "handover", reason
    return "fallback", reason


def _reason_without_failure(payload: Payload) -> str:
    if payload.plan is not None and payload.plan.escalate:
        return payload.plan.escalate
    if payload.guardrail is not None and not payload.guardrail.passed:
        return f"no reply passed the checks: {'; '.join(payload.guardrail.reasons())}"
    return "the turn was sent here without a reason"


def _needs_a_person(message: Message) -> bool:
    """Say whether an apology is not enough after a failure.

    While the customer's data cannot be looked up, a colleague could do no more than the bot: to
    try again is the honest advice, unless it is urgent or something may have been done by half.
    """
    payload, failure = message.payload, message.error
    before_any_plan = payload.plan is None
    shop_is_down = failure is not None and failure.kind == "ShopUnavailable"
    urgent = payload.sentiment is not None and (
        payload.sentiment.escalation or payload.sentiment.urgency == "critical"
    )
    wants_person = payload.intent is not None and payload.intent.name == IntentName.HUMAN_AGENT
    return not (before_any_plan and shop_is_down) or urgent or wants_person


# Once more


def retried(message: Message, reason: str) -> Message:
    """Return the message on its way back to the actor that failed."""
    counter = _counter(message)
    attempts = {**message.recovery.attempts, counter: _retries_made(message) + 1}
    steps = _rest_from(message) or CLOSE
    slip = message.slip.reroute(steps)
    if steps == CLOSE:
        # If closing fails again, there is no other way out than to the dead letters.
        slip = slip.model_copy(update={"on_error": RESPONSE_AGGREGATOR})
    return message.model_copy(
        update={
            "slip": slip,
            "error": None,
            "recovery": message.recovery.model_copy(update={"attempts": attempts}),
            "payload": message.payload.model_copy(
                update={"escalation": Escalation(kind="retry", reason=reason)}
            ),
        }
    )


def _may_retry(message: Message) -> bool:
    failure = message.error
    return (
        failure is not None and failure.kind not in _POINTLESS and _retries_made(message) < RETRIES
    )


def _counter(message: Message) -> str:
    """Return the name under which this router counts its own tries, beside the mailbox's."""
    return f"{actor_name(ESCALATION_ROUTER)}:{message.error.actor if message.error else ''}"


def _retries_made(message: Message) -> int:
    return message.recovery.attempts.get(_counter(message), 0)


def _rest_from(message: Message) -> tuple[str, ...] | None:
    """Return the slip's rest from the failed actor on; None if it is on no standard slip."""
    failed = message.error.actor if message.error else ""
    plan = message.payload.plan
    act: tuple[str, ...] = ACT_AND_ANSWER
    if plan is not None and plan.escalate:
        act = (EXECUTION_COORDINATOR, *ESCALATE)
    for standard in (NEW_TURN, act, ANSWER, CLOSE):
        for place, subject in enumerate(standard):
            if actor_name(subject) == actor_name(failed):
                return standard[place:]
    return None


# The handover


async def _open_ticket(message: Message, shop: Shop, reason: str, summary: str) -> str | None:
    """Open a ticket in the shop. Without one the handover still stands: the desk has it all."""
    context = message.payload.context or Context()
    if context.customer is None:
        note("no ticket: who is asking is not known")
        return None
    focus = context.focus[0] if len(context.focus) == 1 else None
    try:
        ticket = await shop.open_ticket(
            context.customer.id,
            f"Handover: {reason}"[:200],
            summary[:_TICKET_TEXT],
            focus,
            f"{message.session_id}-{message.id}-handover",
        )
    except (ShopUnavailable, ShopRefused) as error:
        note(f"no ticket: {error}")
        return None
    return ticket.id


def _closed(message: Message, escalation: Escalation, text: str) -> Message:
    """Return the message with its last words, on its way to the exit."""
    response = Response(text=text, source="template", facts=_done_facts(message.payload))
    return message.model_copy(
        update={
            "slip": message.slip.reroute(CLOSE),
            "payload": message.payload.model_copy(
                update={"escalation": escalation, "response": response}
            ),
        }
    )


# What the customer reads. No words of the customer's or the model's are in it: it passes no
# guardrail on its way out.


def handover_reply(message: Message, ticket: str | None) -> str:
    """Return what the customer is told when a colleague takes over."""
    payload = message.payload
    whose = f"ticket {ticket}" if ticket else "your message"
    reach = (
        "They will get in touch with you by e-mail."
        if payload.email
        else "Please tell us your e-mail address, so that they can reach you."
    )
    asked = payload.intent is not None and payload.intent.name == IntentName.HUMAN_AGENT
    parts = [
        "" if asked and message.error is None else _sorry(payload),
        *([] if asked else _known(payload)),
        *_done_in_words(message),
        f"I am handing this over to our team: they have {whose} and can see our conversation. "
        f"{reach}",
    ]
    return " ".join(part for part in parts if part)


def fallback_reply(payload: Payload) -> str:
    """Return what the customer is told when we have to pass for now."""
    parts = [
        "I am sorry, I cannot look up your data at the moment, so I would only be guessing.",
        "Nothing was changed." if payload.execution is None else "",
        "Please try again in a few minutes, or ask for a human agent.",
    ]
    return " ".join(part for part in parts if part)


def _sorry(payload: Payload) -> str:
    sentiment = payload.sentiment
    if sentiment is not None and (sentiment.label == "negative" or sentiment.complaint):
        return "I am sorry for the trouble you are having with this."
    return "I am sorry that I cannot settle this on my own."


def _done_in_words(message: Message) -> list[str]:
    """Say what was done, what was not, and what may have been: nobody may be left to guess."""
    payload = message.payload
    texts = {action.id: action.text for action in payload.plan.actions} if payload.plan else {}
    results = payload.execution.results if payload.execution else []
    done = [_done(result) for result in results if result.ok]
    failed = [_said(result, texts) for result in results if not result.ok]
    said: list[str] = []
    if done:
        said += [f"{one[0].upper()}{one[1:]}." for one in done]
    if failed:
        said.append(f"This I could not do: {series(failed)}.")
    if unsure := _unsure(message):
        what = series(action.text or action.kind.replace("_", " ") for action in unsure)
        said.append(
            f"I had begun with this, and cannot tell yet whether it went through: {what}. "
            "My colleague will check it; there is no need to ask for it again."
        )
    return said


def _unsure(message: Message) -> list[PlannedAction]:
    """Return the actions that were begun when the execution failed."""
    payload, failure = message.payload, message.error
    if payload.execution is not None or payload.plan is None or failure is None:
        return []
    broke_off = actor_name(failure.actor) == actor_name(EXECUTION_COORDINATOR)
    return payload.plan.actions if broke_off else []


#: What was done, as a clause; by kind of action.
_DONE: Final = {
    "cancel_order": "order {order} is cancelled",
    "modify_address": "the address of order {order} is changed",
    "modify_items": "the items of order {order} are changed",
    "modify_payment": "the payment method of order {order} is changed",
    "return_items": "the return of order {order} is set up",
    "exchange_items": "the exchange for order {order} is set up",
    "refund_amount": "a refund for order {order} is under way",
    "open_dispute": "our billing team is checking the payment for order {order}",
    "trace_parcel": "the carrier has been asked to look for the parcel of order {order}",
    "redeliver": "the parcel of order {order} will be delivered again",
    "password_reset": "a link to set a new password is on its way to you",
    "update_profile": "your profile is updated",
    "goodwill_credit": "a credit is on your account",
    "open_ticket": "a ticket is open",
}


def _done(result: ActionResult) -> str:
    """Return what was done as a clause, with the number by which people find it again."""
    clause = _DONE.get(result.kind, f"{result.kind.replace('_', ' ')} is done")
    return clause.format(order=result.order_id or "") + _numbered(result)


def _known(payload: Payload) -> list[str]:
    """Say what we know of the parcels in question: who waits for a person need not wait for it."""
    context = payload.context or Context()
    told = []
    for order in _focus(context):
        for parcel in context.parcels:
            if parcel.order_id != order.id or parcel.delivered_at or not parcel.estimated_delivery:
                continue
            promised = ""
            if is_late(parcel, payload.at.date()) and parcel.promised_delivery:
                promised = f"was promised for {in_words(parcel.promised_delivery)} and "
            told.append(
                f"Parcel {parcel.tracking_id} of order {order.id} {promised}is now expected on "
                f"{in_words(parcel.estimated_delivery)}."
            )
    return told


def _said(result: ActionResult, texts: dict[str, str]) -> str:
    """Return an action in words, with the number by which people find it again."""
    text = texts.get(result.action_id) or result.kind.replace("_", " ")
    return text + _numbered(result)


def _numbered(result: ActionResult) -> str:
    number = next(
        (result.detail[name] for name in _NUMBERS if result.detail.get(name) is not None), None
    )
    return f" (number {number})" if number is not None else ""


_NUMBERS: Final = (
    "ticket",
    "investigation_id",
    "dispute_id",
    "return_id",
    "exchange_id",
    "credit_id",
)


def _done_facts(payload: Payload) -> list[str]:
    results = payload.execution.results if payload.execution else []
    return [
        f"{result.kind} of {result.order_id or 'the account'}: "
        + (_told(result) if result.ok else f"not done, {result.error}")
        for result in results
    ]


def _told(result: ActionResult) -> str:
    told = {name: value for name, value in result.detail.items() if value not in (None, False)}
    return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in told.items())


# What the colleague reads


def summarize(message: Message, reason: str) -> str:
    """Return who wants what, in which mood, on which facts, and what was tried. Only extracts."""
    payload = message.payload
    context = payload.context or Context()
    lines = [
        f"Why: {reason}",
        _who(payload, context),
        _what(payload),
        _mood(payload),
        *(_order_facts(order, payload, context) for order in _focus(context)),
        *(
            f"Earlier issue {issue.id} ({issue.status}, {issue.opened_at:%Y-%m-%d}): "
            f"{issue.subject}"
            for issue in context.past_issues[:3]
        ),
        *_tried(message),
        *(f"Not known: {source}" for source in context.missing),
        *_said_before(payload),
    ]
    return "\n".join(line for line in lines if line)


def _who(payload: Payload, context: Context) -> str:
    customer = context.customer
    if customer is None:
        return f"Customer: not identified ({payload.email or 'no e-mail given'})"
    name = " ".join(customer.name.values())
    since = f", since {customer.since}" if customer.since else ""
    return f"Customer: {name} ({customer.tier}{since}), {customer.email}, id {customer.id}"


def _what(payload: Payload) -> str:
    intent = payload.intent
    wish = "" if intent is None else series(name.value for name in (intent.name, *intent.also))
    return f"Wants: {wish or 'not understood'}: “{_cut(payload.text, 400)}”"


def _mood(payload: Payload) -> str:
    sentiment = payload.sentiment
    if sentiment is None:
        return ""
    emotions = f", {series(sentiment.emotions)}" if sentiment.emotions else ""
    return (
        f"Mood: {sentiment.label} ({sentiment.score:+.2f}){emotions}; urgency {sentiment.urgency}"
    )


def _focus(context: Context) -> list[Order]:
    return [order for order in context.orders if order.id in context.focus][:3]


def _order_facts(order: Order, payload: Payload, context: Context) -> str:
    names = series(str(item.get("name", "")) for item in order.items)
    facts = [
        f"Order {order.id}: {order.status}, {names or 'no items'}, total {dollars(order.total)}"
    ]
    for payment in order.payments:
        method = payment_method(context.customer, payment.get("method_id"))
        facts.append(
            f"{payment.get('type', 'payment')} of {dollars(payment.get('amount'))} "
            f"({payment.get('status')}) by {method}"
        )
    for parcel in context.parcels:
        if parcel.order_id == order.id:
            late = " (late)" if is_late(parcel, payload.at.date()) else ""
            facts.append(
                f"parcel {parcel.tracking_id} with {parcel.carrier}: {parcel.status}{late}, "
                f"promised {parcel.promised_delivery}, expected {parcel.estimated_delivery}"
                + (f", delivered {parcel.delivered_at:%Y-%m-%d}" if parcel.delivered_at else "")
            )
    return "; ".join(facts)


def _tried(message: Message) -> list[str]:
    payload = message.payload
    lines = [
        f"Done: {result.kind} {result.order_id or ''} ({_told(result)})"
        if result.ok
        else f"Refused: {result.kind} {result.order_id or ''}: {result.error}"
        for result in (payload.execution.results if payload.execution else [])
    ]
    lines += [f"Must be checked, may be done: {action.text}" for action in _unsure(message)]
    if payload.plan is not None:
        lines += [f"Found: {one}" for one in payload.plan.reasons]
    if payload.guardrail is not None and payload.response is not None:
        lines.append(f"Reply held back: “{_cut(payload.response.text, 300)}”")
    return lines


def _said_before(payload: Payload) -> list[str]:
    return [f"Before: {line.role}: {_cut(line.text, 160)}" for line in payload.history[-6:]]


def _cut(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def suggest_reply(payload: Payload) -> str:
    """Return a reply that the colleague can begin with: greeting, facts, next step."""
    context = payload.context or Context()
    name = context.customer.name.get("first_name") if context.customer else None
    parts = [f"Hello {name}," if name else "Hello,", "I have taken over from our assistant."]
    if payload.sentiment is not None and payload.sentiment.label == "negative":
        parts.append("I am sorry for the trouble this has caused you.")
    for order in _focus(context):
        parts.append(f"I am looking at your order {order.id}, which is {order.status}.")
    parts += _known(payload)
    results = payload.execution.results if payload.execution else []
    if done := [_done(result) for result in results if result.ok]:
        parts.append(f"This is done already: {series(done)}.")
    return " ".join(parts)


def setup(mesh: Mesh, shop: Shop) -> None:
    """Register the actor."""

    @mesh.actor(ESCALATION_ROUTER)
    async def escalation_router(message: Message) -> Message:
        return await handle(message, shop)
