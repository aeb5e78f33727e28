"""The route slip: where a message goes next, carried by the message itself."""

from collections.abc import Iterable
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field

from streams.errors import HopLimitExceeded

HOP_LIMIT: Final = 32

# The subjects of the actors' mailboxes. Slips name these; no actor knows its successor.
CONVERSATION: Final = "mesh.conversation"
SENTIMENT_ANALYZER: Final = "mesh.sentiment_analyzer"
INTENT_ANALYZER: Final = "mesh.intent_analyzer"
CONTEXT_RETRIEVER: Final = "mesh.context_retriever"
DECISION_ROUTER: Final = "mesh.decision_router"
EXECUTION_COORDINATOR: Final = "mesh.execution_coordinator"
RESPONSE_GENERATOR: Final = "mesh.response_generator"
GUARDRAIL_VALIDATOR: Final = "mesh.guardrail_validator"
ESCALATION_ROUTER: Final = "mesh.escalation_router"
RESPONSE_AGGREGATOR: Final = "mesh.response_aggregator"

# The standard slips. Routers choose among these rests; a slip may also be put together freely.
NEW_TURN: Final = (
    CONVERSATION,
    SENTIMENT_ANALYZER,
    INTENT_ANALYZER,
    CONTEXT_RETRIEVER,
    DECISION_ROUTER,
)
ACT_AND_ANSWER: Final = (
    EXECUTION_COORDINATOR,
    RESPONSE_GENERATOR,
    GUARDRAIL_VALIDATOR,
    DECISION_ROUTER,
)
ANSWER: Final = (RESPONSE_GENERATOR, GUARDRAIL_VALIDATOR, DECISION_ROUTER)
ESCALATE: Final = (ESCALATION_ROUTER,)
CLOSE: Final = (RESPONSE_AGGREGATOR,)


class RouteSlip(BaseModel):
    """The subjects still to come, those behind, and where to turn when an actor fails.

    A slip is a value: every method returns a new slip. `done` grows by one a hop, so its length
    is the number of hops made; past `HOP_LIMIT` the slip refuses to go on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[str, ...] = NEW_TURN
    done: tuple[str, ...] = ()
    on_error: str = Field(ESCALATION_ROUTER, min_length=1)

    def next(self) -> str | None:
        """Return the subject to publish to now, or None at the end of the route."""
        return self.steps[0] if self.steps else None

    def advance(self) -> Self:
        """Return the slip with its first step done; HopLimitExceeded when it has gone too far."""
        if not self.steps:
            raise IndexError("the route slip has no step left")
        if len(self.done) >= HOP_LIMIT:
            raise HopLimitExceeded(
                f"{HOP_LIMIT} hops made and still {len(self.steps)} to go, next {self.steps[0]!r}"
            )
        return self.model_copy(
            update={"steps": self.steps[1:], "done": (*self.done, self.steps[0])}
        )

    def reroute(self, steps: Iterable[str]) -> Self:
        """Return the slip with all steps still to come replaced by `steps`."""
        return self.model_copy(update={"steps": tuple(steps)})

    def insert(self, steps: Iterable[str]) -> Self:
        """Return the slip with `steps` put before those still to come."""
        return self.model_copy(update={"steps": (*steps, *self.steps)})
