"""The customers service: who people are, what they asked before, tickets, resets and credits."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import Field, model_validator

from mocks.forms import AddressForm, Amount, Short, Text
from mocks.service import (
    Body,
    Clock,
    Conflict,
    Invalid,
    NotFound,
    Visit,
    add_change,
    add_read,
    create_service,
    order_number,
    query,
)
from mocks.shapes import Credit, Customer, Issue
from mocks.store import Store
from mocks.units import cents, dollars, stamp, utc_now

RESET_VALID = timedelta(hours=1)


class ProfileForm(Body):
    """What a customer may change about themselves."""

    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)] | None = (
        None
    )
    phone: Annotated[str, Field(pattern=r"^\+?[0-9][0-9 ().-]{5,24}$")] | None = None
    address: AddressForm | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.email is None and self.phone is None and self.address is None:
            raise ValueError("at least one of email, phone, address is needed")
        return self


class IssueForm(Body):
    """A new ticket."""

    subject: Short
    text: Text
    order_id: Short | None = None


class ResetForm(Body):
    """Nothing: whom to send the link to is known."""


class CreditForm(Body):
    """Goodwill money and why it is given."""

    amount: Amount
    reason: Text


def create_app(
    path: Path, *, clock: Clock = utc_now, middlewares: tuple[Middleware, ...] = ()
) -> web.Application:
    """Return the customers service on the shop's file."""
    app = create_service("customers", path, clock=clock, middlewares=middlewares)
    add_read(app, "/customers", find_by_email)
    add_read(app, "/customers/{customer_id}", show)
    add_read(app, "/customers/{customer_id}/issues", issues)
    add_change(app, "PATCH", "/customers/{customer_id}", ProfileForm, update)
    add_change(app, "POST", "/customers/{customer_id}/issues", IssueForm, open_issue, status=201)
    add_change(
        app, "POST", "/customers/{customer_id}/password-reset", ResetForm, send_reset, status=202
    )
    add_change(app, "POST", "/customers/{customer_id}/credits", CreditForm, give_credit, status=201)
    return app


def find_by_email(request: web.Request, store: Store) -> dict[str, list[Customer]]:
    """Return the customers with an e-mail, however it is capitalised."""
    return {"customers": store.customers.of(query(request, "email").lower())}


def show(request: web.Request, store: Store) -> Customer:
    """Return one customer."""
    return _customer(store, request.match_info["customer_id"])


def issues(request: web.Request, store: Store) -> dict[str, list[Issue]]:
    """Return a customer's issues, newest first."""
    customer = _customer(store, request.match_info["customer_id"])
    found = store.issues.of(customer["id"])
    return {"issues": sorted(found, key=lambda one: (one["opened_at"], one["id"]), reverse=True)}


def update(visit: Visit, form: ProfileForm) -> Customer:
    """Change a customer's e-mail, phone or address."""
    customer = _customer(visit.store, visit.ids["customer_id"])
    if form.email is not None:
        others = visit.store.customers.of(form.email.lower())
        if any(other["id"] != customer["id"] for other in others):
            raise Conflict("email: another customer uses this address already")
        customer["email"] = form.email
    if form.phone is not None:
        customer["phone"] = form.phone
    if form.address is not None:
        customer["address"] = form.address.document()
    visit.store.customers.put(customer)
    return customer


def open_issue(visit: Visit, form: IssueForm) -> Issue:
    """Open a ticket, about one of the customer's own orders or about none."""
    customer = _customer(visit.store, visit.ids["customer_id"])
    order_id = order_number(form.order_id) if form.order_id else None
    if order_id is not None and order_id not in customer["orders"]:
        raise Invalid(f"order_id: {order_id} is not an order of this customer")
    issue: Issue = {
        "id": visit.store.number("issue", "TK"),
        "customer_id": customer["id"],
        "opened_at": stamp(visit.now),
        "closed_at": None,
        "subject": form.subject,
        "text": form.text,
        "status": "open",
        "order_id": order_id,
    }
    visit.store.issues.put(issue)
    return issue


def send_reset(visit: Visit, form: ResetForm) -> dict[str, str]:
    """Send a link for a new password; whoever asks sees only whereto, and that masked."""
    name, _, domain = _customer(visit.store, visit.ids["customer_id"])["email"].partition("@")
    return {"sent_to": f"{name[0]}***@{domain}", "expires_at": stamp(visit.now + RESET_VALID)}


def give_credit(visit: Visit, form: CreditForm) -> Credit:
    """Add goodwill money to a customer's balance."""
    customer = _customer(visit.store, visit.ids["customer_id"])
    amount = int(form.amount * 100)
    customer["credit_balance"] = dollars(cents(customer["credit_balance"]) + amount)
    visit.store.customers.put(customer)
    credit: Credit = {
        "credit_id": visit.store.number("credit", "CR"),
        "amount": dollars(amount),
        "reason": form.reason,
        "balance": customer["credit_balance"],
    }
    visit.store.credits.put(credit)
    return credit


def _customer(store: Store, customer_id: str) -> Customer:
    """Return a customer, or say that there is none."""
    customer = store.customers.get(customer_id)
    if customer is None:
        raise NotFound(f"There is no customer {customer_id}.")
    return customer
