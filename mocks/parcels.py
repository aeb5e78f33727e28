"""How parcels travel: a carrier's scans for every state that a parcel can be in.

A parcel's history is written backwards from its present state, relative to a day, so that a parcel
which is late today is late on whatever day the demo runs.
"""

import random
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from mocks.shapes import Event, Parcel, ParcelStatus
from mocks.units import stamp

Journey = Literal[
    "label_created",
    "label_delayed",
    "label_voided",
    "in_transit",
    "out_for_delivery",
    "delayed",
    "exception",
    "lost",
    "delivered",
    "delivered_late",
]
"""What a parcel has been through. The status that people see says less: a voided label and a
fresh one are both `label_created`."""

CARRIERS = ("Northbound Post", "Swiftline", "Parcelway", "Blue Heron Freight")

_WAREHOUSES = ("Reno, NV", "Columbus, OH", "Allentown, PA")
_HUBS = ("Salt Lake City, UT", "Memphis, TN", "Omaha, NE", "Louisville, KY", "Tulsa, OK")
_DELAYS = (
    "Delayed by severe weather on the route",
    "Delayed: missed its connection at the sorting hub",
    "Delayed: sorted to the wrong hub and sent back",
    "Delayed by high volume at the local depot",
)
_EXCEPTIONS = (
    "Delivery attempted: nobody at the address, no safe place to leave it",
    "Address incomplete: the apartment number is missing",
    "Packaging damaged in handling, held for inspection",
)
_HANDOVERS = (
    "Delivered: left at the front door",
    "Delivered: handed to a resident",
    "Delivered: left with a neighbor",
    "Delivered: placed in the mailbox",
)


@dataclass(frozen=True)
class Dates:
    """When things happened to a parcel, or are to happen; none of the moments is in the future."""

    placed: datetime
    last: datetime
    promised: date
    estimated: date


def dates(journey: Journey, today: datetime, rng: random.Random, age: int | None = None) -> Dates:
    """Return dates that make a journey true on a day.

    `today` is the day's first moment and nothing happens after it. `age` is how many days ago a
    parcel was delivered, or how late it is now; without it, it is chosen by chance.
    """
    day = today.date()

    def days(low: int, high: int) -> timedelta:
        return timedelta(days=rng.randint(low, high))

    def ago(low: int, high: int) -> datetime:
        return today - days(low, high) - timedelta(seconds=rng.randint(0, 36_000))

    if journey in ("delivered", "delivered_late"):
        delivered = today - timedelta(
            days=rng.randint(1, 80) if age is None else age, seconds=rng.randint(10, 30_000)
        )
        promised = delivered.date()
        promised += -days(1, 5) if journey == "delivered_late" else days(0, 2)
        placed = delivered - days(9, 12) if journey == "delivered_late" else delivered - days(3, 7)
        return Dates(placed, delivered, promised, delivered.date())
    if journey == "in_transit":
        promised = day + days(2, 4)
        return Dates(ago(3, 4), ago(0, 0), promised, promised - days(0, 1))
    if journey == "out_for_delivery":
        return Dates(
            ago(4, 6), today - timedelta(minutes=rng.randint(5, 90)), day + days(0, 1), day
        )
    if journey == "delayed":
        late = timedelta(days=rng.randint(1, 5) if age is None else age)
        return Dates(ago(10, 14), ago(0, 2), day - late, day + days(1, 3))
    if journey == "exception":
        promised = day + days(-3, 1)
        return Dates(ago(6, 10), ago(0, 2), promised, max(promised, day + days(2, 3)))
    if journey == "lost":
        promised = day - days(10, 16)
        return Dates(ago(22, 30), ago(1, 3), promised, promised + days(2, 4))
    if journey == "label_delayed":
        return Dates(ago(7, 10), ago(1, 2), day - days(1, 3), day + days(2, 4))
    if journey == "label_voided":
        placed = ago(5, 50)
        promised = placed.date() + timedelta(days=6)
        return Dates(placed, placed + timedelta(hours=30), promised, promised)
    placed = ago(1, 2)
    promised = placed.date() + days(5, 7)
    return Dates(placed, placed + timedelta(hours=rng.randint(6, 13)), promised, promised)


