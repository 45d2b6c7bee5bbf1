"""Rate limits without a question to the store for each request: a worker leases slices of a token's bucket.

A lease is a few of the bucket's requests, taken out of it for all to see: what one worker holds no other may use, so
that the fleet together never passes more than the bucket had. It is counted down in memory. How large the next one is
turns on how fast this one was used up: a worker that is hardly asked holds one request in 200, a busy one a twentieth.
What was not used within `LASTS` goes back.

A bucket that was found empty is not asked again until it has something; such requests are refused out of memory.

With the store away, `deny` refuses what no lease is left for (503: fail closed, as for the token itself), and
`serve-cached` goes on counting alone, from what was last heard of the bucket and for as long as known tokens work: each
worker then lets through what the whole fleet may.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol

import msgspec
import structlog

from gateway.access.compiled import CompiledToken
from gateway.access.ports import Miss, StoreUnavailable
from gateway.reason import Deny, Limit, Reason
from gateway.store.buckets import Ask
from gateway.store.failure import is_cancelled
from gateway.store.lookup import PATIENCE, OnOutage
from gateway.tokens.rate import Grant, Rate, in_words, take

log = structlog.get_logger(__name__)

NAME: Final = "default"
"""Of the limit, in `Ratelimit` and `Ratelimit-Policy`, as Cloudflare calls its own."""
_NAME: Final = NAME.encode("ascii")
LASTS: Final = 5.0
"""Seconds for which a lease, and what was heard of its bucket, is good."""
RETRY: Final = 0.25
"""Seconds between two questions to a store that does not answer."""
_TICK: Final = 1.0
"""Seconds within which a lease that has ended goes back."""
_LEAST: Final = 200
_MOST: Final = 20
"""A lease is at least the 200th part of a token's requests, and at most the 20th."""
_AHEAD: Final = 4
"""The next one is asked for when a quarter is left: then nobody has to wait for it. Not so with fewer than four: where
there are few, what one worker holds is what others lack.
"""
_PAUSE: Final = 0.1
"""Seconds at least for which an empty bucket is not asked again: by then there is a slice worth asking for."""
_AT_ONCE: Final = 100
"""Buckets in one pipeline."""

_UNAVAILABLE: Final = Deny(reason=Reason.STORE_UNAVAILABLE)


class Settle(Protocol):
    """The buckets of all tokens: `Buckets`."""

    async def settle(self, asks: Sequence[Ask]) -> list[Grant | StoreUnavailable]:
        """What came of each of `asks`. Raises StoreUnavailable."""


class _Lease(msgspec.Struct, eq=False):
    """What this process holds of a token's bucket, and knows of it. Moments by the clock of `Leases`."""

    rate: Rate
    policy: bytes
    """The line that tells the client of the rate."""
    left: int = 0
    size: int = 0
    """How many there were, when it was granted."""
    low: int = 0
    until: float = -math.inf
    rest: int = 0
    """What was left in the bucket when it was last heard of."""
    lack: float = 0.0
    """Seconds that the bucket lacked of being full, when it was last heard of or guessed at."""
    lack_at: float = 0.0
    empty_until: float = -math.inf
    waiting: int = 0
    """Requests that cannot go on without more."""
    answer: "asyncio.Future[None] | None" = None
    """Set while more is asked for."""
    away_since: float | None = None
    """Set while the store does not answer."""
    again_at: float = -math.inf
    """When it is asked again then."""


