"""Whose conversation it is: session ids and tokens that need no store.

A session id carries a code made from its random part and its owner's e-mail address, so that an
invented id, or somebody else's, is recognised by computing alone. A token is what a page shows
instead of the address: it names session and owner, ends at a time, and is signed.
"""

import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from web.signed import Signer

_RANDOM_BYTES = 12
_MAC_HEX = 32
_OURS = re.compile(f"([0-9a-f]{{{2 * _RANDOM_BYTES}}})_([0-9a-f]{{{_MAC_HEX}}})")


class UnknownSession(Exception):
    """There is no such session for this person; which of the two is wrong is not told."""


@dataclass(frozen=True)
class Holder:
    """Who holds a valid token: the session, and the e-mail address it belongs to."""

    session_id: str
    email: str


class Sessions:
    """Opens sessions and checks credentials; two processes with one key agree."""

    def __init__(self, key: bytes, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self._signer = Signer(key, clock)
        self._lifetime = lifetime

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
        return self._signer.token(b"token", [session_id, email], self._lifetime)

    def read(self, token: str) -> Holder:
        """Return who holds `token`; BadToken if it is not valid now."""
        return Holder(*self._signer.read(b"token", token))

    def _owner_code(self, random: str, email: str) -> str:
        signed = self._signer.code(b"session", f"{random}|{email.lower()}".encode())
        return signed.hex()[:_MAC_HEX]
