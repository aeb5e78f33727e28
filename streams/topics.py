"""Every topic of the mesh, with what it is kept for: one place for workers and pages alike."""

from dataclasses import dataclass
from typing import Final, Literal

from streams import slip
from streams.settings import Settings

Kind = Literal["mailbox", "journal", "replies", "dead letters"]

JOURNAL: Final = "mesh.journal"
REPLIES: Final = "mesh.replies"
DEAD_LETTERS: Final = "mesh.dead_letters"

DAY: Final = 86_400.0

MAILBOXES: Final = (
    slip.CONVERSATION,
    slip.SENTIMENT_ANALYZER,
    slip.INTENT_ANALYZER,
    slip.CONTEXT_RETRIEVER,
    slip.DECISION_ROUTER,
    slip.EXECUTION_COORDINATOR,
    slip.RESPONSE_GENERATOR,
    slip.GUARDRAIL_VALIDATOR,
    slip.ESCALATION_ROUTER,
    slip.RESPONSE_AGGREGATOR,
)


@dataclass(frozen=True)
class Topic:
    """One topic: its name, what it is, how long records stay."""

    name: str
    kind: Kind
    retention_seconds: float


#: Replies carry the session in their subject, so that a page hears of its own sessions only.
REPLIES_CONFIG: Final = {"nats.key_in_subject": True}


def topics(settings: Settings) -> dict[str, Topic]:
    """Return every topic by name. A mailbox keeps records for inspection after they are done."""
    listed = [Topic(name, "mailbox", DAY) for name in MAILBOXES]
    listed += [
        Topic(JOURNAL, "journal", settings.journal_days * DAY),
        Topic(REPLIES, "replies", settings.reply_days * DAY),
        Topic(DEAD_LETTERS, "dead letters", 10 * 365 * DAY),
    ]
    return {topic.name: topic for topic in listed}


def actor_name(subject: str) -> str:
    """Return the name of the actor behind a mailbox's subject: its last part."""
    return subject.rpartition(".")[2]
