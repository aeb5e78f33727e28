"""The rights that a login needs, by what it is for; each can be tried without effect.

The bridge's README says what each is good for. A test compares with the servers' configuration in
k8s/base/nats/nats.conf.
"""

from collections.abc import Iterator
from typing import Final, Literal

from streams.bridge.layout import stream_name
from streams.bridge.rights import Right

Role = Literal["worker", "web"]

#: No topic has this name, so whatever is asked of its stream changes nothing.
NOBODY: Final = "doctor=check"

_BOTH: Final = (
    "{prefix}.>",
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.CONSUMER.CREATE.*.*.{prefix}.>",
    "$JS.API.CONSUMER.CREATE.*.*.$KV.{prefix}-groups.>",
    "$JS.API.CONSUMER.MSG.NEXT.*.*",
    "$JS.API.CONSUMER.DELETE.*.*",
)
PUBLISH: Final[dict[Role, tuple[str, ...]]] = {
    "worker": (
        *_BOTH,
        "$KV.{prefix}-groups.>",
        "_BRIDGE.{prefix}-groups.>",
        "_INBOX.{prefix}.>",
        "$JS.API.STREAM.UPDATE.*",  # topics that are there get the limits of the settings
        "$JS.API.STREAM.DELETE.*",
    ),
    "web": (*_BOTH, "$JS.API.STREAM.LIST", "$JS.API.DIRECT.GET.*"),
}
SUBSCRIBE: Final[dict[Role, tuple[str, ...]]] = {
    "worker": ("_INBOX.{prefix}.>", "_BRIDGE.{prefix}-groups.>", "{prefix}.pulse"),
    "web": ("_INBOX.{prefix}.>", "{prefix}.>"),
}


def rights(role: Role, prefix: str) -> Iterator[Right]:
    """Yield every right that a role needs, as the server's configuration has it."""
    for pattern in PUBLISH[role]:
        yield Right("publish", pattern.replace("{prefix}", prefix))
    for pattern in SUBSCRIBE[role]:
        yield Right("subscribe", pattern.replace("{prefix}", prefix))


def harmless(right: Right, prefix: str) -> str:
    """Return a subject that the right covers, on which nothing happens."""
    if right.subject == f"{prefix}.pulse":
        return right.subject
    subject = right.subject.removesuffix(">").replace("*", stream_name(prefix, NOBODY), 1)
    subject = subject.replace("*", NOBODY)
    return subject + NOBODY if subject.endswith(".") else subject
