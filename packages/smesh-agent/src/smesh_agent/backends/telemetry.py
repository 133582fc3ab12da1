"""Telemetry: one OpenTelemetry span for each call of a model, if the user has set up somewhere to send it.

Spans follow OpenTelemetry's semantic conventions for generative AI, release 0.1.0, which are still in development: a
``CLIENT`` span ``chat MODEL`` over the whole call with all its attempts, with ``gen_ai.*`` attributes. No text of
prompts or answers is recorded. A call that fails has ``error.type``, the name of its error's class: one of
`smesh_agent.errors`, ``CancelledError``, or that of a fault in a backend.

Nothing is recorded unless the process has a tracer provider, set up by `configure` or by the application that this
package is part of. OpenTelemetry is imported only by `configure`, and by whoever else wants it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from smesh_agent.errors import BackendSettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.trace import Span

    from smesh_agent.backends.base import Backend, Completion, Request

__all__ = ["CallSpan", "Untraced", "begin", "configure"]

_SCOPE: Final = "smesh_agent"
_PROVIDERS: Final = {"claude": "anthropic", "openai": "openai", "openai-compatible": "openai"}
"""The names that the conventions give to some backends' providers; others go by the backend's name."""

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class Untraced:
    """The span of a call that nobody traces."""

    def answered(self, completion: Completion, *, first_token_s: float | None, attempts: int) -> None:
        """Do nothing."""

    def failed(self, error: BaseException, *, attempts: int) -> None:
        """Do nothing."""


class CallSpan:
    """The span of a call."""

    def __init__(self, span: Span, *, streams: bool) -> None:
        self._span = span
        self._streams = streams

    def answered(self, completion: Completion, *, first_token_s: float | None, attempts: int) -> None:
        """End it with what came of the call."""
        usage = completion.usage
        attributes: dict[str, str | int | float | Sequence[str]] = {
            "gen_ai.response.model": completion.model,
            "gen_ai.response.finish_reasons": [completion.raw_stop or completion.stop.value],
            "gen_ai.usage.input_tokens": usage.tokens_in,
            "gen_ai.usage.output_tokens": usage.tokens_out,
            "smesh.attempts": attempts,
        }
        if usage.cached_in:
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_in
        if usage.cache_written_in:
            attributes["gen_ai.usage.cache_write.input_tokens"] = usage.cache_written_in
        if self._streams and first_token_s is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = first_token_s
        self._span.set_attributes(attributes)
        self._span.end()

    def failed(self, error: BaseException, *, attempts: int) -> None:
        """End it with the kind of an error; its words may quote an answer, and stay here."""
        trace = sys.modules["opentelemetry.trace"]
        self._span.set_attributes(
            {
                "error.type": type(error).__name__,
                "gen_ai.response.finish_reasons": ["error"],
                "smesh.attempts": attempts,
            }
        )
        self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


def begin(backend: Backend, request: Request, *, label: str, streams: bool) -> CallSpan | Untraced:
    """Begin the span of a call, if the process has a tracer provider; the current span is its parent.

    Args:
        backend: who is asked.
        request: what is asked.
        label: whom or what for; becomes ``smesh.label``.
        streams: whether the answer is passed on as it comes.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return Untraced()
    provider = trace.get_tracer_provider()
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return Untraced()
    attributes: dict[str, str | int | float | bool | Sequence[str]] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(backend.name, backend.name),
        "gen_ai.request.max_tokens": request.max_tokens,
    }
    if backend.model:
        attributes["gen_ai.request.model"] = backend.model
    if request.temperature is not None:
        attributes["gen_ai.request.temperature"] = request.temperature
    if request.stop:
        attributes["gen_ai.request.stop_sequences"] = list(request.stop)
    if request.schema is not None:
        attributes["gen_ai.output.type"] = "json"
    if streams:
        attributes["gen_ai.request.stream"] = True
    if label:
        attributes["smesh.label"] = label
    tracer = provider.get_tracer(_SCOPE)
    span = tracer.start_span(f"chat {backend.model}".strip(), kind=trace.SpanKind.CLIENT, attributes=attributes)
    return CallSpan(span, streams=streams)


def configure(environment: Mapping[str, str]) -> Callable[[], None]:
    """Send this process's spans to where the environment says, if it says so; does nothing otherwise.

    ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` ask for it, unless ``OTEL_SDK_DISABLED``
    is true or ``OTEL_TRACES_EXPORTER`` is ``none``. Spans go out as OTLP over HTTP, in protobuf. Headers, timeouts,
    certificates and what else the exporter can be told, it takes from the variables of the process itself. An
    application that has set up a tracer provider of its own keeps it.

    Returns:
        What sends the last spans and closes the connection; that takes up to the exporter's timeout, ten seconds
        unless told otherwise, where the collector does not answer.

    Raises:
        BackendSettingsError: it is asked for, and what it needs is not installed; or another protocol is asked for.
    """
    endpoint = _endpoint(environment)
    if not endpoint:
        return _nothing
    for name in _PROTOCOLS:
        if (protocol := environment.get(name) or "http/protobuf") != "http/protobuf":
            raise BackendSettingsError("", f"{name} is {protocol}: spans are sent as http/protobuf only")
    try:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise BackendSettingsError(
            "", f"spans are to be sent to {endpoint}, and the exporter is not installed: install smesh-agent[otel]"
        ) from error
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return _nothing
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "smesh"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _endpoint(environment: Mapping[str, str]) -> str:
    """Where spans are to go; empty for nowhere."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    if environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return ""
    if endpoint := environment.get(_TRACES_ENDPOINT, "").strip():
        return endpoint
    base = environment.get(_ENDPOINT, "").strip()
    return f"{base.removesuffix('/')}/v1/traces" if base else ""


def _nothing() -> None:
    """Nothing was set up."""
