"""One line a request, and counts of them: appended as they end, written a few times a second.

A worker that is killed loses the lines of a quarter of a second.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal

import msgspec
import structlog

from gateway.catalog.target import Target
from gateway.reason import Reason
from gateway.telemetry.logs import is_console
from gateway.tokens.secret import LOOKS_SECRET

log = structlog.get_logger("access")

INTERVAL: Final = 0.25
"""Seconds between two writes."""
MOST_WAITING: Final = 2000
"""Requests after which it is written earlier."""


class AccessLine(msgspec.Struct, frozen=True, gc=False):
    """A line as JSON has it. `milliseconds` from the head's arrival to the answer's end."""

    request_id: str
    method: str | None
    path: str | None
    api: str | None
    route: str | None
    token: str | None
    reason: Reason | None
    address: str | None
    status: int
    milliseconds: float
    worker: int
    event: str
    level: str
    timestamp: str


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A request that has ended. `method`, `target` None: its head could not be read; `at` in Unix seconds."""

    at: float
    seconds: float
    request_id: str
    method: str | None
    target: Target | None
    api: str
    route: str
    token_id: str
    reason: Reason | None
    address: str
    status: int


class AccessLog:
    """Writes the lines, if it is switched on, and counts in any case. The query stays out: it may hold anything. Of a
    secret in the path the id stays.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        format_: Literal["auto", "console", "json"] = "json",
        write: Callable[[bytes], object] | None = None,
    ) -> None:
        """`write` takes lines of JSON; None: standard error."""
        self._enabled = enabled
        self._console = is_console(format_)
        self._write = write or _to_stderr
        self._waiting: list[Finished] = []
        self._timer: asyncio.TimerHandle | None = None
        self._worker = os.getpid()
        self._encoder = msgspec.json.Encoder()
        self.counts: Counter[tuple[str, str, str, int]] = Counter()
        """Requests by API, route, reason ("" for what was allowed) and status: for metrics."""

    def add(self, finished: Finished) -> None:
        """Log and count one request, soon."""
        waiting = self._waiting
        waiting.append(finished)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self.flush)
        elif len(waiting) >= MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """What has been added is written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        for each in waiting:
            self.counts[each.api, each.route, each.reason or "", each.status] += 1
        if not self._enabled:
            return
        if self._console:
            for each in waiting:
                line = msgspec.structs.asdict(self._line(each))
                log.info(line.pop("event"), **{key: line[key] for key in line if key not in _SAID_BY_STRUCTLOG})
        else:
            # With a blank behind each colon, as all other lines of the log.
            lines = [msgspec.json.format(self._encoder.encode(self._line(each)), indent=0) for each in waiting]
            self._write(b"\n".join([*lines, b""]))

    def _line(self, each: Finished) -> AccessLine:
        target = each.target
        return AccessLine(
            each.request_id,
            each.method,
            # A path that was judged is plain ASCII; one that was not stays out.
            LOOKS_SECRET.sub(r"\1_...", target.path.decode("ascii")) if target is not None else None,
            each.api or None,
            each.route or None,
            each.token_id or None,
            each.reason,
            each.address or None,
            each.status,
            round(each.seconds * 1000, 1),
            self._worker,
            "request",
            "info",
            _timestamp(each.at),
        )


_SAID_BY_STRUCTLOG: Final = frozenset({"event", "level", "timestamp", "worker"})


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _timestamp(at: float) -> str:
    second = int(at)
    return f"{_second(second)}.{int((at - second) * 1e6):06d}Z"


def _to_stderr(lines: bytes) -> None:
    sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()
