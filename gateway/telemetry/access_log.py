"""One line a request, and counts of them: kept as they end, written a few times a second.

A worker that is killed loses the lines of a quarter of a second.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec
import structlog

from gateway.reason import Reason
from gateway.telemetry.logs import STDERR, is_console
from gateway.tokens.secret import LOOKS_SECRET

log = structlog.get_logger("access")

INTERVAL: Final = 0.25
"""Seconds between two writes."""
MOST_WAITING: Final = 256
"""Requests after which it is written earlier: what is written at once holds up who comes meanwhile."""
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


class Ended(Protocol):
    """A request that has ended."""

    request_id: bytes
    ended_at: float
    """Unix seconds."""
    seconds: float
    """From the arrival of its head to the end of its answer."""

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
    """

    def __init__(
        self,
        *,
        enabled: bool,
        format_: Literal["auto", "console", "json"] = "json",
        write: Callable[[bytes], object] | None = None,
        count_use: CountUse | None = None,
    ) -> None:
        """`write` takes some lines of JSON, and never raises; None: standard error. `count_use`: told what tokens were
        used for.
        """
        self._enabled = enabled
        self._console = is_console(format_)
        self._write = write or STDERR.write
        self._count_use = count_use
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
        kinds: dict[Kind, int] = {}
        of_each = []
        for each in waiting:
            kind = each.kind
            kinds[kind] = kinds.get(kind, 0) + 1
            of_each.append(kind)
        self._count(kinds, waiting[-1].ended_at)
        if not self._enabled:
            return
        if self._console:
            for each, kind in zip(waiting, of_each, strict=True):
                log.info("request", **_on_console(each, kind))
        else:
            said = {kind: _in_json(kind) for kind in kinds}
            tail = self._tail
            lines = [
                b'{"request_id":"%b","path":%b,"milliseconds":%.1f,%b%b%b"}\n'
                % (
                    each.request_id,
                    _path_in_json(each.path),
                    each.seconds * 1000,
                    said[kind],
                    tail,
                    _timestamp(each.ended_at),
                )
                for each, kind in zip(waiting, of_each, strict=True)
            ]
            self._write(b"".join(lines))

    def _count(self, kinds: Mapping[Kind, int], at: float) -> None:
        """Most of what ends within a quarter of a second is alike: it is counted as one."""
        for kind, times in kinds.items():
            self.counts[kind.api, kind.route, kind.reason or "", kind.status] += times
            if self._count_use is not None and kind.token:  # nobody anonymous bends the numbers
                result = "allowed" if kind.reason is None else kind.reason.value
                self._count_use(kind.token, kind.route, result, kind.address, at, times)


def _in_json(kind: Kind) -> bytes:
    """The members of a line that say what `kind` says. An id and an address hold nothing that JSON would escape."""
    method, api, route, token, reason, address, status = kind
    return b'%b,"token":%b,"address":%b' % (
        _alike_in_json(method, api, route, reason, status),
        b'"%b"' % token.encode("ascii") if token else b"null",
        b'"%b"' % address.encode("ascii") if address else b"null",
    )


@lru_cache(maxsize=1024)  # of many tokens' requests that end together most are alike in this
def _alike_in_json(method: str, api: str, route: str, reason: Reason | None, status: int) -> bytes:
    members = {
        "method": LOOKS_SECRET.sub(r"\1_...", method) or None,
        "api": api or None,
        "route": route or None,
        "reason": reason,
        "status": status,
    }
    return msgspec.json.encode(members)[1:-1]


def _path_in_json(path: bytes | None) -> bytes:
    """A path that was judged holds nothing that JSON would escape (RFC 3986 3.3)."""
    return b"null" if path is None else b'"%b"' % (_SECRET.sub(rb"\1_...", path) if b"zg" in path else path)


def _on_console(each: Ended, kind: Kind) -> dict[str, Any]:
    return {
        "request_id": each.request_id.decode("ascii"),
        "path": None if each.path is None else _SECRET.sub(rb"\1_...", each.path).decode("ascii"),
        "milliseconds": round(each.seconds * 1000, 1),
        **{name: value for name, value in kind._asdict().items() if value != ""},
        "method": LOOKS_SECRET.sub(r"\1_...", kind.method) or None,
    }


@lru_cache(maxsize=4)
def _second(at: int) -> bytes:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode("ascii")


def _timestamp(at: float) -> bytes:
    second = int(at)
    return b"%b.%06dZ" % (_second(second), int((at - second) * 1e6))
