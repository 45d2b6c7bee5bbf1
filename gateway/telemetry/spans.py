"""Spans of OpenTelemetry, made of what the access log knows of a request, when it has ended.

One SERVER span for each request whose token has proved itself, and a CLIENT span below it for what went up. Who proved
nothing makes none: nobody anonymous fills a collector. On a request's way there is only what has to be: to read where
it stands, and to say so to the upstream. Spans wait in a queue that has an end, for a thread that sends them: a
collector that is slow or away holds up nobody, and what it does not take is dropped and counted.
"""

import logging
import os
import random
import re
import threading
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway import __version__
from gateway.proxy.field_line import FieldLine
from gateway.telemetry.kind import CLIENT_GONE, Ended, Kind
from gateway.telemetry.redaction import Redaction
from gateway.telemetry.trace_context import PARENT, SAMPLED, STATE, Trace
from gateway.tokens.secret import without_secrets

log = structlog.get_logger(__name__)

LAST_WORDS: Final = 2.0
"""Seconds that a worker which ends gives a collector to take the last spans."""
MOST_WAITING: Final = 2048
"""Spans in the queue, where OTEL_BSP_MAX_QUEUE_SIZE says nothing else; what comes then is dropped."""
_MOST_WAITING: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_LONGEST: Final = 1024
"""Characters of a path, or of a Host: a full queue must not hold 64 KiB for each span."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_RANDOM: Final = 2
"""The flag that says that the trace's id is a random number (W3C Trace Context, level 2)."""
_MOST_MEMBERS: Final = 64
"""Members of a `tracestate` that are looked at. More than 32 are too many (W3C Trace Context 3.3.1.1); empty ones do
not count there, but whoever sends thousands of them would have each looked at.
"""
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_PORT: Final = re.compile(r":\d+\Z", re.ASCII)
_W3C: Final = TraceContextTextMapPropagator()
_SCOPE: Final = InstrumentationScope("zonegate", __version__)
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


def otlp_exporter() -> SpanExporter:
    """What sends spans by OTLP over HTTP, as the variables OTEL_EXPORTER_OTLP_... say. Raises OSError, ValueError."""
    _silence()
    return OTLPSpanExporter()


def _silence() -> None:
    """OpenTelemetry's own lines are not written: they would come at each batch that a dead collector does not take, and
    of each header that is none, with the secret in it.
    """
    otel = logging.getLogger("opentelemetry")
    otel.propagate = False
    otel.handlers[:] = [logging.NullHandler()]


class _Counted(SpanExporter):
    """Sends by `exporter`, in the processor's thread, and says once when that fails, and once when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_failing = False
        self.taken = 0
        """Spans that have left the queue."""
        self.lost = 0
        """Of these, those that nobody took."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`. Never raises."""
        self.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - whatever it was, it must not end the thread; its text may hold the URL
            result = SpanExportResult.FAILURE
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing:
            self.lost += len(spans)
        if is_failing != self._is_failing:
            self._is_failing = is_failing
            if is_failing:
                log.warning("traces not taken by the collector: spans are dropped until it does", worker=os.getpid())
            else:
                log.info("traces taken again", worker=os.getpid(), lost=self.lost)
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._exporter.force_flush(timeout_millis)


