"""One line a request, and counts of them: kept as they end, written a few times a second.

A worker that is killed loses the lines of a quarter of a second.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from random import random
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec
import structlog

from gateway.reason import Reason
from gateway.telemetry.latency import Latencies
from gateway.telemetry.logs import STDERR, is_console
from gateway.tokens.secret import LOOKS_SECRET

log = structlog.get_logger("access")

INTERVAL: Final = 0.25
"""Seconds between two writes."""
MOST_WAITING: Final = 256
"""Requests after which it is written earlier: what is written at once holds up who comes meanwhile."""
_SERVER_ERROR: Final = 500
_SECRET: Final = re.compile(LOOKS_SECRET.pattern.encode("ascii"))


class Kind(NamedTuple):
    """What requests have in common that are counted as one. Names are "" where there is none, or nothing was proved."""

    method: str
    """"": the head could not be read."""
    api: str
    route: str
    """The label of the route that was asked for."""
    token: str
    """Its id."""
    reason: Reason | None
    """Why it was refused, or broken off."""
    address: str
    status: int
    owner: str = ""
    """The token's, as `OwnerRef.key`."""
    upstream: str = ""
    """The target to which it went, as `host:port`."""
    allowed: bool = False
    """Decided was: yes, whatever came of it then."""


class Ended(Protocol):
    """A request that has ended."""

    request_id: bytes
    ended_at: float
    """Unix seconds."""
    seconds: float
    """From the arrival of its head to the end of its answer."""
    upstream_seconds: float
    """From the moment in which the upstream had all of it to the head of its answer; below 0: there was none."""
    gateway_seconds: float
    """From the arrival of its head until it went up; below 0: it did not."""
    bytes_in: int
    """Of its head and of its body."""
    bytes_out: int
    """Written in answer to it."""

    @property
    def path(self) -> bytes | None:
        """As it was judged, and so plain ASCII; None: it was not."""

    @property
    def kind(self) -> Kind:
        """What it has in common with others."""


class CountUse(Protocol):
    """Where it is counted what tokens are used for."""

    def __call__(  # noqa: PLR0913, PLR0917 - what is counted
        self, token_id: str, route: str, result: str, address: str, now: float, times: int
    ) -> None:
        """Count requests of a token that proved itself; `route` "" where there is none. No I/O, and never raises.

        `result`: "allowed", or why not (a `Reason`); `now`: Unix seconds.
        """


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
    ) -> None:
        """`write` takes some lines of JSON, and never raises; None: standard error. `count_use`: told what tokens were
        used for. `sample`: the share of requests that is logged of those that went well, by `chance` (in [0, 1)).
        `latencies`: told how long requests of tokens took.
        """
        self._enabled = enabled
        self._console = is_console(format_)
        self._write = write or STDERR.write
        self._count_use = count_use
        self._sample = sample
        self._chance = chance
        self._latencies = latencies
        self._waiting: list[Ended] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b',"worker":%d,"event":"request","level":"info","timestamp":"' % os.getpid()
        self.counts: Counter[tuple[str, str, str, int]] = Counter()
        """Requests by API, route, reason ("" for what was allowed) and status: for metrics."""

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
        alike: dict[Kind, list[Ended]] = {}
        of_each = []
        for each in waiting:
            kind = each.kind
            same = alike.get(kind)
            if same is None:
                alike[kind] = [each]
            else:
                same.append(each)
            of_each.append(kind)
        self._count(alike, waiting[-1].ended_at)
        if self._enabled:
            ended = zip(waiting, of_each, strict=True)
            self._log(list(ended) if self._sample >= 1 else [pair for pair in ended if self._is_logged(pair[1])])

    def _is_logged(self, kind: Kind) -> bool:
        return kind.reason is not None or kind.status >= _SERVER_ERROR or self._chance() < self._sample

    def _log(self, ended: Sequence[tuple[Ended, Kind]]) -> None:
        if self._console:
            for each, kind in ended:
                log.info("request", **_on_console(each, kind))
            return
        said: dict[Kind, bytes] = {}
        lines = []
        for each, kind in ended:
            alike = said.get(kind)
            if alike is None:
                alike = said[kind] = _in_json(kind) + self._tail
            upstream = each.upstream_seconds
            if upstream < 0:
                alike = b'"upstream_milliseconds":null,' + alike
            else:
                alike = b'"upstream_milliseconds":%.1f,%b' % (upstream * 1000, alike)
            lines.append(
                b'{"request_id":"%b","path":%b,"milliseconds":%.1f,"bytes_in":%d,"bytes_out":%d,%b%b"}\n'
                % (
                    each.request_id,
                    _path_in_json(each.path),
                    each.seconds * 1000,
                    each.bytes_in,
                    each.bytes_out,
                    alike,
                    _timestamp(each.ended_at),
                )
            )
        if lines:
            self._write(b"".join(lines))

    def _count(self, alike: Mapping[Kind, Sequence[Ended]], at: float) -> None:
        """Most of what ends within a quarter of a second is alike: it is counted as one."""
        by_api: dict[str, list[Ended]] = {}
        for kind, ended in alike.items():
            times = len(ended)
            if kind.allowed:
                by_api.setdefault(kind.api, []).extend(ended)
            self.counts[kind.api, kind.route, kind.reason or "", kind.status] += times
            if self._count_use is not None and kind.token:  # nobody anonymous bends the numbers
                result = "allowed" if kind.reason is None else kind.reason.value
                self._count_use(kind.token, kind.route, result, kind.address, at, times)
        if self._latencies is not None:
            for api, ended in by_api.items():
                self._latencies.observe(
                    api,
                    [each.seconds if each.gateway_seconds < 0 else each.gateway_seconds for each in ended],
                    [each.upstream_seconds for each in ended if each.upstream_seconds >= 0],
                )


