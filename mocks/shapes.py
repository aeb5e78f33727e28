"""The documents that the shop's services speak in, exactly as they travel over HTTP.

They are typed dictionaries and not classes because they are stored, changed and sent as JSON and
nothing else: there is no second form of an order that could disagree with the one on the wire.
"""

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

Tier = Literal["standard", "silver", "gold", "vip"]
Source = Literal["credit_card", "paypal", "gift_card"]
OrderStatus = Literal[
    "pending",
    "processed",
    "shipped",
    "delivered",
    "cancelled",
    "return requested",
    "returned",
    "exchange requested",
]
ParcelStatus = Literal[
    "label_created",
    "in_transit",
    "out_for_delivery",
    "delivered",
    "delayed",
    "exception",
    "lost",
]


class Name(TypedDict):
    """A person's name."""

    first_name: str
    last_name: str


class Address(TypedDict):
    """Where a person lives, or where an order goes."""

    address1: str
    address2: str
    city: str
    state: str
    zip: str
    country: str


class PaymentMethod(TypedDict):
    """One way in which a customer can pay; a gift card also has a balance."""

    id: str
    source: Source
    brand: NotRequired[str]
    last_four: NotRequired[str]
    balance: NotRequired[float]


class Customer(TypedDict):
    """One customer, with the ids of all their orders."""

    id: str
    name: Name
    email: str
    phone: str
    tier: Tier
    since: str
    address: Address
    payment_methods: list[PaymentMethod]
    orders: list[str]
    credit_balance: float


class Issue(TypedDict):
    """A ticket: something a customer once complained about or asked for."""

    id: str
    customer_id: str
    opened_at: str
    closed_at: str | None
    subject: str
    text: str
    status: Literal["open", "closed"]
    order_id: str | None


class Variant(TypedDict):
    """One version of a product that can be bought."""

    item_id: str
    options: dict[str, str]
    available: bool
    price: float


class Product(TypedDict):
    """One product with all its variants."""

    id: str
    name: str
    variants: list[Variant]


class Item(TypedDict):
    """One line of an order."""

    item_id: str
    product_id: str
    name: str
    price: float
    options: dict[str, str]


class Fulfillment(TypedDict):
    """Which items travel in which parcels."""

    tracking_ids: list[str]
    item_ids: list[str]


class Payment(TypedDict):
    """Money that moved, or is about to move, for an order."""

    id: str
    type: Literal["payment", "refund"]
    amount: float
    method_id: str
    at: str
    status: Literal["settled", "pending"]


class Return(TypedDict):
    """What a customer sends back, and what they get for it."""

    id: str
    item_ids: list[str]
    label_url: str
    refund_amount: float
    refund_to: str


class Swap(TypedDict):
    """One item of an order and the variant that takes its place."""

    item_id: str
    new_item_id: str


class Exchange(TypedDict):
    """What a customer swaps; the price difference is settled when the new items leave."""

    id: str
    items: list[Swap]
    label_url: str
    price_difference: float
    payment_method_id: str


# `return` is a keyword, so this one shape cannot be written as a class.
Order = TypedDict(
    "Order",
    {
        "id": str,
        "customer_id": str,
        "status": OrderStatus,
        "placed_at": str,
        "total": float,
        "items": list[Item],
        "address": Address,
        "fulfillments": list[Fulfillment],
        "payments": list[Payment],
        "return": NotRequired[Return],
        "exchange": NotRequired[Exchange],
    },
)


class Event(TypedDict):
    """One scan of a parcel on its way."""

    at: str
    status: ParcelStatus
    location: str
    text: str


class Parcel(TypedDict):
    """One parcel and everything its carrier has reported, oldest first."""

    tracking_id: str
    order_id: str
    carrier: str
    status: ParcelStatus
    shipped_at: str | None
    estimated_delivery: str
    promised_delivery: str
    delivered_at: str | None
    events: list[Event]


class Credit(TypedDict):
    """Goodwill money given to a customer."""

    credit_id: str
    amount: float
    reason: str
    balance: float


class Dispute(TypedDict):
    """A payment that the billing team has been asked to check."""

    dispute_id: str
    order_id: str
    payment_id: str
    status: Literal["open"]


class Investigation(TypedDict):
    """A search for a parcel that the carrier has been asked to make."""

    investigation_id: str
    tracking_id: str
    status: Literal["open"]
    answer_by: str
