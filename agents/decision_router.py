"""The first router: what is done about a turn, and where the message goes for it.

It works on a turn twice. First it plans: `decide` is pure, and what it may plan is in
`agents.policy`. After the guardrail it lets the reply go, or sends it back with the reasons, or
gives the turn to the escalation router. Each way leads forward: what is sent back is counted.
"""

from typing import Final

from agents import particulars
from agents.case import Case, Draft, order_in_words
from agents.language import pattern
from agents.particulars import confirmed_by, series
from agents.policy import POLICY, explains
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import IntentName, Payload, Plan, PlannedAction, Utterance
from streams.slip import (
    ACT_AND_ANSWER,
    ANSWER,
    CLOSE,
    DECISION_ROUTER,
    ESCALATE,
    EXECUTION_COORDINATOR,
)
from streams.trace import note

#: Times that a reply is sent back to be written anew before a colleague takes over.
GUARDRAIL_ROUNDS: Final = 2

#: Below this an intent is a guess: we ask, and do nothing.
LOW_CONFIDENCE: Final = 0.4

#: A mood at or below this is very angry.
VERY_ANGRY: Final = -0.6

#: Days in which an earlier issue makes the same trouble a repeated one.
REPEATED_DAYS: Final = 30

CLARIFY: Final = "Could you tell me in other words what I can do for you?"
_CLARIFIED: Final = "in other words what I can do for you"

ASK_ACCOUNT: Final = "Which e-mail address did you order with? I cannot see any orders without it."
ASK_OTHER_ACCOUNT: Final = (
    "I find no account under the e-mail address of this chat. "
    "Which address did you order with? Please start a chat with that one."
)

#: Of these, an order can have only one.
_EXCLUSIVE: Final = frozenset({"cancel_order", "return_items", "exchange_items"})

_NEEDS_NO_ACCOUNT: Final = frozenset(
    {
        IntentName.PRODUCT_QUESTION,
        IntentName.HUMAN_AGENT,
        IntentName.FEEDBACK_THANKS,
        IntentName.OTHER,
    }
)


def decide(payload: Payload, turn_id: str) -> Plan:
    """Return the plan for a turn. Pure: the same payload gives the same plan."""
    case, draft = Case(payload), Draft(turn_id)
    answered = _answer_to_confirmation(case, draft)
    if CALL_BACK.search(case.said):
        draft.hand_over("the customer asks to be called back")
        return _plan(draft)
    listing = particulars.asks_for_orders(payload.text) and case.customer is not None
    if listing:
        _list_orders(case, draft)
    for wish in _wishes_left(case, answered):
        if case.customer is None and wish not in _NEEDS_NO_ACCOUNT:
            draft.ask(ASK_OTHER_ACCOUNT if payload.email else ASK_ACCOUNT)
        elif _is_a_guess(case) and wish is not IntentName.HUMAN_AGENT:
            if not answered and not listing:
                draft.ask(CLARIFY)
                draft.because("what the customer wants is not clear")
        elif wish in POLICY and not explains(case, draft, wish):
            POLICY[wish](case, draft)
    if payload.intent and payload.intent.confirmation == "no":
        _drop_refused(case, draft)
    _one_of_each(draft)
    _weigh_escalation(case, draft)
    _mention_handover(case, draft)
    return _plan(draft)


def _list_orders(case: Case, draft: Draft) -> None:
    """Tell how every order stands, where the wish would not have it told anyway."""
    told = {IntentName.ORDER_STATUS, IntentName.DELIVERY_STATUS, IntentName.DELIVERY_DELAY}
    if told & {*case.wishes()} and not _is_a_guess(case):
        return
    for order in case.focus:
        draft.because(f"order {order_in_words(order)}: {order.status}")
    if not case.focus:
        draft.because("there is no order on your account")


def _drop_refused(case: Case, draft: Draft) -> None:
    """Do not offer once more the very thing that was said no to."""
    refused = [(one.kind, one.order_id, one.arguments) for one in case.payload.awaiting]
    draft.confirm = [
        one for one in draft.confirm if (one.kind, one.order_id, one.arguments) not in refused
    ]


def _mention_handover(case: Case, draft: Draft) -> None:
    """Remind of what our team has been given: they have not forgotten it, nor have we."""
    if draft.colleague or case.wishes() == [IntentName.FEEDBACK_THANKS]:
        return
    for issue in case.context.past_issues:
        if issue.status == "open" and issue.subject.startswith("Handover"):
            draft.because(
                f"there is an open ticket {issue.id} of yours with our team, who will get in "
                "touch by e-mail"
            )
            return


