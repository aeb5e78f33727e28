"""Committed offsets belong to whoever claimed them last, and to nobody else."""

import pytest
from nats.aio.client import Client

from streams.bridge.bucket import Bucket, Conflict
from streams.bridge.errors import Fenced
from streams.bridge.layout import Place
from streams.bridge.offsets import Offsets

PLACE = Place("a.topic", 3)


@pytest.fixture
async def bucket(client: Client, prefix: str) -> Bucket:
    bucket = Bucket(client, f"{prefix}-groups")
    await bucket.create(storage="file", replicas=1)
    return bucket


async def test_a_bucket_compares_before_it_sets(bucket: Bucket) -> None:
    assert await bucket.get("key") is None
    first = await bucket.put("key", b"1", revision=0)
    with pytest.raises(Conflict):
        await bucket.put("key", b"2", revision=0)
    second = await bucket.put("key", b"2", revision=first)
    entry = await bucket.get("key")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"2", second)
    await bucket.delete("key", revision=second)
    entry = await bucket.get("key")
    assert entry is not None
    assert entry.value is None


async def test_offsets_are_kept_for_the_next_owner(bucket: Bucket) -> None:
    one = Offsets(bucket, "my group", "one")
    assert await one.claim([PLACE], 1) == {PLACE: None}
    await one.commit({PLACE: 17})
    await one.commit({PLACE: 18})
    other = Offsets(bucket, "my group", "other")
    assert await other.claim([PLACE], 2) == {PLACE: 18}
    another_group = Offsets(bucket, "another", "one")
    assert await another_group.claim([PLACE], 1) == {PLACE: None}


async def test_who_lost_a_claim_cannot_commit_nor_claim_it_back(bucket: Bucket) -> None:
    old, new = Offsets(bucket, "g", "old"), Offsets(bucket, "g", "new")
    await old.claim([PLACE], 1)
    await new.claim([PLACE], 2)
    with pytest.raises(Fenced, match="belongs to new"):
        await old.commit({PLACE: 5})
    with pytest.raises(Fenced, match="later owner"):
        await old.claim([PLACE], 1)
    await new.commit({PLACE: 6})
    new.release()
    with pytest.raises(Fenced, match="not ours"):
        await new.commit({PLACE: 7})


async def test_an_own_write_whose_answer_was_lost_does_not_fence(bucket: Bucket) -> None:
    offsets = Offsets(bucket, "g", "me")
    await offsets.claim([PLACE], 4)
    entry = await bucket.get(offsets.key(PLACE))
    assert entry is not None
    assert entry.value is not None
    await bucket.put(offsets.key(PLACE), entry.value.replace(b"null", b"3"))
    await offsets.commit({PLACE: 9})
    assert await Offsets(bucket, "g", "you").claim([PLACE], 5) == {PLACE: 9}


async def test_offsets_of_a_topic_that_was_deleted_do_not_count_for_the_next(
    bucket: Bucket,
) -> None:
    old, new = Offsets(bucket, "g", "1", lambda topic: "id1"), Offsets(bucket, "g", "2", str.upper)
    assert await old.claim([PLACE], 1) == {PLACE: None}
    await old.commit({PLACE: 17})
    assert await new.claim([PLACE], 2) == {PLACE: 1}
    assert await new.claim([PLACE], 3) == {PLACE: 1}
