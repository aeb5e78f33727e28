"""What a reply has to say: from what was found out and done to facts, by pure functions."""

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Final, Literal

from pydantic import BaseModel

from agents import reply_wording as say
from agents.language import lets_it_be, pattern, plain, words
from agents.particulars import (
    asks_what_was_paid,
    describe_address,
    dollars,
    items_named,
    options_in_words,
    options_of,
    variants_of,
)
from agents.shop import double_charges, is_delayed, payment_method
from streams.payload import (
    ActionResult,
    Context,
    IntentName,
    Json,
    Order,
    Parcel,
    Payload,
    Plan,
    PlannedAction,
)

Tone = Literal["apologetic", "warm", "neutral"]

ORDERS_TOLD: Final = 3
PRODUCTS_TOLD: Final = 3


class ReplyBrief(BaseModel):
    """All that a reply may say, in sentences, and how to say it."""

    customer_name: str | None = None
    tone: Tone = "neutral"
    topic: str = "other"
    opening: str | None = None
    must_say: list[str] = []
    facts: list[str] = []
    question: str | None = None
    avoid: list[str] = []

    def sentences(self) -> list[str]:
        """Return everything that the reply may say."""
        said = [self.opening, *self.must_say, *self.facts, self.question]
        return [sentence for sentence in said if sentence]


_ABOUT_ORDERS: Final = frozenset(
    {
        IntentName.DELIVERY_STATUS,
        IntentName.DELIVERY_DELAY,
        IntentName.ORDER_STATUS,
        IntentName.CANCEL_ORDER,
        IntentName.MODIFY_ORDER,
        IntentName.RETURN_REQUEST,
        IntentName.REFUND_STATUS,
        IntentName.EXCHANGE,
        IntentName.BILLING_ISSUE,
        IntentName.PAYMENT_ISSUE,
        IntentName.COMPLAINT,
    }
)
_ABOUT_PARCELS: Final = frozenset(
    {
        IntentName.DELIVERY_STATUS,
        IntentName.DELIVERY_DELAY,
        IntentName.ORDER_STATUS,
        IntentName.COMPLAINT,
    }
)
_ABOUT_MONEY: Final = frozenset({IntentName.BILLING_ISSUE, IntentName.PAYMENT_ISSUE})
_NO_ACCOUNT_NEEDED: Final = frozenset(
    {IntentName.PRODUCT_QUESTION, IntentName.FEEDBACK_THANKS, IntentName.OTHER}
)

CANNOT_DISCUSS: Final = (
    "I can only speak about orders that were placed with the e-mail address of this chat."
)
ASK_EMAIL: Final = "Which e-mail address did you order with?"
WELCOME: Final = "You are welcome."
NOT_DONE: Final = "I have not changed anything."
DROPPED: Final = "What I asked you to confirm before has not been done."
HANDOVER: Final = "A colleague from our team will take over this conversation."
CAN_HELP: Final = (
    "I can look up your orders, parcels and refunds, and help with cancellations, changes, "
    "returns, exchanges and billing."
)
ASK_WISH: Final = "What can I do for you?"
ASK_MORE: Final = "Could you tell me a little more about it, for example the order number?"
NOT_IN_CATALOGUE: Final = (
    "Our catalogue tells me options, prices and availability; other details I do not have."
)

NOT_ON_THE_ORDER: Final = (
    "Your orders tell me options and prices; other details about it I do not have."
)
LEFT_AS_IT_IS: Final = "All right, I leave everything as it is."
ANY_HOUR: Final = "I answer in this chat at any hour; the hours of our team I cannot see."

