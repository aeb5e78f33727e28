"""Tables on disk: whether what a worker finds there still fits the changelog.

A store remembers up to which offset it has taken in its changelog, and Faust reads on from there.
Reading on does not show two things: that a key was deleted, once its tombstone is gone too, and
that the changelog is not the one any more that the store was filled from.
"""

import logging
import os
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final

from faust.exceptions import ConsistencyError
from faust.types import TP, AppT
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from .internals import drop_partition
from .topics import TopicInfo

logger = logging.getLogger(__name__)

ORIGIN: Final = "changelog-origin"
"""A file beside the database's own that says which stream the partition was filled from."""
MARGIN: Final = 0.9
"""The share of a tombstone's life that we rely on: clocks differ."""


async def check_partition(
    app: AppT, js: JetStreamContext, store: Any, tp: TP, changelog: TopicInfo
) -> None:
    """Empty a partition on disk that cannot be read on from, so that it is read back whole.

    `changelog` must be fresh. Raises ConsistencyError when records that the store has seen are
    missing there, unless Faust's setting `recovery_consistency_check` is off: what the store
    holds may be all that is left of them.
    """
    persisted: int | None = store.persisted_offset(tp)
    origin = store.partition_path(tp.partition) / ORIGIN
    known = origin.read_text() if origin.exists() else ""
    reason = ""
    if persisted is None:
        pass
    elif not known:
        reason = "nobody knows which changelog it was filled from"
    elif known != changelog.identity or persisted > changelog.last_offset:
        reason = f"it was filled up to {persisted} from a changelog that has lost records since"
        if app.conf.recovery_consistency_check:
            raise ConsistencyError(
                f"table partition {tp.topic}[{tp.partition}]: {reason}. Restore the stream "
                f"{changelog.stream}, or give up what it held: `faust reset` removes the tables "
                "on this machine's disk, recovery_consistency_check=False does so by itself"
            )
    elif await missed_tombstones(js, changelog, persisted):
        reason = "it was away for longer than tombstones are kept"
    if reason:
        logger.warning("%s[%d] is read back whole: %s", tp.topic, tp.partition, reason)
        drop_partition(app, store, tp)
        store.persisted_offset(tp)  # makes the folder again
    if known != changelog.identity or reason:
        beside = origin.with_suffix(".new")
        beside.write_text(changelog.identity)
        os.replace(beside, origin)


async def missed_tombstones(js: JetStreamContext, changelog: TopicInfo, persisted: int) -> bool:
    """Say whether a tombstone after the offset `persisted` may be gone already.

    None is if nothing was written since, or if the stream, or any record that the store has
    seen, is younger than tombstones get. Where that cannot be told, the answer is yes.
    """
    age = min(changelog.tombstone_age, changelog.max_age or changelog.tombstone_age)
    moment = datetime.fromtimestamp(time.time() - age * MARGIN, UTC)
    if persisted >= changelog.last_offset:
        return False
    if changelog.created is not None and changelog.created >= moment:
        return False
    return persisted < await _first_since(js, changelog, moment)


async def _first_since(js: JetStreamContext, changelog: TopicInfo, moment: datetime) -> int:
    """Return the first sequence of a changelog's stream since a moment, or the one to come.

    It is where a consumer of that moment begins; none has to be there for longer than that.
    """
    info = await js.add_consumer(
        changelog.stream,
        ConsumerConfig(
            name=f"bridge-{secrets.token_hex(8)}",
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=moment,
            ack_policy=AckPolicy.NONE,
            filter_subject=changelog.filter(0),
            inactive_threshold=1.0,
            mem_storage=True,
            num_replicas=1,
        ),
    )
    return (info.delivered.stream_seq if info.delivered else 0) + 1
