"""Logins that lie in files: credentials (a JWT and the seed of its key), and the seed of an nkey.

nats-py reads such files too, but goes round for ever in one that holds no JWT.
"""

import base64
import re
from pathlib import Path

import nats.errors

from .errors import ConfigurationError

_JWT = re.compile(r"-+BEGIN NATS USER JWT-+\s+(\S+)\s+-+END")
_SEED = re.compile(r"-+BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END")


class LoginFileError(ConfigurationError, nats.errors.Error):
    """A login file that cannot be used; the text names the file, never what is in it.

    nats-py's error too, as the file is read anew, within nats-py, at every reconnect.
    """


class CredentialsFile:
    """A credentials file, as `nsc` writes it: may be replaced at any time, as JWTs expire."""

    def __init__(self, path: str) -> None:
        self.path = path

    def check(self) -> None:
        """Raise LoginFileError unless the file can be used."""
        self.jwt()
        self.sign("")

    def jwt(self) -> bytes:
        """Return the user's JWT."""
        return self._part(_JWT, "JWT").encode()

    def sign(self, nonce: str) -> bytes:
        """Return the signature that proves to the server that we have the key."""
        # Loads a cryptographic library: who logs in otherwise shall not pay for it.
        import nkeys

        seed = self._part(_SEED, "seed")
        try:
            return base64.b64encode(nkeys.from_seed(bytearray(seed.encode())).sign(nonce.encode()))
        except (nkeys.NkeysError, ValueError):
            raise LoginFileError(f"credentials file {self.path}: the seed is damaged") from None

    def _part(self, pattern: re.Pattern[str], name: str) -> str:
        found = pattern.search(_read("credentials", self.path))
        if found is None:
            raise LoginFileError(f"credentials file {self.path}: there is no {name} in it")
        return found[1]


def read_nkey(path: str) -> str:
    """Return the seed in an nkey file; LoginFileError if there is none."""
    import nkeys

    seed = _read("nkey", path).strip()
    try:
        nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError):
        raise LoginFileError(f"nkey file {path}: this is not a seed") from None
    return seed


def _read(kind: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as exc:
        raise LoginFileError(f"{kind} file cannot be read: {exc}") from exc
    except UnicodeDecodeError:
        raise LoginFileError(f"{kind} file {path}: this is not text") from None
