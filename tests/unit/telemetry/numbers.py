"""What a worker may have counted."""

from typing import Any

from gateway.proxy.pool import PoolState
from gateway.telemetry.latency import Histogram
from gateway.telemetry.snapshot import Now, Snapshot, request_key

API, ROUTE = "cloudflare-dns", "GET /client/v4/zones/{zone_id}/dns_records"


def now(**parts: Any) -> Now:
    usual = {
        "at": 100.0,
        "store": "trusted",
        "lag": 0.001,
        "frozen": False,
        "connections": {"listen": 3},
        "pools": {API: PoolState(open=4, idle=1, waiting=2, targets=2, ejected=1)},
    }
    return Now(**{**usual, **parts})  # type: ignore[arg-type]


def snapshot(times: int = 1, **parts: Any) -> Snapshot:
    """Of a worker that has answered so many requests, in a millisecond each."""
    taken = Histogram()
    taken.observe([0.001] * times)
    return Snapshot(
        {request_key(API, ROUTE, "", 200): times}, {API: taken}, {}, {"zonegate_cache_hits": times}, now(**parts)
    )