# How things go, for those who only ask.
_HOW_IT_GOES: Final = {
    IntentName.RETURN_REQUEST: "Orders can be returned within 30 days of their delivery: tell me "
    "the order number and what should go back, and I set it up after your yes.",
    IntentName.EXCHANGE: "Items can be exchanged within 30 days of their delivery: tell me the "
    "order number, the item and what you would like instead, and I set it up after your yes.",
    IntentName.CANCEL_ORDER: "Orders can be cancelled as long as they are pending: tell me the "
    "order number, and I cancel it after your yes.",
    IntentName.MODIFY_ORDER: "Orders can be changed as long as they are pending: tell me the "
    "order number and what should be different, and I change it after your yes.",
}
_ASKS_HOW: Final = pattern(
    "how (?:do|can|does|would|should|could|to)", "how (?:long|many days) do i have",
    "what (?:is|are) (?:the|your) (?:rules?|process|procedure|conditions?)", "polic(?:y|ies)",
    "how (?:do )?returns? work",
    "(?:what's|whats) (?:the|your) (?:rules?|process|procedure)",
)  # fmt: skip
_LIST_ORDERS: Final = pattern(
    r"(?:show|list|see|view|tell|give)(?: me)?(?: all)?(?: of)? (?:about )?my (?:\w+ )?orders",
    "(?:what|which) orders", "my order history", "(?:all|list) (?:of )?my orders",
    "what (?:have|did) i order(?:ed)?", "my orders",
)  # fmt: skip
_MY_OWN: Final = pattern(
    "my", "i (?:have |'ve )?(?:just )?(?:ordered|bought|purchased|paid|got)",
    "i've (?:ordered|bought)",
    "did i (?:pay|order|buy)", "was", "were", "have i paid",
)  # fmt: skip
_OPENING_HOURS: Final = pattern(
    "(?:opening|business|working|office) (?:hours|times)", "hours of operation",
    "(?:are|do) you (?:open|close)",
)  # fmt: skip
_FROM_CATALOGUE: Final = pattern(
    "do you (?:have|sell|stock|carry|offer)", "in stock", "available", "comes? in", "(?:an)?other",
    "(?:what|which) (?:sizes|colou?rs|variants|options)", "how much (?:is|are|does|do)",
)  # fmt: skip
_DISPUTE_NUMBER: Final = re.compile(r"(?<!\w)DP-\d{4,10}(?!\w)")
_DISPUTED: Final = pattern("charged?", "charges", "billing", "disputed?", "payments?", "refunds?")
_HANDED_OVER: Final = pattern("colleagues?", "our team")
ORDERS_LISTED: Final = 10
HANDOVER_LINES: Final = 6  # lines back in which a handover is still fresh

# Reasons of a plan that customers should hear; the others are for people who look at the hop.
_TELLABLE: Final = re.compile(
    r"order |parcel |there is |the second charge |no double charge |the orders could not |"
    r"the variant |the day on which |the shop |an order "
)
# What the team notes down for itself stays with the team, whatever a reason holds.
_INTERNAL: Final = re.compile(r"\bVIP\b|\bhandover\b|\bissue [A-Z]{2}-\d", re.IGNORECASE)
_LOOKED_INTO: Final = re.compile(
    r"(?P<what>.*?\bbeing looked into already)(?P<rest>.*)", re.DOTALL | re.IGNORECASE
)
_INVESTIGATION: Final = re.compile(r"(?<!\w)(?:INV?)-\d{1,10}(?!\w)")
_REFUSED: Final = re.compile(
    r"order (?P<id>\S+) is (?P<status>[a-z ]+): only (?:pending|delivered) orders can be "
    r"(?P<wish>\w+)"
)
_WINDOW_OVER: Final = re.compile(
    r"order (?P<id>\S+) could be (?P<wish>\w+) until (?P<day>\S+): (?P<why>.+)"
)
_ITEM_TOLD: Final = re.compile(r"order #?\w+(?:: | came to )")
_LATE: Final = re.compile(r"parcel (?P<id>\S+) of order \S+ is (?P<days>\d+ days?) late")
_ISO_DATE: Final = re.compile(
    r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?(?!\d)"
)


def facts(payload: Payload) -> ReplyBrief:
    """Return what the reply to this turn has to say. Pure."""
    return _Briefing(payload).brief()