def _plan(draft: Draft) -> Plan:
    """Return the draft as a plan. Who is handed over is not asked anything by the bot."""
    if draft.colleague:
        left = [f"left to a colleague: {action.text}" for action in draft.confirm]
        return Plan(
            # The handover opens a ticket of its own.
            actions=[action for action in draft.actions if action.kind != "open_ticket"],
            escalate="; ".join(draft.colleague),
            reasons=draft.reasons + left,
        )
    return Plan(
        actions=draft.actions,
        confirm=draft.confirm,
        ask=" ".join(draft.asks) or None,
        reasons=draft.reasons,
    )


def _one_of_each(draft: Draft) -> None:
    """Let the customer choose where an order can be only one of cancelled, returned, exchanged."""
    by_order: dict[str | None, list[PlannedAction]] = {}
    for action in draft.confirm:
        if action.kind in _EXCLUSIVE:
            by_order.setdefault(action.order_id, []).append(action)
    for order_id, actions in by_order.items():
        if len(actions) > 1:
            draft.confirm = [action for action in draft.confirm if action not in actions]
            choice = series((action.text for action in actions), "or")
            draft.ask(f"For order {order_id} I can do only one of these: {choice}. Which one?")


# Yes and no


#: The wishes that an action comes from: a "yes" to the action is not that wish once more.
_WISH_OF: Final = {
    "cancel_order": {IntentName.CANCEL_ORDER},
    "modify_address": {IntentName.MODIFY_ORDER, IntentName.PROFILE_UPDATE},
    "modify_items": {IntentName.MODIFY_ORDER, IntentName.EXCHANGE},
    "modify_payment": {IntentName.MODIFY_ORDER, IntentName.PAYMENT_ISSUE},
    "return_items": {IntentName.RETURN_REQUEST, IntentName.COMPLAINT},
    "exchange_items": {IntentName.EXCHANGE, IntentName.COMPLAINT},
    "refund_amount": {
        IntentName.DELIVERY_DELAY,
        IntentName.DELIVERY_STATUS,
        IntentName.ORDER_STATUS,
        IntentName.COMPLAINT,
        IntentName.REFUND_STATUS,
    },
    "redeliver": {
        IntentName.DELIVERY_DELAY,
        IntentName.DELIVERY_STATUS,
        IntentName.ORDER_STATUS,
        IntentName.COMPLAINT,
    },
    "update_profile": {IntentName.PROFILE_UPDATE, IntentName.MODIFY_ORDER},
}


def _answer_to_confirmation(case: Case, draft: Draft) -> bool:
    """Take up what waits for a yes. Return whether the customer answered it."""
    awaiting = case.payload.awaiting
    answer = confirmed_by(case.payload)
    if not awaiting:
        return False
    if answer is None:
        draft.because("the subject changed: what waited for a yes was dropped")
        return False
    if answer == "no":
        draft.because("the customer said no: nothing was done")
        return True
    for action in awaiting:
        if case.customer is None:
            draft.because("who is asking could not be looked up: nothing was done")
        elif action.order_id is None or case.order(action.order_id):
            draft.actions.append(action)
        elif case.lost_in_dark:
            draft.confirm.append(action)
            draft.because(f"order {action.order_id} cannot be reached right now: not done yet")
        else:
            draft.because(f"order {action.order_id} is not one of yours: nothing was done")
    if draft.actions:
        draft.because("the customer said yes")
    return True


def _wishes_left(case: Case, answered: bool) -> list[IntentName]:
    """Return the wishes to plan for: all, or those beyond the answer to a confirmation."""
    wishes = case.wishes()
    awaiting = case.payload.awaiting
    if not answered:
        if wishes in ([], [IntentName.OTHER]) and particulars.picks_all(case.text):
            wishes = _asked_about(case.payload.history)
        return wishes or [IntentName.OTHER]
    if confirmed_by(case.payload) == "no" and _brings_a_detail(case):
        real: list[IntentName] = [wish for wish in wishes if wish != IntentName.OTHER]
        if real:
            return real
        return [_MAIN_WISH[one.kind] for one in awaiting[:1] if one.kind in _MAIN_WISH]
    about = {action.order_id for action in awaiting}
    if case.names_orders and any(order.id not in about for order in case.focus):
        return wishes  # "no, cancel the other one: …"
    spent = {wish for action in awaiting for wish in _WISH_OF.get(action.kind, set())}
    return [wish for wish in wishes if wish not in spent and wish is not IntentName.OTHER]


def _brings_a_detail(case: Case) -> bool:
    """Say whether a "no" tells also what is wanted instead: another item, variant or address."""
    about = {action.order_id for action in case.payload.awaiting}
    items = [item for order in case.focus if order.id in about for item in order.items]
    return bool(
        _DETAIL.search(case.said)
        or particulars.items_named(case.text, items)
        or particulars.address_in(case.text, None)
    )


def _asked_about(history: list[Utterance]) -> list[IntentName]:
    """Return the wish that the bot's last words asked about, if they asked which is meant."""
    said = next((line.text for line in reversed(history) if line.role != "customer"), "")
    return [wish for words, wish in _WHICH.items() if words in said][:1]


