"""A conversation as it really went: its turns, and in each the steps from actor to actor."""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel

from streams.inspection.difference import Change
from streams.inspection.trail import Coverage
from streams.message import ByHand

CUSTOMER: Final = "customer"
OPERATOR: Final = "operator"

State = Literal[
    "answered",
    "awaiting_confirmation",
    "needs_information",
    "escalated",
    "failed",
    "under way",
    "waiting",
    "dead",
]
Outcome = Literal["done", "rerouted", "retry", "failed", "waits", "open", "dead", "repeated"]


class Place(BaseModel):
    """Where a record is, for people to look it up."""

    topic: str
    partition: int
    offset: int


class Asked(BaseModel):
    """A question to the outside during a step."""

    target: str
    duration_ms: float
    error: str | None = None


class Step(BaseModel):
    """A message on its way from a sender to an actor, and what the actor did with it.

    `outcome` is the hop's, and where there is no finished hop: `waits` (for the turn before it),
    `repeated` (the turn had come before), `dead` (buried) or `open` (waiting, or being worked on).
    """

    sender: str
    actor: str
    place: Place | None = None
    sent_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    waiting_ms: float | None = None
    """From when the message was stored (else from the end of the hop before) to the start."""
    delayed_ms: float = 0
    """How much of that was on purpose, before another try."""
    working_ms: float | None = None
    outcome: Outcome = "open"
    reason: str | None = None
    by_hand: ByHand | None = None
    """What an operator did, if one published or redrove what was sent."""
    guardrail: Literal["passed", "refused"] | None = None
    attempt: int = 1
    """Which try of this actor it is, in a row."""
    route: list[str] | None = None
    """The actors still to come after this step, if the step changed them."""
    notes: list[str] = []
    asked: list[Asked] = []
    difference: list[Change] = []


class Answer(BaseModel):
    """A reply that the customer got."""

    sender: str
    at: datetime
    author: str
    state: str
    text: str
    sequence: int
    place: Place | None = None


class Burial(BaseModel):
    """A record that became a dead letter, and what the actor could not do with it."""

    actor: str
    at: datetime
    reason: str
    place: Place


class Turn(BaseModel):
    """One message of the customer and everything that followed from it."""

    message_id: str
    number: int
    text: str
    channel: str
    at: datetime
    ended_at: datetime | None = None
    state: State
    waiting_ms: float = 0
    working_ms: float = 0
    steps: list[Step] = []
    ahead: list[str] = []
    """The actors that its newest message names as still to come, while it is under way."""
    answers: list[Answer] = []
    burials: list[Burial] = []
    journal: Place | None = None


class Conversation(BaseModel):
    """All turns of a session in order of time, and how much was looked through to find them."""

    session_id: str
    turns: list[Turn]
    actors: list[str]
    """Everyone who takes part, in the order of the standard slips."""
    unreadable: list[Burial] = []
    """Records of the session that hold neither a turn nor a reply; of a dead letter, with why."""
    coverage: list[Coverage] = []
    complete: bool = True
    """Whether every topic was looked through whole."""
    masked: bool = False