class Leases:
    """Counts the requests of tokens that have limits. One for a worker; `run` does the asking."""

    def __init__(
        self,
        buckets: Settle,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_outage: OnOutage = "deny",
        stale_grace: float = 0.0,
        patience: float = PATIENCE,
    ) -> None:
        """`clock`: monotonic seconds; the rest as `TokenLookup` has it."""
        self._buckets = buckets
        self._clock = clock
        self._grace = stale_grace if on_outage == "serve-cached" else 0.0
        self._patience = patience
        self._leases: dict[str, _Lease] = {}
        """Those that were heard of last come last."""
        self._wanted: dict[str, _Lease] = {}
        self._unused: list[tuple[str, Rate, int]] = []
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._failing = False
        self.asked = self.failed = 0
        """Slices that were asked for, and those of them to which the store gave no answer."""

    # Counting.

    def take(self, token: CompiledToken) -> Deny | Miss | None:
        """See `RateLimits.take`."""
        rate = token.rate
        if rate is None:
            return None
        lease = self._leases.get(token.id)
        if lease is None or (lease.rate is not rate and not self._is_still(lease, rate)):
            lease = self._begin(token.id, rate)
        now = self._clock()
        if now < lease.until:
            if lease.left:
                lease.left -= 1
                if lease.left <= lease.low and lease.answer is None:
                    self._ask(token.id, lease)
                return None
            if now < lease.empty_until:
                return _too_many(rate, lease.empty_until - now)
        if lease.away_since is None:
            return Miss.MISS
        if now >= lease.again_at:
            if not self._grace:
                return Miss.MISS
            self._ask(token.id, lease)  # and nobody waits for it
        return self._estimate(lease, now)

    async def wait(self, token: CompiledToken) -> Deny | None:
        """See `RateLimits.wait`. What is asked for is asked for by one request for all that wait."""
        lease = None
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    found = self.take(token)
                    if not isinstance(found, Miss):
                        return found
                    lease = self._leases[token.id]
                    lease.waiting += 1
                    try:
                        await asyncio.shield(self._ask(token.id, lease))
                    finally:
                        lease.waiting -= 1
        except TimeoutError:
            return _UNAVAILABLE if lease is None else self._estimate(lease, self._clock())

    def told(self, token: CompiledToken) -> bytes:
        """See `RateLimits.told`. What is left is near enough: other workers take from the same bucket."""
        rate, lease = token.rate, self._leases.get(token.id)
        if rate is None:
            return b""
        if lease is None or lease.rate != rate or (lease.until == -math.inf and lease.away_since is None):
            return _policy(rate)  # what did not count may come before anything is known
        full_in = max(0, math.ceil(lease.lack_at + lease.lack - self._clock()))
        return b'%bRatelimit: "%b";r=%d;t=%d\r\n' % (lease.policy, _NAME, lease.left + lease.rest, full_in)

    def _is_still(self, lease: _Lease, rate: Rate) -> bool:
        """Whether the token, read once more, has the limits that it had."""
        if lease.rate != rate:
            return False
        lease.rate = rate
        return True

    def _begin(self, token_id: str, rate: Rate) -> _Lease:
        """Nothing is known of the token's bucket, or its limits are others by now."""
        old = self._leases.pop(token_id, None)
        if old is not None:
            self._return(token_id, old)
            self._answered(old)  # who waits for it, waits for the new one
        lease = self._leases[token_id] = _Lease(rate, _policy(rate))
        return lease

    def _return(self, token_id: str, lease: _Lease) -> None:
        if lease.left:
            self._unused.append((token_id, lease.rate, lease.left))
            lease.left = 0

    def _estimate(self, lease: _Lease, now: float) -> Deny | None:
        """Whether a request passes, for all that one worker can know with the store away."""
        since = lease.away_since
        if not self._grace or (since is not None and now - since >= self._grace):
            return _UNAVAILABLE
        grant = take(lease.rate, lease.lack, now - lease.lack_at, 1)
        lease.rest, lease.lack, lease.lack_at = grant.left, grant.lack, now
        return None if grant.count else _too_many(lease.rate, grant.wait)

    # Asking.

    def _ask(self, token_id: str, lease: _Lease) -> "asyncio.Future[None]":
        """More is asked for; done when that was answered, one way or another."""
        if lease.answer is None:
            lease.answer = asyncio.get_running_loop().create_future()
            self._wanted[token_id] = lease
            self._wake.set()
        return lease.answer

    async def run(self) -> None:
        """Ask for what is wanted, and give back what is not, until cancelled."""
        while not is_cancelled():
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._wake.wait()
            self._wake.clear()
            self._expire()
            await self._settle()

    async def close(self) -> None:
        """All that is left is given back, if the store is there: what it does not hear of fills up again in time."""
        for token_id, lease in self._leases.items():
            self._return(token_id, lease)
        self._leases.clear()
        await self._settle()

    def _expire(self) -> None:
        """What was not used in time goes back, and what is not known any more is forgotten."""
        now = self._clock()
        for _ in range(len(self._leases)):
            token_id, lease = next(iter(self._leases.items()))
            if now < lease.until:
                return
            del self._leases[token_id]
            if lease.answer is None and lease.away_since is None:
                self._return(token_id, lease)
                continue
            # What was estimated is not forgotten before the store was heard: it would begin at a full bucket.
            self._leases[token_id] = lease
            self._ask(token_id, lease)

    async def _settle(self) -> None:
        """All that there is to say to the store was said, or it does not answer."""
        async with self._turn:
            while self._wanted or self._unused:
                if not await self._settle_some():
                    return

    async def _settle_some(self) -> bool:
        """Some of it was said to the store; False: it does not answer, and what was wanted still is."""
        wanted = list(islice(self._wanted.items(), _AT_ONCE))
        unused, self._unused = self._unused[:_AT_ONCE], self._unused[_AT_ONCE:]
        asks = [Ask(token_id, rate, 0, count) for token_id, rate, count in unused]
        asks += [Ask(token_id, lease.rate, _wanted(lease)) for token_id, lease in wanted]
        answers: list[Grant | StoreUnavailable]
        failed = False
        try:
            answers = (await self._buckets.settle(asks))[len(unused) :]
        except StoreUnavailable as error:
            # What came back may have been heard, or not: said again it might count twice. It fills up again in time.
            answers, failed = [error] * len(wanted), True
            if not self._failing:
                log.warning("rate limits not counted in the store", error=str(error), estimated_for_seconds=self._grace)
        if self._failing and not failed:
            log.info("rate limits counted in the store again")
        self._failing = failed
        now = self._clock()
        for (token_id, lease), answer in zip(wanted, answers, strict=True):
            if self._wanted.get(token_id) is lease:
                del self._wanted[token_id]
            self.asked += 1
            if isinstance(answer, Grant):
                self._granted(token_id, lease, answer, now)
            else:
                self.failed += 1
                if lease.away_since is None:
                    lease.away_since = now
                    if not failed:
                        log.warning("rate limit of a token not counted", token=token_id, error=str(answer))
                lease.again_at = now + RETRY
            self._answered(lease)
        return not failed

    def _granted(self, token_id: str, lease: _Lease, granted: Grant, now: float) -> None:
        lease.left += granted.count
        if self._leases.get(token_id) is not lease:  # its limits have changed meanwhile, or all ends
            self._return(token_id, lease)
            return
        lease.size, lease.low = lease.left, lease.left // _AHEAD or -1
        lease.rest, lease.lack, lease.lack_at, lease.until = granted.left, granted.lack, now, now + LASTS
        lease.empty_until = now + max(granted.wait, _PAUSE) if granted.wait else -math.inf
        lease.away_since = None
        del self._leases[token_id]
        self._leases[token_id] = lease

    def _answered(self, lease: _Lease) -> None:
        answer, lease.answer = lease.answer, None
        if answer is not None and not answer.done():
            answer.set_result(None)


def _wanted(lease: _Lease) -> int:
    """How many are asked for: twice what was used up, or what waits."""
    requests = lease.rate.requests
    most, least = max(1, requests // _MOST), max(1, requests // _LEAST)
    return min(max(2 * (lease.size - lease.left), lease.waiting, least), most)


def _policy(rate: Rate) -> bytes:
    return f'Ratelimit-Policy: "{NAME}";q={rate.requests};w={rate.period}\r\n'.encode()


def _too_many(rate: Rate, seconds: float) -> Deny:
    limit = Limit(name=NAME, quota=rate.requests, window=rate.period, wait=max(1, math.ceil(seconds)))
    note = f"The token has {in_words(rate)}: come again in {limit.wait} s"
    return Deny(reason=Reason.RATE_LIMITED, limit=limit, note=note)
