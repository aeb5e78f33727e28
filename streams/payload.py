"""What a message carries: the customer's words, and one typed slot for each enrichment."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Score = Annotated[float, Field(ge=-1, le=1)]
Confidence = Annotated[float, Field(ge=0, le=1)]
Json = dict[str, Any]


class Slot(BaseModel):
    """Base of all slots: what a newer version added is kept, not lost, when an older one passes."""

    # What cannot be read is a customer's: an error must not quote it into a log.
    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)


class Sentiment(Slot):
    """How the customer feels, as the text shows it."""

    label: Literal["positive", "neutral", "negative"]
    score: Score
    emotions: list[str] = []
    urgency: Literal["low", "medium", "high", "critical"] = "low"
    complaint: bool = False
    escalation: bool = False
    cues: list[str] = Field([], description="The words that led to this, for people to check.")


class IntentName(StrEnum):
    """What a customer can want."""

    DELIVERY_STATUS = "delivery_status"
    DELIVERY_DELAY = "delivery_delay"
    ORDER_STATUS = "order_status"
    CANCEL_ORDER = "cancel_order"
    MODIFY_ORDER = "modify_order"
    RETURN_REQUEST = "return_request"
    REFUND_STATUS = "refund_status"
    EXCHANGE = "exchange"
    BILLING_ISSUE = "billing_issue"
    PAYMENT_ISSUE = "payment_issue"
    ACCOUNT_ACCESS = "account_access"
    PROFILE_UPDATE = "profile_update"
    PRODUCT_QUESTION = "product_question"
    COMPLAINT = "complaint"
    HUMAN_AGENT = "human_agent"
    FEEDBACK_THANKS = "feedback_thanks"
    OTHER = "other"


class Alternative(Slot):
    """An intent that was considered and not chosen."""

    name: IntentName
    confidence: Confidence


class Entity(Slot):
    """Something the customer named, at `text[start:end]`."""

    type: Literal[
        "order_id", "tracking_number", "email", "phone", "product", "amount", "date", "zip", "name"
    ]
    value: str
    start: int
    end: int


class Intent(Slot):
    """What the customer wants; `also` holds further wishes in the same message."""

    name: IntentName
    confidence: Confidence
    alternatives: list[Alternative] = []
    also: list[IntentName] = []
    entities: list[Entity] = []
    confirmation: Literal["yes", "no"] | None = Field(
        None, description="The answer to what the bot asked to confirm, if this is one."
    )
    source: Literal["model", "rules"] = "rules"

    def values(self, kind: str) -> list[str]:
        """Return the values of all entities of one type, in order of appearance."""
        return [entity.value for entity in self.entities if entity.type == kind]


class Customer(Slot):
    """A customer as the customers API tells it."""

    id: str
    name: dict[str, str]
    email: str
    phone: str | None = None
    tier: str = "standard"
    since: date | None = None
    address: Json = {}
    payment_methods: list[Json] = []
    orders: list[str] = []
    credit_balance: float = 0


class Order(Slot):
    """An order as the orders API tells it."""

    id: str
    customer_id: str
    status: str
    placed_at: datetime | None = None
    total: float = 0
    items: list[Json] = []
    address: Json = {}
    fulfillments: list[Json] = []
    payments: list[Json] = []


class Parcel(Slot):
    """A parcel as the tracking API tells it; events are oldest first."""

    tracking_id: str
    order_id: str
    carrier: str
    status: str
    estimated_delivery: date | None = None
    promised_delivery: date | None = None
    delivered_at: datetime | None = None
    events: list[Json] = []


class PastIssue(Slot):
    """Something this customer came with before."""

    id: str
    opened_at: datetime
    subject: str
    status: str
    order_id: str | None = None


class Context(Slot):
    """What the shop knows about this customer, and nobody else's data."""

    customer: Customer | None = None
    orders: list[Order] = []
    parcels: list[Parcel] = []
    products: list[Json] = []
    past_issues: list[PastIssue] = []
    focus: list[str] = Field([], description="Ids of the orders that this turn is about.")
    foreign: list[str] = Field(
        [], description="Order ids and tracking numbers named that are not this customer's."
    )
    missing: list[str] = Field([], description="Sources that did not answer, with the reason.")
    cached: list[str] = Field([], description="Sources that came from the cache.")


class PlannedAction(Slot):
    """One thing to do in the shop; `id` is unique in its turn and part of the idempotency key."""

    id: str
    kind: str
    order_id: str | None = None
    arguments: Json = {}
    confirm: bool = Field(False, description="Only after the customer's yes.")
    text: str = Field("", description="What it is, in words for the customer.")


class Plan(Slot):
    """What the decision router decided."""

    actions: list[PlannedAction] = []
    confirm: list[PlannedAction] = Field([], description="Actions that wait for a yes.")
    ask: str | None = Field(None, description="What the customer must tell before we can go on.")
    escalate: str | None = Field(None, description="Why a human takes over, if one does.")
    reasons: list[str] = []


class ActionResult(Slot):
    """What became of one planned action."""

    action_id: str
    kind: str
    ok: bool
    order_id: str | None = None
    detail: Json = {}
    error: str | None = None
    idempotency_key: str


class Execution(Slot):
    """What was done in the shop in this turn."""

    results: list[ActionResult] = []


class Response(Slot):
    """The reply as it would go out."""

    text: str
    source: Literal["model", "template", "human"]
    facts: list[str] = Field([], description="The facts it was written from.")
    attempt: int = 1


class Verdict(Slot):
    """What one check of the guardrail found."""

    check: str
    passed: bool
    reason: str = ""


class Guardrail(Slot):
    """Whether the reply may go out, and why not."""

    passed: bool
    verdicts: list[Verdict] = []

    def reasons(self) -> list[str]:
        """Return the reasons of all checks that failed."""
        return [f"{v.check}: {v.reason}" for v in self.verdicts if not v.passed]


class Escalation(Slot):
    """How a failure or a wish for a human was dealt with."""

    kind: Literal["retry", "fallback", "handover"]
    reason: str
    summary: str = ""
    suggested_reply: str = ""
    ticket: str | None = None


class Utterance(Slot):
    """One past line of a conversation."""

    role: Literal["customer", "bot", "human"]
    text: str
    at: datetime


class Payload(Slot):
    """The turn's input and everything that the actors found out. `text` is never overwritten."""

    text: str = Field(frozen=True)
    email: str | None = Field(None, frozen=True)
    at: datetime = Field(frozen=True)
    channel: Literal["websocket", "http", "human", "operator"] = Field("http", frozen=True)

    turn: int = Field(0, description="Number of this turn in its session, from 1.")
    history: list[Utterance] = []
    awaiting: list[PlannedAction] = Field(
        [], description="What the bot asked the customer to confirm in the last turn."
    )

    sentiment: Sentiment | None = None
    intent: Intent | None = None
    context: Context | None = None
    plan: Plan | None = None
    execution: Execution | None = None
    response: Response | None = None
    guardrail: Guardrail | None = None
    escalation: Escalation | None = None


#: What actors fill: everything but the customer's own words.
SLOTS: Final = tuple(name for name, field in Payload.model_fields.items() if not field.frozen)
