"""What is left of each token's requests, for the whole fleet: GCRA in the store, by the store's clock.

One script gives back and takes. The arithmetic is that of `tokens/rate.py`, which see; a test holds them together.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.failure import NONSENSE, meaning
from gateway.store.redis_store import RedisStore
from gateway.tokens.rate import Grant, Rate, worth

# KEYS  1 the bucket: a moment (Unix time in microseconds), what it lacked then (seconds), and the rate of that: its
#         requests and its period
# ARGV  1 requests, 2 period (seconds), 3 how many are wanted, 4 what comes back (seconds)
# Returns how many were granted, how many are left, and in how many seconds the bucket is full, and has one more.
# A bucket that is full is not there.
_SETTLE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local requests, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted, back = tonumber(ARGV[3]), tonumber(ARGV[4])
local known = redis.call('GET', KEYS[1])
local lack, passed, edited = 0, 0, 1
local kept_requests, kept_period = requests, period
if known then
  local at, lacked, of, within = string.match(known, '^(%S+) (%S+) (%S+) (%S+)$')
  passed = (now - tonumber(at)) / 1000000
  lack = math.max(tonumber(lacked) - math.max(passed, 0), 0)
  -- The limits were edited: a request that was used remains one.
  if tonumber(of) ~= requests or tonumber(within) ~= period then edited = of / within * period / requests end
  lack = lack * edited
  -- Who wants none brings back what he leased, perhaps at the rate before: the bucket keeps its own.
  if wanted == 0 then kept_requests, kept_period = tonumber(of), tonumber(within) end
end
lack = math.max(lack - back, 0)
if wanted > 0 then lack = math.min(lack, period) end
local there = math.max(math.floor((period - lack) * requests / period + 1e-6), 0)
local count = math.min(wanted, math.max(1, math.floor(there / 4)), there)
lack = lack + count * period / requests
local left = there - count
local wait = 0
if left == 0 then wait = lack + period / requests - period end
if lack <= 0 then
  if known then redis.call('DEL', KEYS[1]) end
elseif count > 0 or back > 0 or passed < 0 or (wanted > 0 and edited ~= 1) then
  local kept = lack
  if wanted == 0 then kept = lack / edited end
  local bucket = string.format('%.0f %.17g %.0f %.0f', now, kept, kept_requests, kept_period)
  redis.call('SET', KEYS[1], bucket, 'PX', math.ceil(kept * 1000) + 1)
end
return {count, left, string.format('%.17g', lack), string.format('%.17g', wait)}
"""


class Ask(msgspec.Struct, frozen=True):
    """To a token's bucket: give me `wanted` (0: none), and have back so many that I had of it (at the same rate)."""

    token_id: str
    rate: Rate
    wanted: int
    unused: int = 0


class Buckets:
    """The buckets in the store."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def settle(self, asks: Sequence[Ask]) -> list[Grant | StoreUnavailable]:
        """What came of each of `asks`, all sent at once. Raises StoreUnavailable where none may have been heard."""
        async with self._store.using(changes=True) as clients:
            # A request waits for it, as for the token itself: lists and changes must not hold it up.
            pipe: Any = clients.guard.pipeline(transaction=False)
            for ask in asks:
                words = (ask.rate.requests, ask.rate.period, ask.wanted, worth(ask.rate, ask.unused))
                pipe.eval(_SETTLE, 1, keys.rate_key(ask.token_id), *words)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        return [_read(reply) for reply in replies]


def _read(reply: Any) -> Grant | StoreUnavailable:  # noqa: ANN401 - redis-py's
    if isinstance(reply, Exception):
        return meaning(reply, changes=True)
    try:
        count, left, lack, wait = reply
        return Grant(int(count), int(left), float(lack), float(wait))
    except NONSENSE as error:
        return meaning(error, changes=True)