def _in_json(kind: Kind) -> bytes:
    """The members of a line that say what `kind` says. An id and an address hold nothing that JSON would escape."""
    method, api, route, token, reason, address, status, owner, upstream, allowed = kind
    return b'%b,"token":%b,"owner":%b,"address":%b' % (
        _alike_in_json(method, api, route, reason, status, upstream, allowed),
        b'"%b"' % token.encode("ascii") if token else b"null",
        b'"%b"' % owner.encode("ascii") if owner else b"null",
        b'"%b"' % address.encode("ascii") if address else b"null",
    )


@lru_cache(maxsize=1024)  # of many tokens' requests that end together most are alike in this
def _alike_in_json(  # noqa: PLR0913, PLR0917 - what is said of a request, and nothing of whose it is
    method: str,
    api: str,
    route: str,
    reason: Reason | None,
    status: int,
    upstream: str,
    allowed: bool,  # noqa: FBT001
) -> bytes:
    members = {
        "method": LOOKS_SECRET.sub(r"\1_...", method) or None,
        "api": api or None,
        "route": route or None,
        "decision": _decision(reason, allowed=allowed),
        "reason": reason,
        "status": status,
        "upstream": upstream or None,
    }
    return msgspec.json.encode(members)[1:-1]


def _decision(reason: Reason | None, *, allowed: bool) -> str | None:
    """None: nothing had to be decided, as for a health page."""
    return "allow" if allowed else None if reason is None else "deny"


def _path_in_json(path: bytes | None) -> bytes:
    """A path that was judged holds nothing that JSON would escape (RFC 3986 3.3)."""
    return b"null" if path is None else b'"%b"' % (_SECRET.sub(rb"\1_...", path) if b"zg" in path else path)


def _on_console(each: Ended, kind: Kind) -> dict[str, Any]:
    return {
        "request_id": each.request_id.decode("ascii"),
        "path": None if each.path is None else _SECRET.sub(rb"\1_...", each.path).decode("ascii"),
        "milliseconds": round(each.seconds * 1000, 1),
        "upstream_milliseconds": round(each.upstream_seconds * 1000, 1) if each.upstream_seconds >= 0 else None,
        "bytes_in": each.bytes_in,
        "bytes_out": each.bytes_out,
        "decision": _decision(kind.reason, allowed=kind.allowed),
        **{name: value for name, value in kind._asdict().items() if value != "" and name != "allowed"},
        "method": LOOKS_SECRET.sub(r"\1_...", kind.method) or None,
    }


@lru_cache(maxsize=4)
def _second(at: int) -> bytes:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode("ascii")


def _timestamp(at: float) -> bytes:
    second = int(at)
    return b"%b.%06dZ" % (_second(second), int((at - second) * 1e6))
