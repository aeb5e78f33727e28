"""Which turns are meant: by time, session, intent, outcome and expression."""

from datetime import datetime
from functools import lru_cache

from pydantic import BaseModel, ConfigDict, Field, field_validator

from streams.inspection.expression import BadExpression, Expression
from streams.message import Id, Message
from streams.payload import IntentName
from streams.reply import State, state_of


class Selection(BaseModel):
    """What a turn has to fulfil, all of it; what is not given counts as fulfilled."""

    model_config = ConfigDict(frozen=True)

    since: datetime | None = Field(None, description="Said by the customer then or later.")
    until: datetime | None = Field(None, description="Said by the customer then or before.")
    session: Id | None = None
    intent: IntentName | None = None
    outcome: State | None = None
    filter: str | None = Field(
        None, description="A JMESPath expression over the turn that must come out true."
    )

    @field_validator("since", "until")
    @classmethod
    def _has_a_zone(cls, moment: datetime | None) -> datetime | None:
        return moment.astimezone() if moment is not None and moment.tzinfo is None else moment

    @field_validator("filter")
    @classmethod
    def _can_be_evaluated(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                _expression(text)
            except BadExpression as error:
                raise ValueError(str(error)) from None
        return text

    def matches(self, message: Message) -> bool:
        """Say whether a turn is meant."""
        payload = message.payload
        said = payload.at if payload.at.tzinfo is not None else payload.at.astimezone()
        intent = payload.intent.name if payload.intent is not None else None
        return (
            (self.session is None or message.session_id == self.session)
            and (self.since is None or said >= self.since)
            and (self.until is None or said <= self.until)
            and (self.intent is None or intent == self.intent)
            and (self.outcome is None or state_of(message) == self.outcome)
            and (
                self.filter is None
                or _expression(self.filter).matches(message.model_dump(mode="json"))
            )
        )


@lru_cache(maxsize=16)
def _expression(text: str) -> Expression:
    return Expression(text)
