"""The shop as the agents see it: typed calls to its three HTTP APIs, and what they tell.

One HTTP session serves all calls. A call that fails on the way, or with a server's error, is tried
again a moment later; everything that changes something carries an idempotency key, so a second
try does nothing twice.
"""

import asyncio
import json
import re
from datetime import date, datetime
from math import isfinite
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import Field, ValidationError
from yarl import URL

from streams.errors import ShopRefused, ShopUnavailable
from streams.observability import tracing
from streams.payload import Customer, Json, Order, Parcel, PastIssue, Slot
from streams.settings import Settings
from streams.trace import exchange, note

Service = Literal["customers", "orders", "tracking"]

#: Seconds before the first further try; doubles each time. Longer waits are the mailbox's.
RETRY_DELAY: Final = 0.05

#: 4xx that say nothing about what was asked for: they mean us, or the moment.
_NOT_A_REFUSAL: Final = frozenset({401, 403, 407, 408, 425, 429})

_ID: Final = re.compile(r"(?!\.+$)[\w.~-]+", re.ASCII)

_T = TypeVar("_T", bound=Slot)


class Product(Slot):
    """A product as the orders API tells it, with the variants it can be had in."""

    id: str
    name: str
    variants: list[Json] = Field([], description="Each with item_id, options, available, price.")


class PasswordReset(Slot):
    """A reset link is on its way, to an address that is shown only in part."""

    sent_to: str
    expires_at: datetime | None = None
    repeated: bool = False


class Credit(Slot):
    """Goodwill money given."""

    credit_id: str
    amount: float
    balance: float | None = None
    repeated: bool = Field(False, description="It was given before, with the same key.")


class Dispute(Slot):
    """A payment that the billing team checks."""

    dispute_id: str
    order_id: str
    payment_id: str
    status: str = "open"
    repeated: bool = False


class Investigation(Slot):
    """A search for a parcel."""

    investigation_id: str
    tracking_id: str
    status: str = "open"
    answer_by: str | None = None
    repeated: bool = False


class Ticket(PastIssue):
    """An issue that was opened now."""

    repeated: bool = False


class _Customers(Slot):
    customers: list[Customer]


class _Orders(Slot):
    orders: list[Order]


class _Parcels(Slot):
    parcels: list[Parcel]


class _Issues(Slot):
    issues: list[PastIssue]


class _Products(Slot):
    products: list[Product]


