"""Whether requests are traced: OpenTelemetry's own variables say it, and the extra `zonegate[otel]` has to be there.

Without an endpoint nothing of OpenTelemetry is imported, and nothing is done.
"""

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from gateway.telemetry.redaction import Redaction

if TYPE_CHECKING:
    from gateway.telemetry.spans import Spans

log = structlog.get_logger(__name__)

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_OTLP: Final = "otlp"
_HTTP: Final = "http/protobuf"
_NEEDED: Final = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether `environ` asks for traces: it names an endpoint or an exporter, and does not switch them off."""
    exporter = environ.get(_EXPORTER, "").strip()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    return bool(exporter) or any(environ.get(name, "").strip() for name in _ENDPOINTS)


def obstacle(environ: Mapping[str, str]) -> str:
    """Why there are no traces although `environ` asks for them, with the remedy; "": nothing is in the way."""
    if not is_wanted(environ):
        return ""
    exporter = environ.get(_EXPORTER, "").strip()
    if exporter not in ("", _OTLP):
        return f"{_EXPORTER}: the gateway knows otlp and none"
    for name in _PROTOCOLS:
        if protocol := environ.get(name, "").strip():
            if protocol != _HTTP:
                return f"{name}: the gateway speaks {_HTTP} alone: collectors take it on port 4318"
            break
    if not all(_is_there(name) for name in _NEEDED):
        return "OpenTelemetry is not installed: pip install 'zonegate[otel]'"
    return ""


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it
        return False


def open_spans(*, scheme: str, redaction: Redaction) -> "Spans | None":
    """Where spans are made, as the process's environment asks for them; None: it does not, or they cannot be.

    To be called in the process that makes them: a thread goes with it. `scheme`: of the requests, http or https.
    """
    if not is_wanted(os.environ) or obstacle(os.environ):
        return None
    from gateway.telemetry.spans import Spans, otlp_exporter  # noqa: PLC0415 - the extra may be missing

    try:
        return Spans(otlp_exporter(), scheme=scheme, redaction=redaction)
    except (OSError, ValueError) as error:  # a file of TLS, a number
        log.warning("no traces", error=str(error))
        return None
