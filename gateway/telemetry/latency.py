"""How long requests take, by API: the gateway's own part, and the upstream's, apart."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Seconds: the upper bound of each bucket but the last, which has none."""


class Histogram(msgspec.Struct):
    """How many took how long. `counts`: of each bucket alone, the last for what is over all bounds; `total`: seconds of
    all together. Workers exchange it in this form.
    """

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def observe(self, seconds: Sequence[float]) -> None:
        """Count so many more. Together they cost a tenth of what each would cost alone."""
        ordered = sorted(seconds)
        below = 0
        for place, bound in enumerate(BOUNDS):
            reached = bisect_right(ordered, bound, below)
            self.counts[place] += reached - below
            below = reached
        self.counts[-1] += len(ordered) - below
        self.total += sum(ordered)

    def add(self, other: "Histogram") -> None:
        """Count all of `other`."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Latencies:
    """Those of one worker: `gateway` and `upstream` by API."""

    def __init__(self) -> None:
        self.gateway: dict[str, Histogram] = {}
        self.upstream: dict[str, Histogram] = {}

    def observe(self, api: str, gateway: Sequence[float], upstream: Sequence[float]) -> None:
        """Count requests for `api`: seconds of each."""
        for histograms, seconds in ((self.gateway, gateway), (self.upstream, upstream)):
            if seconds:
                histograms.setdefault(api, Histogram()).observe(seconds)
