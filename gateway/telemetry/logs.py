"""Logging: one event a line, JSON for programs, colour for a terminal; to standard error."""

import logging
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Literal

import structlog

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def _one_line(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show control characters as escapes: whatever a value holds, an event is one line."""
    return {key: value.translate(_CONTROLS) if isinstance(value, str) else value for key, value in event.items()}


_AT_ONCE: Final = 1024 * 1024
_PATIENCE: Final = 0.2
"""Seconds that a reader of the log has to take some of it."""


class StandardError:
    """Standard error, of which nobody may wait for long that somebody reads it: a log stops no request, and no end.

    A reader who is slow has some time. Once he took nothing in it, lines are dropped until he takes some again.
    """

    def __init__(self) -> None:
        self._patience = _PATIENCE
        self._file = -1
        self._send: Callable[[bytes], int] = len
        self._most = select.PIPE_BUF
        """Bytes that are written at once."""

    def write(self, lines: bytes) -> None:
        """Write whole lines, as far as they are taken. Never raises."""
        try:
            file = sys.stderr.fileno()
        except (OSError, ValueError):  # something else stands in its place
            sys.stderr.write(lines.decode("utf-8", "replace"))
            return
        with suppress(OSError, ValueError):
            if file != self._file:
                self._file, self._send = file, _sender(file)
                # A file has room for all of it; asked about each few lines, it would cost as much as they did.
                self._most = _AT_ONCE if stat.S_ISREG(os.fstat(file).st_mode) else select.PIPE_BUF
            self._write(file, lines)

    def _write(self, file: int, lines: bytes) -> None:
        until = time.monotonic() + self._patience
        start = 0
        while start < len(lines):
            if not select.select([], [file], [], max(0.0, until - time.monotonic()))[1]:
                self._patience = 0.0
                return
            end = len(lines)
            if end - start > self._most:
                # A pipe that is ready takes so many bytes whole: without a wait, and without another's lines between.
                end = lines.rfind(b"\n", start, start + self._most) + 1 or lines.find(b"\n", start) + 1 or end
            with suppress(BlockingIOError):  # another worker has taken the room
                start += self._send(lines[start:end])
        self._patience = _PATIENCE


def _sender(file: int) -> Callable[[bytes], int]:
    """What writes to `file` and never waits: room that was there may be another worker's by now. Returns how much.

    O_NONBLOCK on `file` itself would be set for all who share it.
    """
    mode = os.fstat(file).st_mode
    if stat.S_ISSOCK(mode):  # journald
        sock = socket.socket(fileno=os.dup(file))
        return lambda data: sock.send(data, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode):
        with suppress(OSError):  # macOS has no such path
            return partial(os.write, os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_NONBLOCK))
    return partial(os.write, file)


STDERR: Final = StandardError()


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            STDERR.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except Exception:  # noqa: BLE001 - as all handlers do
            self.handleError(record)


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
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
