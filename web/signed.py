"""Signed values: what we hand to browsers and believe when it comes back, without a store."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any


class BadToken(Exception):
    """A token is not one of ours, was changed, or has ended."""


class Signer:
    """Signs values with a key; two processes with one key agree."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def code(self, purpose: bytes, data: bytes) -> bytes:
        """Return the code of `data`; one made for another purpose never fits."""
        return hmac.digest(self._key, purpose + b"|" + data, hashlib.sha256)

    def token(self, purpose: bytes, values: list[Any], lifetime: float) -> str:
        """Return `values` (as JSON takes them) with an end in `lifetime` seconds, signed."""
        ends = int(self._clock() + lifetime)
        body = _encode(json.dumps([*values, ends], separators=(",", ":")).encode())
        return f"{body}.{_encode(self.code(purpose, body.encode()))}"

    def read(self, purpose: bytes, token: str) -> list[Any]:
        """Return the values in `token`; BadToken if it is not valid now."""
        body, _, signature = token.partition(".")
        try:
            ours = self.code(purpose, body.encode("ascii"))
            if not hmac.compare_digest(_decode(signature), ours):
                raise BadToken
            values: list[Any] = json.loads(_decode(body))
        except ValueError as error:  # also what binascii, json and encodings raise
            raise BadToken from error
        *kept, ends = values
        if ends <= self._clock():
            raise BadToken
        return kept


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
