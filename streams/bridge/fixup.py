"""Keeping logins out of what Faust prints: its banner and `repr(app)` show the broker's URL."""

import warnings
from collections.abc import Iterable
from typing import Any

from faust.exceptions import AlreadyConfiguredWarning
from faust.fixups import base
from faust.types import AppT
from yarl import URL

_SETTINGS = ("broker", "broker_consumer", "broker_producer")


class Fixup(base.Fixup):
    """Faust makes one for every app, because the entry point `faust.fixups: nats` says so.

    An app's settings are complete before anything of them is printed; its transport, which hides
    logins too, is not always made before that.
    """

    def __init__(self, app: AppT) -> None:
        super().__init__(app)
        app.on_after_configured.connect(self._configured)

    def enabled(self) -> bool:
        """Return True: apps on other transports are told apart later, by their URL."""
        return True

    def _configured(self, *args: Any, **kwargs: Any) -> None:
        if self.app.conf.broker_consumer[0].scheme == "nats":
            hide_logins(self.app)


def hide_logins(app: AppT) -> None:
    """Take passwords and tokens out of the URLs in an app's settings; `whole_urls` has them."""
    for name in _SETTINGS:
        urls: list[URL] = getattr(app.conf, name)
        bare = [url.with_user(None).without_query_params("password", "token") for url in urls]
        if bare == urls:
            continue
        _hidden(app).update(zip(bare, urls, strict=True))
        with warnings.catch_warnings():
            # Whoever has read the setting before does not need the login; the warning shows it.
            warnings.simplefilter("ignore", AlreadyConfiguredWarning)
            setattr(app.conf, name, bare)


def whole_urls(app: AppT, urls: Iterable[URL]) -> list[URL]:
    """Return an app's URLs as they were given, with logins."""
    return [_hidden(app).get(url, url) for url in urls]


def _hidden(app: AppT) -> dict[URL, URL]:
    hidden: dict[URL, URL] = app.__dict__.setdefault("_nats_urls", {})
    return hidden
