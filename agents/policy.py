"""What the shop lets its bot do: from what the customer wants and what is known, to a plan.

One small function a wish. Each reads the case and adds to the draft: actions to do now, actions to
ask for first, questions, and the reasons, which the reply is written from. The customer's words
say what is wanted; what is allowed depends on the shop's facts alone, whatever the words claim.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Final

from agents import particulars
from agents.case import (
    Case,
    Draft,
    is_delivered,
    is_pending,
    is_vip,
    methods_of,
    order_in_words,
    orders_for,
    paid_with,
    standing,
)
from agents.language import pattern, plain
from agents.particulars import Choice, describe_address, describe_variant, dollars, series
from agents.shop import (
    cents,
    days_late,
    delivered_on,
    double_charges,
    is_late,
    payment_method,
    refundable,
    tracking_ids,
)
from streams.payload import IntentName, Json, Order, Parcel

#: Days after delivery in which things may be returned or exchanged.
RETURN_DAYS: Final = 30

#: Days after delivery in which a parcel that did not come can be searched for.
SEARCH_DAYS: Final = 30

#: Dollars of goodwill for a late parcel, by tier; the others get none.
GOODWILL: Final = {"gold": 5.0, "vip": 10.0}

#: Days that a parcel must be late for goodwill.
GOODWILL_AFTER_DAYS: Final = 2

#: Dollars up to which a lost parcel is refunded without a colleague looking at it.
REFUND_LIMIT: Final = 100.0

EMAIL_CHANGE: Final = "a new e-mail address: who is asking must be verified before it is changed"

_EMAIL_WORD: Final = pattern("e-?mails?", "e-?mail address", "log-?in")

UNRESOLVED: Final = "a VIP customer has an unresolved billing issue"

_NOT_RECEIVED: Final = pattern(
    "(?:never|not|hasn't|haven't|didn't|wasn't|isn't|hasnt|havent|didnt)"
    "(?: \\w+){0,3} (?:arrived?|come|came|received?|get|got|gotten|delivered|here|there|find|seen)",
    "(?:no|without a) (?:sign|trace) of",
    "missing",
    "stolen",
    "says? (?:it was |it's |it is )?delivered",
    "marked (?:as )?delivered",
)
_REDELIVER: Final = pattern(
    "re-?deliver(?:y|ed)?",
    "deliver(?:ed)? (?:it )?again",
    "(?:new|another|second) delivery",
    "bring it again",
    "(?:wasn't|was not|weren't|were not) (?:at )?home",
)
_SEARCH_ISSUE: Final = re.compile(
    r"investigat|lost parcel|missing parcel|parcel (?:is )?missing|search"
)
_STRANGER: Final = pattern(
    "hacked", "fraud(?:ulent)?", "unauthori[sz]ed", "stolen", "identity theft",
    "(?:someone|somebody) else",
)  # fmt: skip
_OTHER_PLACE: Final = pattern(
    "neighbou?rs?",
    "(?:new|another|different|other|wrong|change (?:the|my)(?: \\w+)?) address",
    "(?:deliver|send|ship)(?: \\w+){1,4} (?:to|at) (?:my|the|a|another|our)(?: \\w+){0,3} instead",
)
_PROFILE_ADDRESS: Final = pattern("(?:my|the) (?:profile|account)")
_INVOICE: Final = pattern("invoices?", "receipts?", "(?:copy of|print) (?:the|my) bill")
_CARD_NUMBER: Final = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)|(?<!\w)cvv(?!\w)")
_MONEY_FACT: Final = pattern(
    "how much", "what did i pay", "did i pay", "which card", "when (?:was|were|did)",
    "(?:was|were) i (?:charged|billed)(?! (?:twice|double|two|too))", "did you (?:charge|bill)",
)  # fmt: skip
_WRONG_CHARGE: Final = pattern(
    "twice", "doubled?", "double-?charged?", "duplicated?", "two times", "2 times", "2x",
    "(?:two|2|second|both|extra|another|additional) (?:\\w+ )?(?:charges?|payments?|times?)",
    "(?:charged|billed|debited|paid)(?: \\w+){0,4} again",
    "wrong(?:ly)?", "incorrect(?:ly)?", "over-?charged?", "too much", "mistakes?", "errors?",
    "unexpected", "unknown", "(?:don't|dont|do not|not) (?:recogni[sz]e|know)",
    "(?:didn't|did not|never) (?:make|authori[sz]e|order|buy|agree)", "unauthori[sz]ed",
    "disputed?", "disputing", "problems?", "issues?", "fraud(?:ulent)?", "scam(?:med)?",
    "why (?:was|did|have|were|am|is|are|do)(?: \\w+){0,3} (?:charged?|billed?|charges|payments)",
    "more than", "refund (?:one|the second|the other)",
)  # fmt: skip

_ADDRESS_WORD: Final = pattern("address", "ship(?:ped)? to", "deliver(?:ed)? to", "moved", "moving")
_ITEM_WORD: Final = pattern("size", "colou?rs?", "variant", "items?", "instead", "swap", "model")
_PAY_WORD: Final = pattern("pay(?:ment|ing)?", "card", "paypal", "charge[ds]?")


# Cancel and modify


def _cancel(case: Case, draft: Draft) -> None:
    for order in orders_for(case, draft, is_pending, "cancelled"):
        if not is_pending(order):
            draft.because(standing(order, "only pending orders can be cancelled"))
            _say_what_else(case, draft, order)
            continue
        text = f"cancel the whole order {order_in_words(order)}"
        if amount := refundable(order):
            text += f" and refund {dollars(amount)} to {paid_with(case, order)}"
        reason = particulars.cancel_reason(case.text)
        draft.offer("cancel_order", text, order=order, arguments={"reason": reason})


def _say_what_else(case: Case, draft: Draft, order: Order) -> None:
    """Say what can still be done with an order that is past cancelling."""
    if order.status in ("processed", "shipped"):
        draft.because(f"order {order.id} can be returned within {RETURN_DAYS} days of its delivery")
    elif order.status == "delivered" and _in_return_window(case, order):
        draft.because(f"order {order.id} can still be returned")


def _modify(case: Case, draft: Draft) -> None:
    for order in orders_for(case, draft, is_pending, "changed"):
        if not is_pending(order):
            if wants_other_place(case) and order.status in ("processed", "shipped"):
                _refuse_other_place(case, draft, order)
            else:
                draft.because(standing(order, "only pending orders can be changed"))
            continue
        before = len(draft.confirm) + len(draft.asks)
        for change in (_modify_address, _modify_items, _modify_payment):
            change(case, draft, order)
        if len(draft.confirm) + len(draft.asks) == before:
            _ask_for_change(case, draft, order)


def wants_other_place(case: Case) -> bool:
    """Say whether something should go to another place than was said before."""
    return bool(
        _OTHER_PLACE.search(case.said)
        or (particulars.address_in(case.text, None) and not _PROFILE_ADDRESS.search(case.said))
    )


def _refuse_other_place(case: Case, draft: Draft, order: Order) -> None:
    """Say that what is under way keeps its address; offer what the carrier still does."""
    draft.because(standing(order, "the address of an order under way cannot be changed any more"))
    address = particulars.address_in(case.text, case.customer)
    for parcel in case.parcels(order):
        if parcel.status != "exception":
            continue
        _offer_redelivery(draft, order, parcel, address)


def _modify_address(case: Case, draft: Draft, order: Order) -> None:
    address = particulars.address_in(case.text, case.customer)
    if address is not None:
        text = f"send order {order.id} to {describe_address(address)}"
        draft.offer("modify_address", text, order=order, arguments={"address": address})


def _modify_items(case: Case, draft: Draft, order: Order) -> None:
    if particulars.address_in(case.text, None):
        return  # a street called "Silver" is no colour
    named = _items_named(case, order)
    swaps = [choice for choice in _choices(case, named or order.items) if choice.wanted]
    if len(swaps) > 1 and not named:
        names = series((str(choice.item.get("name", "")) for choice in swaps), "or")
        draft.ask(f"Which item of order {order.id} should I change: {names}?")
    elif swaps:
        text = f"change order {order.id}: {_swaps_in_words(swaps)}"
        draft.offer("modify_items", text, order=order, arguments={"items": _swap_arguments(swaps)})


def _modify_payment(case: Case, draft: Draft, order: Order) -> None:
    method = particulars.method_named(case.text, case.customer)
    if method is None or method.get("id") in methods_of(order):
        return
    text = f"charge order {order.id} to {payment_method(case.customer, method.get('id'))} instead"
    arguments = {"payment_method_id": method.get("id")}
    draft.offer("modify_payment", text, order=order, arguments=arguments)


def _ask_for_change(case: Case, draft: Draft, order: Order) -> None:
    if _ADDRESS_WORD.search(case.said):
        draft.ask(
            f"What is the whole new address for order {order.id}: "
            "street and number, city, state and ZIP code?"
        )
    elif _ITEM_WORD.search(case.said) and order.items:
        _ask_for_variant(draft, _choices(case, _items_named(case, order) or order.items))
    elif _PAY_WORD.search(case.said):
        draft.ask(f"Which of your payment methods should order {order.id} be charged to?")
    else:
        draft.ask(
            f"What should I change about order {order.id}: "
            "the address, the items or the payment method?"
        )


# Return and exchange


def _return(case: Case, draft: Draft) -> None:
    for order in orders_for(case, draft, is_delivered, "returned"):
        if not _may_go_back(case, draft, order, "returned"):
            continue
        items = particulars.items_meant(case.text, order.items)
        if items is None:
            names = series((str(item.get("name", "")) for item in order.items), "or")
            draft.ask(f"Which items of order {order.id} would you like to return: {names}?")
            continue
        amount = sum(cents(item.get("price")) for item in items) / 100
        arguments: Json = {
            "item_ids": [str(item.get("item_id")) for item in items],
            "reason": particulars.return_reason(case.text),
        }
        to = paid_with(case, order)
        if method := _other_refund_method(case, order):
            arguments["payment_method_id"] = method
            to = payment_method(case.customer, method)
        names = series(str(item.get("name", "")) for item in items)
        text = f"take back {names} of order {order.id} and refund {dollars(amount)} to {to}"
        draft.offer("return_items", text, order=order, arguments=arguments)


def _other_refund_method(case: Case, order: Order) -> str | None:
    """Return a gift card that the refund should go to; all else goes where it came from."""
    method = particulars.method_named(case.text, case.customer)
    if method is None or method.get("id") in methods_of(order):
        return None
    return str(method["id"]) if method.get("source") == "gift_card" and "id" in method else None


def _exchange(case: Case, draft: Draft) -> None:
    def fits(order: Order) -> bool:
        return is_delivered(order) or is_pending(order)

    for order in orders_for(case, draft, fits, "exchanged"):
        pending = is_pending(order)
        if not pending and not _may_go_back(case, draft, order, "exchanged"):
            continue
        named = _items_named(case, order)
        items = named or (order.items if len(order.items) == 1 else [])
        if not items:
            names = series((str(item.get("name", "")) for item in order.items), "or")
            draft.ask(f"Which item of order {order.id} would you like to exchange: {names}?")
            continue
        choices = _choices(case, items)
        if any(choice.wanted is None for choice in choices):
            _ask_for_variant(draft, choices)
            continue
        kind, verb = ("modify_items", "change") if pending else ("exchange_items", "exchange")
        # An order can be exchanged once, so all its items go in one action.
        text = f"{verb} in order {order.id}: {_swaps_in_words(choices)}"
        draft.offer(kind, text, order=order, arguments={"items": _swap_arguments(choices)})


def _choices(case: Case, items: list[Json]) -> list[Choice]:
    """Return what the text comes to for each item whose product is known."""
    products = {str(product.get("id")): product for product in case.context.products}
    return [
        particulars.variant_wanted(case.text, item, products.get(str(item.get("product_id")), {}))
        for item in items
    ]


def _items_named(case: Case, order: Order) -> list[Json]:
    """Return the items that are meant; "size 42, please" is about those named before."""
    named = particulars.items_named(case.text, order.items)
    return named or particulars.items_named(case.asked_before, order.items)


def _ask_for_variant(draft: Draft, choices: list[Choice]) -> None:
    for choice in choices:
        if choice.wanted is not None:
            continue
        name = str(choice.item.get("name", "the item"))
        if choice.sold_out:
            draft.because(f"the variant of {name} that was asked for is not available")
        if choice.choices:
            some = series(map(describe_variant, choice.choices[:5]), "or")
            draft.ask(f"Which {name} would you like instead? We have: {some}.")
        else:
            draft.ask(f"Which size, colour or other variant of {name} would you like instead?")


def _swaps_in_words(choices: Iterable[Choice]) -> str:
    return series(
        f"{choice.item.get('name', 'the item')} for {describe_variant(choice.wanted or {})}"
        for choice in choices
    )


def _swap_arguments(choices: Iterable[Choice]) -> list[Json]:
    return [
        {
            "item_id": str(choice.item.get("item_id")),
            "new_item_id": str((choice.wanted or {}).get("item_id")),
        }
        for choice in choices
    ]


def _may_go_back(case: Case, draft: Draft, order: Order, done: str) -> bool:
    """Say whether a delivered order is still in its return window, with the reason if not."""
    if not is_delivered(order):
        draft.because(standing(order, f"only delivered orders can be {done}"))
        if is_pending(order):
            draft.because(f"order {order.id} is pending: it can still be cancelled")
        return False
    if _return_window_end(case, order) is None:
        draft.because(f"the day on which order {order.id} was delivered is not known")
        draft.hand_over(f"whether order {order.id} can still be {done} must be checked by hand")
        return False
    if not _in_return_window(case, order):
        draft.because(
            f"order {order.id} can no longer be {done}: the {RETURN_DAYS} days from delivery "
            f"were over on {_return_window_end(case, order)}"
        )
        return False
    return True


def _return_window_end(case: Case, order: Order) -> date | None:
    """Return the last day of a return; an order placed lately cannot have come before that."""
    delivered = delivered_on(order, case.parcels(order))
    if delivered is None and order.placed_at is not None:
        placed = order.placed_at.date()
        delivered = placed if (case.today - placed).days <= RETURN_DAYS else None
    try:
        return None if delivered is None else delivered + timedelta(days=RETURN_DAYS)
    except OverflowError:
        return date.max


def _in_return_window(case: Case, order: Order) -> bool:
    end = _return_window_end(case, order)
    return end is not None and case.today <= end


# Parcels


def _delivery(case: Case, draft: Draft) -> None:
    if case.lost_in_dark or (case.names_orders and not case.focus):
        orders_for(case, draft, bool, "looked for")
    for order in case.focus:
        if wants_other_place(case) and not _REDELIVER.search(case.said):
            if is_pending(order):
                _modify_address(case, draft, order)
            elif order.status in ("processed", "shipped"):
                _refuse_other_place(case, draft, order)
        for parcel in case.parcels(order):
            _see_to_parcel(case, draft, order, parcel)


def _see_to_parcel(case: Case, draft: Draft, order: Order, parcel: Parcel) -> None:
    if parcel.status == "lost":
        _make_good_lost(case, draft, order, parcel)
    elif parcel.status == "exception" and _REDELIVER.search(case.said):
        _offer_redelivery(draft, order, parcel)
    elif is_late(parcel, case.today):
        late = days_late(parcel, case.today)
        draft.because(f"parcel {parcel.tracking_id} of order {order.id} is {_days(late)} late")
        _trace(case, draft, order, parcel, "It has not arrived by the promised day.")
        _give_goodwill(case, draft, order, parcel, late)
    elif parcel.delivered_at is not None and _NOT_RECEIVED.search(case.said):
        _search_delivered(case, draft, order, parcel)


def _offer_redelivery(
    draft: Draft, order: Order, parcel: Parcel, address: Json | None = None
) -> None:
    """Offer to have a parcel that could not be delivered brought again, there or elsewhere."""
    to = f" to {describe_address(address)}" if address else ""
    text = f"have parcel {parcel.tracking_id} of order {order.id} delivered again{to}"
    arguments: Json = {"tracking_id": parcel.tracking_id}
    if address:
        arguments["address"] = address
    draft.offer("redeliver", text, order=order, arguments=arguments)


def _search_delivered(case: Case, draft: Draft, order: Order, parcel: Parcel) -> None:
    delivered = parcel.delivered_at
    if delivered is not None and (case.today - delivered.date()).days > SEARCH_DAYS:
        draft.because(
            f"parcel {parcel.tracking_id} was delivered more than {SEARCH_DAYS} days ago: "
            "the carrier does not search for it any more"
        )
        return
    _trace(case, draft, order, parcel, "It is marked as delivered, the customer did not get it.")


def _trace(case: Case, draft: Draft, order: Order, parcel: Parcel, reason: str) -> None:
    """Have the carrier look for a parcel, unless somebody does already."""
    if known := _under_investigation(case, order, parcel):
        draft.because(f"parcel {parcel.tracking_id} is being looked into already: {known}")
        return
    draft.act(
        "trace_parcel",
        f"ask {parcel.carrier or 'the carrier'} to look for parcel {parcel.tracking_id}",
        order=order,
        arguments={"tracking_id": parcel.tracking_id, "reason": reason},
        once=f"trace-{parcel.tracking_id}",
    )


def _under_investigation(case: Case, order: Order, parcel: Parcel) -> str | None:
    """Return what shows that people are looking for a parcel, if anything does."""
    for event in parcel.events:
        text = str(event.get("text", ""))
        if "investigation" in text.lower():
            return text
    # An issue's subject is for colleagues: it tells us what the issue is about, no more.
    return next(
        (
            f"issue {issue.id}"
            for issue in case.issues(order)
            if issue.status == "open" and _SEARCH_ISSUE.search(issue.subject.casefold())
        ),
        None,
    )


def _give_goodwill(case: Case, draft: Draft, order: Order, parcel: Parcel, late: int) -> None:
    amount = GOODWILL.get(case.customer.tier, 0) if case.customer else 0
    if not amount or late < GOODWILL_AFTER_DAYS:
        return
    draft.act(
        "goodwill_credit",
        f"credit {dollars(amount)} for the late parcel of order {order.id}",
        order=order,
        arguments={"amount": amount, "reason": f"Parcel {parcel.tracking_id} came late."},
        # Once a parcel, however often the customer comes back to it.
        once=f"goodwill-{parcel.tracking_id}",
    )


def _make_good_lost(case: Case, draft: Draft, order: Order, parcel: Parcel) -> None:
    """Refund what was in a lost parcel; above the limit a colleague decides."""
    draft.because(f"parcel {parcel.tracking_id} of order {order.id} is lost")
    amount = min(_worth(order, parcel), refundable(order))
    if amount <= 0:
        draft.because(f"order {order.id} is refunded already")
    elif amount > REFUND_LIMIT:
        draft.hand_over(f"parcel {parcel.tracking_id} worth {dollars(amount)} is lost")
    else:
        to = paid_with(case, order)
        draft.offer(
            "refund_amount",
            f"refund {dollars(amount)} for the lost parcel of order {order.id} to {to}",
            order=order,
            arguments={"amount": amount, "reason": f"Parcel {parcel.tracking_id} is lost."},
        )


def _worth(order: Order, parcel: Parcel) -> float:
    """Return what the items in a parcel cost; of the only parcel, all."""
    if tracking_ids(order) in ([], [parcel.tracking_id]):
        return order.total
    inside = {
        str(item_id)
        for fulfillment in order.fulfillments
        if parcel.tracking_id in (fulfillment.get("tracking_ids") or [])
        for item_id in fulfillment.get("item_ids") or []
    }
    items = [item for item in order.items if str(item.get("item_id")) in inside]
    return sum(cents(item.get("price")) for item in items) / 100


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


# Money


def _billing(case: Case, draft: Draft) -> None:
    if _CARD_NUMBER.search(case.said):
        draft.because("the shop never takes card numbers in a chat: nothing was charged")
        return
    wrong = _WRONG_CHARGE.search(case.said) or _WRONG_CHARGE.search(plain(case.asked_before))
    if not wrong and _INVOICE.search(case.said):
        draft.because("the shop sends invoices by e-mail: our team sees to it")
        _open_ticket(case, draft, "Invoice request")
        return
    if not wrong and (_MONEY_FACT.search(case.said) or any(map(double_charges, case.focus))):
        draft.because("the state of payments is told as it stands; nothing is changed")
        return
    doubles = [(order, payment) for order in case.focus for payment in double_charges(order)]
    for order, payment in doubles:
        amount = dollars(payment.get("amount"))
        draft.because(f"order {order.id} was charged twice: {amount} too much")
        draft.act(
            "open_dispute",
            f"have the billing team check the second charge of {amount} for order {order.id}",
            order=order,
            arguments={
                "payment_id": str(payment.get("id")),
                "reason": "The order seems to be charged twice.",
            },
            once=f"dispute-{payment.get('id')}",
        )
    if doubles and is_vip(case):
        draft.hand_over(UNRESOLVED)
    if not doubles:
        _billing_question(case, draft)


def _billing_question(case: Case, draft: Draft) -> None:
    """See to a question about money that is not a double charge."""
    if case.lost_in_dark or (case.names_orders and not case.focus):
        orders_for(case, draft, bool, "checked")
    elif _has_hold(case):
        draft.because("the second charge is only reserved, and will not be collected")
    elif is_vip(case):
        draft.hand_over(UNRESOLVED)
    else:
        draft.because("no double charge is to be seen")
        _open_ticket(case, draft, "Billing question")


def _payment(case: Case, draft: Draft) -> None:
    """See to trouble with paying: another method for a pending order, else as for a bill."""
    pending = [order for order in case.focus or case.context.orders if is_pending(order)]
    if len(pending) == 1 and not any(map(double_charges, case.focus)):
        offered = len(draft.confirm)
        _modify_payment(case, draft, pending[0])
        if len(draft.confirm) > offered:
            return
    _billing(case, draft)


def _has_hold(case: Case) -> bool:
    """Say whether a second charge was reserved and not collected."""
    return any(
        sum(payment.get("type") == "payment" for payment in order.payments) > 1
        and any(payment.get("status") == "pending" for payment in order.payments)
        for order in case.focus
    )


def _refund_status(case: Case, draft: Draft) -> None:
    """Nothing to do: the facts answer."""
    draft.because("the state of refunds is told as it stands; nothing is changed")


# The account


def _account_access(case: Case, draft: Draft) -> None:
    draft.act(
        "password_reset",
        "send a link for a new password to the address on file",
        # Whoever types an address gets a link sent there: once a day is enough.
        once=f"reset-{case.customer.id}-{case.today}" if case.customer else None,
    )
    if _STRANGER.search(case.said):
        draft.hand_over("somebody else may have access to the account")


def _profile_update(case: Case, draft: Draft) -> None:
    customer, intent = case.customer, case.payload.intent
    if customer is None or intent is None:
        return
    changes: Json = {}
    emails = _new(intent.values("email"), customer.email)
    phones = _new(intent.values("phone"), customer.phone or "")
    address = particulars.address_in(case.text, None)
    if len(emails) > 1 or len(phones) > 1:
        draft.ask(f"Which of these is the new one: {series(emails + phones, 'or')}?")
        return
    if emails or (_EMAIL_WORD.search(case.said) and not phones and not address):
        # The chat's address is not proven: who could change it could take the account over.
        draft.hand_over(EMAIL_CHANGE)
        return
    if phones:
        changes["phone"] = phones[0]
    if address:
        changes["address"] = address
    if not changes:
        draft.ask("What is the new phone number or whole postal address?")
        return
    shown = [describe_address(v) if k == "address" else str(v) for k, v in changes.items()]
    what = series(f"{_FIELDS[name]} to {value}" for name, value in zip(changes, shown, strict=True))
    draft.offer("update_profile", f"change your {what}", arguments=changes)


_FIELDS: Final = {"phone": "phone number", "address": "postal address"}


def _new(values: list[str], current: str) -> list[str]:
    def plain_value(value: str) -> str:
        return "".join(char for char in value.casefold() if char not in " ()-.")

    unique = {plain_value(value): value for value in values}
    unique.pop(plain_value(current), None)
    return list(unique.values())


# Everything else


def _complaint(case: Case, draft: Draft) -> None:
    """See to what the shop's facts show to be wrong; what they do not show, people look at."""
    before = len(draft.actions) + len(draft.confirm) + len(draft.colleague)
    _delivery(case, draft)
    if any(map(double_charges, case.focus)) and _WRONG_CHARGE.search(case.said):
        _billing(case, draft)
    if len(draft.actions) + len(draft.confirm) + len(draft.colleague) > before:
        return
    damaged = particulars.damaged(case.text)
    sent_back = [o for o in case.focus if is_delivered(o) and _in_return_window(case, o)]
    if damaged and sent_back:
        draft.ask("Would you like to return it for a refund, or have it exchanged?")
    elif len(case.wishes()) == 1:
        _open_ticket(case, draft, "Complaint")


