"""What the shop knows about who is asking, and nobody else's data.

The sources are asked at the same time and their answers reused for a while. A source that does not
answer leaves a gap that is told, in the context and in the hop; only without the customer there is
nothing to go on with.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from pydantic import ValidationError

from agents import particulars
from agents.shop import (
    Product,
    Shop,
    customer_key,
    delivered_on,
    double_charges,
    is_delayed,
    issues_key,
    orders_key,
    parcels_key,
    product_key,
    products_key,
    tracking_ids,
)
from streams.errors import MeshError, ShopRefused, ShopUnavailable
from streams.mailbox import Mesh
from streams.message import Message
from streams.payload import (
    Context,
    Customer,
    Intent,
    IntentName,
    Json,
    Order,
    Parcel,
    PastIssue,
    Payload,
    Slot,
)
from streams.slip import CONTEXT_RETRIEVER
from streams.trace import note
from tables.cache import Cache

#: What a message carries at most; the newest first, and always those that the turn is about.
ORDERS_CARRIED: Final = 20
ISSUES_CARRIED: Final = 10
PRODUCTS_CARRIED: Final = 5

#: Orders at most whose parcels are asked for.
ORDERS_TRACKED: Final = 6

#: An order's age in days up to which a return or an exchange may be about it.
RECENT_DAYS: Final = 60

_WORDS_SEARCHED: Final = 200

_NOT_SHIPPED: Final = frozenset({"pending", "cancelled"})
_UNDER_WAY: Final = frozenset({"processed", "shipped"})
_ORDER_ID: Final = re.compile(r"#W\d+")

_ASKS_FOR_PRODUCTS: Final = frozenset({IntentName.PRODUCT_QUESTION})
_SWAPS_PRODUCTS: Final = frozenset({IntentName.EXCHANGE, IntentName.MODIFY_ORDER})

_T = TypeVar("_T", bound=Slot)


@dataclass
class _Gathering:
    """One turn's context in the making: where answers come from, and what became of each."""

    shop: Shop
    cache: Cache
    seconds: float
    missing: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)

    async def ask(
        self, source: str, key: str, model: type[_T], ask: Callable[[], Awaitable[list[_T]]]
    ) -> list[_T]:
        """Return a source's answer, from the cache if it is there; ask the shop otherwise."""
        if self.seconds > 0 and (kept := await self.cache.get(key)) is not None:
            with contextlib.suppress(
                ValidationError, KeyError, TypeError
            ):  # kept by another version: a miss
                found = [model.model_validate(row) for row in kept["rows"]]
                self.cached.append(source)
                return found
        found = await ask()
        if found:
            rows = [one.model_dump(mode="json") for one in found]
            await self.cache.set(key, {"rows": rows}, self.seconds)
        return found

    async def try_asking(
        self, source: str, key: str, model: type[_T], ask: Callable[[], Awaitable[list[_T]]]
    ) -> list[_T] | None:
        """Return a source's answer, or None with the reason among what is missing."""
        try:
            return await self.ask(source, key, model, ask)
        except (ShopUnavailable, ShopRefused) as error:
            self.miss(source, error)
            return None

    def miss(self, source: str, error: MeshError) -> None:
        """Tell that a source is missing, in the context and to those who look at the hop."""
        self.missing.append(f"{source}: {error}")
        note(f"the context lacks {source}: {error}")


async def retrieve(shop: Shop, cache: Cache, payload: Payload, cache_seconds: float) -> Context:
    """Return the context of a turn; ShopUnavailable if not even the customer can be looked up."""
    gathering = _Gathering(shop, cache, cache_seconds)
    customer = await _customer(gathering, payload.email)
    if customer is None:
        products = await _products(gathering, payload, [])
        # Who is not known owns nothing: whatever was named cannot be shown.
        return Context(
            products=products,
            foreign=_named(payload.intent),
            missing=gathering.missing,
            cached=gathering.cached,
        )
    found, issues = await asyncio.gather(_orders(gathering, customer), _issues(gathering, customer))
    orders = found or []
    candidates = focus(payload, orders, [])[:ORDERS_TRACKED]
    parcels, products = await asyncio.gather(
        _parcels(gathering, candidates), _products(gathering, payload, candidates)
    )
    about = focus(payload, orders, parcels)
    carried = orders[:ORDERS_CARRIED]
    return Context(
        customer=customer,
        orders=carried + [order for order in about if order not in carried],
        parcels=parcels,
        products=products,
        past_issues=issues[:ISSUES_CARRIED],
        focus=[order.id for order in about],
        # Without the orders nobody can tell whose a number is.
        foreign=[] if found is None else foreign(payload.intent, orders),
        missing=gathering.missing,
        cached=gathering.cached,
    )


# The sources


async def _customer(gathering: _Gathering, email: str | None) -> Customer | None:
    if not email or not email.strip():
        return None
    email = email.strip()

    async def ask() -> list[Customer]:
        customer = await gathering.shop.customer_by_email(email)
        return [] if customer is None else [customer]

    found = await gathering.ask("customer", customer_key(email), Customer, ask)
    return found[0] if found else None


