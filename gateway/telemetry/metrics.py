"""The page of metrics, in Prometheus's own form: any worker tells those of all.

Every label is out of a closed set, or out of the configuration: nothing that a client sends becomes one. Owners have a
number of their own up to a bound.
"""

import platform
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.reason import Answer
from gateway.telemetry.latency import BOUNDS, Histogram
from gateway.telemetry.publisher import Publisher
from gateway.telemetry.snapshot import Now, Snapshot, StoreState, split_key

if TYPE_CHECKING:
    from gateway.proxy.pool import PoolState

TOTALS: Final[Mapping[str, str]] = {
    "zonegate_cache_hits": "Look-ups of tokens that were answered out of memory.",
    "zonegate_cache_misses": "Look-ups of tokens that had to wait for the store.",
    "zonegate_cache_flushes": "Times that a worker forgot all tokens, since it could not know what had changed.",
    "zonegate_store_reads": "Tokens that were read from the store.",
    "zonegate_store_losses": "Times that a worker lost the store.",
    "zonegate_unknown_tokens": "Tokens that were read from the store, and are not there.",
    "zonegate_guesses_limited": "Look-ups that were refused, because a network asked for too many unknown tokens.",
    "zonegate_limit_leases": "Slices of tokens' rate limits that workers asked the store for.",
    "zonegate_limit_leases_failed": "Those of them to which the store gave no answer.",
    "zonegate_uses_dropped": "Requests that are missing in the use counts of tokens.",
    "zonegate_spans_lost": "Spans of traces that were dropped: the collector did not take them, or not fast enough.",
}
"""Names without their `_total`, and what they count."""
_FIELDS: Final = (("Content-Type", CONTENT_TYPE_PLAIN_0_0_4), ("Cache-Control", "no-store"))

Ending = Callable[[], Awaitable[Mapping[str, int] | None]]
"""Tokens that end soon, by owner; None: nobody knows."""


class Metrics:
    """What `/metrics` shows."""

    def __init__(self, publisher: Publisher, ending: Ending) -> None:
        self._publisher = publisher
        self._ending = ending

    async def page(self) -> Answer:
        """The page, as things are now. Of the store no more is asked than `ending` does."""
        ending = await self._ending()
        living, everything = self._publisher.read()
        return Answer(status=200, fields=_FIELDS, body=generate_latest(_Families(families(living, everything, ending))))


class _Families(Collector):
    """What prometheus_client writes out."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self._found


def families(living: Iterable[Snapshot], everything: Snapshot, ending: Mapping[str, int] | None) -> Iterator[Metric]:
    """The metrics, one after the other. `living`: of the workers that are there; `everything`: all that was counted."""
    now = [each.now for each in living if each.now is not None]
    yield _gauge(
        "zonegate_build_info",
        "The program that runs; always 1.",
        ("version", "python"),
        {(__version__, platform.python_version()): 1},
    )
    yield _gauge("zonegate_workers", "Worker processes that serve.", (), {(): len(now)})
    yield from _counted(everything)
    yield from _memory(now)
    yield from _connections(now)
    if ending is not None:
        yield _gauge(
            "zonegate_tokens_ending",
            "Tokens that end within 7 days, by owner; those of owners beyond the first 100 together, as other.",
            ("owner",),
            {(owner,): count for owner, count in ending.items()},
        )


def _counted(everything: Snapshot) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "zonegate_requests",
        "Requests that have ended. No reason: allowed. No API and no route: nothing was proved, or there is none.",
        labels=("api", "route", "reason", "status"),
    )
    for key, times in sorted(everything.requests.items()):
        requests.add_metric(split_key(key), times)
    yield requests
    yield _histogram(
        "zonegate_gateway_seconds",
        "From the arrival of an allowed request's head until it was sent to the upstream; of what is answered here, "
        "until the end of the answer.",
        everything.gateway,
    )
    yield _histogram(
        "zonegate_upstream_seconds",
        "From the moment in which the upstream had a request until the head of its answer came.",
        everything.upstream,
    )
    for name, what in TOTALS.items():
        yield CounterMetricFamily(name, what, value=everything.totals.get(name, 0))


def _memory(now: list[Now]) -> Iterator[Metric]:
    states: tuple[StoreState, ...] = get_args(StoreState)
    yield _gauge(
        "zonegate_store_state",
        "Workers by what they may believe of the store: trusted; grace: known tokens work although it is away; lost.",
        ("state",),
        {(state,): sum(each.store == state for each in now) for state in states},
    )
    yield _gauge(
        "zonegate_invalidation_lag_seconds",
        "How late a change of the store may come to the worker that hears of it last.",
        (),
        {(): max((each.lag for each in now), default=0.0)},
    )
    yield _gauge(
        "zonegate_frozen", "1: no token works until it is thawed.", (), {(): int(any(each.frozen for each in now))}
    )


def _connections(now: list[Now]) -> Iterator[Metric]:
    yield _gauge(
        "zonegate_client_connections",
        "Connections of clients, by listener.",
        ("listener",),
        _summed(each.connections for each in now),
    )
    shown: tuple[tuple[str, str, Callable[[PoolState], int]], ...] = (
        ("zonegate_upstream_connections_open", "Connections to upstreams.", lambda pool: pool.open),
        ("zonegate_upstream_connections_idle", "Of these, those without a request.", lambda pool: pool.idle),
        ("zonegate_upstream_waiting", "Requests that wait for a connection.", lambda pool: pool.waiting),
        ("zonegate_upstream_targets", "Targets, as each worker sees them.", lambda pool: pool.targets),
        (
            "zonegate_upstream_targets_ejected",
            "Of these, those that failed and are left alone for a while.",
            lambda pool: pool.ejected,
        ),
    )
    for name, what, count in shown:
        pools = _summed({api: count(pool) for api, pool in each.pools.items()} for each in now)
        yield _gauge(name, what, ("api",), pools)


def _summed(of_each: Iterable[Mapping[str, int]]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for counts in of_each:
        for name, count in counts.items():
            found[name,] = found.get((name,), 0) + count
    return found


def _gauge(name: str, what: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    gauge = GaugeMetricFamily(name, what, labels=labels)
    for of, value in sorted(values.items()):
        gauge.add_metric(of, value)
    return gauge


def _histogram(name: str, what: str, by_api: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, what, labels=("api",))
    bounds = (*map(str, BOUNDS), "+Inf")
    for api, histogram in sorted(by_api.items()):
        family.add_metric((api,), list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
    return family
