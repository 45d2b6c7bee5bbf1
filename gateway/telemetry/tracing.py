"""Whether requests are traced: OpenTelemetry's own variables say it, and the extra `zonegate[otel]` has to be there.

Without an endpoint nothing of OpenTelemetry is imported, and nothing is done.
"""

import importlib.util
import os
import re
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
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[ -~]*")
"""What the exporter takes (RFC 9110 5.1); all else it leaves out, and shows it to the log, with the secret in it."""
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_RATIO: Final = "OTEL_TRACES_SAMPLER_ARG"
_BY_RATIO: Final = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS: Final = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off", *_BY_RATIO)
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
    if why_not := _doubt(environ):
        return why_not
    if not all(_is_there(name) for name in _NEEDED):
        return "OpenTelemetry is not installed: pip install 'zonegate[otel]'"
    return ""


def _doubt(environ: Mapping[str, str]) -> str:
    """What OpenTelemetry would replace by a default: a share that is read as all of it fills somebody's collector."""
    for name in _HEADERS:
        parts = [part.strip() for part in environ.get(name, "").split(",")]
        if not all(_HEADER.fullmatch(part) for part in parts if part):
            return f"{name}: it is name=value, more than one separated by commas"
    sampler = environ.get(_SAMPLER, "").strip().lower()
    if sampler and sampler not in _SAMPLERS:
        return f"{_SAMPLER}: one of {', '.join(_SAMPLERS)}"
    if sampler in _BY_RATIO and not _is_share(environ.get(_RATIO, "1")):
        return f"{_RATIO}: the share that is recorded, from 0 to 1"
    return ""


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


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
