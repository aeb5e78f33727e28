"""The message: a small versioned envelope that is also its own Faust codec."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from faust.serializers import codecs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import Undecodable
from streams.payload import Json, Payload, PlannedAction, Utterance
from streams.slip import RouteSlip

VERSION: Final = 1

# Ids come from browsers and go into keys and headers: short, and nothing a subject could mistake.
ID_LENGTH: Final = 64
ID_PATTERN: Final = rf"^[A-Za-z0-9_-]{{1,{ID_LENGTH}}}$"
#: The header of a record that an operator put where it is: who did.
BY_HAND: Final = "Mesh-By-Hand"
Id = Annotated[str, Field(pattern=ID_PATTERN)]


class Exchange(BaseModel):
    """One question to the outside world and its answer, enough to replay it without asking."""

    target: Literal["llm", "customers", "orders", "tracking", "cache"]
    request: Json
    response: Any = None
    error: str | None = None
    duration_ms: float


class Hop(BaseModel):
    """One actor's work on the message."""

    actor: str
    started_at: datetime
    duration_ms: float = 0
    outcome: Literal["done", "rerouted", "retry", "failed"] = "done"
    added: Json = Field({}, description="The payload slots this hop filled, with their values.")
    exchanges: list[Exchange] = []
    notes: list[str] = Field([], description="What people should know, such as 'rules answered'.")
    error: str | None = Field(
        None,
        description="What the actor failed with, as kind and text.",
        exclude_if=lambda value: value is None,
    )
    code: str = Field("", description="The version of the code that did it; see `streams.version`.")
    given: Json = Field(
        {},
        description="What a turn brought along that begins otherwise than all do, or once more "
        "after a redrive: `slots`, and the `steps` of its slip.",
        exclude_if=lambda value: not value,
    )


class Failure(BaseModel):
    """The last failure."""

    actor: str
    kind: str
    text: str
    at: datetime


class Recovery(BaseModel):
    """What was tried after failures. Counted here, in the message: memory dies with a process."""

    attempts: dict[str, int] = Field({}, description="Failed tries, by actor.")
    not_before: datetime | None = Field(None, description="When the next try may start.")
    guardrail_rounds: int = 0


class RecordedHop(BaseModel):
    """What the outside told one actor, and when, the first time that a turn was worked on."""

    actor: str
    started_at: datetime
    exchanges: list[Exchange] = []


class Remembered(BaseModel):
    """What a session knew when a turn came to its door."""

    turn: int = 0
    history: list[Utterance] = []
    awaiting: list[PlannedAction] = []
    refused: str | None = Field(None, description="Why the door stayed closed, if it did.")


class Replay(BaseModel):
    """How a turn is worked on once more: what its actors may ask, and who answers."""

    run: str = Field(description="The name of the replay.")
    attempt: int = Field(1, ge=1, description="Which time in this replay, from 1.")
    live: list[str] = Field(
        [], description="The actors that ask the outside themselves; `*` is all of them."
    )
    hops: list[RecordedHop] = Field(
        [],
        description="The recording, in order. An answer that is used moves from here to the trace.",
    )
    session: Remembered | None = Field(
        None,
        description="What the session knew then. Without it the session goes on as in a chat.",
    )
    pace: float = Field(
        0, ge=0, description="Recorded answers take their time divided by this; 0: none at all."
    )


class ByHand(BaseModel):
    """What an operator did: made this message, or brought it back from the dead letters."""

    kind: Literal["published", "redriven"]
    operator: str
    at: datetime
    letter: int | None = Field(None, description="Offset of the dead letter that was redriven.")
    attempt: int = Field(1, ge=1, description="How often that letter was redriven by then.")


class Message(BaseModel):
    """One turn of one conversation, on its way through the mesh."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    version: Literal[1] = VERSION
    id: Id
    session_id: Id
    slip: RouteSlip = RouteSlip()
    payload: Payload
    trace: list[Hop] = []
    error: Failure | None = None
    recovery: Recovery = Recovery()
    replay: Replay | None = None
    traceparent: str | None = Field(
        None,
        description="The hop's span: what the message causes, however late, belongs below it.",
        exclude_if=lambda value: value is None,
    )
    by_hand: list[ByHand] = Field([], description="What operators did to it, oldest first.")

    @property
    def run(self) -> str:
        """What this run of the turn is called: the turn's id, and which redrive it is, if one.

        A turn is worked on once, however often it comes; a redriven one is to be worked on again.
        """
        return self._run(len(self.by_hand))

    @property
    def former_run(self) -> str | None:
        """The run that ended among the dead letters and goes on in this one; None without any."""
        last = self._last_redrive(len(self.by_hand))
        return None if last is None else self._run(last)

    def _last_redrive(self, end: int) -> int | None:
        """Return the place in `by_hand` of the last redrive before `end`."""
        for place in range(end - 1, -1, -1):
            if self.by_hand[place].letter is not None:
                return place
        return None

    def _run(self, end: int) -> str:
        place = self._last_redrive(end)
        if place is None:
            return self.id
        return f"{self.id}.{self.by_hand[place].letter}.{self.by_hand[place].attempt}"

    def encode(self) -> bytes:
        """Return the message as compact JSON."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the message in `data`; Undecodable says what is wrong with it."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            where = ".".join(str(part) for part in found[0]["loc"]) or "document"
            raise Undecodable(
                f"not a version {VERSION} message: {where}: {found[0]['msg']}"
                + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
            ) from error


@dataclass(frozen=True)
class Undecoded:
    """What a codec yields for bytes that it cannot read, so that the mailbox can keep them.

    Faust acknowledges a record before it reports a decoding error; a crash between the two would
    lose it. A value that stands for the failure stays in flight until it is a dead letter.
    """

    data: bytes
    reason: str


class MessageCodec(codecs.Codec):
    """Faust's way to carry `Message` on topics."""

    def _dumps(self, s: Any) -> bytes:
        # `faust send` and other generic senders hand over plain JSON values.
        message = s if isinstance(s, Message) else Message.model_validate(s)
        return message.encode()

    def _loads(self, s: bytes) -> Message | Undecoded:
        try:
            return Message.decode(s)
        except Undecodable as error:
            return Undecoded(s, str(error))


class ModelCodec(codecs.Codec):
    """A Faust codec for one pydantic model, for tables and topics that only we write."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model
        super().__init__()

    def _dumps(self, s: Any) -> bytes:
        return self.model.model_validate(s).model_dump_json().encode()

    def _loads(self, s: bytes) -> BaseModel:
        return self.model.model_validate_json(s)


def register(name: str, codec: codecs.Codec) -> str:
    """Make `codec` known to Faust as `name` (harmless when repeated) and return the name.

    Faust's codec registry is one a process: what is put there must not differ between apps.
    """
    codecs.register(name, codec)
    return name


MESSAGE_CODEC: Final = register("mesh_message", MessageCodec())
