"""A key-value bucket with compare-and-set and lifetimes, for what a group must agree on."""

import json
from dataclasses import dataclass
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig, StreamInfo

from .connection import patiently
from .errors import BridgeError, ConfigurationError
from .layout import ROLLUP
from .refusals import BEING_WRITTEN, STREAM_NOT_FOUND, WRONG_REVISION, away, explain, passes
from .topics import IDENTITY, identity_of, new_identity

_NAME_IN_USE: Final = 10058
_MARKER_SECONDS: Final = 60
REQUEST_SECONDS: Final = 5.0


class Conflict(BridgeError):
    """A compare-and-set found another revision than expected."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is under a key. `value` is None after a deletion; the revision counts on."""

    key: str
    value: bytes | None
    revision: int


class Bucket:
    """A JetStream KV bucket (the `nats kv` command reads it), reached through its stream.

    Reads are answered by the stream's leader, so a write that was acknowledged is always seen.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.stream = f"KV_{name}"
        self._base = f"$KV.{name}."
        self.headers: dict[str, str] = {}
        """What every write carries."""
        self.identity: str | None = None
        """What tells this bucket from an earlier one of that name; None before `create`."""

    def subject(self, key: str) -> str:
        """Return the subject that holds `key`."""
        return self._base + key

    def key(self, subject: str) -> str:
        """Return the key that `subject` holds."""
        return subject[len(self._base) :]

    async def create(self, *, storage: str, replicas: int) -> None:
        """Create the bucket if it is not there; waits for as long as JetStream cannot answer."""
        js = self.client.jetstream()
        config = StreamConfig(
            name=self.stream,
            subjects=[self._base + ">"],
            max_msgs_per_subject=1,
            discard=DiscardPolicy.NEW,
            storage=StorageType(storage),
            num_replicas=replicas,
            allow_rollup_hdrs=True,
            deny_delete=True,
            allow_direct=True,
            allow_msg_ttl=True,
            subject_delete_marker_ttl=_MARKER_SECONDS,
            metadata={IDENTITY: new_identity()},
        )

        async def find_or_make() -> StreamInfo:
            try:
                return await js.stream_info(self.stream)
            except nats.js.errors.NotFoundError:
                try:
                    return await js.add_stream(config)
                except nats.js.errors.APIError as exc:
                    if exc.err_code != _NAME_IN_USE:
                        raise
                    # Somebody was faster. In a cluster the name is taken a moment before the
                    # bucket is there.
                    raise TimeoutError("the bucket does not answer yet") from exc

        try:
            info = await patiently(self.client, f"create bucket {self.name!r}", find_or_make)
        except nats.js.errors.APIError as exc:
            raise ConfigurationError(f"bucket {self.name!r}: {explain(vars(exc))}") from exc
        self.identity = identity_of(info)

    async def exists(self) -> bool:
        """Say whether the bucket is there; an error of nats-py means that nobody can tell."""
        try:
            await self.client.jetstream().stream_info(self.stream)
        except nats.js.errors.NotFoundError:
            return False
        return True

    async def get(self, key: str) -> Entry | None:
        """Return the entry, or None if the key never was or has expired.

        Raises TimeoutError when JetStream cannot answer now.
        """
        try:
            message = await self.client.jetstream().get_last_msg(self.stream, self.subject(key))
        except nats.js.errors.NotFoundError as exc:
            if exc.err_code == STREAM_NOT_FOUND:  # whoever watches the bucket will say so
                raise TimeoutError(f"bucket {self.name!r} is not there") from exc
            return None
        except nats.js.errors.APIError as exc:
            if not away(exc):
                raise
            raise TimeoutError(f"bucket {self.name!r}: {exc.description}") from exc
        value = message.data or b""
        gone = is_removal(message.headers)
        return Entry(key, None if gone else value, message.seq or 0)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        revision: int | None = None,
        ttl: float | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> int:
        """Store `value` and return its revision.

        With `revision` only if that is the key's revision still (0: the key is not there), else
        Conflict. `ttl` is the entry's lifetime in seconds. TimeoutError means that nobody knows
        whether it was stored, or that it cannot be at the moment.
        """
        headers = dict(self.headers)
        if ttl is not None:
            headers["Nats-TTL"] = f"{max(1, round(ttl))}s"
        return await self._store(key, value, headers, revision, timeout)

    async def delete(self, key: str, *, revision: int | None = None) -> int:
        """Remove a key, if `revision` is still its own; its marker goes by itself later."""
        headers = self.headers | {"KV-Operation": "DEL", "Nats-TTL": f"{_MARKER_SECONDS}s"}
        return await self._store(key, b"", headers, revision, REQUEST_SECONDS)

    async def _store(
        self,
        key: str,
        value: bytes,
        headers: dict[str, str],
        revision: int | None,
        timeout: float,
    ) -> int:
        if revision is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(revision)
        try:
            message = await self.client.request(
                self.subject(key), value, timeout=timeout, headers=headers or None
            )
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError) as exc:
            raise TimeoutError(f"bucket {self.name!r}: no answer for {key!r}") from exc
        answer = json.loads(message.data)
        error = answer.get("error")
        if error is None:
            return int(answer["seq"])
        if error.get("err_code") == WRONG_REVISION:
            raise Conflict(f"bucket {self.name!r}: {key!r} has changed")
        if passes(error) or error.get("err_code") == BEING_WRITTEN:
            raise TimeoutError(f"bucket {self.name!r}: {explain(error)}")
        raise BridgeError(f"bucket {self.name!r}: {key!r}: {explain(error)}")


class SharedBucket(Bucket):
    """Keys kept in a stream that holds other records too, so that one batch can write both.

    There, a key's last value is kept by each write's own header, not by the stream.
    """

    def __init__(self, client: Client, stream: str, base: str) -> None:
        super().__init__(client, stream)
        self.stream = stream
        self._base = base
        self.headers = {ROLLUP: "sub"}


def is_removal(headers: dict[str, str] | None) -> bool:
    """Say whether a message of a bucket's stream marks a removed or expired key."""
    return headers is not None and ("KV-Operation" in headers or "Nats-Marker-Reason" in headers)
