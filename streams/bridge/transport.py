"""The transport class that `faust.App(broker="nats://…")` finds."""

from typing import Any, ClassVar

import nats.aio.client
from faust.transport import base
from faust.types import AppT
from faust.types.transports import ConductorT, ConsumerT, ProducerT
from mode import ServiceT
from yarl import URL

from . import conductor, consumer, producer
from .errors import ConfigurationError
from .link import Link


class Transport(base.Transport):
    """Faust on NATS JetStream."""

    Consumer: ClassVar[type[ConsumerT]] = consumer.Consumer
    Producer: ClassVar[type[ProducerT]] = producer.Producer
    Fetcher: ClassVar[type[ServiceT]] = consumer.Fetcher
    Conductor: ClassVar[type[ConductorT]] = conductor.Conductor

    driver_version = f"nats-py={nats.aio.client.__version__}"

    def __init__(self, url: list[URL], app: AppT, **kwargs: Any) -> None:
        super().__init__(url, app, **kwargs)
        if str(getattr(app.conf.processing_guarantee, "value", "")) == "exactly_once":
            raise ConfigurationError(
                'processing_guarantee="exactly_once" is not supported; "at_least_once" with '
                "JetStream's de-duplication is (see the bridge's README)"
            )
        self.link = Link.of(app, list(url))
