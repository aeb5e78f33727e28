"""Tables on disk: whether what a worker finds there still fits the changelog.

A store remembers up to which offset it has taken in its changelog, and Faust reads on from there.
Reading on does not show two things: that a key was deleted, once its tombstone is gone too, and
that the changelog is not the one any more that the store was filled from.
"""

import json
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any, Final

from faust.exceptions import ConsistencyError
from faust.types import TP, AppT
from nats.aio.client import Client

from .internals import drop_partition
from .topics import TopicInfo

logger = logging.getLogger(__name__)

ORIGIN: Final = "changelog-origin"
"""A file beside the database's own that says which stream the partition was filled from."""
MARGIN: Final = 0.9
"""The share of a tombstone's life that we rely on: clocks differ."""


async def check_partition(
    app: AppT, client: Client, store: Any, tp: TP, changelog: TopicInfo
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
    elif known != changelog.created or persisted > changelog.last_offset:
        reason = f"it was filled up to {persisted} from a changelog that has lost records since"
        if app.conf.recovery_consistency_check:
            raise ConsistencyError(
                f"table partition {tp.topic}[{tp.partition}]: {reason}. Restore the stream "
                f"{changelog.stream}, or give up what it held: `faust reset` removes the tables "
                "on this machine's disk, recovery_consistency_check=False does so by itself"
            )
    elif await _missed_tombstones(client, changelog, persisted):
        reason = "it was away for longer than tombstones are kept"
    if reason:
        logger.warning("%s[%d] is read back whole: %s", tp.topic, tp.partition, reason)
        drop_partition(app, store, tp)
        store.persisted_offset(tp)  # makes the folder again
    if known != changelog.created or reason:
        beside = origin.with_suffix(".new")
        beside.write_text(changelog.created)
        os.replace(beside, origin)


async def _missed_tombstones(client: Client, changelog: TopicInfo, persisted: int) -> bool:
    """Say whether a tombstone after the offset `persisted` may be gone already.

    None is if nothing was written since, or if the stream, or any record that the store has
    seen, is younger than tombstones get. Where that cannot be told, the answer is yes.
    """
    age = min(changelog.tombstone_age, changelog.max_age or changelog.tombstone_age)
    moment = datetime.fromtimestamp(time.time() - age * MARGIN, UTC)
    if persisted >= changelog.last_offset or datetime.fromisoformat(changelog.created) >= moment:
        return False
    young = await _first_since(client, changelog.stream, moment)
    return young is None or persisted < young


async def _first_since(client: Client, stream: str, moment: datetime) -> int | None:
    """Return the sequence of a stream's first record stored since a moment, or None."""
    request = {"start_time": moment.isoformat(), "next_by_subj": ">"}
    answer = await client.request(
        f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), timeout=5.0
    )
    sequence = (answer.headers or {}).get("Nats-Sequence")
    return None if sequence is None else int(sequence)
