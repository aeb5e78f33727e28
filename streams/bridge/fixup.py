"""What has to be said to an app before anything is made of its settings.

Logins are kept out of what Faust prints: its banner and `repr(app)` show the broker's URL. And the
app gets our classes of topics and streams, which its modules may make as soon as they are loaded,
and our sensors, which streams ask for when they are made.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import faust
from faust.exceptions import AlreadyConfiguredWarning
from faust.fixups import base
from faust.sensors import SensorDelegate
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
            choose_classes(self.app)


def choose_classes(app: AppT) -> None:
    """Let the app make our topics, streams and monitor, unless its author has chosen others."""
    from .sensors import Monitor, Sensors
    from .stream import Stream
    from .topic import Topic

    conf: Any = app.conf
    if conf.Topic is faust.Topic:
        _set(app, "Topic", Topic)
    if conf.Stream is faust.Stream:
        _set(app, "Stream", Stream)
    if conf.Monitor is faust.Monitor:
        _set(app, "Monitor", Monitor)
    if type(app.sensors) is SensorDelegate:
        before, app.sensors = app.sensors, Sensors(app)
        for sensor in before:
            app.sensors.add(sensor)


def hide_logins(app: AppT) -> None:
    """Take passwords and tokens out of the URLs in an app's settings; `whole_urls` has them."""
    for name in _SETTINGS:
        urls: list[URL] = getattr(app.conf, name)
        bare = [url.with_user(None).without_query_params("password", "token") for url in urls]
        if bare == urls:
            continue
        _hidden(app).update(zip(bare, urls, strict=True))
        # Whoever has read the setting before does not need the login; the warning would show it.
        _set(app, name, bare)


def whole_urls(app: AppT, urls: Iterable[URL]) -> list[URL]:
    """Return an app's URLs as they were given, with logins."""
    return [_hidden(app).get(url, url) for url in urls]


def _hidden(app: AppT) -> dict[URL, URL]:
    hidden: dict[URL, URL] = app.__dict__.setdefault("_nats_urls", {})
    return hidden


def _set(app: AppT, name: str, value: Any) -> None:
    """Change a setting that has been looked at, but not used for anything yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlreadyConfiguredWarning)
        setattr(app.conf, name, value)
