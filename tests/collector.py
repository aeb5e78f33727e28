"""An OpenTelemetry collector for tests: takes spans over OTLP/HTTP and keeps them."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.waiting import block_until


@dataclass(frozen=True)
class Span:
    """One span as it came over the wire."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    status: str
    attributes: dict[str, Any]
    notes: tuple[str, ...]


class Collector:
    """What has come so far; safe to read while more comes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spans: list[Span] = []
        self._lock = threading.Lock()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        spans = [
            Span(
                service=_values(resource.resource.attributes)["service.name"],
                name=span.name,
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                failed=span.status.code == 2,
                status=span.status.message,
                attributes=_values(span.attributes),
                notes=tuple(_values(event.attributes)["text"] for event in span.events),
            )
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans += spans

    def spans(self, **attributes: Any) -> list[Span]:
        """Return those spans that have come so far and have these attributes (`mesh_turn=`)."""
        wanted = {name.replace("_", "."): value for name, value in attributes.items()}.items()
        with self._lock:
            return [span for span in self._spans if wanted <= span.attributes.items()]

    def trace(self, complete: Callable[[list[Span]], bool], **attributes: Any) -> list[Span]:
        """Return all spans of the trace of the span with these attributes, once it is complete."""

        def came() -> list[Span]:
            for found in self.spans(**attributes):
                whole = [span for span in self.spans() if span.trace == found.trace]
                if complete(whole):
                    return whole
            return []

        trace: list[Span] = block_until(came, f"a trace with {attributes}")
        return trace


def _values(attributes: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        for pair in attributes
    }


@contextmanager
def collector(port: int = 0) -> Iterator[Collector]:
    """Run a collector on a port, any free one by default, for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            right = self.path == "/v1/traces"
            right &= self.headers["Content-Type"] == "application/x-protobuf"
            if right:
                taken.take(body)
            self.send_response(200 if right else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    taken = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
