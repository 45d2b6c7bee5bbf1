"""How often a token may be used: so many requests in a period of seconds, metered by GCRA (ITU-T I.371, the generic
cell rate algorithm).

A bucket is what it lacks: the seconds until it is full again. A request adds an interval to it, the period divided by
its requests; it may not lack more than a period. So a token may use all its requests at once, and then gets them back
one by one: in any stretch of time it passes that many, and one for each interval of the stretch.

What a bucket lacks is known together with the moment at which it did. Both in one number, as GCRA is often told, would
be too coarse: of today's Unix time a double holds no more than quarters of a microsecond, and each request would round
anew. The script of `store/buckets.py` does the same sums: a change here is a change there.
"""

import math
from typing import Annotated, Final

import msgspec

MOST_REQUESTS: Final = 1_000_000
LONGEST_PERIOD: Final = 30 * 86400
"""Seconds."""
_SLACK: Final = 1e-6
"""Of a request: what a double may be short of the whole number that it should be."""
_SHARE: Final = 4
"""Of what is left one worker gets a quarter at most (but one): others want some of it too."""


# Stored as a part of the token, and shown: see the rule of change there.
class Rate(msgspec.Struct, frozen=True):
    """So many `requests` in a `period` of seconds."""

    requests: Annotated[int, msgspec.Meta(ge=1, le=MOST_REQUESTS)]
    period: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_PERIOD)]

    def within(self, other: "Rate") -> bool:
        """Whether it never lets through what `other` holds up: neither more at once, nor more in the long run."""
        return self.requests <= other.requests and self.requests * other.period <= other.requests * self.period


class Grant(msgspec.Struct, frozen=True):
    """What came of asking a bucket. Times in seconds."""

    count: int
    """Requests that may pass; 0: it is empty."""
    left: int
    """How many more there are."""
    lack: float
    """Until it is full again."""
    wait: float
    """Until there is one more; 0 where there is one."""


def take(rate: Rate, lack: float, passed: float, wanted: int) -> Grant:
    """Some of the `wanted` requests out of a bucket that lacked so much so many seconds ago; 0 and 0: a full one."""
    lack = max(lack - max(passed, 0.0), 0.0)
    if wanted:
        # Limits that were others before must not hold anybody up for longer than these do. Who wants none may only not
        # have heard of new ones, and changes nothing.
        lack = min(lack, rate.period)
    there = max(math.floor((rate.period - lack) * rate.requests / rate.period + _SLACK), 0)
    count = min(wanted, max(1, there // _SHARE), there)
    lack += worth(rate, count)
    left = there - count
    return Grant(count, left, lack, 0.0 if left else lack + worth(rate, 1) - rate.period)


def worth(rate: Rate, count: int) -> float:
    """The seconds in which so many requests come back."""
    return count * rate.period / rate.requests


def in_words(rate: Rate) -> str:
    """The rate for people, as a person would type it."""
    return f"{rate.requests} request{'s' if rate.requests > 1 else ''} in {rate.period} s"