_WHICH: Final = {
    "should be cancelled": IntentName.CANCEL_ORDER,
    "should be changed": IntentName.MODIFY_ORDER,
    "should be returned": IntentName.RETURN_REQUEST,
    "would you like to return": IntentName.RETURN_REQUEST,
    "should be exchanged": IntentName.EXCHANGE,
}
_MAIN_WISH: Final = {
    "cancel_order": IntentName.CANCEL_ORDER,
    "modify_address": IntentName.MODIFY_ORDER,
    "modify_items": IntentName.MODIFY_ORDER,
    "modify_payment": IntentName.MODIFY_ORDER,
    "return_items": IntentName.RETURN_REQUEST,
    "exchange_items": IntentName.EXCHANGE,
    "update_profile": IntentName.PROFILE_UPDATE,
}
_DETAIL: Final = pattern(
    "just", "only", "instead", "rather", "first one", "second one", "last one", "size \\w+",
    "the (?:first|second|last)", "except", "keep",
)  # fmt: skip
CALL_BACK: Final = pattern(
    "call(?:ing|ed)? (?:me|us) back", "call-?back",
    "(?:please|can you|could you) (?:call|phone|ring) me",
    "when (?:will|do|are|is) (?:you|someone|somebody|they|a \\w+)(?: going to)? (?:call|phone)",
)  # fmt: skip


def _is_a_guess(case: Case) -> bool:
    intent = case.payload.intent
    return intent is None or intent.confidence < LOW_CONFIDENCE


# When a colleague takes over


def _weigh_escalation(case: Case, draft: Draft) -> None:
    sentiment = case.payload.sentiment
    if sentiment and sentiment.escalation and IntentName.HUMAN_AGENT not in case.wishes():
        cues = f" ({series(sentiment.cues)})" if sentiment.cues else ""
        draft.hand_over(f"the customer's words call for a colleague{cues}")
    if sentiment and sentiment.score <= VERY_ANGRY and _is_repeated(case):
        draft.hand_over("the customer is very angry about a repeated issue")
    if CLARIFY in draft.asks and _asked_to_clarify(case.payload.history):
        draft.hand_over("what the customer wants is not clear for the second time")


def _is_repeated(case: Case) -> bool:
    """Say whether the customer came with the same trouble before, and not long ago."""
    return any(
        issue.status == "open" or (case.today - issue.opened_at.date()).days <= REPEATED_DAYS
        for order in case.focus
        for issue in case.issues(order)
    )


def _asked_to_clarify(history: list[Utterance]) -> bool:
    """Say whether the last thing that the bot said was that it did not understand."""
    said = [utterance.text for utterance in history if utterance.role != "customer"]
    return bool(said) and _CLARIFIED in said[-1]


# The route


def route(message: Message) -> Message:
    """Return the message with its plan, if it had none, and the rest of its slip.

    Pure. A message that comes back without a verdict goes to the escalation router, so that no
    way from here leads here again without being counted.
    """
    payload = message.payload
    if payload.plan is None:
        # A browser may number its turns from 1: only with the session is a turn's id unique.
        plan = decide(payload, f"{message.session_id}-{message.id}")
        return _sent(message, _steps(plan), plan=plan)
    if payload.guardrail is None:
        return _sent(message, ESCALATE)
    if payload.guardrail.passed:
        return _sent(message, CLOSE)
    if message.recovery.guardrail_rounds >= GUARDRAIL_ROUNDS:
        return _sent(message, ESCALATE)
    sent = _sent(message, ANSWER, guardrail=None)
    rounds = message.recovery.guardrail_rounds + 1
    return sent.model_copy(
        update={"recovery": message.recovery.model_copy(update={"guardrail_rounds": rounds})}
    )


def _steps(plan: Plan) -> tuple[str, ...]:
    if plan.escalate is not None:
        return (EXECUTION_COORDINATOR, *ESCALATE) if plan.actions else ESCALATE
    return ACT_AND_ANSWER if plan.actions else ANSWER


def _sent(message: Message, steps: tuple[str, ...], **slots: object) -> Message:
    """Return a copy of the message with some payload slots set anew and its slip rerouted."""
    return message.model_copy(
        update={
            "slip": message.slip.reroute(steps),
            "payload": message.payload.model_copy(update=slots),
        }
    )


def setup(mesh: Mesh) -> None:
    """Register the actor."""

    @mesh.actor(DECISION_ROUTER)
    async def decision_router(message: Message) -> Message:
        guardrail = message.payload.guardrail
        routed = route(message)
        if guardrail is not None and not guardrail.passed:
            note(f"the reply did not pass: {series(guardrail.reasons())}")
        elif routed.payload.plan is not None:
            for reason in routed.payload.plan.reasons:
                note(reason)
        return routed
