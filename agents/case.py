"""A turn's case and the draft of its plan: what the policy reads, and what it writes.

What a plan depends on is read here once. Nothing here decides what is allowed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Final

from agents.language import plain
from agents.particulars import picks_all, series
from agents.shop import payment_method
from streams.payload import (
    Context,
    Customer,
    IntentName,
    Json,
    Order,
    Parcel,
    PastIssue,
    Payload,
    PlannedAction,
)


@dataclass(frozen=True)
class Case:
    """Everything that a plan depends on, read once."""

    payload: Payload

    @cached_property
    def context(self) -> Context:
        """What the shop knows; nothing, if it was not asked."""
        return self.payload.context or Context()

    @property
    def text(self) -> str:
        """The customer's words."""
        return self.payload.text

    @cached_property
    def said(self) -> str:
        """The customer's words in plain form, for patterns."""
        return plain(self.payload.text)

    @property
    def today(self) -> date:
        """The day of the turn. Not the day on which this runs: a replay decides the same."""
        return self.payload.at.date()

    @property
    def customer(self) -> Customer | None:
        """Who is asking, if known."""
        return self.context.customer

    @cached_property
    def focus(self) -> list[Order]:
        """The orders that the turn is about."""
        return [order for order in self.context.orders if order.id in self.context.focus]

    @cached_property
    def names_orders(self) -> bool:
        """Whether the customer gave numbers, rightly or wrongly, rather than leave it to us."""
        intent = self.payload.intent
        return intent is not None and any(map(intent.values, ("order_id", "tracking_number")))

    @property
    def lost_in_dark(self) -> bool:
        """Whether the orders could not be looked up."""
        return any(source.startswith("orders:") for source in self.context.missing)

    @cached_property
    def asked_before(self) -> str:
        """The customer's words before these, if the bot answered them with a question."""
        lines = self.payload.history[-2:]
        if [line.role for line in lines] == ["customer", "bot"] and "?" in lines[1].text:
            return lines[0].text
        return ""

    def order(self, order_id: str | None) -> Order | None:
        """Return one of the customer's own orders."""
        return next((order for order in self.context.orders if order.id == order_id), None)

    def parcels(self, order: Order) -> list[Parcel]:
        """Return an order's parcels, as far as they are known."""
        return [parcel for parcel in self.context.parcels if parcel.order_id == order.id]

    def issues(self, order: Order) -> list[PastIssue]:
        """Return what the customer came with before about an order."""
        return [issue for issue in self.context.past_issues if issue.order_id == order.id]

    def wishes(self) -> list[IntentName]:
        """Return what the customer wants, the first wish first."""
        intent = self.payload.intent
        return [] if intent is None else list(dict.fromkeys([intent.name, *intent.also]))


@dataclass
class Draft:
    """A plan in the making."""

    turn_id: str
    actions: list[PlannedAction] = field(default_factory=list)
    confirm: list[PlannedAction] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    colleague: list[str] = field(default_factory=list)
    numbered: int = 0

    def act(
        self,
        kind: str,
        text: str,
        *,
        order: Order | None = None,
        arguments: Json | None = None,
        once: str | None = None,
    ) -> None:
        """Do something now. What is named by `once` happens once, in however many turns."""
        self._add(self.actions, kind, text, order, arguments, once, confirm=False)

    def offer(
        self, kind: str, text: str, *, order: Order | None = None, arguments: Json | None = None
    ) -> None:
        """Do something after the customer's yes; `text` follows the words "Shall I"."""
        self._add(self.confirm, kind, text, order, arguments, None, confirm=True)

    def _add(
        self,
        among: list[PlannedAction],
        kind: str,
        text: str,
        order: Order | None,
        arguments: Json | None,
        once: str | None,
        *,
        confirm: bool,
    ) -> None:
        order_id = order.id if order else None
        arguments = arguments or {}
        what = (kind, order_id, arguments)
        if any((a.kind, a.order_id, a.arguments) == what for a in self.actions + self.confirm):
            return  # two wishes led to the same
        self.numbered += 1
        among.append(
            PlannedAction(
                # The id is the idempotency key: with the same one, the shop does it only once.
                id=once or f"{self.turn_id}-{self.numbered}",
                kind=kind,
                order_id=order_id,
                arguments=arguments,
                confirm=confirm,
                text=text,
            )
        )

    def ask(self, question: str) -> None:
        """Ask the customer, once."""
        if question not in self.asks:
            self.asks.append(question)

    def because(self, reason: str) -> None:
        """Give a reason, once."""
        if reason not in self.reasons:
            self.reasons.append(reason)

    def hand_over(self, reason: str) -> None:
        """Let a colleague take over, after the actions are done."""
        if reason not in self.colleague:
            self.colleague.append(reason)


