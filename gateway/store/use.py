"""What tokens are used for: gathered in the worker, written every few seconds, read for the token API.

Counting is no I/O and never fails. What a worker has gathered since it last wrote is lost when it is killed, and only
that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import msgspec
import structlog

from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.failure import is_cancelled, meaning
from gateway.store.redis_store import RedisStore
from gateway.tokens.timestamp import format_timestamp

log = structlog.get_logger(__name__)

INTERVAL: Final = 5.0
"""Seconds between writes."""
MOST_GATHERED: Final = 100_000
"""What is kept while the store is away: one for each token, for each of its routes with a result, and for each of its
refused requests.
"""
MOST_WRITTEN: Final = 2000
"""Tokens of which it is written every INTERVAL: each costs some 50 us, whether it was used once or a thousand times.
Those of whom more are in use wait for their turn.
"""
_AT_ONCE: Final = 100
"""Tokens in one pipeline: to put it together takes some milliseconds, in which no request goes on."""
_LAST_USED_ON: Final = "last_used_on"
_LAST_ADDRESS: Final = "last_address"
_DAY: Final = 86400
_SUMS: Final = ("allowed", "refused")
_SEPARATOR: Final = "|"
"""Between route and result in the name of a field. No path template has it (RFC 3986), nor has any other field."""

DAYS: Final = 30
"""Days of which it is told how often a token was used, today among them."""
MOST_REFUSED: Final = 50
"""Refused requests of a token that are kept."""
_KEPT: Final = (DAYS + 2) * 86400
"""Seconds that either is kept when a token is not used any more."""
ALLOWED: Final = "allowed"

# KEYS  1 the token's document, 2 its use, 3 its days, 4 its refusals
# ARGV  1 when it was last used (Unix seconds), 2 from where, 3 that day, 4 the oldest day that counts,
#       5 how many of its requests were allowed, 6 refused, 7 refusals that are kept, 8 seconds that these are kept,
#       9 how many refusals follow, the oldest first; then field and number of each count
# A token that is gone leaves nothing behind, and of two workers the one that saw it last tells when that was.
_COUNT: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local before = tonumber(redis.call('HGET', KEYS[2], 'last_used_on') or '')
if before == nil or before <= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[2], 'last_used_on', ARGV[1], 'last_address', ARGV[2])
end
for place = 10 + tonumber(ARGV[9]), #ARGV, 2 do
  redis.call('HINCRBY', KEYS[2], ARGV[place], ARGV[place + 1])
end
for name, number in pairs({allowed = ARGV[5], refused = ARGV[6]}) do
  if number ~= '0' then redis.call('HINCRBY', KEYS[3], ARGV[3] .. '|' .. name, number) end
end
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  if field < ARGV[4] then redis.call('HDEL', KEYS[3], field) end
end
redis.call('EXPIRE', KEYS[3], ARGV[8])
if ARGV[9] ~= '0' then
  for place = 10, 9 + tonumber(ARGV[9]) do redis.call('LPUSH', KEYS[4], ARGV[place]) end
  redis.call('LTRIM', KEYS[4], 0, ARGV[7] - 1)
  redis.call('EXPIRE', KEYS[4], ARGV[8])
end
return 1
"""


class RouteUse(msgspec.Struct, frozen=True, order=True):
    """How often a route was asked for with one result: "allowed", or why not. `route` "": there was none."""

    route: str
    result: str
    count: int


class Use(msgspec.Struct, frozen=True):
    """What is known of a token's use. `last_used_on`: Unix seconds; None: it was not used yet."""

    last_used_on: int | None = None
    last_address: str = ""
    requests: tuple[RouteUse, ...] = ()


class DayUse(msgspec.Struct, frozen=True):
    """How often a token was used on a day (UTC, as in 2027-01-31)."""

    day: str
    allowed: int
    refused: int