class Spans:
    """Of one worker. Must be made in its own process."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        scheme: str = "http",
        redaction: Redaction | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """`scheme`: of the requests; `sampler`: None: the one that OTEL_TRACES_SAMPLER names.

        Raises ValueError where a variable of OpenTelemetry's is no number.
        """
        _silence()
        # Only to be asked for what it has read: spans are made here, all of them at once.
        provider = TracerProvider(sampler, _resource(), shutdown_on_exit=False)
        self._sampler = provider.sampler
        self._resource = provider.resource
        self._scheme = scheme
        self._redaction = redaction or Redaction()
        self._most = int(os.environ.get(_MOST_WAITING, "") or MOST_WAITING)
        self._exporter = _Counted(exporter)
        self._processor = BatchSpanProcessor(self._exporter, max_queue_size=self._most)
        self._given = 0
        self._refused = 0

    @property
    def lost(self) -> int:
        """Spans that were dropped: the queue was full, or nobody took them."""
        return self._refused + self._exporter.lost

    def begin(self, ordinary: Sequence[FieldLine]) -> Trace:
        """Where a request with these fields stands: below the client's span, or, where it names none that is valid, at
        the beginning of a trace of its own (W3C Trace Context 4.3).
        """
        parents = [field.value for field in ordinary if field.name == PARENT]
        states = [field.value for field in ordinary if field.name == STATE]
        carrier: dict[str, list[str]] = {}
        if len(parents) == 1:
            carrier["traceparent"] = [parents[0].decode("latin-1")]
            if states and len(states) + sum(state.count(b",") for state in states) <= _MOST_MEMBERS:
                carrier["tracestate"] = [state.decode("latin-1") for state in states]
        context = _W3C.extract(carrier)
        parent = get_current_span(context).get_span_context()
        has_parent = parent.is_valid
        trace_id = parent.trace_id if has_parent else random.getrandbits(128) or 1
        found = self._sampler.should_sample(context, trace_id, "request", SpanKind.SERVER)
        sampled = SAMPLED if found.decision is Decision.RECORD_AND_SAMPLE else 0
        state = found.trace_state if found.trace_state is not None else parent.trace_state
        return Trace(
            trace_id=trace_id,
            parent=parent.span_id if has_parent else 0,
            server=random.getrandbits(64) or 1,
            client=random.getrandbits(64) or 1,
            flags=(parent.trace_flags & _RANDOM if has_parent else _RANDOM) | sampled,
            state=state.to_header() if state else "",
            attributes={
                name: value for name, value in (found.attributes or {}).items() if isinstance(value, str | int)
            },
        )

    def add(self, ended: Iterable[tuple[Ended, Kind]]) -> None:
        """Make the spans of requests that have ended. Never waits."""
        alike: dict[Kind, Kind] = {}
        for each, kind in ended:
            if not kind.token or not kind.method:
                continue
            trace = each.trace
            if trace is None:
                trace = self.begin(each.ordinary)
            if not trace.is_sampled:
                continue
            shown = alike.get(kind)
            if shown is None:
                shown = alike[kind] = self._redaction.shown(kind)
            state = trace.state and TraceState.from_header([without_secrets(trace.state)])
            self._give(self._server(each, shown, trace, state or None))
            if each.gateway_seconds >= 0:
                self._give(self._client(each, shown, trace, state or None))

    def _give(self, span: ReadableSpan) -> None:
        if self._given - self._exporter.taken >= self._most:
            self._refused += 1
            return
        self._given += 1
        self._processor.on_end(span)

    def _span(  # noqa: PLR0913 - what a span is made of
        self,
        name: str,
        trace: Trace,
        state: TraceState | None,
        *,
        ids: tuple[int, int],
        kind: SpanKind,
        attributes: dict[str, str | int],
        times: tuple[float, float],
        failed: bool,
    ) -> ReadableSpan:
        """`ids`: the span's, and its parent's (0: none); `times`: Unix seconds.

        By a Tracer it would cost ten times as much, on the loop; its ids and times would be given to it all the same.
        """
        span, parent = ids
        flags = TraceFlags(trace.flags)
        begun, ended = times
        return ReadableSpan(
            name=name,
            context=SpanContext(trace.trace_id, span, is_remote=False, trace_flags=flags, trace_state=state),
            parent=SpanContext(trace.trace_id, parent, is_remote=parent == trace.parent, trace_flags=flags)
            if parent
            else None,
            resource=self._resource,
            attributes=attributes,
            kind=kind,
            status=_ERROR if failed else _UNSET,
            start_time=_nanoseconds(begun),
            end_time=_nanoseconds(ended),
            instrumentation_scope=_SCOPE,
        )

    def _server(self, each: Ended, kind: Kind, trace: Trace, state: TraceState | None) -> ReadableSpan:
        method = _method(kind)
        route = kind.route.partition(" ")[2]
        attributes: dict[str, str | int] = {
            **trace.attributes,
            "http.request.method": method,
            "url.scheme": self._scheme,
            "zonegate.request_id": each.request_id.decode("ascii"),
            "zonegate.decision": "allow" if kind.allowed else "deny",
        }
        said: dict[str, str | int] = {
            "http.route": route,
            "http.response.status_code": kind.status,
            "url.path": "" if self._redaction.hides_path else _text(each.path or b""),
            "server.address": _without_port(_text(each.host)),
            "client.address": kind.address,
            "zonegate.api": kind.api,
            "zonegate.token_id": kind.token,
            "zonegate.owner": kind.owner,
            "zonegate.reason": kind.reason.value if kind.reason is not None else "",
        }
        attributes |= {name: value for name, value in said.items() if value}
        failed = kind.status >= _SERVER_ERROR or _is_broken(kind)
        if failed:
            attributes["error.type"] = _error(kind)
        return self._span(
            f"{method if method in _METHODS else 'HTTP'} {route}".rstrip(),
            trace,
            state,
            ids=(trace.server, trace.parent),
            kind=SpanKind.SERVER,
            attributes=attributes,
            times=(each.ended_at - each.seconds, each.ended_at),
            failed=failed,
        )

    def _client(self, each: Ended, kind: Kind, trace: Trace, state: TraceState | None) -> ReadableSpan:
        method = _method(kind)
        port = kind.upstream.rpartition(":")[2]
        attributes: dict[str, str | int] = {"http.request.method": method, "zonegate.api": kind.api}
        if kind.upstream:
            attributes |= {"server.address": _without_port(kind.upstream), "server.port": int(port)}
        answered = each.upstream_seconds >= 0
        if answered:
            attributes["http.response.status_code"] = kind.status
        failed = not answered or kind.status >= _CLIENT_ERROR or _is_broken(kind)
        if failed:
            attributes["error.type"] = _error(kind)
        return self._span(
            method if method in _METHODS else "HTTP",
            trace,
            state,
            ids=(trace.client, trace.server),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            times=(each.ended_at - each.seconds + each.gateway_seconds, each.ended_at),
            failed=failed,
        )

    def close(self, seconds: float = LAST_WORDS) -> None:
        """What waits is sent, if that takes no longer than `seconds`."""
        # The processor's own patience has 30 seconds; its thread, and this one, end with the process.
        last = threading.Thread(target=self._processor.shutdown, daemon=True)
        last.start()
        last.join(seconds)


def _resource() -> Resource:
    """Who we are, as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say; else zonegate."""
    found = Resource.create()
    ours = {SERVICE_VERSION: __version__}
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        ours[SERVICE_NAME] = "zonegate"
    return found.merge(Resource(ours)) if SERVICE_VERSION not in found.attributes else Resource(ours).merge(found)


def _nanoseconds(at: float) -> int:
    """A float of Unix seconds knows no more than microseconds."""
    return round(at * 1e6) * 1000


def _without_port(host: str) -> str:
    """`host[:port]` without its port, an IPv6 address without its brackets."""
    return _PORT.sub("", host).strip("[]")


def _method(kind: Kind) -> str:
    """One of a closed set (semantic conventions for HTTP: `_OTHER`)."""
    return kind.method if kind.method in _METHODS else "_OTHER"


def _text(octets: bytes) -> str:
    """What a client sent, as far as it may stand in a span."""
    return without_secrets(octets[:_LONGEST].decode("latin-1"))


def _is_broken(kind: Kind) -> bool:
    """Whether no whole answer came of what was allowed."""
    return kind.status == 0 or kind.left or (kind.allowed and kind.reason is not None)


def _error(kind: Kind) -> str:
    """Of a closed set."""
    return kind.why or (str(kind.status) if kind.status else CLIENT_GONE)
