"""What one worker has counted and has now, in the form in which workers exchange it.

Read by workers of the same program alone, and gone with it: there is no older form to be read.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from gateway.proxy.pool import PoolState
from gateway.telemetry.latency import Histogram

StoreState = Literal["trusted", "grace", "lost"]
"""What a worker remembers may be believed; known tokens work for a while although it may not; neither."""


class Now(msgspec.Struct, frozen=True):
    """What a worker has at this moment. `at`: when that was, in monotonic seconds, which all processes share; `lag`:
    seconds by which it may be behind the store's changes; `connections` by listener; `pools` by API.
    """

    at: float
    store: StoreState
    lag: float
    frozen: bool
    connections: Mapping[str, int]
    pools: Mapping[str, PoolState]


class Snapshot(msgspec.Struct):
    """All that a worker tells. Everything but `now` only grows while it lives.

    `requests`: how many, by API, route, reason and status; `totals`: by the name of the metric; `now` None: it has
    ended.
    """

    requests: dict[str, int] = {}
    gateway: dict[str, Histogram] = {}
    upstream: dict[str, Histogram] = {}
    totals: dict[str, int] = {}
    now: Now | None = None

    def add(self, other: "Snapshot") -> None:
        """Count all of `other` too, but for what it has now."""
        for ours, theirs in ((self.requests, other.requests), (self.totals, other.totals)):
            for name, times in theirs.items():
                ours[name] = ours.get(name, 0) + times
        for mine, others in ((self.gateway, other.gateway), (self.upstream, other.upstream)):
            for api, histogram in others.items():
                mine.setdefault(api, Histogram()).add(histogram)


_BETWEEN: Final = "\n"
"""No name of an API, no route and no reason has a line's end."""


def request_key(api: str, route: str, reason: str, status: int) -> str:
    """What `Snapshot.requests` calls these."""
    return _BETWEEN.join((api, route, reason, str(status)))


def split_key(key: str) -> list[str]:
    """API, route, reason and status out of a `request_key`."""
    return key.split(_BETWEEN)


def sum_of(snapshots: Iterable[Snapshot]) -> Snapshot:
    """All of them together."""
    found = Snapshot()
    for snapshot in snapshots:
        found.add(snapshot)
    return found