class Shop:
    """The three APIs. `start` before use, `close` after.

    Every method raises ShopUnavailable when the shop cannot be asked or does not make sense, and
    ShopRefused when it says no. Those that change something take the idempotency key last.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._urls: dict[Service, URL] = {
            "customers": _base(settings.customers_url, settings.customers_port),
            "orders": _base(settings.orders_url, settings.orders_port),
            "tracking": _base(settings.tracking_url, settings.tracking_port),
        }
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the one HTTP session. Connects to nothing yet."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._settings.shop_timeout)
            )

    async def close(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    # Customers

    async def customer_by_email(self, email: str) -> Customer | None:
        """Return the customer with this e-mail address, or None if there is none."""
        found = await self._get("customers", "/customers", _Customers, {"email": email})
        # Whoever is asking sees this customer's data: near is not enough.
        same = (c for c in found.customers if c.email.casefold() == email.casefold())
        return next(same, None)

    async def customer(self, customer_id: str) -> Customer:
        """Return one customer."""
        return await self._get("customers", f"/customers/{_segment(customer_id)}", Customer)

    async def update_customer(self, customer_id: str, changes: Json, key: str) -> Customer:
        """Change e-mail, phone or address, and return the customer as they are now."""
        path = f"/customers/{_segment(customer_id)}"
        return await self._change("customers", "PATCH", path, Customer, changes, key)

    async def issues(self, customer_id: str) -> list[PastIssue]:
        """Return what this customer came with before, newest first."""
        path = f"/customers/{_segment(customer_id)}/issues"
        return (await self._get("customers", path, _Issues)).issues

    async def open_ticket(
        self, customer_id: str, subject: str, text: str, order_id: str | None, key: str
    ) -> Ticket:
        """Open an issue for people to work on."""
        body = {"subject": subject, "text": text}
        if order_id is not None:
            body["order_id"] = order_id
        path = f"/customers/{_segment(customer_id)}/issues"
        return await self._change("customers", "POST", path, Ticket, body, key)

    async def reset_password(self, customer_id: str, key: str) -> PasswordReset:
        """Have a reset link sent to the address on file."""
        path = f"/customers/{_segment(customer_id)}/password-reset"
        return await self._change("customers", "POST", path, PasswordReset, {}, key)

    async def give_credit(self, customer_id: str, amount: float, reason: str, key: str) -> Credit:
        """Give goodwill money."""
        path = f"/customers/{_segment(customer_id)}/credits"
        body = {"amount": amount, "reason": reason}
        return await self._change("customers", "POST", path, Credit, body, key)

    # Orders

    async def orders_of(self, customer_id: str) -> list[Order]:
        """Return a customer's orders, newest first."""
        found = await self._get("orders", "/orders", _Orders, {"customer_id": customer_id})
        return [order for order in found.orders if order.customer_id == customer_id]

    async def order(self, order_id: str) -> Order:
        """Return one order, whoever's it is: the caller compares."""
        return await self._get("orders", f"/orders/{_order_segment(order_id)}", Order)

    async def cancel_order(self, order_id: str, reason: str, key: str) -> Order:
        """Cancel a pending order; everything paid is refunded."""
        return await self._order_change(order_id, "cancel", {"reason": reason}, key)

    async def modify_order(self, order_id: str, changes: Json, key: str) -> Order:
        """Change a pending order's `address`, `items` or `payment_method_id`."""
        return await self._order_change(order_id, "modify", changes, key)

    async def return_items(
        self, order_id: str, item_ids: list[str], reason: str, method_id: str | None, key: str
    ) -> Order:
        """Start the return of some items; the refund goes to `method_id`, or where it came from."""
        body: Json = {"item_ids": item_ids, "reason": reason}
        if method_id is not None:
            body["payment_method_id"] = method_id
        return await self._order_change(order_id, "return", body, key)

    async def exchange_items(self, order_id: str, items: list[Json], key: str) -> Order:
        """Start an exchange of `{"item_id", "new_item_id"}` pairs of a delivered order."""
        return await self._order_change(order_id, "exchange", {"items": items}, key)

    async def refund(self, order_id: str, amount: float, reason: str, key: str) -> Order:
        """Refund part of what was paid."""
        body = {"amount": amount, "reason": reason}
        return await self._order_change(order_id, "refund", body, key)

    async def open_dispute(self, order_id: str, payment_id: str, reason: str, key: str) -> Dispute:
        """Have the billing team check one payment."""
        path = f"/orders/{_order_segment(order_id)}/disputes"
        body = {"payment_id": payment_id, "reason": reason}
        return await self._change("orders", "POST", path, Dispute, body, key)

    async def products(self, words: str) -> list[Product]:
        """Return the products that fit some words, best match first."""
        return (await self._get("orders", "/products", _Products, {"q": words})).products

    async def product(self, product_id: str) -> Product:
        """Return one product."""
        return await self._get("orders", f"/products/{_segment(product_id)}", Product)

    # Parcels

    async def parcel(self, tracking_id: str) -> Parcel:
        """Return one parcel, whoever's it is: the caller compares."""
        return await self._get("tracking", f"/parcels/{_segment(tracking_id)}", Parcel)

    async def parcels_of(self, order_id: str) -> list[Parcel]:
        """Return the parcels of one order."""
        found = await self._get("tracking", "/parcels", _Parcels, {"order_id": order_id})
        return [parcel for parcel in found.parcels if parcel.order_id == order_id]

    async def investigate(self, tracking_id: str, reason: str, key: str) -> Investigation:
        """Ask the carrier to look for a parcel."""
        path = f"/parcels/{_segment(tracking_id)}/investigations"
        return await self._change("tracking", "POST", path, Investigation, {"reason": reason}, key)

    async def redeliver(self, tracking_id: str, arguments: Json, key: str) -> Parcel:
        """Have a parcel brought again, on a `date` or to an `address` if given."""
        path = f"/parcels/{_segment(tracking_id)}/redelivery"
        return await self._change("tracking", "POST", path, Parcel, arguments, key)

    # The way there

    async def _order_change(self, order_id: str, verb: str, body: Json, key: str) -> Order:
        path = f"/orders/{_order_segment(order_id)}/{verb}"
        return await self._change("orders", "POST", path, Order, body, key)

    async def _get(
        self, service: Service, path: str, model: type[_T], params: dict[str, str] | None = None
    ) -> _T:
        request: Json = {"method": "GET", "path": path}
        if params:
            request["params"] = params
        return await self._call(service, request, model)

    async def _change(
        self, service: Service, method: str, path: str, model: type[_T], body: Json, key: str
    ) -> _T:
        request: Json = {"method": method, "path": path, "body": body}
        return await self._call(service, request, model, key)

    async def _call(
        self, service: Service, request: Json, model: type[_T], key: str | None = None
    ) -> _T:
        """Make one call, with its further tries, and return its answer as `model`."""
        async with exchange(service, request) as answer:
            if answer.wanted:
                status, body, repeated = await self._persist(service, request, key)
                answer.response = {"status": status, "body": body}
                if repeated:
                    answer.response["repeated"] = True
        status, body = answer.response["status"], answer.response["body"]
        repeated = answer.response.get("repeated", False)
        if status >= 400:
            raise _refusal(service, status, body)
        try:
            result = model.model_validate(body)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in found["loc"]) or "body"
            raise ShopUnavailable(
                f"{service}: {request['method']} {request['path']} answered with something "
                f"unexpected: {where}: {found['msg']}"
            ) from error
        if repeated and "repeated" in model.model_fields:
            result = result.model_copy(update={"repeated": True})
        return result

    async def _persist(
        self, service: Service, request: Json, key: str | None
    ) -> tuple[int, Any, bool]:
        """Try until there is an answer; ShopUnavailable when the tries are used up."""
        failures: list[str] = []
        while True:
            try:
                answer = await self._once(service, request, key)
            except (aiohttp.ClientError, TimeoutError, _NoAnswer) as error:
                failures.append(str(error) or type(error).__name__)
            else:
                if failures:
                    note(f"{service}: answered after {len(failures)} failed: {failures[-1]}")
                return answer
            if len(failures) > self._settings.shop_retries:
                raise ShopUnavailable(
                    f"{service}: {request['method']} {request['path']}: {failures[-1]} "
                    f"(tried {len(failures)} times)"
                )
            await asyncio.sleep(RETRY_DELAY * 2 ** (len(failures) - 1))

    async def _once(
        self, service: Service, request: Json, key: str | None
    ) -> tuple[int, Any, bool]:
        """Return status, body, and whether the shop had seen the key before."""
        if self._session is None:
            raise RuntimeError("the shop was not started, or is closed")
        # The path is quoted already; building on the text keeps a quoted slash a quoted slash.
        url = URL(f"{self._urls[service]}{request['path']}", encoded=True)
        if "params" in request:
            url = url.with_query(request["params"])
        async with self._session.request(
            request["method"],
            url,
            json=request.get("body"),
            headers=tracing.headers() | ({} if key is None else {"Idempotency-Key": key}),
            allow_redirects=False,
        ) as response:
            raw = await response.read()
            repeated = response.headers.get("Idempotent-Replay") == "true"
        if not 200 <= response.status < 300 and not _refused(response.status):
            raise _NoAnswer(f"HTTP {response.status}")
        try:
            return response.status, json.loads(raw), repeated
        except ValueError:
            if _refused(response.status):
                return response.status, None, repeated
            raise _NoAnswer(f"HTTP {response.status} without JSON") from None


