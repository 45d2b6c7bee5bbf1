"""Tokens that end within a week are told about, once each, whichever worker of the fleet is the first to look."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final

import structlog

from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.ending import SOON
from gateway.store.failure import is_cancelled
from gateway.store.redis_store import RedisStore
from gateway.tokens.news import Event, Tell, news_of
from gateway.tokens.token import Status, Token

log = structlog.get_logger(__name__)

_INTERVAL: Final = 600.0
_RETRY: Final = 5.0
"""Seconds to the next look where the store did not answer: it may only just begin."""
_AT_ONCE: Final = 100
_TOLD_FOR: Final = SOON + 86400
"""Seconds that it stands in the store that a token was told about: no longer than that can be asked."""


class EndingNews:
    """The task that tells: `run`. Each worker has one; the store knows what was told."""

    def __init__(
        self,
        store: RedisStore,
        tell: Tell,
        clock: Callable[[], float],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """`clock`: Unix seconds; `has_room`: whether who is told can take more now. What it cannot waits for the next
        look: it would be lost, and stand in the store as told.
        """
        self._has_room = has_room
        self._store = store
        self._tell = tell
        self._clock = clock

    async def run(self, interval: float = _INTERVAL) -> None:
        """Until cancelled: a look about every `interval` seconds, each worker at moments of its own."""
        chance, was_away = secrets.SystemRandom(), False
        while not is_cancelled():
            pause = interval
            try:
                await self.look()
                was_away = False
            except StoreUnavailable as error:
                if not was_away:
                    log.warning("ending tokens cannot be looked for now", error=str(error))
                was_away, pause = True, min(interval, _RETRY)
            await asyncio.sleep(pause * chance.uniform(0.75, 1.25))

    async def look(self) -> int:
        """Tell of what ends within `SOON` and was not told yet; returns how many. Raises StoreUnavailable."""
        now, told, start = self._clock(), 0, 0
        while not is_cancelled():
            async with self._store.using() as clients:
                reader: Any = clients.reader
                raw = await reader.zrangebyscore(keys.EXPIRIES, f"({now}", now + SOON, start=start, num=_AT_ONCE)
            ids = [each.decode("utf-8", "backslashreplace") for each in raw]
            for found in await self._store.read(ids) if ids else ():
                if not self._has_room():
                    return told
                if isinstance(found, tuple):
                    told += await self._tell_once(found[0], now)
            start += len(ids)
            if len(ids) < _AT_ONCE:
                break
        return told

    async def _tell_once(self, token: Token, now: float) -> bool:
        """A disabled token that ends is no news. A new end is news once more."""
        if token.status is not Status.ACTIVE or token.expires_on is None or not now < token.expires_on <= now + SOON:
            return False
        async with self._store.using() as clients:
            writer: Any = clients.writer
            first = await writer.set(keys.told_key(token.id, token.expires_on), "1", nx=True, ex=_TOLD_FOR)
        if first:
            self._tell(news_of(Event.ENDING, token, now))
        return bool(first)