def orders_for(case: Case, draft: Draft, fits: Callable[[Order], bool], done: str) -> list[Order]:
    """Return the orders that a wish is about; ask if that is open. `done` as in "be cancelled".

    Orders that do not fit are returned too if they are plainly meant: their wish is refused with
    the reason, and no other order takes their place.
    """
    if case.lost_in_dark:
        draft.because("the orders could not be looked up: nothing can be changed right now")
        return []
    if case.names_orders:
        if case.focus:
            for number in case.context.foreign:
                draft.because(f"{number} is not among the customer's orders")
            fitting = [order for order in case.focus if fits(order)]
            # Several orders for several wishes: those that do not fit this one are meant by
            # another, as in "cancel the first, and where is the second?".
            return fitting if fitting and len(case.wishes()) > 1 else case.focus
        wrong = series(case.context.foreign) or "that number"
        draft.ask(f"I cannot find {wrong} among your orders. Which order do you mean?")
        return []
    fitting = [order for order in case.focus if fits(order)]
    if len(fitting) > 1 and picks_all(case.text):
        return fitting
    if len(fitting) > 1:
        choice = series((order_in_words(order) for order in fitting), "or")
        draft.ask(f"Which order should be {done}: {choice}?")
        return []
    if fitting or len(case.focus) == 1:
        return fitting or case.focus
    draft.because(f"there is no order that can be {done}")
    return []


def order_in_words(order: Order) -> str:
    """Return an order's id with the names of what is in it."""
    names = series(str(item.get("name", "")) for item in order.items)
    return f"{order.id} ({names})" if names else order.id


#: How an order stands, after the words "order #W1 is"; other statuses speak for themselves.
_STANDING: Final = {
    "processed": "being prepared for shipping already",
    "shipped": "on its way already",
    "delivered": "delivered already",
    "cancelled": "cancelled already",
    "return requested": "on its way back to us already: its return is set up",
    "returned": "returned already",
    "exchange requested": "being exchanged already",
}

#: Orders that nothing can be done about any more, however long one waits.
_SETTLED: Final = frozenset({"cancelled", "return requested", "returned", "exchange requested"})


def standing(order: Order, rule: str) -> str:
    """Return how an order stands, with the rule that it meets unless it is settled anyway."""
    told = f"order {order.id} is {_STANDING.get(order.status, order.status)}"
    return told if order.status in _SETTLED else f"{told}: {rule}"


def is_vip(case: Case) -> bool:
    """Say whether the customer is of the highest tier."""
    return case.customer is not None and case.customer.tier == "vip"


def is_pending(order: Order) -> bool:
    """Say whether an order has not been worked on yet."""
    return order.status == "pending"


def is_delivered(order: Order) -> bool:
    """Say whether an order has arrived, and nothing of it is on its way back."""
    return order.status == "delivered"


def methods_of(order: Order) -> list[object]:
    """Return the ids of the payment methods that an order was charged to."""
    return [p.get("method_id") for p in order.payments if p.get("type") == "payment"]


def paid_with(case: Case, order: Order) -> str:
    """Return what an order was paid with, in words."""
    methods = list(dict.fromkeys(map(str, methods_of(order))))
    if len(methods) == 1:
        return payment_method(case.customer, methods[0])
    return "the original payment methods" if methods else "the original payment method"