class _NoAnswer(Exception):
    """Something came back, but not an answer to what was asked."""


def _base(url: str, port: int) -> URL:
    return URL(url.rstrip("/") if url else f"http://127.0.0.1:{port}")


def _segment(text: str) -> str:
    """Return an id as one segment of a path. Ids come from people's words: they must not climb."""
    if not _ID.fullmatch(text):
        raise ShopRefused(404, "not_found", f"There is nothing with the id {text!r}.")
    return quote(text, safe="")


def _order_segment(order_id: str) -> str:
    return _segment(order_id.removeprefix("#"))


def _refused(status: int) -> bool:
    return 400 <= status < 500 and status not in _NOT_A_REFUSAL


def _refusal(service: Service, status: int, body: Any) -> ShopRefused | ShopUnavailable:
    """Return the shop's "no" in its own words. A "no" in other words is not the shop's."""
    try:
        error = body["error"]
        code, message = error["code"], error["message"]
    except (TypeError, KeyError):
        return ShopUnavailable(f"{service}: HTTP {status}, and not as this shop says no")
    return ShopRefused(status, str(code), str(message))


# What the shop's answers mean


def is_late(parcel: Parcel, today: date) -> bool:
    """Say whether a parcel should have been there by now, or is known not to come."""
    if parcel.delivered_at is not None or parcel.status == "delivered":
        return False
    return parcel.status == "lost" or days_late(parcel, today) > 0