def _open_ticket(case: Case, draft: Draft, subject: str) -> None:
    order = case.focus[0] if len(case.focus) == 1 else None
    if order and any(issue.status == "open" for issue in case.issues(order)):
        draft.because(f"there is an open issue about order {order.id} already")
        return
    about = f" about order {order.id}" if order else ""
    draft.act(
        "open_ticket",
        f"pass this on to our team{about}",
        order=order,
        arguments={"subject": subject + about, "text": case.text},
    )


def _product(case: Case, draft: Draft) -> None:
    """Tell of what the customer has ordered, if the question is about that."""
    if not particulars.asks_about_own(case.text):
        return
    for order in case.focus:
        named = particulars.items_named(case.text, order.items)
        for item in named:
            name = item.get("name", "item")
            draft.because(f"order {order.id}: {name}, {describe_variant(item)}")
        if not named and particulars.asks_what_was_paid(case.text):
            draft.because(f"order {order.id} came to {dollars(order.total)}")


def explains(case: Case, draft: Draft, wish: IntentName) -> bool:
    """Give the rule to those who only ask how something goes; nothing is planned then."""
    if wish not in _RULES or not particulars.asks_how(case.text) or case.names_orders:
        return False
    items = [item for order in case.context.orders for item in order.items]
    if particulars.items_named(case.text, items):
        return False
    draft.because(_RULES[wish])
    return True


