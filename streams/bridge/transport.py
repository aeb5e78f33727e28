"""The transport class that `faust.App(broker="nats://…")` finds."""

import warnings
from typing import Any, ClassVar

import faust
import nats.aio.client
from faust.exceptions import AlreadyConfiguredWarning
from faust.transport import base
from faust.types import AppT
from faust.types.transports import ConductorT, ConsumerT, ProducerT, TransactionManagerT
from mode import ServiceT
from yarl import URL

from . import conductor, consumer, producer, transactions
from .link import Link
from .stream import Stream


class Transport(base.Transport):
    """Faust on NATS JetStream."""

    Consumer: ClassVar[type[ConsumerT]] = consumer.Consumer
    Producer: ClassVar[type[ProducerT]] = producer.Producer
    Fetcher: ClassVar[type[ServiceT]] = consumer.Fetcher
    Conductor: ClassVar[type[ConductorT]] = conductor.Conductor
    TransactionManager: ClassVar[type[TransactionManagerT]] = transactions.TransactionManager

    driver_version = f"nats-py={nats.aio.client.__version__}"

    def __init__(self, url: list[URL], app: AppT, **kwargs: Any) -> None:
        super().__init__(url, app, **kwargs)
        _choose_stream(app)
        self.link = Link.of(app, list(url))


def _choose_stream(app: AppT) -> None:
    """Let the app make our streams, unless somebody has chosen others."""
    conf: Any = app.conf
    if conf.Stream is faust.Stream:
        with warnings.catch_warnings():
            # The setting is read each time a stream is made, so it is not too late.
            warnings.simplefilter("ignore", AlreadyConfiguredWarning)
            conf.Stream = Stream
