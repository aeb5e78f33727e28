"""What workers want to read and what each gets: Faust's own assignor, over our membership."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from faust.types import AppT

from .errors import TopicMismatch
from .internals import own_share

Share = Sequence[tuple[str, list[int]]]
"""Topics with the numbers of their partitions."""


def wishes(app: AppT, topics: Iterable[str], partitions: Mapping[str, int]) -> bytes:
    """Return what a worker wants to read, for the leader; `partitions`: how many there are."""
    subscribed = set(topics)
    metadata = cast(Any, app.assignor).metadata(subscribed)
    return json.dumps(
        {
            "topics": sorted(subscribed),
            "partitions": partitions,
            "user_data": base64.b64encode(metadata.user_data).decode(),
        }
    ).encode()


def share_out(app: AppT, metadata: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Share out all partitions among members, by what each wants (see `wishes`), as leader.

    Raises TopicMismatch if they do not agree on how many partitions a topic has.
    """
    partitions: dict[str, int] = {}
    subscriptions: dict[str, _Subscription] = {}
    for member, raw in metadata.items():
        document = json.loads(raw)
        for topic, count in document["partitions"].items():
            if partitions.setdefault(topic, count) != count:
                raise TopicMismatch(
                    f"topic {topic!r}: some workers know it with {count} partitions, others "
                    f"with {partitions[topic]}; it was made anew, so restart all of them"
                )
        subscriptions[member] = _Subscription(
            4, document["topics"], base64.b64decode(document["user_data"])
        )
    shares = cast(Any, app.assignor).assign(_Cluster(partitions), subscriptions)
    return {member: share.user_data for member, share in shares.items()}


def take_share(app: AppT, assignment: bytes) -> Share:
    """Tell a worker's assignor its own share, one of those that `share_out` returns; return it."""
    share = own_share(app, assignment)
    cast(Any, app.assignor).on_assignment(_Assignment(share, assignment))
    return share


class _Subscription(NamedTuple):
    """What a member wants to read, in the form that Faust's assignor takes."""

    version: int
    subscription: list[str]
    user_data: bytes


@dataclass
class _Cluster:
    """What Faust's assignor wants to know of the broker: how many partitions a topic has."""

    partitions: Mapping[str, int]

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions."""
        return set(range(self.partitions.get(topic, 0)))


class _Assignment(NamedTuple):
    """What Faust's assignor takes as its own share."""

    assignment: Share
    user_data: bytes
