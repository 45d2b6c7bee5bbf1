"""Tokens that expired long ago leave the store, and old entries the audit: about once a minute, so many at a time."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from gateway.access.ports import Action, Actor, Conflict, NotReplicated, StoreUnavailable
from gateway.access.principal import Record
from gateway.store import keys
from gateway.store.failure import is_cancelled
from gateway.store.redis_store import RedisStore
from gateway.tokens.token import Token

log = structlog.get_logger(__name__)

_INTERVAL: Final = 60.0
_AT_ONCE: Final = 100
_MOST: Final = 1000
"""Tokens that one sweep looks at: the rest waits for the next."""
_NOBODY: Final = Actor(token_id="", owner="", address="", request_id="")


class Sweeper:
    """The task that does it: `run`. Each worker has one, and each token goes once: who is late finds it gone."""

    def __init__(self, store: RedisStore, *, keep: float, clock: Callable[[], float]) -> None:
        """`keep`: seconds that a token stays after it has expired; `clock`: Unix seconds."""
        self._store = store
        self._keep = keep
        self._clock = clock
        self._failing = False

    async def run(self, interval: float = _INTERVAL) -> None:
        """Until cancelled: a sweep about every `interval` seconds, each worker at moments of its own."""
        chance = secrets.SystemRandom()
        while not is_cancelled():
            await asyncio.sleep(interval * chance.uniform(0.75, 1.25))
            await self._try_to_sweep()

    async def _try_to_sweep(self) -> None:
        try:
            await self.sweep()
        except (StoreUnavailable, NotReplicated) as error:
            if not self._failing:
                log.warning("expired tokens cannot be deleted now", error=str(error) or "not replicated")
            self._failing = True
        else:
            self._failing = False

    async def sweep(self) -> int:
        """Delete what expired more than `keep` seconds ago; returns how many. Raises StoreUnavailable, NotReplicated.

        Old entries leave the audit, too: each change takes some along, but there may be none for a long time.
        What disagrees with its document is passed over: `zonegate store check` is there for that.
        """
        now = self._clock()
        deleted = passed = 0
        while deleted + passed < _MOST and not is_cancelled():
            ids = await self._due(now - self._keep, passed)
            gone = await self._delete_all(ids, now)
            deleted += gone
            passed += len(ids) - gone
            if len(ids) < _AT_ONCE:
                break
        if deleted:
            log.info("deleted expired tokens", count=deleted)
        await self._store.trim_audit(self._clock())
        return deleted

    async def _due(self, until: float, passed: int) -> Sequence[str]:
        async with self._store.using() as clients:
            reader: Any = clients.reader
            found = await reader.zrangebyscore(keys.EXPIRIES, "-inf", until, start=passed, num=_AT_ONCE)
        return [each.decode("utf-8", "backslashreplace") for each in found]

    async def _delete_all(self, ids: Sequence[str], now: float) -> int:
        deleted = 0
        for found in await self._store.read(ids) if ids else ():
            if found is None or isinstance(found, StoreUnavailable):
                continue
            token, raw, _ = found
            if self._is_due(token, now):
                deleted += await self._delete(Record(token=token, owner=None, raw=raw), now)
        return deleted

    def _is_due(self, token: Token, now: float) -> bool:
        return token.expires_on is not None and token.expires_on <= now - self._keep

    async def _delete(self, record: Record, now: float) -> bool:
        try:
            await self._store.delete(record, Action.EXPIRE, _NOBODY, now)
        except Conflict:  # its end was moved, or another worker was faster
            return False
        return True
