"""One line a request, and counts of them: kept as they end, written a few times a second.

A worker that is killed loses the lines of a quarter of a second.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from random import random
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog

from gateway.reason import Reason
from gateway.telemetry.kind import Ended, Kind
from gateway.telemetry.latency import Latencies
from gateway.telemetry.logs import STDERR, is_console
from gateway.telemetry.redaction import Redaction
from gateway.tokens.secret import LOOKS_SECRET, without_secrets

log = structlog.get_logger("access")

INTERVAL: Final = 0.25
"""Seconds between two writes."""
MOST_WAITING: Final = 256
"""Requests after which it is written earlier: what is written at once holds up who comes meanwhile."""
LONGEST_PATH: Final = 2048
"""Bytes of a path in a line. A pipe takes 4096 whole (PIPE_BUF): of a longer line, another worker's could get into the
middle, and what reads the log might make two of it.
"""
_LINE: Final = (
    b'{"request_id":"%b",%b"path":%b,"milliseconds":%.1f,"upstream_milliseconds":%b,"bytes_in":%d,"bytes_out":%d,'
    b'%b%b.%06dZ"}\n'
)
_SERVER_ERROR: Final = 500
_SECRET: Final = re.compile(LOOKS_SECRET.pattern.encode("ascii"))


class CountUse(Protocol):
    """Where it is counted what tokens are used for."""

    def __call__(  # noqa: PLR0913, PLR0917 - what is counted
        self, token_id: str, route: str, result: str, address: str, now: float, times: int
    ) -> None:
        """Count requests of a token that proved itself; `route` "" where there is none. No I/O, and never raises.

        `result`: "allowed", or why not (a `Reason`); `now`: Unix seconds.
        """


class MakeSpans(Protocol):
    """Where spans are made (`telemetry.spans.Spans`)."""

    def add(self, ended: Iterable[tuple[Ended, Kind]]) -> None:
        """Make those of requests that have ended. No wait for anybody."""


class _Alike:
    """Requests of one batch that are of one kind."""

    __slots__ = ("ended", "kind", "said")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.ended: list[Ended] = []
        self.said = b""
        """What all their lines say; b"" until there is one."""


class AccessLog:
    """Writes the lines, if it is switched on, and counts in any case. The query stays out: it may hold anything. Of a
    secret in the path the id stays.

    Of requests that were answered as they should be, a share is enough for a log; what was refused or failed is in it.
    """

    def __init__(  # noqa: PLR0913 - what it writes, and whom it tells
        self,
        *,
        enabled: bool,
        format_: Literal["auto", "console", "json"] = "json",
        write: Callable[[bytes], object] | None = None,
        count_use: CountUse | None = None,
        sample: float = 1.0,
        chance: Callable[[], float] = random,
        latencies: Latencies | None = None,
        redaction: Redaction | None = None,
        spans: MakeSpans | None = None,
    ) -> None:
        """`write` takes some lines of JSON, and never raises; None: standard error. `count_use`: told what tokens were
        used for. `sample`: the share of requests that is logged of those that went well, by `chance` (in [0, 1)).
        `latencies`: told how long requests of tokens took; `redaction`: what is left out of the lines; `spans`: told of
        all requests, None: nobody traces.
        """
        self._enabled = enabled
        self._console = is_console(format_)
        self._write = write or STDERR.write
        self._count_use = count_use
        self._sample = sample
        self._chance = chance
        self._latencies = latencies
        self._redaction = redaction or Redaction()
        self._spans = spans
        self._waiting: list[Ended] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b',"worker":%d,"event":"request","level":"info","timestamp":"' % os.getpid()
        self.counts: Counter[tuple[str, str, str, int]] = Counter()
        """Requests by API, route, `Kind.why` and status: for metrics."""

    def add(self, ended: Ended) -> None:
        """Log and count one request, soon."""
        waiting = self._waiting
        waiting.append(ended)
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
        all_alike: dict[Kind, _Alike] = {}
        of_each = []
        for each in waiting:
            kind = each.kind
            alike = all_alike.get(kind)
            if alike is None:
                alike = all_alike[kind] = _Alike(kind)
            alike.ended.append(each)
            of_each.append(alike)
        self._count(all_alike.values(), waiting[-1].ended_at)
        if self._spans is not None:
            self._spans.add((each, alike.kind) for each, alike in zip(waiting, of_each, strict=True))
        if self._enabled:
            ended = zip(waiting, of_each, strict=True)
            self._log(ended if self._sample >= 1 else (pair for pair in ended if self._is_logged(pair[1].kind)))

    def _is_logged(self, kind: Kind) -> bool:
        return bool(kind.why) or kind.status >= _SERVER_ERROR or self._chance() < self._sample

    def _log(self, ended: Iterable[tuple[Ended, _Alike]]) -> None:
        redaction = self._redaction
        if self._console:
            for each, alike in ended:
                shown = _on_console(each, redaction.shown(alike.kind))
                if redaction.hides_path:
                    del shown["path"]
                log.info("request", **shown)
            return
        traced, hides_path = self._spans is not None, redaction.hides_path
        second, tail = -1, b""
        lines = []
        for each, alike in ended:
            at, seconds = each.ended_at, each.upstream_seconds
            if int(at) != second:
                second = int(at)
                tail = self._tail + _second(second)
            lines.append(
                _LINE
                % (
                    each.request_id,
                    b'"trace_id":"%032x",' % each.trace.trace_id if traced and each.trace is not None else b"",
                    b"null" if hides_path else _path_in_json(each.path),
                    each.seconds * 1000,
                    b"null" if seconds < 0 else b"%.1f" % (seconds * 1000),
                    each.bytes_in,
                    each.bytes_out,
                    alike.said or self._said(alike),
                    tail,
                    (at - second) * 1e6,
                )
            )
        if lines:
            self._write(b"".join(lines))

    def _said(self, alike: _Alike) -> bytes:
        kind = self._redaction.shown(alike.kind)
        method, api, route, token, reason, address, status, owner, upstream, allowed, _ = kind
        alike.said = b"%b,%b" % (
            _alike_in_json(method, api, route, reason, kind.why, status, upstream, allowed),
            _whose_in_json(token, owner, address),
        )
        return alike.said

    def _count(self, all_alike: Iterable[_Alike], at: float) -> None:
        """Most of what ends within a quarter of a second is alike: it is counted as one."""
        by_api: dict[str, list[Ended]] = {}
        for alike in all_alike:
            kind, ended = alike.kind, alike.ended
            times = len(ended)
            if kind.allowed:
                by_api.setdefault(kind.api, []).extend(ended)
            self.counts[kind.api, kind.route, kind.why, kind.status] += times
            # Nobody anonymous bends the numbers; and to look at the dashboard is no use of a token.
            if self._count_use is not None and kind.token and (kind.allowed or kind.reason is not None):
                result = "allowed" if kind.reason is None else kind.reason.value
                self._count_use(kind.token, kind.route, result, kind.address, at, times)
        if self._latencies is not None:
            for api, ended in by_api.items():
                self._latencies.observe(
                    api,
                    [each.seconds if each.gateway_seconds < 0 else each.gateway_seconds for each in ended],
                    [each.upstream_seconds for each in ended if each.upstream_seconds >= 0],
                )


@lru_cache(maxsize=1024)  # of many tokens' requests that end together most are alike in this
def _alike_in_json(  # noqa: PLR0913, PLR0917 - what is said of a request, and nothing of whose it is
    method: str,
    api: str,
    route: str,
    reason: Reason | None,
    why: str,
    status: int,
    upstream: str,
    allowed: bool,  # noqa: FBT001
) -> bytes:
    members = {
        "method": without_secrets(method) or None,
        "api": api or None,
        "route": route or None,
        "decision": _decision(reason, allowed=allowed),
        "reason": why or None,
        "status": status,
        "upstream": upstream or None,
    }
    return msgspec.json.encode(members)[1:-1]


@lru_cache(maxsize=16384)
def _whose_in_json(token: str, owner: str, address: str) -> bytes:
    """An id and an address hold nothing that JSON would escape."""
    return b'"token":%b,"owner":%b,"address":%b' % tuple(
        b'"%b"' % name.encode("ascii") if name else b"null" for name in (token, owner, address)
    )


def _decision(reason: Reason | None, *, allowed: bool) -> str | None:
    """None: nothing had to be decided, as for a health page."""
    return "allow" if allowed else None if reason is None else "deny"


def _path_in_json(path: bytes | None) -> bytes:
    """A path that was judged holds nothing that JSON would escape (RFC 3986 3.3)."""
    if path is None:
        return b"null"
    return b'"%b"' % (_shown_path(path) if len(path) > LONGEST_PATH or b"zg" in path else path)


def _shown_path(path: bytes) -> bytes:
    """Of a long path its beginning, of a secret in it the id."""
    if len(path) > LONGEST_PATH:
        path = path[:LONGEST_PATH] + b"..."
    return _SECRET.sub(rb"\1_...", path)


def _on_console(each: Ended, kind: Kind) -> dict[str, Any]:
    return {
        "request_id": each.request_id.decode("ascii"),
        "path": None if each.path is None else _shown_path(each.path).decode("ascii"),
        "milliseconds": round(each.seconds * 1000, 1),
        "upstream_milliseconds": round(each.upstream_seconds * 1000, 1) if each.upstream_seconds >= 0 else None,
        "bytes_in": each.bytes_in,
        "bytes_out": each.bytes_out,
        "decision": _decision(kind.reason, allowed=kind.allowed),
        **{name: value for name, value in kind._asdict().items() if value != "" and name not in {"allowed", "left"}},
        "reason": kind.why or None,
        "method": without_secrets(kind.method) or None,
    }


@lru_cache(maxsize=4)
def _second(at: int) -> bytes:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode("ascii")
