"""The tracking service: where parcels are, searches for them, and second deliveries."""

import datetime as dt
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from mocks.forms import AddressForm, Text
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
from mocks.shapes import Investigation, Parcel, ParcelStatus
from mocks.store import Store
from mocks.units import moment, stamp, utc_now, working_days_after

INVESTIGATION_WINDOW = dt.timedelta(days=30)
INVESTIGATION_WORKING_DAYS = 3


class InvestigationForm(Body):
    """Why a parcel is to be searched for."""

    reason: Text


class RedeliveryForm(Body):
    """When and where a parcel is to be delivered; the next working day, if nothing is said."""

    date: dt.date | None = None
    address: AddressForm | None = None


def create_app(
    path: Path, *, clock: Clock = utc_now, middlewares: tuple[Middleware, ...] = ()
) -> web.Application:
    """Return the tracking service on the shop's file."""
    app = create_service("tracking", path, clock=clock, middlewares=middlewares)
    add_read(app, "/parcels", of_order)
    add_read(app, "/parcels/{tracking_id}", show)
    add_change(
        app,
        "POST",
        "/parcels/{tracking_id}/investigations",
        InvestigationForm,
        investigate,
        status=201,
    )
    add_change(app, "POST", "/parcels/{tracking_id}/redelivery", RedeliveryForm, redeliver)
    return app


def of_order(request: web.Request, store: Store) -> dict[str, list[Parcel]]:
    """Return the parcels of an order."""
    return {"parcels": store.parcels.of(order_number(query(request, "order_id")))}


def show(request: web.Request, store: Store) -> Parcel:
    """Return one parcel."""
    return _parcel(store, request.match_info["tracking_id"])


def investigate(visit: Visit, form: InvestigationForm) -> Investigation:
    """Ask the carrier to search for a parcel."""
    parcel = _parcel(visit.store, visit.ids["tracking_id"])
    delivered = parcel["delivered_at"]
    if delivered is not None and visit.now - moment(delivered) > INVESTIGATION_WINDOW:
        raise Conflict(
            f"{parcel['tracking_id']} was delivered on {delivered[:10]}; the carrier investigates "
            f"until {INVESTIGATION_WINDOW.days} days after delivery."
        )
    answer_by = working_days_after(visit.now.date(), INVESTIGATION_WORKING_DAYS)
    investigation: Investigation = {
        "investigation_id": visit.store.number("investigation", "IN"),
        "tracking_id": parcel["tracking_id"],
        "status": "open",
        "answer_by": f"{answer_by.isoformat()}T{dt.time(17).isoformat()}Z",
    }
    visit.store.investigations.put(investigation)
    text = f"Investigation {investigation['investigation_id']} opened with the carrier"
    _note(visit, parcel, parcel["status"], text)
    return investigation


def redeliver(visit: Visit, form: RedeliveryForm) -> Parcel:
    """Arrange another delivery of a parcel that is on its way."""
    parcel = _parcel(visit.store, visit.ids["tracking_id"])
    if parcel["status"] in ("delivered", "lost") or parcel["shipped_at"] is None:
        state = parcel["status"] if parcel["shipped_at"] else "not with the carrier yet"
        raise Conflict(
            f"{parcel['tracking_id']} is {state}; only a parcel that is on its way can be "
            "delivered anew."
        )
    today = visit.now.date()
    if form.date is not None and form.date <= today:
        raise Invalid(f"date: {form.date} is not after today, {today}")
    day = form.date or working_days_after(today, 1)
    text = f"New delivery arranged for {day}"
    if form.address is not None:
        to = form.address
        street = f"{to.address1}, {to.address2}" if to.address2 else to.address1
        text += f" to {street}, {to.city}, {to.state} {to.zip}"
    parcel["estimated_delivery"] = day.isoformat()
    late = parcel["estimated_delivery"] > parcel["promised_delivery"]
    parcel["status"] = "delayed" if late else "in_transit"
    _note(visit, parcel, parcel["status"], text)
    return parcel


def _note(visit: Visit, parcel: Parcel, status: ParcelStatus, text: str) -> None:
    """Add to a parcel's history where it last was, and keep it."""
    location = parcel["events"][-1]["location"]
    parcel["events"].append(
        {"at": stamp(visit.now), "status": status, "location": location, "text": text}
    )
    visit.store.parcels.put(parcel)


def _parcel(store: Store, tracking_id: str) -> Parcel:
    """Return a parcel, or say that there is none."""
    parcel = store.parcels.get(tracking_id.strip())
    if parcel is None:
        raise NotFound(f"There is no parcel {tracking_id}.")
    return parcel