async def _orders(gathering: _Gathering, customer: Customer) -> list[Order] | None:
    async def ask() -> list[Order]:
        return await gathering.shop.orders_of(customer.id)

    return await gathering.try_asking("orders", orders_key(customer.id), Order, ask)


async def _issues(gathering: _Gathering, customer: Customer) -> list[PastIssue]:
    async def ask() -> list[PastIssue]:
        return await gathering.shop.issues(customer.id)

    key = issues_key(customer.id)
    return await gathering.try_asking("past_issues", key, PastIssue, ask) or []


async def _parcels(gathering: _Gathering, orders: list[Order]) -> list[Parcel]:
    async def of(order: Order) -> list[Parcel]:
        async def ask() -> list[Parcel]:
            return await gathering.shop.parcels_of(order.id)

        source, key = f"parcels of {order.id}", parcels_key(order.id)
        return await gathering.try_asking(source, key, Parcel, ask) or []

    shipped = [order for order in orders if order.status not in _NOT_SHIPPED]
    found = await asyncio.gather(*map(of, shipped))
    return [parcel for parcels in found for parcel in parcels]


async def _products(gathering: _Gathering, payload: Payload, orders: list[Order]) -> list[Json]:
    """Return the products that a question is about, or in whose variants items are exchanged."""
    wishes = _wishes(payload.intent)
    found: list[Product] = []
    if wishes & _SWAPS_PRODUCTS:
        items = [item for order in orders for item in order.items]
        meant = particulars.items_named(payload.text, items) or items
        ids = {str(item["product_id"]): None for item in meant if item.get("product_id")}
        wanted = list(ids)[:PRODUCTS_CARRIED]
        answers = await asyncio.gather(*(_product(gathering, one) for one in wanted))
        found = [product for products in answers for product in products]
    own = _asks_about_own(payload) and (
        particulars.asks_what_was_paid(payload.text)
        or particulars.orders_named(payload.text, orders)
    )
    if wishes & _ASKS_FOR_PRODUCTS and not own:
        named = payload.intent.values("product") if payload.intent else []
        found += await _search(gathering, " ".join(named) or payload.text[:_WORDS_SEARCHED])
    unique = {product.id: product for product in found}
    return [one.model_dump(mode="json") for one in unique.values()][:PRODUCTS_CARRIED]


async def _product(gathering: _Gathering, product_id: str) -> list[Product]:
    async def ask() -> list[Product]:
        return [await gathering.shop.product(product_id)]

    source, key = f"product {product_id}", product_key(product_id)
    return await gathering.try_asking(source, key, Product, ask) or []


async def _search(gathering: _Gathering, words: str) -> list[Product]:
    async def ask() -> list[Product]:
        return (await gathering.shop.products(words))[:PRODUCTS_CARRIED]

    if not words.strip():
        return []
    return await gathering.try_asking("products", products_key(words), Product, ask) or []


# What the turn is about