def is_delayed(parcel: Parcel, today: date) -> bool:
    """Say whether a parcel is late, or will be: the carrier itself says so."""
    return is_late(parcel, today) or parcel.status in ("delayed", "exception")


def days_late(parcel: Parcel, today: date) -> int:
    """Return by how many days a parcel under way has missed its promised date; 0 if it has not."""
    if parcel.promised_delivery is None:
        return 0
    return max(0, (today - parcel.promised_delivery).days)


def delivered_on(order: Order, parcels: list[Parcel]) -> date | None:
    """Return the day on which the last of an order's parcels arrived; None if it is not known."""
    arrived = [p.delivered_at for p in parcels if p.order_id == order.id and p.delivered_at]
    return max(arrived).date() if arrived else None


def tracking_ids(order: Order) -> list[str]:
    """Return the tracking numbers of an order."""
    return [
        str(tracking_id)
        for fulfillment in order.fulfillments
        for tracking_id in fulfillment.get("tracking_ids") or []
    ]


def double_charges(order: Order) -> list[Json]:
    """Return the payments of an order that seem to be charged twice, without the first of each.

    The same amount from the same method, and more paid than the order costs: two equal halves
    of one order are no mistake. What was refunded since is settled.
    """
    payments = [p for p in order.payments if p.get("type") == "payment"]
    refunded = _sum(p for p in order.payments if p.get("type") == "refund")
    surplus = _sum(payments) - refunded - cents(order.total)
    seen: set[tuple[int, object]] = set()
    doubles: list[Json] = []
    for payment in payments:
        amount = cents(payment.get("amount"))
        once = (amount, payment.get("method_id"))
        if once in seen and 0 < amount <= surplus and payment.get("status") == "settled":
            doubles.append(payment)
            surplus -= amount
        seen.add(once)
    return doubles


def refundable(order: Order) -> float:
    """Return what was paid for an order and not refunded yet."""
    paid = _sum(p for p in order.payments if p.get("type") == "payment")
    back = _sum(p for p in order.payments if p.get("type") == "refund")
    return max(0, paid - back) / 100


def _sum(payments: Any) -> int:
    return sum(cents(payment.get("amount")) for payment in payments)


def cents(amount: object) -> int:
    """Return an amount of dollars in whole cents: only so is money added up."""
    return round(amount * 100) if isinstance(amount, int | float) and isfinite(amount) else 0


def payment_method(customer: Customer | None, method_id: object) -> str:
    """Return a way to pay in words, such as `the Visa card ending in 1234`."""
    methods = customer.payment_methods if customer else []
    method = next((m for m in methods if m.get("id") == method_id), None)
    if method is None:
        return "the original payment method"
    if method.get("source") == "paypal":
        return "the PayPal account"
    if method.get("source") == "gift_card":
        return "the gift card"
    name = f"the {str(method.get('brand') or 'credit').capitalize()} card"
    return f"{name} ending in {method['last_four']}" if method.get("last_four") else name


# Under which keys answers are kept in the cache: who reads them and who makes them untrue agree.


def customer_key(email: str) -> str:
    """Return the cache key of a customer, by e-mail address."""
    return f"customers:email:{email.casefold()}"


def issues_key(customer_id: str) -> str:
    """Return the cache key of a customer's past issues."""
    return f"customers:issues:{customer_id}"


def orders_key(customer_id: str) -> str:
    """Return the cache key of a customer's orders."""
    return f"orders:customer:{customer_id}"


def parcels_key(order_id: str) -> str:
    """Return the cache key of an order's parcels."""
    return f"tracking:order:{order_id}"


def product_key(product_id: str) -> str:
    """Return the cache key of one product."""
    return f"orders:product:{product_id}"


def products_key(words: str) -> str:
    """Return the cache key of a search for products."""
    return f"orders:products:{' '.join(words.casefold().split())}"
