"""Every topic of the mesh, with what it is kept for: one place for workers and pages alike."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from mode import Service
from nats.js import JetStreamContext

from streams import slip
from streams.bridge.connection import connect, parse_url
from streams.bridge.topics import TopicSpec, declare
from streams.settings import Settings

Kind = Literal["mailbox", "journal", "replies", "dead letters", "audit"]

JOURNAL: Final = "mesh.journal"
REPLIES: Final = "mesh.replies"
DEAD_LETTERS: Final = "mesh.dead_letters"
AUDIT: Final = "mesh.audit"

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
    #: Replies carry the session in their subject: a page hears of its own sessions only. Audit
    #: entries carry what they are about: what was done to one thing is found without a search.
    key_in_subject: bool = False


def topics(settings: Settings) -> dict[str, Topic]:
    """Return every topic by name. A mailbox keeps records for inspection after they are done."""
    listed = [Topic(name, "mailbox", DAY) for name in MAILBOXES]
    listed += [
        Topic(JOURNAL, "journal", settings.journal_days * DAY),
        Topic(REPLIES, "replies", settings.reply_days * DAY, key_in_subject=True),
        Topic(DEAD_LETTERS, "dead letters", 10 * 365 * DAY),
        Topic(AUDIT, "audit", 10 * 365 * DAY, key_in_subject=True),
    ]
    return {topic.name: topic for topic in listed}


async def declare_topics(js: JetStreamContext, settings: Settings) -> None:
    """Create every topic that is not there yet; raises what `streams.bridge.topics.declare` does.

    Pages and workers both do it before anything else, so that it does not matter who is first.
    """
    for topic in topics(settings).values():
        spec = TopicSpec(
            topic.name,
            settings.partitions,
            prefix=settings.prefix,
            key_in_subject=topic.key_in_subject,
            max_age=topic.retention_seconds,
            replicas=settings.replicas,
            owner="mesh",
        )
        await declare(js, spec)


class TopicDeclaration(Service):
    """Declares the topics when a worker starts, before its first event."""

    def __init__(self, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings

    async def on_start(self) -> None:
        """Connect, declare, and leave again."""
        client = await connect(parse_url(self.settings.faust_broker()), name="topics")
        try:
            await declare_topics(client.jetstream(), self.settings)
        finally:
            await client.close()


def actor_name(subject: str) -> str:
    """Return the name of the actor behind a mailbox's subject: its last part."""
    return subject.rpartition(".")[2]
