"""Messages that an operator puts into a mailbox by hand: composed, or copied from another."""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.client import Client

from streams.bridge.direct import first
from streams.bridge.layout import every_partition, stream_name
from streams.errors import MeshError
from streams.message import BY_HAND, ByHand, Message, Recovery
from streams.operators.audit import Entry, append
from streams.operators.draft import BadDraft, Problem, place, read_draft
from streams.payload import Json, Payload
from streams.post import put, reaching
from streams.replies import replies_of
from streams.reply import Reply
from streams.settings import Settings
from streams.slip import NEW_TURN, RouteSlip
from streams.topics import MAILBOXES, topics


class NoRecord(MeshError):
    """There is no record at this place that could be copied."""


@dataclass(frozen=True)
class Published:
    """Where a message is now. `repeated`: it was there already, under the same turn's id."""

    message: Message
    topic: str
    offset: int
    repeated: bool


def new_id() -> str:
    """Return an id for a turn or a session that an operator makes."""
    return f"hand-{secrets.token_hex(8)}"


def blank() -> Json:
    """Return a message to begin with: a new turn of a new conversation, with nothing said yet."""
    message = Message(
        id=new_id(),
        session_id=new_id(),
        payload=Payload(text="", at=datetime.now(UTC), channel="operator"),
    )
    return _essential(message)


def sealed(text: str, operator: str, now: datetime) -> Message:
    """Return the message in `text` as it would be published; BadDraft with all that is wrong.

    It is marked as made by hand, and has made no hops and no tries, whatever the text says.
    """
    message = read_draft(text)
    if not message.payload.text.strip():
        line, column = place(text, ("payload", "text"))
        problem = Problem(path="payload.text", text="says nothing", line=line, column=column)
        raise BadDraft([problem])
    return message.model_copy(
        update={
            "slip": message.slip.model_copy(update={"done": ()}),
            "payload": message.payload.model_copy(update={"channel": "operator"}),
            "trace": [],
            "recovery": Recovery(),
            "error": None,
            "replay": None,
            "traceparent": None,
            "by_hand": [ByHand(kind="published", operator=operator, at=now)],
        }
    )


async def publish(client: Client, settings: Settings, operator: str, text: str) -> Published:
    """Put the message in `text` into the mailbox that its slip names first, audited.

    A turn's id is published once in its session: again, it is there already. BadDraft;
    GatewayUnavailable when nobody knows whether it arrived: publishing the same again is right.
    """
    message = sealed(text, operator, datetime.now(UTC))
    topic = message.slip.steps[0]
    entry = Entry(
        operator=operator,
        action="publish",
        target=f"turn {message.id} of {message.session_id}",
        detail={"topic": topic, "steps": list(message.slip.steps)},
    )
    await append(client, settings, entry)
    stored = await put(
        client,
        settings,
        topic,
        key=message.session_id.encode(),
        value=message.encode(),
        message_id=f"{message.session_id}-{message.id}",
        headers={BY_HAND: operator.encode()},
    )
    return Published(message, topic, stored.offset, stored.repeated)


async def copied(client: Client, settings: Settings, topic: str, offset: int) -> Json:
    """Return the message at `offset` of `topic` as one to publish, with an id of its own.

    A message in a mailbox, or a dead letter, goes on from there; a finished turn begins anew.
    NoRecord if there is no message; GatewayUnavailable.
    """
    known = topics(settings).get(topic)
    if known is None:
        raise NoRecord(f"there is no topic {topic!r}")
    subjects = every_partition(settings.prefix, topic, keyed=known.key_in_subject)
    with reaching("the record cannot be read"):
        found = await first(client, stream_name(settings.prefix, topic), subjects, sequence=offset)
    if found is None or found.record.offset != offset:
        raise NoRecord(f"there is no record {offset} on {topic}")
    try:
        message = Message.decode(found.record.value or b"")
    except MeshError as error:
        raise NoRecord(f"record {offset} on {topic} is no message: {error}") from error
    if message.slip.next() not in MAILBOXES:
        message = Message(
            id=message.id,
            session_id=message.session_id,
            slip=RouteSlip(steps=NEW_TURN),
            payload=Payload(
                text=message.payload.text, email=message.payload.email, at=message.payload.at
            ),
        )
    return _essential(message.model_copy(update={"id": new_id()}))


async def reply_to(
    client: Client, settings: Settings, session_id: str, turn_id: str
) -> Reply | None:
    """Return what a turn was answered last, None if nothing yet; GatewayUnavailable."""
    found = await replies_of(client, settings, session_id)
    return next((reply for reply in reversed(found) if reply.message_id == turn_id), None)


def _essential(message: Message) -> Json:
    """Return what of a message people compose: what is made on the way is left out."""
    document: Json = json.loads(
        message.model_dump_json(
            exclude={
                "trace": True,
                "recovery": True,
                "error": True,
                "replay": True,
                "by_hand": True,
                "traceparent": True,
                "slip": {"done"},
            }
        )
    )
    empty = Payload(text="", at=datetime.now(UTC)).model_dump(mode="json")
    kept = ("text", "email", "at", "channel")
    document["payload"] = {
        name: value
        for name, value in document["payload"].items()
        if name in kept or value != empty.get(name)
    }
    return document
