"""`/metrics` of a worker: what it has counted, and how it stands at that moment."""

from collections.abc import Iterable
from typing import Any

import faust.web
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.bridge.consumer import Consumer
from streams.bridge.internals import table_size
from streams.mailbox import Mesh
from streams.observability.metrics import PATH, may_scrape


def setup(mesh: Mesh) -> None:
    """Offer `/metrics` on Faust's own web server of the worker."""
    registry = mesh.metrics.registry
    registry.register(WorkerCollector(mesh))
    answer = make_aiohttp_handler(registry)

    @mesh.app.page(PATH, name="metrics")
    async def metrics(view: faust.web.View, request: Any) -> Any:
        if not may_scrape(mesh.settings, request.headers.get("Authorization", "")):
            text = "This needs `Authorization: Bearer` with the metrics' token.\n"
            return web.Response(text=text, status=401, headers={"WWW-Authenticate": "Bearer"})
        return await answer(request)


class WorkerCollector(Collector):
    """Looks at a worker when it is asked: between two scrapes it costs nothing."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def collect(self) -> Iterable[Metric]:
        """Yield what the worker has in hand, owns, holds in tables, and how far it is behind."""
        app, pulse = self._mesh.app, self._mesh.presence.pulse()
        yield _gauge("mesh_worker_ready", "1: has partitions and tables, works.", pulse.ready)
        yield _gauge("mesh_partitions_assigned", "Partitions of the worker.", pulse.partitions)
        yield _gauge("mesh_messages_in_hand", "Messages being worked on.", pulse.in_hand)
        rebalances = CounterMetricFamily("mesh_rebalances", "Rebalances seen.")
        rebalances.add_metric([], app.monitor.rebalances)
        yield rebalances
        lag = GaugeMetricFamily(
            "mesh_topic_lag_records",
            "Records between the committed offset and the end, of partitions of the worker.",
            labels=("topic", "partition"),
        )
        if app.started and isinstance(app.consumer, Consumer):
            for (topic, partition), records in app.consumer.lag().items():
                lag.add_metric([topic, str(partition)], records)
        yield lag
        entries = GaugeMetricFamily(
            "mesh_table_entries", "Entries of tables on the worker.", labels=("table",)
        )
        for name, table in app.tables.items():
            entries.add_metric([name], table_size(table))
        yield entries


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, value=float(value))
