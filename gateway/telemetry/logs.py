"""Logging: one event a line, JSON for programs, colour for a terminal; to standard error."""

import logging
import sys
from typing import Final, Literal

import structlog

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def _one_line(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show control characters as escapes: whatever a value holds, an event is one line."""
    return {key: value.translate(_CONTROLS) if isinstance(value, str) else value for key, value in event.items()}


def is_console(format_: Literal["auto", "console", "json"]) -> bool:
    """Whether people read the log: "auto" is for them on a terminal."""
    return format_ == "console" or (format_ == "auto" and sys.stderr.isatty())


def configure_logs(format_: Literal["auto", "console", "json"], level: str) -> None:
    """Set up structlog, and route the standard library's loggers (aiohttp, asyncio) through it."""
    console = is_console(format_)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,  # which worker it is
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _one_line,
    ]
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # Never the default, which shows local variables, and with them secrets.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(separators=(",", ":"))]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
