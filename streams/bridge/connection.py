"""Connecting to NATS: what a broker URL says, and a connection that does not give up."""

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeVar, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from .errors import (
    AccessDenied,
    BridgeError,
    ConfigurationError,
    JetStreamUnavailable,
    NotConnected,
)
from .internals import break_off_on_reconnect, close, drop_half_open, insist_on_tls, quiet_tls
from .layout import check_prefix
from .login import CredentialsFile, read_nkey
from .parser import install_parser
from .refusals import NO_LEADER, SILENCE, away, explain, full
from .rights import GuardedClient, Right, denied_right

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5
"""Pause between two attempts at the same server."""
TRANSACTIONS_SINCE: Final = (2, 12)
"""The first version of nats-server that has atomic batches."""
PING_SECONDS: Final = 5
"""How often the connection is tested; three unanswered pings in a row end it."""

REFUSAL_SECONDS: Final = 5.0
"""How long a login that was good may be refused, after a reconnect, before that ends it all."""
SAY_SECONDS: Final = 4.0
"""How often it is logged that JetStream does not answer."""

Callback = Callable[[], Awaitable[None]]
T = TypeVar("T")


@dataclass(frozen=True)
class ConnectionOptions:
    """Everything that a broker URL can say. Each field but the first is a query option too."""

    servers: tuple[str, ...]
    """Server addresses, `nats://host:port`, without logins."""
    prefix: str = "faust"
    """Start of all subjects and stream names, so that namespaces can share a server."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: str | None = None
    """Path of a credentials file (JWT and seed)."""
    nkey: str | None = None
    """Path of a file with an nkey seed."""
    tls: bool = False
    """Use TLS even though no file below is named; servers may also ask for it themselves."""
    tls_ca: str | None = None
    """Path of the authority's certificate; the system's authorities if not given."""
    tls_cert: str | None = None
    tls_key: str | None = None
    replicas: int | None = None
    """Replicas of streams and of the group's bucket; else what Faust's settings say, or 1."""
    storage: Literal["file", "memory"] = "file"
    """Where streams are kept, unless the topic says otherwise."""
    duplicate_window: float = 600.0
    """Seconds in which a repeated message id is recognised, unless the topic says otherwise."""
    drain: float = 10.0
    """Seconds that a stop or a revoke waits for work in progress and for acknowledgements."""
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """A ready context, from Faust's settings; not a query option."""

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS context that the options ask for, or None."""
        if self.ssl_context is not None:
            return self.ssl_context
        wanted = self.tls or self.tls_ca or self.tls_cert
        if not wanted and not any(server.startswith("tls://") for server in self.servers):
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_cert:
                context.load_cert_chain(self.tls_cert, self.tls_key)
        except OSError as exc:  # SSLError is one too
            files = ", ".join(filter(None, (self.tls_ca, self.tls_cert, self.tls_key)))
            raise ConfigurationError(f"TLS files cannot be used ({files}): {exc}") from exc
        return context


_QUERY_OPTIONS: Final = {
    option.name: option.type
    for option in fields(ConnectionOptions)
    if option.name not in ("servers", "ssl_context")
}


def parse_url(url: str | Iterable[Any]) -> ConnectionOptions:
    """Return what a broker URL says; ConfigurationError if it cannot be understood.

    Several servers are given as a list, or in one text with `;` or `,` between them:
    `nats://user:password@a:4222;nats://b:4222?prefix=mesh&replicas=3`. Login and query options
    may stand at any of them and count for all. No error repeats what may be part of a login.
    """
    texts = url.split(";") if isinstance(url, str) else [str(part) for part in url]
    servers: list[str] = []
    given: dict[str, str] = {}
    for text in texts:
        head, _, query = text.strip().partition("?")
        given.update(parse_qsl(query, keep_blank_values=True))
        scheme = "nats"
        head = head.rstrip("/")
        # In a list each URL is whole; yarl, which Faust uses, even decodes commas in its login.
        for address in head.split(",") if isinstance(url, str) else [head]:
            before, separator, host = address.rpartition("://")
            scheme = before if separator else scheme
            try:
                parts = urlsplit(f"{scheme}://{host}")
            except ValueError:
                raise _unreadable("this is no address") from None
            servers.append(_server(parts))
            given.update(_login(parts))
    values = {name: _option(name, text) for name, text in given.items()}
    options = ConnectionOptions(servers=tuple(servers), **values)
    check_prefix(options.prefix)
    return options


def _server(parts: SplitResult) -> str:
    if parts.scheme not in ("nats", "tls"):
        raise ConfigurationError(f"broker URL: scheme {parts.scheme!r} is neither nats nor tls")
    try:
        host, port = parts.hostname or "127.0.0.1", parts.port or 4222
    except ValueError:
        raise _unreadable("the port is no number") from None
    if parts.path or parts.fragment:
        raise _unreadable("there is more after the host than options")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _unreadable(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"broker URL: {why} (in a user name, password or token, write all but letters and digits "
        "as %XX, a slash as %2F for instance)"
    )


def _login(parts: SplitResult) -> dict[str, str]:
    if parts.username and parts.password is None:
        return {"token": unquote(parts.username)}  # NATS's own convention
    if parts.username:
        return {"user": unquote(parts.username), "password": unquote(parts.password or "")}
    return {}


def _option(name: str, text: str) -> Any:
    kind = _QUERY_OPTIONS.get(name)
    if kind is None:
        if not name.isidentifier() or "@" in text:
            raise _unreadable("there is something else than options after the ?")
        known = ", ".join(sorted(_QUERY_OPTIONS))
        raise ConfigurationError(f"broker URL: unknown option {name!r}; there are: {known}")
    try:
        if kind is bool:
            return {"": True, "1": True, "true": True, "0": False, "false": False}[text.lower()]
        if kind is float:
            return float(text)
        if kind == int | None:
            return int(text)
    except (ValueError, KeyError):
        raise ConfigurationError(f"broker URL: {name}={text!r} cannot be understood") from None
    if name == "storage" and text not in ("file", "memory"):
        raise ConfigurationError(f"broker URL: storage={text!r} is neither file nor memory")
    return text


async def connect(
    options: ConnectionOptions,
    *,
    name: str,
    on_disconnect: Callback | None = None,
    on_reconnect: Callback | None = None,
    on_close: Callback | None = None,
    on_denied: Callable[[Right], None] | None = None,
) -> Client:
    """Return a connection that reconnects for ever; `name` shows in the server's monitoring.

    Waits for as long as no server answers, and says so in the log. `on_disconnect` and
    `on_reconnect` follow each interruption; `on_close` tells that the connection is gone for
    good, by `close()` or because the server no longer accepts the login. `on_denied` gets each
    right that the server turns out to deny; requests that lack one raise AccessDenied.

    Raises AccessDenied if the server refuses the login, ConfigurationError for unusable files
    and for TLS that comes to nothing.
    """
    client = GuardedClient(inbox=f"_INBOX.{options.prefix}")
    troubles = _Troubles(client, options, on_denied)

    async def reconnected() -> None:
        troubles.over()
        if on_reconnect is not None:
            await on_reconnect()

    install_parser(client, troubles.violated)
    break_off_on_reconnect(client)
    tls = options.tls_context()
    if tls is not None:
        insist_on_tls(client)
        quiet_tls()
    attempt: asyncio.Future[Any] = asyncio.ensure_future(
        client.connect(
            servers=list(options.servers),
            name=name,
            error_cb=troubles.reported,
            disconnected_cb=on_disconnect,
            reconnected_cb=reconnected,
            closed_cb=on_close,
            max_reconnect_attempts=-1,
            reconnect_time_wait=cast(int, RETRY_SECONDS),
            ping_interval=PING_SECONDS,
            pending_size=64 * 1024 * 1024,
            inbox_prefix=client.inbox,
            tls=tls,
            **_login_arguments(options),
        )
    )
    try:
        await asyncio.wait({attempt, troubles.hopeless}, return_when=asyncio.FIRST_COMPLETED)
        if attempt.done():
            attempt.result()
            troubles.over()
            return client
    except (OSError, nats.errors.Error) as exc:
        raise NotConnected(f"{', '.join(options.servers)}: {exc}") from exc
    finally:
        if not attempt.done():
            attempt.cancel()
            await asyncio.wait([attempt])
            await client.close()
    raise troubles.hopeless.result()


def _login_arguments(options: ConnectionOptions) -> dict[str, Any]:
    """Return how nats-py is to log in; LoginFileError if a file cannot be used."""
    if options.credentials:
        credentials = CredentialsFile(options.credentials)
        credentials.check()
        return {"user_jwt_cb": credentials.jwt, "signature_cb": credentials.sign}
    if options.nkey:
        return {"nkeys_seed_str": read_nkey(options.nkey)}
    return {"user": options.user, "password": options.password, "token": options.token}


class _Troubles:
    """What a connection complains about, and whether there is hope."""

    def __init__(
        self,
        client: GuardedClient,
        options: ConnectionOptions,
        on_denied: Callable[[Right], None] | None,
    ) -> None:
        self.client = client
        self.options = options
        self.on_denied = on_denied
        self.hopeless: asyncio.Future[BridgeError] = asyncio.get_running_loop().create_future()
        """Why the first attempts to connect lead nowhere."""
        self._was_good = False
        self._refused_since: float | None = None
        self._closing: asyncio.Future[None] | None = None

    def over(self) -> None:
        """Take note that the connection is there."""
        self._was_good = True
        self._refused_since = None
        self.client.hear_again()

    def violated(self, complaint: str) -> None:
        """Pass on that the server denies a right."""
        right = denied_right(complaint)
        if right is None:
            logger.error("NATS: %s", complaint)
            return
        logger.log(logging.WARNING if right.dispensable else logging.ERROR, "%s", right.denied())
        self.client.refuse(right)
        if self.on_denied is not None:
            self.on_denied(right)

    async def reported(self, exc: Exception) -> None:
        """Take note of another error; nats-py goes on trying unless we stop it."""
        text = str(exc) or type(exc).__name__
        if self.client.is_connected:
            logger.warning("NATS: %s", text)
            return
        drop_half_open(self.client)
        refusal = _refusal(self.options, exc)
        if refusal is None:
            logger.warning("waiting for NATS at %s: %s", ", ".join(self.options.servers), text)
        elif self._was_good:
            logger.warning("%s", refusal)
            self._count(time.monotonic())
        elif not self.hopeless.done():
            self.hopeless.set_result(refusal)

    def _count(self, now: float) -> None:
        # A server that is starting may not know everybody yet.
        if self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since > REFUSAL_SECONDS and self._closing is None:
            self._closing = asyncio.ensure_future(close(self.client))


def _refusal(options: ConnectionOptions, exc: Exception) -> BridgeError | None:
    """Return the error if trying again would not help, so far as one can tell; else None."""
    servers, text = ", ".join(options.servers), str(exc)
    if isinstance(exc, BridgeError):
        return exc
    if isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError):
        return ConfigurationError(
            f"no TLS with {servers}: {exc.args[-1]} (tls_ca names the authority that signed the "
            "server's certificate; tls_cert and tls_key are ours, if the server wants one)"
        )
    if re.search("authorization|authentication (?!timeout)|expired|revoked", text, re.I):
        return AccessDenied(f"{servers} refuses the login: {text}")
    return None


async def check_jetstream(client: Client) -> None:
    """Return once JetStream answers, however long a cluster is without a leader.

    Raises JetStreamUnavailable when it is not enabled, AccessDenied without the right to use it.
    """

    async def ask() -> None:
        try:
            await client.jetstream().account_info()
        except nats.js.errors.ServiceUnavailableError as exc:
            if exc.err_code == NO_LEADER:
                raise
            raise JetStreamUnavailable(
                f"JetStream is not enabled on {_where(client)} or for this account"
            ) from exc

    try:
        await patiently(client, "use JetStream", ask)
    except nats.js.errors.APIError as exc:
        raise JetStreamUnavailable(f"JetStream on {_where(client)}: {exc}") from exc


async def patiently(client: Client, what: str, request: Callable[[], Awaitable[T]]) -> T:
    """Return what `request()` gives; ask again for as long as JetStream cannot do it.

    That is so while a server is away or stands still, while a cluster has no leader, and while
    there is no space. It is logged after a moment, and then now and then. Raises AccessDenied if
    the answer stays out for want of a right, and whatever else `request` raises.
    """
    loop = asyncio.get_running_loop()
    said = began = loop.time()
    while True:
        complaint = client.last_error
        try:
            return await request()
        except Exception as exc:
            # A missing right shows in no answer, only in an error on the connection.
            denied = "permissions violation" in str(client.last_error).lower()
            if isinstance(exc, TimeoutError) and denied and client.last_error is not complaint:
                raise AccessDenied(f"no right to {what}: {client.last_error}") from exc
            if full(exc):
                reason = explain(vars(exc))
            elif away(exc):
                reason = f"{exc or type(exc).__name__}; is a server down? Else {SILENCE}"
            else:
                raise
            if loop.time() - said > SAY_SECONDS:
                said = loop.time()
                logger.warning("waiting for %.0f s to %s: %s", said - began, what, reason)
        await asyncio.sleep(RETRY_SECONDS)


def check_transactions(client: Client) -> None:
    """Return if the server knows atomic batches; else raise ConfigurationError."""
    version = client.connected_server_version
    if (version.major, version.minor) < TRANSACTIONS_SINCE:
        raise ConfigurationError(
            'processing_guarantee="exactly_once" needs nats-server '
            f"{'.'.join(map(str, TRANSACTIONS_SINCE))} or later; {_where(client)} is "
            f"{version.major}.{version.minor}.{version.patch}"
        )


def _where(client: Client) -> str:
    url = client.connected_url
    return "the server" if url is None else f"{url.hostname}:{url.port}"
