"""OpenTelemetry: one trace a turn, over all its hops, on whichever worker, and all it asks for.

A span's place in its trace travels as W3C `traceparent` in the headers of records and of calls.
Without an endpoint we import nothing of OpenTelemetry (redis-py does, once it is installed), and
whoever could add to a span finds in one context variable that there is none.

Spans hold no personal data: ids, names, counts and times, and an error's text masked.
"""

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

from streams.masking import mask_text
from streams.message import Exchange
from streams.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

TRACEPARENT: Final = "traceparent"
TEXT_LENGTH: Final = 200
CLOSE_SECONDS: Final = 2.0

Kind = Literal["server", "consumer", "client"]
Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Here:
    """The span that this task works in."""

    tracing: "Tracing"
    span: "Span"
    context: "Context"


_NONE: Final = nullcontext()
_here: ContextVar[Here | None] = ContextVar("span", default=None)


class Tracing:
    """The spans of one process, on their way to the collector. `close` sends the last ones.

    Makes a provider of its own, so that two apps in a process do not meet. What is not a setting
    here (headers, sampler, batches, further attributes of the resource) OpenTelemetry takes from
    its own `OTEL_…` variables.
    """

    def __init__(self, endpoint: str, process: str) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        # Where a root begins: without a context OpenTelemetry would look into its own variable.
        self._nothing = Context()
        self._kinds = {
            "server": trace.SpanKind.SERVER,
            "consumer": trace.SpanKind.CONSUMER,
            "client": trace.SpanKind.CLIENT,
        }
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": f"mesh-{process}"}),
            shutdown_on_exit=False,  # whoever made us closes us
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._outlet = Outlet(exporter, SpanExportResult.SUCCESS, endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(cast(Any, self._outlet)))
        self._tracer = self._provider.get_tracer("mesh")

    @classmethod
    async def open(cls, settings: Settings, process: str) -> Self | None:
        """Return the spans' way out of this process; None when no endpoint is set."""
        if not settings.otel_endpoint:
            return None
        return await asyncio.to_thread(cls, settings.otel_endpoint, process)

    async def close(self) -> None:
        """Send what has not been sent; does not wait long for a collector that is away."""
        # OpenTelemetry waits for half a minute; a thread that nobody waits for ends with us.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, CLOSE_SECONDS)
        self._outlet.shutdown()  # ends its tries, if it still makes some

    @contextmanager
    def span(
        self, name: str, kind: Kind, attributes: Attributes, parent: str | None = None
    ) -> Iterator["Span"]:
        """Work in a new span: below the `traceparent` in `parent`, else a trace's first."""
        carrier = {} if parent is None else {TRACEPARENT: parent}
        above = self._propagator.extract(carrier, context=self._nothing)
        with self._within(name, kind, attributes, above) as span:
            yield span

    @contextmanager
    def _within(
        self, name: str, kind: Kind, attributes: Attributes, above: "Context"
    ) -> Iterator["Span"]:
        span = self._tracer.start_span(
            name, context=above, kind=self._kinds[kind], attributes=attributes
        )
        here = Here(self, span, self._trace.set_span_in_context(span, above))
        token = _here.set(here)
        try:
            yield span
        except BaseException as error:
            self._fail(span, error)
            raise
        finally:
            _here.reset(token)
            span.end()

    def _fail(self, span: "Span", error: BaseException) -> None:
        span.set_attribute("error.type", type(error).__name__)
        text = mask_text(str(error))[:TEXT_LENGTH]
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, text))


class Outlet:
    """An exporter that says once when the collector is away, and once when it is back."""

    def __init__(self, exporter: "SpanExporter", success: Any, endpoint: str) -> None:
        self._exporter = exporter
        self._success = success
        self._endpoint = endpoint
        self._away = False
        # It complains of every try; what fails, we say ourselves.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence["ReadableSpan"]) -> Any:
        """Send spans; those that the collector does not take, after some tries, are lost."""
        result = self._exporter.export(spans)
        away = result is not self._success
        if away and not self._away:
            log.warning("the collector at %s takes no spans, they are dropped", self._endpoint)
        elif self._away and not away:
            log.warning("the collector at %s takes spans again", self._endpoint)
        self._away = away
        return result

    def shutdown(self) -> None:
        """End what is under way."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all that was given to it is sent."""
        return self._exporter.force_flush(timeout_millis)


def root(
    tracing: Tracing | None, name: str, kind: Kind, attributes: Attributes
) -> AbstractContextManager[Any]:
    """Work in the first span of a new trace; in none if there is no tracing."""
    return _NONE if tracing is None else tracing.span(name, kind, attributes)


def child(name: str, kind: Kind, attributes: Attributes) -> AbstractContextManager[Any]:
    """Work in a span below the current one; in none if there is no current one."""
    if (here := _here.get()) is None:
        return _NONE
    return here.tracing._within(name, kind, attributes, here.context)


def asked(exchange: Exchange) -> None:
    """Add to the current span what may be told of a question to the outside, and no more.

    Neither prompt nor answer, nor the path of a call: they name customers.
    """
    if _here.get() is None:
        return
    request = exchange.request
    answer = exchange.response if isinstance(exchange.response, dict) else {}
    told: dict[str, Any] = {}
    if exchange.target == "llm":
        told = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": request.get("model"),
            "gen_ai.request.max_tokens": request.get("max_tokens"),
            "gen_ai.usage.input_tokens": answer.get("prompt_tokens"),
            "gen_ai.usage.output_tokens": answer.get("completion_tokens"),
            "mesh.cost_usd": answer.get("cost_usd"),
        }
    elif exchange.target == "cache":
        told = {"db.system.name": "redis", "db.operation.name": request.get("command")}
        if exchange.error is None:
            told["mesh.cache.hit"] = exchange.response is not None
    else:
        told = {
            "http.request.method": request.get("method"),
            "http.response.status_code": answer.get("status"),
        }
    annotate({name: value for name, value in told.items() if value is not None})


def annotate(attributes: Attributes) -> None:
    """Add to the current span."""
    if (here := _here.get()) is not None:
        here.span.set_attributes(attributes)


def failed(error: BaseException) -> None:
    """Mark the current span as failed by an error that goes no further."""
    if (here := _here.get()) is not None:
        here.tracing._fail(here.span, error)


def headers() -> dict[str, str]:
    """Return the headers that let whoever gets them go on with this trace; none without a span."""
    carrier: dict[str, str] = {}
    if (here := _here.get()) is not None:
        here.tracing._propagator.inject(carrier, context=here.context)
    return carrier


def remark(text: str) -> None:
    """Add a remark for people to the current span, masked."""
    if (here := _here.get()) is not None:
        here.span.add_event("note", {"text": mask_text(text)[:TEXT_LENGTH]})


def trace_id() -> str | None:
    """Return the trace that this task works in, as people look for it; None if nobody keeps it."""
    if (here := _here.get()) is None:
        return None
    context = here.span.get_span_context()
    return f"{context.trace_id:032x}" if context.trace_flags.sampled else None
