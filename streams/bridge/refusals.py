"""What JetStream's refusals mean: whether they pass, and what a person can do about them."""

from collections.abc import Mapping
from typing import Any, Final

import nats.errors
import nats.js.errors

STREAM_NOT_FOUND: Final = 10059
NO_LEADER: Final = 10008
WRONG_REVISION: Final = 10071
BEING_WRITTEN: Final = 10164
"""Only in clusters: another write to the same subject is under way, so nobody knows its last."""
_NO_PEERS: Final = 10005
_STORE_FAILED: Final = 10077
_DUPLICATE_IN_PROCESS: Final = 10158
_NOT_ENABLED: Final = (10039, 10076)

SILENCE: Final = "the server's log may tell why: a full disk, a stream without a leader"
"""What to say of a server that is there and does not answer."""

_AWAY: Final = (
    TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.StaleConnectionError,
)

_FULL: Final = {
    10002: "the account's JetStream limit is reached: raise it, or free space in its streams",
    10023: "the server's JetStream limit is reached: raise max_file_store or max_memory_store, "
    "or free space in streams",
    10028: "the server's max_memory_store is reached: raise it, or free space in streams",
    10047: "the server's max_file_store is reached: raise it, or free space in streams",
    _STORE_FAILED: "the stream takes nothing new: raise its limit, purge it, or let it discard "
    "what is old",
}


def passes(error: Mapping[str, Any]) -> bool:
    """Say whether a record that was refused with `error` may be accepted later as it is.

    Elections pass by themselves. Full streams, accounts and servers do when somebody frees space,
    so whoever waits should log what `explain` says.
    """
    code = error.get("err_code")
    if code == _STORE_FAILED and "too large" in str(error.get("description")):
        return False
    return error.get("code") in (429, 500, 503) or code in _FULL or code == _DUPLICATE_IN_PROCESS


def explain(error: Mapping[str, Any]) -> str:
    """Return the error's own words and, where somebody has to act, what to do."""
    text = str(error.get("description") or "refused")
    advice = _FULL.get(error.get("err_code", 0))
    return text if advice is None else f"{text} ({advice})"


def full(error: Exception) -> bool:
    """Say whether an API request failed for want of space, which somebody may free."""
    return isinstance(error, nats.js.errors.APIError) and error.err_code in _FULL


def away(error: Exception) -> bool:
    """Say whether an API request failed only because JetStream cannot answer at the moment."""
    if not isinstance(error, nats.js.errors.APIError):
        return isinstance(error, _AWAY)
    if error.err_code == _NO_PEERS:
        return "offline" in str(error.description)
    return error.code in (None, 503) and error.err_code not in (*_NOT_ENABLED, *_FULL)
