"""Committed offsets of a group, each partition's behind a claim that is also the fence."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .bucket import Bucket, Conflict
from .errors import Fenced
from .layout import Place, escape, header_block

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 0.3
"""Pause before a write that could not be stored is tried again."""


@dataclass
class _Claim:
    """Our hold on one partition: valid as long as the key still has this revision."""

    revision: int
    offset: int | None


class Offsets:
    """Where a group goes on reading, kept in the group's bucket by compare-and-set.

    A member claims a partition's key when it is assigned the partition: it rewrites the key with
    its own id and generation. From then on only writes on top of that revision succeed, so a
    member that lost the partition, and does not know it yet, cannot commit for it any more.
    """

    def __init__(
        self,
        bucket: Bucket,
        group: str,
        member: str,
        identity: Callable[[str], str] = lambda topic: "",
    ) -> None:
        self.bucket = bucket
        self.group = group
        self.member = member
        self.identity = identity
        """Gives what tells a topic from an earlier one of that name, whose offsets say nothing."""
        self._generation = 0
        self._claims: dict[Place, _Claim] = {}

    def key(self, place: Place) -> str:
        """Return the bucket's key for a partition of the group."""
        return f"offset.{escape(self.group)}.{escape(place.topic)}.{place.partition}"

    async def claim(self, places: Iterable[Place], generation: int) -> dict[Place, int | None]:
        """Take over partitions; return the committed offsets, None where there is none yet.

        Claims held before are dropped. Raises Fenced when a later generation has claimed one.
        """
        self._claims.clear()
        self._generation = generation
        places = list(places)
        claims = await asyncio.gather(*(self._claim(place) for place in places))
        self._claims = dict(zip(places, claims, strict=True))
        return self.committed()

    def committed(self) -> dict[Place, int | None]:
        """Return the offsets to read next of all partitions that are claimed."""
        return {place: claim.offset for place, claim in self._claims.items()}

    async def commit(self, offsets: Mapping[Place, int]) -> None:
        """Store offsets; returns once all are stored, however long the server stays away.

        Raises Fenced if another member has claimed one of the partitions.
        """
        await asyncio.gather(*(self._commit(place, offset) for place, offset in offsets.items()))

    def prepare(self, place: Place, offset: int) -> tuple[str, bytes, bytes]:
        """Return subject, value and header block of a commit that somebody else will send.

        Raises Fenced if the partition is not claimed. Tell `stored()` when it is done.
        """
        revision = str(self._claimed(place).revision)
        headers = self.bucket.headers | {"Nats-Expected-Last-Subject-Sequence": revision}
        value = self._value(place, offset)
        return self.bucket.subject(self.key(place)), value, header_block(headers)

    def revision(self, place: Place) -> int:
        """Return the sequence of what is stored of us for a partition; Fenced if nothing is."""
        return self._claimed(place).revision

    def stored(self, place: Place, offset: int, revision: int) -> None:
        """Take note that a prepared commit is stored."""
        self._claims[place] = _Claim(revision, offset)

    async def find(self, place: Place, offset: int) -> int | None:
        """Return the revision under which a prepared commit is stored, None if it is not.

        Raises Fenced if another member has claimed the partition, TimeoutError without a server.
        """
        claim = self._claimed(place)
        entry = await self.bucket.get(self.key(place))
        held = json.loads(entry.value) if entry is not None and entry.value else {}
        self._check_holder(place, held)
        if entry is None or entry.revision == claim.revision or held.get("offset") != offset:
            return None
        return entry.revision

    def release(self) -> None:
        """Forget all claims; nothing can be committed until the next `claim`."""
        self._claims.clear()

    async def _claim(self, place: Place) -> _Claim:
        key = self.key(place)
        while True:
            try:
                entry = await self.bucket.get(key)
                held = json.loads(entry.value) if entry is not None and entry.value else {}
                if held.get("generation", 0) > self._generation:
                    raise Fenced(f"{place.topic}[{place.partition}] has a later owner")
                offset: int | None = held.get("offset")
                if offset is not None and held.get("identity", "") != self.identity(place.topic):
                    logger.error(
                        "topic %r is another one than group %r has read so far: that was deleted, "
                        "and what it held is lost; reading partition %d from its beginning",
                        *(place.topic, self.group, place.partition),
                    )
                    offset = 1
                revision = entry.revision if entry is not None else 0
                revision = await self.bucket.put(key, self._value(place, offset), revision=revision)
            except (Conflict, TimeoutError) as exc:
                logger.info("claim of %s: %s; trying again", key, exc)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return _Claim(revision, offset)

    async def _commit(self, place: Place, offset: int) -> None:
        key = self.key(place)
        while True:
            claim = self._claimed(place)
            try:
                claim.revision = await self.bucket.put(
                    key, self._value(place, offset), revision=claim.revision
                )
            except Conflict:
                await self._recheck(place, claim)
            except TimeoutError as exc:
                logger.info("commit of %s: %s; trying again", key, exc)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                claim.offset = offset
                return

    async def _recheck(self, place: Place, claim: _Claim) -> None:
        """Tell a lost claim from our own write whose answer was lost."""
        try:
            entry = await self.bucket.get(self.key(place))
        except TimeoutError:
            return
        held = json.loads(entry.value) if entry is not None and entry.value else {}
        self._check_holder(place, held)
        if entry is not None:
            claim.revision = entry.revision

    def _claimed(self, place: Place) -> _Claim:
        claim = self._claims.get(place)
        if claim is None:
            raise Fenced(f"{place.topic}[{place.partition}] is not ours any more")
        return claim

    def _check_holder(self, place: Place, held: Mapping[str, Any]) -> None:
        if (held.get("member"), held.get("generation")) != (self.member, self._generation):
            raise Fenced(f"{place.topic}[{place.partition}] belongs to {held.get('member')} now")

    def _value(self, place: Place, offset: int | None) -> bytes:
        return json.dumps(
            {
                "offset": offset,
                "member": self.member,
                "generation": self._generation,
                "identity": self.identity(place.topic),
            }
        ).encode()