# Stored as JSON. Rule of change: add at the end, with a default; never rename.
class RefusedUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests that were refused to a token: the last of them `at` Unix seconds, `times` in all. `route` "": none."""

    at: int
    reason: str
    route: str
    address: str
    times: int = 1


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(RefusedUse)


class _Gathered(msgspec.Struct, eq=False):
    """Of one token, since the last write. `refused`: the last, the oldest first."""

    at: int
    address: str
    requests: dict[tuple[str, str], int]
    refused: list[RefusedUse]


class Uses:
    """Counts what tokens are used for, and tells it. One for a worker."""

    def __init__(self, store: RedisStore, *, most: int = MOST_GATHERED) -> None:
        """`most`: what is gathered at once, as MOST_GATHERED says it."""
        self._store = store
        self._most = most
        self._gathered: dict[str, _Gathered] = {}
        self._size = 0
        self._failing = False
        self._turn = asyncio.Lock()
        self.dropped = 0
        """Requests that were not counted, because too much was gathered, or because nobody knows whether they were."""

    # Gathering.

    def count(  # noqa: PLR0913, PLR0917 - what is counted
        self, token_id: str, route: str, result: str, address: str, now: float, times: int = 1
    ) -> None:
        """See `access_log.CountUse`."""
        gathered = self._gathered.get(token_id)
        key = (route, result)
        if gathered is None or key not in gathered.requests or now < gathered.at:
            self._add(token_id, int(now), address, {key: times})
        else:
            gathered.at, gathered.address = int(now), address
            gathered.requests[key] += times
        if result != ALLOWED and (gathered := self._gathered.get(token_id)) is not None:
            self._refuse(gathered, [RefusedUse(int(now), result, route, address, times)])

    def _refuse(self, gathered: _Gathered, refused: Sequence[RefusedUse]) -> None:
        """The last that were refused are kept, as many as there is room for."""
        had = len(gathered.refused)
        kept = min(MOST_REFUSED, had + max(0, self._most - self._size))
        gathered.refused += refused
        del gathered.refused[: max(0, len(gathered.refused) - kept)]
        self._size += len(gathered.refused) - had

    def _add(self, token_id: str, at: int, address: str, requests: dict[tuple[str, str], int]) -> None:
        gathered = self._gathered.get(token_id)
        if gathered is None:
            if self._size >= self._most:
                self.dropped += sum(requests.values())
                return
            self._size += 1
            gathered = self._gathered[token_id] = _Gathered(at, address, {}, [])
        elif gathered.at <= at:
            gathered.at, gathered.address = at, address
        for key, number in requests.items():
            known = gathered.requests.get(key)
            if known is None:
                if self._size >= self._most:
                    self.dropped += number
                    continue
                self._size += 1
            gathered.requests[key] = (known or 0) + number

    # Writing.

    async def run(self, interval: float = INTERVAL) -> None:
        """Write every `interval` seconds, until cancelled. Whoever ends it writes once more, when all is answered."""
        while not is_cancelled():
            await asyncio.sleep(interval)
            await self.write(MOST_WRITTEN)

    async def write(self, most: int | None = None) -> None:
        """What was gathered is in the store, of so many tokens at most, those first that have waited longest. Never
        raises.

        If it was not written, it is kept for the next time; if nobody knows, the numbers are dropped rather than
        counted twice.
        """
        async with self._turn:  # the last write of all waits for one that is under way
            await self._write(self._taken(most))

    def _taken(self, most: int | None) -> dict[str, _Gathered]:
        """What is written now. A token that is used again stands behind all others then."""
        if most is None or most >= len(self._gathered):
            taken, self._gathered, self._size = self._gathered, {}, 0
            return taken
        taken = {token_id: self._gathered.pop(token_id) for token_id in list(islice(self._gathered, most))}
        self._size -= sum(1 + len(each.requests) + len(each.refused) for each in taken.values())
        return taken

    async def _write(self, waiting: dict[str, _Gathered]) -> None:
        failure = None
        try:
            while waiting and failure is None:
                failure = await self._write_some(waiting)
        finally:
            for token_id, gathered in waiting.items():
                self._add(token_id, gathered.at, gathered.address, gathered.requests)
                if (now := self._gathered.get(token_id)) is not None:
                    newer, now.refused = now.refused, []
                    self._size -= len(newer)
                    self._refuse(now, [*gathered.refused, *newer])
        if failure is not None and not self._failing:
            log.warning("use of tokens not written", error=str(failure))
        self._failing = failure is not None

    async def _write_some(self, waiting: dict[str, _Gathered]) -> StoreUnavailable | None:
        """Take some tokens out of `waiting`, and write them; those that were not written are in it again.

        Returns why it is of no use to go on now.
        """
        try:
            # A server that is not there is found out by a question, after which nobody has to wonder what was done.
            async with self._store.using() as clients:
                await clients.writer.ping()
        except StoreUnavailable as error:
            return error
        batch = [(token_id, waiting.pop(token_id)) for token_id in list(islice(waiting, _AT_ONCE))]
        try:
            replies = await self._send(batch)
        except StoreUnavailable as error:
            for token_id, gathered in batch:
                if error.outcome_unknown:  # the moment and the address may be written twice
                    self._drop(gathered)
                waiting[token_id] = gathered
            return error
        failure = None
        for (token_id, gathered), reply in zip(batch, replies, strict=True):
            if isinstance(reply, Exception):
                why = meaning(reply, changes=True)
                if why.outcome_unknown:  # of this token alone: what it has in the store is not ours
                    self._drop(gathered)
                    log.warning("use of a token not written", token=token_id, error=str(why))
                else:
                    waiting[token_id] = gathered
                    failure = why
        return failure

    async def _send(self, batch: Sequence[tuple[str, _Gathered]]) -> list[Any]:
        async with self._store.using(changes=True) as clients:
            pipe: Any = clients.writer.pipeline(transaction=False)
            for token_id, gathered in batch:
                counts = [
                    part
                    for (route, result), number in gathered.requests.items()
                    for part in (f"{route}{_SEPARATOR}{result}", number)
                ]
                # EVAL, as for changes: a few hundred bytes a token every few seconds, and no second round for a server
                # that does not know the script's digest.
                refused = [_encoder.encode(each) for each in gathered.refused]
                names = (
                    keys.token_key(token_id),
                    keys.use_key(token_id),
                    keys.use_days_key(token_id),
                    keys.use_refused_key(token_id),
                )
                day, oldest = _day(gathered.at), _day(gathered.at - (DAYS - 1) * _DAY)
                fixed = gathered.at, gathered.address, day, oldest, *_sums(gathered), MOST_REFUSED, _KEPT, len(refused)
                pipe.eval(_COUNT, len(names), *names, *fixed, *refused, *counts)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies

    def _drop(self, gathered: _Gathered) -> None:
        self.dropped += sum(gathered.requests.values())
        gathered.requests.clear()
        gathered.refused.clear()

    # Reading: what cannot be read is not shown, and stops nobody.

    async def last_used(self, token_ids: Sequence[str]) -> list[int | None]:
        """When each of these tokens was last used (Unix seconds); None where that is not known. Never raises."""
        if not token_ids:
            return []
        try:
            async with self._store.using() as clients:
                pipe: Any = clients.reader.pipeline(transaction=False)
                for token_id in token_ids:
                    pipe.hget(keys.use_key(token_id), _LAST_USED_ON)
                return [_number(reply) for reply in await pipe.execute(raise_on_error=False)]
        except StoreUnavailable as error:
            log.warning("use of tokens not read", error=str(error))
            return [None] * len(token_ids)

    async def use(self, token_id: str) -> Use:
        """What is known of a token's use; what was not written yet is not in it. Never raises."""
        key = keys.use_key(token_id)
        found: dict[bytes, bytes] = await self._read(token_id, lambda reader: reader.hgetall(key)) or {}
        requests = []
        for name, value in found.items():
            route, separator, result = name.decode("utf-8", "replace").rpartition(_SEPARATOR)
            number = _number(value)
            if separator and number is not None:
                requests.append(RouteUse(route, result, number))
        return Use(
            last_used_on=_number(found.get(_LAST_USED_ON.encode())),
            last_address=found.get(_LAST_ADDRESS.encode(), b"").decode("utf-8", "replace"),
            requests=tuple(sorted(requests)),
        )

    async def days(self, token_id: str, now: float) -> list[DayUse]:
        """How often the token was used on each of the last days, the oldest first. Never raises, as the next."""
        key = keys.use_days_key(token_id)
        found: dict[bytes, bytes] = await self._read(token_id, lambda reader: reader.hgetall(key)) or {}
        days = (_day(now - ago * _DAY) for ago in reversed(range(DAYS)))
        return [DayUse(day, *(_number(found.get(f"{day}|{name}".encode())) or 0 for name in _SUMS)) for day in days]

    async def refused(self, token_id: str) -> list[RefusedUse]:
        """The last requests that were refused to the token, the newest first."""
        key = keys.use_refused_key(token_id)
        found: list[bytes] = await self._read(token_id, lambda reader: reader.lrange(key, 0, -1)) or []
        refused = []
        for raw in found:
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                refused.append(_decoder.decode(raw))
        return refused

    async def _read(self, token_id: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ANN401 - redis-py's
        """What the store answers to `ask` of its reader; None where it does not, with a line in the log."""
        try:
            async with self._store.using() as clients:
                return await ask(clients.reader)
        except StoreUnavailable as error:
            log.warning("use of a token not read", token=token_id, error=str(error))
            return None


def _day(now: float) -> str:
    """The day (UTC) of that moment."""
    return format_timestamp(int(now)).partition("T")[0]


def _sums(gathered: _Gathered) -> tuple[int, int]:
    """How many of its requests were allowed, and refused."""
    allowed = sum(number for (_, result), number in gathered.requests.items() if result == ALLOWED)
    return allowed, sum(gathered.requests.values()) - allowed


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, bytes) and value.isdigit() else None