def focus(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    """Return the orders that a turn is about, out of the customer's own, newest first.

    Those it names by number; else those with the things it names; else those that its wish can
    be about; else the one spoken of last; else the newest. `parcels` may still be unknown.
    """
    if _named(payload.intent):
        # Also if it is none of the customer's own: another order must not take its place.
        return _own_named(payload.intent, orders)
    written = {*_ORDER_ID.findall(payload.text.upper())}
    if by_id := [order for order in orders if order.id in written]:
        return by_id  # "the invoice for #W1": whoever reads numbers may take it for the invoice's
    if particulars.asks_for_orders(payload.text):
        return orders
    if awaited := _awaited(payload, orders):
        return awaited
    if particulars.picks_all(payload.text) and (offered := _offered(payload, orders)):
        return offered
    if particulars.means_the_other(payload.text):
        before = _discussed_last(payload, orders)
        # What was just spoken of is meant by nobody who says "the other one".
        orders = [order for order in orders if order is not before]
        return _fitting(payload, orders, parcels) or orders[:1]
    fitting = _fitting(payload, orders, parcels)
    with_items = particulars.orders_named(payload.text, orders)
    if with_items and _asks_about_own(payload):
        return with_items
    if with_items:
        # "My headset" may have been bought twice: the wish tells which, if it can.
        return [order for order in with_items if order in fitting] or with_items
    if len(fitting) == 1:
        return fitting
    discussed = _discussed_last(payload, fitting or orders)
    if discussed is not None:
        return [discussed]
    return fitting or orders[:1]


def foreign(intent: Intent | None, orders: list[Order]) -> list[str]:
    """Return the order ids and tracking numbers named that belong to none of `orders`."""
    own = {number for order in orders for number in _numbers(order)}
    return [named for named in _named(intent) if _bare(named) not in own]


def _named(intent: Intent | None) -> list[str]:
    if intent is None:
        return []
    named = [*intent.values("order_id"), *intent.values("tracking_number")]
    return list(dict.fromkeys(named))


def _own_named(intent: Intent | None, orders: list[Order]) -> list[Order]:
    named = {_bare(one) for one in _named(intent)}
    return [order for order in orders if named & _numbers(order)]


def _numbers(order: Order) -> set[str]:
    """Return all that an order can be called by: its id with and without letters, its parcels."""
    bare = _bare(order.id)
    return {bare, bare.lstrip("W")} | {_bare(one) for one in tracking_ids(order)}


def _bare(number: str) -> str:
    return re.sub(r"[^0-9A-Z]", "", number.upper())


def _awaited(payload: Payload, orders: list[Order]) -> list[Order]:
    """Return the orders that a yes or a no is about."""
    if particulars.confirmed_by(payload) is None:
        return []
    ids = {action.order_id for action in payload.awaiting}
    return [order for order in orders if order.id in ids]


def _offered(payload: Payload, orders: list[Order]) -> list[Order]:
    """Return the orders that the bot's last words named."""
    said = next((line.text for line in reversed(payload.history) if line.role != "customer"), "")
    named = {*_ORDER_ID.findall(said)}
    return [order for order in orders if order.id in named]


def _discussed_last(payload: Payload, orders: list[Order]) -> Order | None:
    """Return the one of `orders` that was spoken of last, if it was just one."""
    own = {order.id: order for order in orders}
    for utterance in reversed(payload.history):
        named = {one for one in _ORDER_ID.findall(utterance.text) if one in own}
        if named:
            return own[named.pop()] if len(named) == 1 else None
    return None


def _asks_about_own(payload: Payload) -> bool:
    """Say whether a product question is about what was ordered, not about the catalogue."""
    asks = _wishes(payload.intent) & _ASKS_FOR_PRODUCTS
    return bool(asks) and particulars.asks_about_own(payload.text)


def _wishes(intent: Intent | None) -> frozenset[IntentName]:
    return frozenset() if intent is None else frozenset({intent.name, *intent.also})


def _fitting(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    """Return the orders that at least one of the wishes can be about."""
    wishes = _wishes(payload.intent)
    found = [
        order
        for wish in sorted(wishes)
        if wish in _FITTING
        for order in _FITTING[wish](payload, orders, parcels)
    ]
    return [order for order in orders if order in found]


_Fits = Callable[[Payload, list[Order], list[Parcel]], list[Order]]


def _under_way(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    return [order for order in orders if order.status in _UNDER_WAY]


def _late(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    """Return the orders that are late; as long as none is known to be, all under way."""
    today = payload.at.date()
    late = {parcel.order_id for parcel in parcels if is_delayed(parcel, today)}
    under_way = _under_way(payload, orders, parcels)
    return [order for order in under_way if order.id in late] or under_way


def _pending(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    return [order for order in orders if order.status == "pending"]


def _open(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    return _pending(payload, orders, parcels) + _under_way(payload, orders, parcels)


def _received(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    """Return the orders that were delivered lately, as far as that is known."""
    delivered = [order for order in orders if order.status == "delivered"]

    def recent(order: Order) -> bool:
        placed = order.placed_at.date() if order.placed_at else None
        day = delivered_on(order, parcels) or placed
        return day is None or (payload.at.date() - day).days <= RECENT_DAYS

    return [order for order in delivered if recent(order)] or delivered[:1]


def _swappable(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    return _received(payload, orders, parcels) + _pending(payload, orders, parcels)


def _refunded(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    def refunded(order: Order) -> bool:
        return order.status in ("cancelled", "returned", "return requested") or any(
            payment.get("type") == "refund" for payment in order.payments
        )

    return [order for order in orders if refunded(order)]


def _charged_twice(payload: Payload, orders: list[Order], parcels: list[Parcel]) -> list[Order]:
    return [order for order in orders if double_charges(order)]


_FITTING: Final[dict[IntentName, _Fits]] = {
    IntentName.DELIVERY_STATUS: _under_way,
    IntentName.DELIVERY_DELAY: _late,
    IntentName.ORDER_STATUS: _open,
    IntentName.CANCEL_ORDER: _pending,
    IntentName.MODIFY_ORDER: _pending,
    IntentName.RETURN_REQUEST: _received,
    IntentName.EXCHANGE: _swappable,
    IntentName.REFUND_STATUS: _refunded,
    IntentName.BILLING_ISSUE: _charged_twice,
    IntentName.PAYMENT_ISSUE: _charged_twice,
    IntentName.COMPLAINT: _late,
}


def setup(mesh: Mesh, shop: Shop, cache: Cache) -> None:
    """Register the actor."""

    @mesh.actor(CONTEXT_RETRIEVER)
    async def context_retriever(message: Message) -> Message:
        message.payload.context = await retrieve(
            shop, cache, message.payload, mesh.settings.cache_seconds
        )
        return message