_GO_BACK: Final = (
    f"the shop takes things back, or exchanges them, within {RETURN_DAYS} days of their delivery: "
    "tell me the order number and the item, and I will set it up"
)
_CHANGE: Final = (
    "the shop can cancel or change an order only while it is pending: tell me the order number, "
    "and I will see to it"
)
_RULES: Final = {
    IntentName.RETURN_REQUEST: _GO_BACK,
    IntentName.EXCHANGE: _GO_BACK,
    IntentName.CANCEL_ORDER: _CHANGE,
    IntentName.MODIFY_ORDER: _CHANGE,
}


def _human(case: Case, draft: Draft) -> None:
    draft.hand_over("the customer asked for a person")


POLICY: Final[dict[IntentName, Callable[[Case, Draft], None]]] = {
    # People do not tell these three apart, and what can be done about them is the same.
    IntentName.ORDER_STATUS: _delivery,
    IntentName.DELIVERY_STATUS: _delivery,
    IntentName.DELIVERY_DELAY: _delivery,
    IntentName.CANCEL_ORDER: _cancel,
    IntentName.MODIFY_ORDER: _modify,
    IntentName.RETURN_REQUEST: _return,
    IntentName.EXCHANGE: _exchange,
    IntentName.REFUND_STATUS: _refund_status,
    IntentName.BILLING_ISSUE: _billing,
    IntentName.PAYMENT_ISSUE: _payment,
    IntentName.ACCOUNT_ACCESS: _account_access,
    IntentName.PROFILE_UPDATE: _profile_update,
    IntentName.COMPLAINT: _complaint,
    IntentName.HUMAN_AGENT: _human,
    IntentName.PRODUCT_QUESTION: _product,
}
