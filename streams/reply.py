"""What goes back to the people in front of a chat: replies, and who is at work meanwhile."""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, Field

from streams.message import Message, ModelCodec, register
from streams.payload import ActionResult, Json

State = Literal["answered", "awaiting_confirmation", "needs_information", "escalated", "failed"]


class Reply(BaseModel):
    """The end of a turn. `sequence` counts a session's replies from 1, without gaps."""

    type: Literal["reply"] = "reply"
    session_id: str
    message_id: str
    sequence: int = Field(ge=1)
    at: datetime
    author: Literal["bot", "human"] = "bot"
    response: str
    state: State
    intent: str | None = None
    sentiment: str | None = None
    route: list[str] = []
    actions: list[Json] = []
    run: str | None = Field(None, description="The turn's run, if operators redrove it.")


class Progress(BaseModel):
    """One actor has begun to work on a turn. Sent once, kept nowhere."""

    type: Literal["progress"] = "progress"
    session_id: str
    message_id: str
    actor: str
    hop: int


REPLY_CODEC: Final = register("mesh_reply", ModelCodec(Reply))


def state_of(message: Message) -> State:
    """Return how the turn ended, as the page shows it."""
    payload = message.payload
    if payload.escalation is not None and payload.escalation.kind == "handover":
        return "escalated"
    if payload.response is None or (
        payload.escalation is not None and payload.escalation.kind == "fallback"
    ):
        return "failed"
    if payload.plan is not None and payload.plan.confirm:
        return "awaiting_confirmation"
    if payload.plan is not None and payload.plan.ask:
        return "needs_information"
    return "answered"


def describe(result: ActionResult) -> Json:
    """Return an action's result as the customer's page and the API show it."""
    return result.model_dump(include={"action_id", "kind", "ok", "order_id", "detail", "error"})
