"""Every topic of the mesh, with what it is kept for: one place for workers and pages alike."""

import logging
from dataclasses import dataclass
from typing import Any, Final, Literal

from mode import Service
from nats.js import JetStreamContext

from streams import slip
from streams.bridge.connection import connect, parse_url
from streams.bridge.errors import AccessDenied, ConfigurationError
from streams.bridge.topics import TopicSpec, declare, limit
from streams.settings import Settings

log = logging.getLogger(__name__)

Kind = Literal["mailbox", "journal", "replies", "dead letters", "audit"]

JOURNAL: Final = "mesh.journal"
REPLIES: Final = "mesh.replies"
DEAD_LETTERS: Final = "mesh.dead_letters"
AUDIT: Final = "mesh.audit"

DAY: Final = 86_400.0
GIGABYTE: Final = 1_000_000_000

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


def actor_name(subject: str) -> str:
    """Return the name of the actor behind a mailbox's subject: its last part."""
    return subject.rpartition(".")[2]


MAILBOX_OF: Final = {actor_name(subject): subject for subject in MAILBOXES}
"""The mailbox of each actor, by the actor's name."""


@dataclass(frozen=True)
class Topic:
    """One topic: its name, what it is, how long records stay and how many."""

    name: str
    kind: Kind
    retention_seconds: float
    max_bytes: int | None = None
    """Size past which the oldest records go; None for no limit."""
    #: Replies carry the session in their subject: a page hears of its own sessions only. Audit
    #: entries carry what they are about: what was done to one thing is found without a search.
    key_in_subject: bool = False


def topics(settings: Settings) -> dict[str, Topic]:
    """Return every topic by name. A mailbox keeps records for inspection after they are done."""
    listed = [Topic(name, "mailbox", DAY) for name in MAILBOXES]
    listed += [
        Topic(
            JOURNAL,
            "journal",
            settings.journal_days * DAY,
            round(settings.journal_gb * GIGABYTE) or None,
        ),
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
        await declare(js, _spec(topic, settings))


async def limit_topics(js: JetStreamContext, settings: Settings) -> None:
    """Give topics that were there before the settings were changed the limits of today's.

    Where the account has no right to change streams they keep theirs, and a warning says so.
    """
    for topic in topics(settings).values():
        try:
            changed = await limit(js, _spec(topic, settings))
        except (AccessDenied, ConfigurationError) as error:
            log.warning("the limits of %s stay as they are: %s", topic.name, error)
        else:
            if changed:
                log.info("%s has new limits", topic.name)


def _spec(topic: Topic, settings: Settings) -> TopicSpec:
    return TopicSpec(
        topic.name,
        settings.partitions,
        prefix=settings.prefix,
        key_in_subject=topic.key_in_subject,
        max_age=topic.retention_seconds,
        max_bytes=topic.max_bytes,
        replicas=settings.replicas,
        owner="mesh",
    )


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
            await limit_topics(client.jetstream(), self.settings)
        finally:
            await client.close()
