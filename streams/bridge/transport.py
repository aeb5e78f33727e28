"""The transport class that `faust.App(broker="nats://…")` finds."""

from typing import Any, ClassVar

import nats.aio.client
from faust.transport import base
from faust.types import AppT
from faust.types.transports import ConductorT, ConsumerT, ProducerT, TransactionManagerT
from mode import ServiceT
from yarl import URL

from . import conductor, consumer, producer, transactions
from .link import Link


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
        self.link = Link.of(app, list(url))
