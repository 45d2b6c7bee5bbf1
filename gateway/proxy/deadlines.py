"""Many waits of one length, on one timer.

A timer a request would cost more than what it guards. Of waits that all last as long, the first to begin is the first
to end: a dict in the order of beginning is the queue, and one timer looks at its front.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Calls `expired(what)` for each `what` that was armed `seconds` ago, and not disarmed or armed anew since."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, expired: Callable[[T], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._expired = expired
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, what: T) -> bool:
        return what in self._due

    def arm(self, what: T) -> None:
        """`what` has its time from now on."""
        due = self._due
        due.pop(what, None)
        now = self._loop.time()
        due[what] = now + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._seconds, self._look)

    def disarm(self, what: T) -> None:
        """`what` is not waited for any more."""
        self._due.pop(what, None)

    def oldest(self) -> T | None:
        """What was armed first, or None."""
        return next(iter(self._due), None)

    def close(self) -> None:
        """Nothing expires any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        late = []
        for what, due in self._due.items():
            if due > now:
                break
            late.append(what)
        try:
            for what in late:
                # One that expired before it may have disarmed it, or armed it anew.
                if self._due.get(what, math.inf) <= now:
                    del self._due[what]
                    self._expired(what)
        finally:
            self._timer = self._loop.call_at(next(iter(self._due.values())), self._look) if self._due else None