def parcel(
    tracking_id: str,
    order_id: str,
    destination: str,
    journey: Journey,
    when: Dates,
    rng: random.Random,
) -> Parcel:
    """Return a parcel whose carrier's scans tell its journey."""
    warehouse = rng.choice(_WAREHOUSES)
    labelled = when.placed + timedelta(hours=rng.randint(3, 6))
    events = [_event(labelled, "label_created", warehouse, "Shipping label created")]
    shipped: datetime | None = None

    if journey == "label_delayed":
        text = "Delayed: the carrier is still waiting for the parcel"
        events.append(_event(when.last, "delayed", warehouse, text))
    elif journey == "label_voided":
        text = "Label voided by the sender: the order was cancelled"
        events.append(_event(when.last, "label_created", warehouse, text))
    elif journey != "label_created":
        shipped = labelled + timedelta(hours=rng.randint(2, 8))
        events.append(_event(shipped, "in_transit", warehouse, "Picked up by the carrier"))
        events += _way(shipped, when.last, destination, journey, rng)

    status = events[-1]["status"]
    return {
        "tracking_id": tracking_id,
        "order_id": order_id,
        "carrier": rng.choice(CARRIERS),
        "status": status,
        "shipped_at": stamp(shipped) if shipped else None,
        "estimated_delivery": when.estimated.isoformat(),
        "promised_delivery": when.promised.isoformat(),
        "delivered_at": events[-1]["at"] if status == "delivered" else None,
        "events": events,
    }


def _event(at: datetime, status: ParcelStatus, location: str, text: str) -> Event:
    """Return one scan."""
    return {"at": stamp(at), "status": status, "location": location, "text": text}


def _way(
    shipped: datetime, last: datetime, destination: str, journey: Journey, rng: random.Random
) -> list[Event]:
    """Return the scans after a parcel was picked up, the last of them at `last`."""
    hub = rng.choice(_HUBS)
    stops: list[tuple[ParcelStatus, str, str]] = [
        ("in_transit", hub, "Arrived at the sorting hub"),
        ("in_transit", hub, "Departed from the sorting hub"),
    ]
    depot: tuple[ParcelStatus, str, str] = (
        "in_transit",
        destination,
        "Arrived at the local depot",
    )
    leaving: tuple[ParcelStatus, str, str] = (
        "out_for_delivery",
        destination,
        "Out for delivery",
    )
    if journey == "in_transit":
        # As far as it got: to the hub, beyond it, or to the depot.
        stops = [*stops, depot][: rng.randint(1, 3)]
    elif journey == "out_for_delivery":
        stops += [depot, leaving]
    elif journey == "delayed":
        stops = [stops[0], ("delayed", hub, rng.choice(_DELAYS))]
    elif journey == "exception":
        stops += [depot, leaving, ("exception", destination, rng.choice(_EXCEPTIONS))]
    elif journey == "lost":
        stops = [
            stops[0],
            ("exception", hub, "No scan for several days, search started"),
            ("lost", hub, "Search closed: the parcel is presumed lost"),
        ]
    else:
        if journey == "delivered_late":
            stops.insert(1, ("delayed", hub, rng.choice(_DELAYS)))
        stops += [depot, leaving, ("delivered", destination, rng.choice(_HANDOVERS))]

    # Spread over the time between pick-up and last scan, with a little chance in each step.
    span = (last - shipped) / len(stops)
    return [
        _event(
            last if position == len(stops) else shipped + span * (position - rng.uniform(0.0, 0.6)),
            status,
            location,
            text,
        )
        for position, (status, location, text) in enumerate(stops, start=1)
    ]
