"""What a replay is asked to do, as a page or a command says it."""

from datetime import datetime
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from streams.inspection.expression import BadExpression, Expression
from streams.message import Id
from streams.payload import SLOTS, Json, Payload
from streams.replay.selection import Selection
from streams.topics import MAILBOX_OF, MAILBOXES

EVERYBODY: Final = "*"
"""Stands for all actors among those that ask the outside themselves."""
THE_JOURNAL: Final = "journal"
"""The source that is the running mesh's own journal."""

ACTORS: Final = tuple(MAILBOX_OF)

WORKERS_MOST: Final = 16


class WhatIf(BaseModel):
    """One actor's output exchanged for another: what follows is worked on, what led there is kept.

    The turn starts behind the hop at `hop` with the trace up to it, that hop's slots replaced.
    """

    model_config = ConfigDict(extra="forbid")

    session_id: Id
    message_id: Id
    hop: int = Field(ge=0, description="The place of the edited hop in the turn's trace, from 0.")
    slots: Json = Field(description="All that the hop adds now, by the names of payload slots.")
    steps: list[str] | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="The subjects that follow the hop; None: those that followed it when recorded.",
    )

    @field_validator("slots")
    @classmethod
    def _are_slots(cls, slots: Json) -> Json:
        for name in slots:
            if name not in SLOTS:
                raise ValueError(f"no actor fills {name!r}; there are: {', '.join(SLOTS)}")
        # What an actor cannot read would only fail at the next hop: say it to who wrote it.
        Payload.model_validate({"text": "", "at": datetime.min, **slots})
        return slots

    @field_validator("steps")
    @classmethod
    def _are_subjects(cls, steps: list[str] | None) -> list[str] | None:
        for step in steps or ():
            if step not in MAILBOXES:
                raise ValueError(f"no mailbox owns {step!r}; there are: {', '.join(MAILBOXES)}")
        return steps


class ReplayRequest(Selection):
    """Which turns are replayed, and who answers their questions."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(
        THE_JOURNAL,
        min_length=1,
        description="A file's path, or `journal`: the running mesh's own.",
    )
    mode: Literal["recorded", "live"] = "recorded"
    live: list[str] = Field(
        [], description="In `recorded` mode: the actors that ask the outside all the same."
    )
    shop: Literal["mock", "configured"] = Field(
        "mock",
        description="Which shop live actors ask: a fresh mock, or, with all that follows from it, "
        "the one in the settings.",
    )
    speed: float = Field(0, ge=0, description="Times as fast as recorded; 0: as fast as it goes.")
    against: str | None = Field(
        None, description="An earlier replay to compare with, in the place of the recording."
    )
    workers: int = Field(1, ge=1, le=WORKERS_MOST)
    repeat: int = Field(1, ge=1, le=100, description="How often each turn is replayed.")
    what_if: WhatIf | None = None

    def asking(self) -> tuple[str, ...]:
        """Return the actors that ask the outside; `*` is all of them."""
        return (EVERYBODY,) if self.mode == "live" else tuple(self.live)

    @field_validator("live")
    @classmethod
    def _are_actors(cls, live: list[str]) -> list[str]:
        for actor in live:
            if actor not in ACTORS:
                raise ValueError(f"there is no actor {actor!r}; there are: {', '.join(ACTORS)}")
        return live

    @field_validator("filter")
    @classmethod
    def _is_an_expression(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                Expression(text)
            except BadExpression as error:
                raise ValueError(str(error)) from None
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("`until` must be later than `since`")
        if self.what_if is not None and self.session not in (None, self.what_if.session_id):
            raise ValueError("`what_if` is about a turn of another session")
        return self
