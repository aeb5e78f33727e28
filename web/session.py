"""Whose conversation it is: session ids and tokens that need no store.

A session id carries a code made from its random part and its owner's e-mail address, so that an
invented id, or somebody else's, is recognised by computing alone. A token is what a page shows
instead of the address: it names session and owner, ends at a time, and is signed.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

_RANDOM_BYTES = 12
_MAC_HEX = 32
_OURS = re.compile(f"([0-9a-f]{{{2 * _RANDOM_BYTES}}})_([0-9a-f]{{{_MAC_HEX}}})")


class UnknownSession(Exception):
    """There is no such session for this person; which of the two is wrong is not told."""


class BadToken(Exception):
    """A token is not one of ours, was changed, or has ended."""


@dataclass(frozen=True)
class Holder:
    """Who holds a valid token: the session, and the e-mail address it belongs to."""

    session_id: str
    email: str


class Sessions:
    """Opens sessions and checks credentials; two processes with one key agree."""

    def __init__(self, key: bytes, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._lifetime = lifetime
        self._clock = clock

    def open(self, email: str) -> str:
        """Return the id of a new session that belongs to `email`."""
        random = secrets.token_hex(_RANDOM_BYTES)
        return f"{random}_{self._owner_code(random, email)}"

    def check(self, session_id: str, email: str) -> None:
        """Raise UnknownSession unless `session_id` was opened for `email`."""
        ours = _OURS.fullmatch(session_id)
        if ours is None or not hmac.compare_digest(ours[2], self._owner_code(ours[1], email)):
            raise UnknownSession

    def token(self, session_id: str, email: str) -> str:
        """Return a signed token for a session that was checked before."""
        ends = int(self._clock() + self._lifetime)
        body = _encode(json.dumps([session_id, email, ends], separators=(",", ":")).encode())
        return f"{body}.{_encode(self._sign(b'token', body.encode()))}"

    def read(self, token: str) -> Holder:
        """Return who holds `token`; BadToken if it is not valid now."""
        body, _, signature = token.partition(".")
        try:
            genuine = hmac.compare_digest(
                _decode(signature), self._sign(b"token", body.encode("ascii"))
            )
            session_id, email, ends = json.loads(_decode(body)) if genuine else ("", "", 0)
        except ValueError as error:  # also what binascii, json and encodings raise
            raise BadToken from error
        if not genuine or ends <= self._clock():
            raise BadToken
        return Holder(session_id, email)

    def _owner_code(self, random: str, email: str) -> str:
        signed = self._sign(b"session", f"{random}|{email.lower()}".encode())
        return signed.hex()[:_MAC_HEX]

    def _sign(self, purpose: bytes, data: bytes) -> bytes:
        # The purpose keeps what was signed for one use from passing as the other.
        return hmac.digest(self._key, purpose + b"|" + data, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        # Canonical or nothing: base64 would otherwise let several spellings through.
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if _encode(data) != text:
        raise ValueError("not canonical base64")
    return data