class _Briefing:
    """One turn's brief in the making."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.context = payload.context or Context()
        self.plan = payload.plan or Plan()
        self.today = payload.at.date()
        intent = payload.intent
        self.main = intent.name if intent else IntentName.OTHER
        self.wishes = frozenset({self.main, *(intent.also if intent else [])})
        self.answered = bool(payload.awaiting and intent and intent.confirmation)
        self.results = payload.execution.results if payload.execution else []
        self.focus = [o for o in self.context.orders if o.id in self.context.focus]
        self.focus = self.focus[:ORDERS_TOLD]

    def brief(self) -> ReplyBrief:
        """Return the whole brief."""
        must_say = self._must_say()
        told = [] if self.answered and not self._wishes_beyond() else self._facts()
        told += self._open_ticket()
        question = self._question()
        if not (must_say or told or question):
            question = ASK_MORE if self.main in _ABOUT_ORDERS else ASK_WISH
            if self.main is IntentName.OTHER:
                told = [CAN_HELP]
        return ReplyBrief(
            customer_name=self._first_name(),
            tone=self._tone(),
            topic=self.main.value,
            opening=self._opening(),
            must_say=_unique(must_say),
            facts=[fact for fact in _unique(told) if fact not in must_say],
            question=question,
        )

    def _wishes_beyond(self) -> bool:
        intent = self.payload.intent
        return bool(intent and intent.also)

    def _first_name(self) -> str | None:
        customer = self.context.customer
        return (customer.name.get("first_name") or None) if customer else None

    # What has to be said

    def _must_say(self) -> list[str]:
        said = [self._told_result(result) for result in self.results]
        reasons = self.plan.reasons
        if any(reason.startswith("the customer said no") for reason in reasons):
            said.append(NOT_DONE)
        if any(reason.startswith("the subject changed") for reason in reasons):
            said.append(DROPPED)
        if any(reason.startswith("who is asking could not be looked up") for reason in reasons):
            said.append(f"I cannot see your account right now. {NOT_DONE}")
        said += [told for reason in reasons if (told := self._told_reason(reason))]
        said += self._gaps()
        if self.context.foreign and self.wishes & _ABOUT_ORDERS:
            said.append(CANNOT_DISCUSS)
        if self.plan.escalate:
            said.append(HANDOVER)
        if self.main is IntentName.FEEDBACK_THANKS:
            said.insert(0, WELCOME)
        if self.main is IntentName.OTHER and not said and lets_it_be(self.payload.text):
            said.append(LEFT_AS_IT_IS)
        return said

    def _told_reason(self, reason: str) -> str | None:
        """Return a reason as customers may hear it, or None for what is not for them."""
        if not _TELLABLE.match(reason):
            return None
        if found := _LOOKED_INTO.match(reason):
            number = _INVESTIGATION.search(found["rest"])
            return self._sentence(found["what"] + (say.number(number[0]) if number else ""))
        if _INTERNAL.search(reason):
            return None
        if _ITEM_TOLD.match(reason) and self._own_items(plain(self.payload.text)):
            return None  # the facts tell it, in sentences
        if (found := _LATE.match(reason)) and self._tells_parcel(found["id"]):
            return None  # the facts tell it, with its dates
        if found := _REFUSED.fullmatch(reason):
            return say.refused(found["id"], found["status"], found["wish"])
        found = _WINDOW_OVER.fullmatch(reason)
        if found and (_as_date(found["day"]) or self.today) < self.today:
            reason = (
                f"order {found['id']} can no longer be {found['wish']}: that was possible "
                f"until {found['day']}, {found['why']}"
            )
        return self._sentence(reason)

    def _tells_parcel(self, tracking_id: str) -> bool:
        told = {order.id for order in self.focus} if self.wishes & _ABOUT_PARCELS else set()
        return any(
            p.tracking_id == tracking_id and p.order_id in told for p in self.context.parcels
        )

    def _open_ticket(self) -> list[str]:
        """Return that the team has the ticket, in the turns after a handover."""
        told = any(reason.startswith("there is an open ticket ") for reason in self.plan.reasons)
        if told or self.plan.escalate or self.main is IntentName.FEEDBACK_THANKS:
            return []
        lines = [line for line in self.payload.history if line.role == "bot"]
        fresh = [line for line in lines if line in self.payload.history[-HANDOVER_LINES:]]
        if not any(_HANDED_OVER.search(plain(line.text)) for line in fresh):
            return []
        for issue in self.context.past_issues:
            if issue.status == "open" and any(issue.id in line.text for line in fresh):
                return [f"Our team has your ticket {issue.id} and will get in touch with you."]
        return []

    def _gaps(self) -> list[str]:
        """Return what we cannot see now. Why is for us to know, not for the customer."""
        gaps: list[str] = []
        for source in [gap.partition(":")[0] for gap in self.context.missing]:
            if source == "orders" and self.wishes & _ABOUT_ORDERS:
                gaps.append(
                    "I cannot see your orders right now, because our order system does not answer. "
                    "Please try again in a few minutes."
                )
            elif source.startswith("parcels of ") and self.wishes & _ABOUT_ORDERS:
                order_id = source.removeprefix("parcels of ")
                gaps.append(
                    f"I cannot see the tracking of order {order_id} right now, because the "
                    "tracking system does not answer. Please try again in a few minutes."
                )
            elif source == "products" and IntentName.PRODUCT_QUESTION in self.wishes:
                gaps.append("I cannot see our catalogue right now. Please try again later.")
        return gaps

    def _question(self) -> str | None:
        asked: list[str] = []
        if self.plan.confirm:
            what = "; and ".join(action.text or say.action(action) for action in self.plan.confirm)
            asked.append(f"Shall I {self._dated(what)}? Please answer yes or no.")
        if self.plan.ask:
            asked.append(self._dated(self.plan.ask))
        unknown = self.context.customer is None and not self.context.missing
        needed = not self.wishes <= _NO_ACCOUNT_NEEDED and not self.plan.escalate
        if unknown and needed and not asked:
            asked.append(ASK_EMAIL)
        return " ".join(asked) or None

    # Results

    def _told_result(self, result: ActionResult) -> str:
        """Return one sentence or two on what became of an action."""
        planned = self._planned(result.action_id)
        what = planned.text if planned and planned.text else say.action(result)
        if not result.ok:
            why = f": {say.lower(result.error.strip().rstrip('.'))}" if result.error else ""
            return self._dated(f"I could not {what}{why}.")
        detail = result.detail
        order = f"order {result.order_id}" if result.order_id else "your order"
        told = self._done(result.kind, order, detail) or self._done_as_planned(what)
        return self._dated(" ".join(told.split()))

    def _done(self, kind: str, order: str, detail: Json) -> str | None:
        match kind:
            case "cancel_order":
                return f"I have cancelled {order}. {say.refunds(detail)}"
            case "refund_amount":
                return f"I have refunded {order}. {say.refunds(detail)}"
            case "modify_address":
                address = detail.get("address")
                to = f" to {describe_address(address)}" if isinstance(address, dict) else ""
                return f"I have changed the delivery address of {order}{to}."
            case "modify_payment" if detail.get("payment_method"):
                return f"I have changed the payment of {order} to {detail['payment_method']}."
            case "return_items":
                return self._return(order, detail)
            case "exchange_items":
                return self._exchange(order, detail)
            case "open_dispute":
                amount = detail.get("amount")
                charge = "charge" if amount is None else f"charge of {dollars(amount)}"
                number = say.number(detail.get("dispute_id"))
                return f"Our billing team is checking the second {charge} for {order}{number}."
            case "trace_parcel":
                return self._search(order, detail)
            case "redeliver":
                day = self._day(detail.get("estimated_delivery"))
                until = f", now expected on {day}" if day else ""
                return f"The parcel of {order} will be delivered again{until}."
            case "password_reset":
                address = detail.get("sent_to") or "the e-mail address on file"
                return f"I have sent a link for a new password to {address}."
            case "goodwill_credit":
                amount, balance = dollars(detail.get("amount")), detail.get("balance")
                total = f"; your credit is now {dollars(balance)}" if balance else ""
                if detail.get("repeated"):
                    return f"A credit of {amount} was added to your account before{total}."
                return f"I have added a credit of {amount} to your account{total}."
            case "open_ticket":
                return f"I have passed this on to our team{say.number(detail.get('ticket'))}."
        return None

    def _done_as_planned(self, what: str) -> str:
        if what.startswith("change "):
            return f"I have changed {what.removeprefix('change ')}."
        return f"Done: {what}."

    def _planned(self, action_id: str) -> PlannedAction | None:
        actions = (*self.plan.actions, *self.plan.confirm, *self.payload.awaiting)
        return next((action for action in actions if action.id == action_id), None)

    def _method(self, payment: Json) -> str:
        return payment_method(self.context.customer, payment.get("method_id"))

    def _return(self, order: str, detail: Json) -> str:
        told = f"The return for {order} is set up{say.number(detail.get('return_id'))}."
        if isinstance(detail.get("refund_amount"), int | float):
            amount = dollars(detail["refund_amount"])
            to = detail.get("refund_to") or "the original payment method"
            told += f" When the items are back with us, {amount} will be refunded to {to}."
        return told + say.label(detail)

    def _exchange(self, order: str, detail: Json) -> str:
        told = f"The exchange for {order} is set up{say.number(detail.get('exchange_id'))}."
        difference = detail.get("price_difference")
        if isinstance(difference, int | float) and difference:
            method = detail.get("payment_method") or "the original payment method"
            way = "is charged to" if difference > 0 else "goes back to"
            told += f" The price difference of {dollars(abs(difference))} {way} {method}."
        return told + say.label(detail)

    def _search(self, order: str, detail: Json) -> str:
        parcel = f"parcel {detail['tracking_id']}" if detail.get("tracking_id") else "the parcel"
        number = say.number(detail.get("investigation_id"))
        told = f"I have asked the carrier to look for {parcel} of {order}{number}"
        if detail.get("repeated"):
            told = f"The carrier is looking for {parcel} of {order} already{number}"
        until = self._day(detail.get("answer_by"))
        return told + (f"; the carrier answers by {until}." if until else ".")

    # Facts

    def _facts(self) -> list[str]:
        told: list[str] = []
        said = plain(self.payload.text)
        if self._asks_how(said):
            wishes = [wish for wish in _HOW_IT_GOES if wish in self.wishes]
            return [] if self._must_say() else [_HOW_IT_GOES[wish] for wish in wishes]
        if self.wishes & _ABOUT_PARCELS and _LIST_ORDERS.search(said) and self.context.orders:
            return [self._listed(order) for order in self.context.orders[:ORDERS_LISTED]]
        if self.main is IntentName.OTHER and _OPENING_HOURS.search(said):
            return [ANY_HOUR]
        if self.wishes & _ABOUT_ORDERS:
            for order in self.focus:
                told += self._order(order)
            if not self.focus and self._sees_no_orders():
                told.append("I see no orders on your account.")
        if IntentName.PRODUCT_QUESTION in self.wishes:
            told += self._own_items(said) or self._products()
        return told

    def _asks_how(self, said: str) -> bool:
        """Say whether the customer only asks how something goes, and nothing is planned."""
        plan, intent = self.plan, self.payload.intent
        planned = plan.confirm or plan.actions or plan.ask or plan.escalate or self.results
        named = intent is not None and intent.values("order_id")
        return bool(
            not planned and not named and self.main in _HOW_IT_GOES and _ASKS_HOW.search(said)
        )

    def _listed(self, order: Order) -> str:
        """Return an order in short, with the day on which its parcel is expected."""
        placed = f", placed on {self._day(order.placed_at)}," if order.placed_at else ""
        state = say.STATUS.get(order.status, f"is {order.status}")
        days = [
            self._day(parcel.estimated_delivery)
            for parcel in self.context.parcels
            if parcel.order_id == order.id and parcel.status not in ("delivered", "lost")
        ]
        until = f" and is expected on {days[0]}" if order.status == "shipped" and any(days) else ""
        return (
            f"Order {order.id} ({say.items(order)}, {dollars(order.total)}){placed} {state}{until}."
        )

    def _own_items(self, said: str) -> list[str]:
        """Return what the customer's own orders answer to a question about what was bought."""
        if IntentName.PRODUCT_QUESTION not in self.wishes or _FROM_CATALOGUE.search(said):
            return []
        mine = bool(_MY_OWN.search(said))
        orders = self.context.orders if mine else self.focus
        pairs = [(order, item) for order in orders for item in order.items]
        named = items_named(self.payload.text, [item for _, item in pairs])
        meant = {id(item) for item in named}
        told = [self._own_item(order, item) for order, item in pairs if id(item) in meant]
        if told:
            asked = set(words(said))
            known = {word for item in named for word in words(options_in_words(item))}
            if not asked & (known | {"price", "cost", "much", "pay", "paid"}):
                told.append(NOT_ON_THE_ORDER)
            return told
        if mine and asks_what_was_paid(said):
            for order in self.focus or self.context.orders[:ORDERS_TOLD]:
                told += self._payments(order)
        return told

    def _own_item(self, order: Order, item: Json) -> str:
        options = options_in_words(item)
        price = item.get("price")
        told = f"The {item.get('name') or 'item'} of your order {order.id}"
        cost = f"its price was {dollars(price)}" if isinstance(price, int | float) else ""
        return f"{told}: {', '.join(part for part in (options, cost) if part) or 'no details'}."

    def _sees_no_orders(self) -> bool:
        gaps = any(gap.startswith("orders") for gap in self.context.missing)
        return self.context.customer is not None and not self.context.orders and not gaps

    def _order(self, order: Order) -> list[str]:
        told: list[str] = []
        if not self._says_enough(order):
            placed = f", placed on {self._day(order.placed_at)}," if order.placed_at else ""
            state = say.STATUS.get(order.status, f"is {order.status}")
            told = [
                f"Order {order.id} ({say.items(order)}, {dollars(order.total)}){placed} {state}."
            ]
        parcels = [p for p in self.context.parcels if p.order_id == order.id]
        if self.wishes & _ABOUT_PARCELS:
            for parcel in parcels:
                told += self._parcel(parcel)
            if not parcels and order.status == "pending":
                told.append(f"Order {order.id} has not been handed to a carrier yet.")
        if IntentName.REFUND_STATUS in self.wishes or order.status == "cancelled":
            told += self._refund_facts(order)
        if self.wishes & _ABOUT_MONEY:
            told += self._payments(order)
        return told

    def _says_enough(self, order: Order) -> bool:
        """Say whether a reason or a question tells already how the order stands."""
        if any(reason.startswith(f"order {order.id} is ") for reason in self.plan.reasons):
            return True
        asked = [self.plan.ask or "", *(action.text for action in self.plan.confirm)]
        return not self.wishes & _ABOUT_PARCELS and any(order.id in text for text in asked)

    def _parcel(self, parcel: Parcel) -> list[str]:
        name = f"Parcel {parcel.tracking_id}"
        late = next(
            (
                found["days"]
                for reason in self.plan.reasons
                if (found := _LATE.match(reason)) and found["id"] == parcel.tracking_id
            ),
            None,
        )
        expected = self._day(parcel.estimated_delivery)
        promised = self._day(parcel.promised_delivery)
        moved = expected and promised and expected != promised
        dates = f"promised for {promised}, " if moved and promised else ""
        match parcel.status:
            case "delivered":
                when = self._day(parcel.delivered_at)
                told = f"{name} was delivered" + (f" on {when}" if when else "")
            case "lost":
                told = f"{name} is reported lost by {parcel.carrier}"
            case "label_created":
                told = f"{name} has not been handed to {parcel.carrier} yet"
            case "out_for_delivery":
                told = f"{name} is out for delivery with {parcel.carrier}"
            case "exception":
                told = f"{name} has a problem on its way with {parcel.carrier}"
            case "delayed" | "in_transit" if late:
                told = f"{name} is {late} late on its way with {parcel.carrier}"
            case "delayed":
                told = f"{name} is delayed on its way with {parcel.carrier}"
            case _:
                told = f"{name} is on its way with {parcel.carrier}"
        if parcel.status not in ("delivered", "lost") and expected:
            now = "now expected on" if moved else "expected on"
            told += f", {dates}{now} {expected}"
        elif parcel.status == "lost" and promised:
            told += f"; it was promised for {promised}"
        if late and late not in told:
            told += f"; it is {late} late"
        sentences = [f"{told}."]
        if parcel.events:
            sentences.append(self._event(parcel.tracking_id, parcel.events[-1]))
        return sentences

    def _event(self, tracking_id: str, event: Json) -> str:
        text = str(event.get("text") or event.get("status") or "").strip().rstrip(".")
        where = [str(event["location"])] if event.get("location") else []
        if when := self._day(event.get("at")):
            where.append(when)
        place = f" ({', '.join(where)})" if where else ""
        return f"The carrier's latest report on it: {text}{place}." if text else ""

    def _refund_facts(self, order: Order) -> list[str]:
        refunds = [p for p in order.payments if p.get("type") == "refund"]
        told = []
        for refund in refunds:
            when = self._day(refund.get("at"))
            state = "has been paid out" if refund.get("status") == "settled" else "is on its way"
            told.append(
                f"The refund of {dollars(refund.get('amount'))} for order {order.id} to "
                f"{self._method(refund)} {state}" + (f", made on {when}." if when else ".")
            )
        made = (order.model_extra or {}).get("return")
        if not refunds and isinstance(made, dict) and "refund_amount" in made:
            told.append(
                f"For the return of order {order.id}, {dollars(made['refund_amount'])} will be "
                "refunded when the items are back with us."
            )
        elif not refunds and IntentName.REFUND_STATUS in self.wishes:
            dispute = self._dispute(order)
            told.append(f"There is no refund on order {order.id}{' yet' if dispute else ''}.")
            told += dispute
        return told

    def _dispute(self, order: Order) -> list[str]:
        """Return what is open about an order's charges, from this chat or from before."""
        for line in reversed(self.payload.history):
            number = _DISPUTE_NUMBER.search(line.text)
            if line.role == "bot" and number and (order.id in line.text or len(self.focus) == 1):
                return [f"Our billing team has the second charge under the number {number[0]}."]
        for issue in self.context.past_issues:
            about = issue.order_id == order.id and issue.status == "open"
            if about and _DISPUTED.search(plain(issue.subject)):
                return [
                    f"Our billing team has your issue {issue.id} about it, which is still open."
                ]
        return []

    def _payments(self, order: Order) -> list[str]:
        told = []
        doubles = [payment.get("id") for payment in double_charges(order)]
        for payment in order.payments:
            if payment.get("type") != "payment":
                continue
            when = self._day(payment.get("at"))
            state = "charged" if payment.get("status") == "settled" else "reserved, not charged yet"
            second = " This is a second charge." if payment.get("id") in doubles else ""
            told.append(
                f"For order {order.id}, {dollars(payment.get('amount'))} to "
                f"{self._method(payment)}: {state}" + (f" on {when}." if when else ".") + second
            )
        return told

    def _products(self) -> list[str]:
        asked = set(words(self.payload.text))
        told = [say.product(product, asked) for product in self.context.products[:PRODUCTS_TOLD]]
        if told and not _options_asked(self.context.products[:PRODUCTS_TOLD], asked):
            told.append(NOT_IN_CATALOGUE)
        if not told and not self.context.missing:
            told.append("I found nothing like that in our catalogue.")
        return told

    # How to say it

    def _tone(self) -> Tone:
        mood = self.payload.sentiment.label if self.payload.sentiment else "neutral"
        if self._opening():
            return "apologetic"
        if mood == "positive" or IntentName.FEEDBACK_THANKS in self.wishes:
            return "warm"
        return "neutral"

    def _opening(self) -> str | None:
        """Return an apology for what really went wrong, if anything did."""
        if any(not result.ok for result in self.results):
            return "I am sorry that this did not work."
        if self.answered:
            return None
        parcels = [p for p in self.context.parcels if p.order_id in self.context.focus]
        if self.wishes & _ABOUT_PARCELS:
            if any(parcel.status == "lost" for parcel in parcels):
                return "I am sorry that your parcel did not reach you."
            if any(is_delayed(parcel, self.today) for parcel in parcels):
                return "I am sorry that your parcel is late."
        if self.wishes & _ABOUT_MONEY and any(map(double_charges, self.focus)):
            return "I am sorry about the second charge."
        if self._gaps():
            return "I am sorry that I cannot look this up right now."
        mood = self.payload.sentiment
        if mood and mood.label == "negative" and (mood.complaint or mood.score <= -0.5):
            return "I am sorry for the trouble."
        return None

    def _day(self, value: object) -> str | None:
        """Return a day as people say it, with its year only where that is not this year."""
        day = _as_date(value)
        if day is None:
            return None
        told = f"{day:%B} {day.day}"
        return told if day.year == self.today.year else f"{told}, {day.year}"

    def _dated(self, text: str) -> str:
        """Return a text with its ISO dates as people say them."""
        return _ISO_DATE.sub(lambda match: self._day(match[0][:10]) or match[0], text)

    def _sentence(self, text: str) -> str:
        text = self._dated(" ".join(text.split())).rstrip(".")
        return f"{text[:1].upper()}{text[1:]}."


def _options_asked(products: Iterable[Json], asked: set[str]) -> bool:
    """Say whether the question is about what the catalogue knows: options, prices, stock."""
    if asked & {
        "price", "prices", "cost", "costs", "much", "stock", "available", "sell", "variants",
        "options", "cheapest", "expensive", "colors", "colours", "sizes", "carry", "have",
    }:  # fmt: skip
        return True
    known = {
        word
        for product in products
        for variant in variants_of(product)
        for option, value in options_of(variant).items()
        for word in words(f"{option} {value}")
    }
    return bool(known & asked)


def _as_date(value: object) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value[:10])
        except ValueError:
            return None
    return None


def _unique(sentences: Iterable[str]) -> list[str]:
    return [sentence for sentence in dict.fromkeys(sentences) if sentence]
