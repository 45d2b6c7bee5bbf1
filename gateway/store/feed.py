"""Keeps a worker's memory of tokens true: subscribed to what changes, and asked once a second (DESIGN 6).

One session is one subscribed connection to the primary, and reads that go to the very same server. Order on each
connection: subscribed, forgotten, trusted. Whatever goes wrong ends the session, and with it the trust; the next one
begins after a jittered pause.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from redis.asyncio.client import PubSub
from redis.backoff import EqualJitterBackoff
from redis.exceptions import RedisError, ResponseError

from gateway.access.ports import StoreUnavailable
from gateway.store.failure import NONSENSE, NOT_ANSWERED, is_cancelled, mapped
from gateway.store.lookup import TokenLookup
from gateway.store.primary import READ_TIMEOUT, Clients, Primary
from gateway.store.redis_store import LONGEST_NUMBER, RedisStore, StoreRefused, says_disk_full
from gateway.store.trust import LASTS, Sent

log = structlog.get_logger(__name__)

BEAT: Final = 1.0
"""Seconds between two nonces."""
_BACKOFF: Final = EqualJitterBackoff(cap=1.0, base=0.05)
_MOST_FAILURES: Final = 10
"""From so many on the pause is the longest."""
_MESSAGES: Final = frozenset({"message", "smessage"})
_SUBSCRIBED: Final = frozenset({"subscribe", "ssubscribe"})
_UNSUBSCRIBED: Final = frozenset({"unsubscribe", "sunsubscribe"})


class Feed:
    """The task that does it: `run`."""

    def __init__(
        self,
        primary: Primary,
        store: RedisStore,
        lookup: TokenLookup,
        clock: Callable[[], float],
        *,
        beat: float = BEAT,
    ) -> None:
        """`clock`: monotonic seconds; `beat`: seconds between two nonces."""
        self._primary = primary
        self._store = store
        self._lookup = lookup
        self._trust = lookup.trust
        self._clock = clock
        self._beat_seconds = beat
        self._gone = asyncio.Event()
        self._returned_at = 0.0
        self._under_way: deque[str] = deque()
        """Nonces that were sent on this session's connection and are not back."""
        primary.on_lost.append(self._lost)

    async def run(self) -> None:
        """Until cancelled: one session after the other."""
        failures = 0
        async with asyncio.TaskGroup() as sessions:
            while True:
                began = self._clock()
                # A task of its own: before Python 3.13 a TaskGroup that fails in the moment in which its task is
                # cancelled forgets the cancellation, and this would go on for ever.
                await asyncio.wait([sessions.create_task(self._session())])
                # A session that lasted was a good one: the next failure is a first one.
                failures = 1 if self._clock() - began > LASTS else failures + 1
                await asyncio.sleep(_pause(failures))

    async def _session(self) -> None:
        try:
            await self._connected()
        except* (StoreUnavailable, StoreRefused) as errors:
            reason = str(errors.exceptions[0])
            self._lookup.lost(reason)

    async def _connected(self) -> None:
        clients = await self._primary.clients()
        self._gone.clear()
        pubsub = clients.subscriber()
        try:
            await self._subscribe(pubsub)
            self._trust.begin()
            self._under_way.clear()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(pubsub, clients))
                group.create_task(self._beat(pubsub, clients))
                group.create_task(self._end_when_gone(clients))
        finally:
            self._trust.end(self._clock())
            self._primary.lost(clients)
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _lost(self, _: Clients) -> None:
        self._trust.end(self._clock())
        self._gone.set()

    async def _end_when_gone(self, clients: Clients) -> None:
        if not clients.gone:
            await self._gone.wait()
        raise StoreUnavailable("the primary has changed, or its connections broke")

    async def _subscribe(self, pubsub: PubSub) -> None:
        async with mapped():
            if self._primary.sharded:
                await pubsub.ssubscribe(self._primary.channel)
            else:
                await pubsub.subscribe(self._primary.channel)
            message = await pubsub.get_message(timeout=READ_TIMEOUT)
        if message is None or message["type"] not in _SUBSCRIBED:
            raise StoreUnavailable("the store did not confirm the subscription")

    async def _listen(self, pubsub: PubSub, clients: Clients) -> None:
        while not is_cancelled():
            try:
                async with mapped():
                    message = await pubsub.get_message(timeout=BEAT)
            except StoreUnavailable as error:
                if not says_disk_full(error.__cause__) or not self._under_way:
                    raise
                # Then a server refuses PING too; but it does so in order among the messages, like an answer.
                self._returned(self._under_way[0], clients)
                continue
            if message is None:
                continue
            if message["type"] in _MESSAGES:
                self._told(message["data"])
            elif message["type"] == "pong":
                self._returned(message["data"].decode("ascii", "replace"), clients)
            elif message["type"] in _UNSUBSCRIBED:
                raise StoreUnavailable("the store ended the subscription: its slot has moved")

    def _told(self, data: bytes) -> None:
        number, *what = data.split(b" ")
        readable = number.isdigit() and len(number) <= LONGEST_NUMBER
        if not readable or self._trust.number(int(number)):
            self._lookup.flush()
        for each in what:
            self._lookup.told(each.decode("utf-8", "replace"))

    def _returned(self, nonce: str, clients: Clients) -> None:
        now = self._clock()
        self._returned_at = now
        while self._under_way and self._under_way.popleft() != nonce:
            pass
        if self._trust.lapsed(now):  # requests were refused, though the next beat has not seen it yet
            self._lookup.lost(NOT_ANSWERED)
        if self._trust.returned(nonce, now):
            self._lookup.flush()
        if self._trust.holds(now):  # not so when it came too late, or after a probe that was not passed
            self._lookup.found(clients.address)

    async def _beat(self, pubsub: PubSub, clients: Clients) -> None:
        """Ask, then send the nonce: in this order, so that the number's message is here when the nonce is back."""
        self._returned_at = self._clock()
        await self._store.prepare()
        while not is_cancelled():
            began = self._clock()
            failure = StoreUnavailable(NOT_ANSWERED)
            try:
                await self._ask(pubsub, clients)
            except StoreUnavailable as error:
                failure = error
                if error.__cause__ is None or isinstance(error.__cause__, (ResponseError, *NONSENSE)):
                    # It answered, and said no: it is a replica, its replicas have left it, its layout is not ours.
                    self._trust.doubt(self._clock())
                if not self._trust.holds(self._clock()):
                    self._lookup.lost(str(error))
            if self._clock() - self._returned_at > LASTS:
                raise failure
            await asyncio.sleep(max(0.0, began + self._beat_seconds - self._clock()))

    async def _ask(self, pubsub: PubSub, clients: Clients) -> None:
        last = self._trust.last
        meta = await self._store.meta(clients)
        if meta.generation is None:
            log.warning("the store is empty: no token is known")
            await self._store.prepare()
        newer_told = self._trust.last is not None and self._trust.last > meta.sequence
        if not newer_told and self._lookup.frozen is not (meta.frozen is not None):
            self._lookup.told("thaw" if meta.frozen is None else "freeze")
        nonce = secrets.token_hex(8)
        self._trust.sent(nonce, Sent(at=self._clock(), meta=meta, last=last))
        self._under_way.append(nonce)
        async with mapped():
            await pubsub.ping(nonce)


def _pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: jittered, and one at most."""
    # redis-py takes two to the power of them, which after a quarter of an hour is too large for a float.
    return _BACKOFF.compute(min(failures, _MOST_FAILURES))
