"""The `Tokens` of production: out of memory while it can be trusted, else by a read that many may share (DESIGN 6)."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec
import structlog

from gateway.access.compiled import CompiledToken, compile_owner, compile_token
from gateway.access.ports import Miss, StoreUnavailable
from gateway.reason import Deny, Limit, Reason
from gateway.store.cache import LIFETIME, UNREADABLE_LIFETIME, Absent, Entry, OwnerCell, Reading, TokenCache
from gateway.store.failure import is_cancelled
from gateway.store.guessing import MOST_UNKNOWN, WINDOW, GuessLimit, Network, network_of
from gateway.store.redis_store import decode_owner
from gateway.store.trust import Trust
from gateway.tokens.condition import Address
from gateway.tokens.owner import owner_without_record
from gateway.tokens.rate import Rate
from gateway.tokens.token import Token

log = structlog.get_logger(__name__)

PATIENCE: Final = 0.5
"""Seconds that a request waits for a read, or for a connection that broke to be there again."""
MOST_UNDER_WAY: Final = 64
"""Ids that are read at once."""

_DAY: Final = 86400.0
_UNAVAILABLE: Final = Deny(reason=Reason.STORE_UNAVAILABLE)
_FROZEN: Final = Deny(reason=Reason.FROZEN)

OnOutage = Literal["deny", "serve-cached"]
Found = CompiledToken | Deny | None


class Documents(Protocol):
    """Where tokens are read: `RedisStore.read`."""

    async def read(self, token_ids: Sequence[str]) -> list[tuple[Token, bytes, bytes | None] | StoreUnavailable | None]:
        """For each id: the token, its document, its owner's document; None when it is unknown."""


class Counts(msgspec.Struct):
    """What a worker's look-ups came to, since it began: for metrics."""

    hits: int = 0
    misses: int = 0
    reads: int = 0
    unknown: int = 0
    limited: int = 0
    flushes: int = 0
    losses: int = 0


class _Wanted(msgspec.Struct, eq=False):
    """A read that somebody waits for. The answer is a Miss when it cannot be believed."""

    reading: Reading
    answer: "asyncio.Future[Found | Miss]"
    until: float


class TokenLookup:
    """Looks tokens up. `run` reads; a `Feed` says what has changed, and how long that may be believed."""

    def __init__(  # noqa: PLR0913 - what it asks, and how long it may be believed
        self,
        store: Documents,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_outage: OnOutage = "deny",
        stale_grace: float = 0.0,
        patience: float = PATIENCE,
        rate: Rate | None = None,
    ) -> None:
        """`clock`: monotonic seconds. `stale_grace`: for how many seconds "serve-cached" may last; `patience`: how many
        a request waits; `rate`: of tokens that have no limits of their own.
        """
        self._store = store
        self._clock = clock
        self._grace = stale_grace if on_outage == "serve-cached" else 0.0
        self._patience = patience
        self._rate = rate
        self._limit = GuessLimit()
        self._queue: deque[_Wanted] = deque()
        self._wanted: dict[Reading, _Wanted] = {}
        self._wake = asyncio.Event()
        self._trusted = asyncio.Event()
        self._reason = "not connected yet"
        self._state = "starting"
        self._reasons: set[str] = set()
        """Those that were logged since the store was lost."""
        self.cache = TokenCache()
        self.trust = Trust()
        self.frozen = False
        self.counts = Counts()
        self.on_change: list[Callable[[], None]] = []
        """Told that tokens which were allowed may not be any more."""
        self.on_zone: list[Callable[[str], None]] = []
        """Told which zone's pin has changed (`<api>:<zone>`), before those above; "": any may have."""

    # Looking.

    def look(self, token_id: str) -> Found | Miss:
        """See `Tokens.look`."""
        if self.frozen:
            return _FROZEN
        now = self._clock()
        found = self.cache.get(token_id)
        if now < self.trust.until:
            if found is None or now >= found.until:
                return Miss.MISS
            self.counts.hits += 1
            return found.token if isinstance(found, Entry) else found.deny
        if isinstance(found, Entry) and self.trust.since(now) < self._grace:
            return found.token
        return Miss.MISS if self.trust.broke_within(self._patience, now) else _UNAVAILABLE

    async def fetch(self, token_id: str, address: Address | None, *, proved: bool = False) -> Found:
        """See `Tokens.fetch`. The read goes on when its requester leaves: others may have joined it."""
        self.counts.misses += 1
        network = None if proved else network_of(address)
        until = self._clock() + self._patience
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    found = self.look(token_id)
                    if not isinstance(found, Miss):
                        return found
                    if not self.trust.holds(self._clock()):
                        self._trusted.clear()
                        await self._trusted.wait()
                        continue
                    if network is not None and (seconds := self._limit.blocks(network, self._clock())):
                        self.counts.limited += 1
                        return _limited(seconds)
                    answer = await self._join(token_id, network, until)
                    if not isinstance(answer, Miss):
                        return answer
        except TimeoutError:
            return _UNAVAILABLE

    async def _join(self, token_id: str, network: Network | None, until: float) -> Found | Miss:
        reading = self.cache.reading(token_id)
        if reading is not None:
            wanted = self._wanted[reading]
            wanted.until = max(wanted.until, until)
            return await asyncio.shield(wanted.answer)
        wanted = _Wanted(self.cache.begin(token_id), asyncio.get_running_loop().create_future(), until)
        wanted.answer.add_done_callback(lambda answer: self._count(answer, network))
        self._wanted[wanted.reading] = wanted
        self._queue.append(wanted)
        self._wake.set()
        return await asyncio.shield(wanted.answer)

    def _count(self, answer: "asyncio.Future[Found | Miss]", network: Network | None) -> None:
        if not answer.cancelled() and answer.result() is None:
            self.counts.unknown += 1
            if network is not None:
                self._limit.count(network, self._clock())

    # Reading.

    async def run(self) -> None:
        """Read what is wanted, until cancelled: at most MOST_UNDER_WAY ids at once, in one command."""
        while not is_cancelled():
            await self._wake.wait()
            self._wake.clear()
            while self._queue and not is_cancelled():
                batch = [self._queue.popleft() for _ in range(min(MOST_UNDER_WAY, len(self._queue)))]
                await self._read(batch)

    async def _read(self, batch: Sequence[_Wanted]) -> None:
        now = self._clock()
        late = [wanted for wanted in batch if wanted.until <= now]  # those who wanted them have left
        batch = [wanted for wanted in batch if wanted.until > now]
        for wanted in late:
            self._answer(wanted, _UNAVAILABLE)
        if not batch:
            return
        self.counts.reads += len(batch)
        try:
            documents = await self._store.read([wanted.reading.token_id for wanted in batch])
        except StoreUnavailable as error:
            # With a connection that broke trust is lost too, and those who wait may wait for the next one.
            broke = not self.trust.holds(self._clock())
            if not broke:
                log.warning("tokens not read", error=str(error))
            for wanted in batch:
                self._answer(wanted, Miss.MISS if broke else _UNAVAILABLE)
            return
        for wanted, found in zip(batch, documents, strict=True):
            self._answer(wanted, self._fill(wanted.reading, found))

    def _answer(self, wanted: _Wanted, answer: Found | Miss) -> None:
        del self._wanted[wanted.reading]
        self.cache.end(wanted.reading)
        if not wanted.answer.done():
            wanted.answer.set_result(answer)

    def _fill(
        self, reading: Reading, found: tuple[Token, bytes, bytes | None] | StoreUnavailable | None
    ) -> Found | Miss:
        now = self._clock()
        if not self.cache.end(reading) or not self.trust.holds(now):
            return Miss.MISS
        token_id = reading.token_id
        entry: Entry | Absent
        try:
            if isinstance(found, StoreUnavailable):
                raise found
            if found is None:
                entry = Absent(None, now + LIFETIME)
            else:
                token, _, owner_raw = found
                cell = self._owner(token, owner_raw)
                entry = Entry(compile_token(token, cell.compiled, self._rate), cell, now + LIFETIME)
        except (StoreUnavailable, ValueError) as error:
            log.error("record unreadable", token=token_id, error=str(error))
            entry = Absent(_UNAVAILABLE, now + UNREADABLE_LIFETIME)
        self.cache.put(token_id, entry)
        return entry.token if isinstance(entry, Entry) else entry.deny

    def _owner(self, token: Token, raw: bytes | None) -> OwnerCell:
        cell = self.cache.owner_cell(token.owner.key, raw)
        if cell is None:
            owner = decode_owner(raw, token.owner) if raw is not None else owner_without_record(token.owner)
            cell = OwnerCell(raw, compile_owner(owner) if owner is not None else None)
            self.cache.put_owner(token.owner.key, cell)
        return cell

    # What is told.

    def told(self, what: str) -> None:
        """`what` has changed: `token:<id>`, `owner:<owner>`, `zone:<api>:<zone>`, `freeze`, `thaw`; anything else may
        be everything.
        """
        kind, _, name = what.partition(":")
        match kind:
            case "token":
                self.cache.forget(name)
            case "owner":
                self.cache.forget_owner(name)
            case "zone":
                self._tell_of_zone(name)
            case "freeze":
                self.frozen = True
            case "thaw":
                self.frozen = False
            case _:
                self.flush()
        for tell in self.on_change:
            tell()

    def flush(self) -> None:
        """Nobody knows what has changed."""
        self.counts.flushes += 1
        self.cache.flush()
        self._tell_of_zone("")
        for tell in self.on_change:
            tell()

    def _tell_of_zone(self, zone: str) -> None:
        for tell in self.on_zone:
            tell(zone)

    def found(self, address: str) -> None:
        """What is remembered may be believed from now on."""
        self._trusted.set()
        self._reason = "it did not answer in time"  # unless `lost` says something else
        if self._state != "trusted":
            self._state = "trusted"
            log.info("store trusted", store=address)

    def lost(self, reason: str) -> None:
        """What is remembered may not be believed any more. May be said again and again: each reason is logged once."""
        self._trusted.clear()
        self._reason = reason
        if self._state in ("trusted", "starting"):
            self.counts.losses += 1
            self._state = "lost"
            self._reasons = {reason}
            log.warning("store lost", error=reason, known_tokens_for_seconds=self._grace)
            return
        if reason not in self._reasons:  # a connection broke, and what comes then says why: another password, say
            self._reasons.add(reason)
            log.warning("store still lost", error=reason)
        if self._state == "lost" and self._grace and self.trust.since(self._clock()) > self._grace:
            self._state = "refusing"
            log.warning("store lost for too long: known tokens are refused too", error=reason)

    async def settled(self, seconds: float) -> None:
        """Return when what is remembered may be believed, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._trusted.wait()
        except TimeoutError:
            return

    @property
    def state(self) -> Literal["trusted", "grace", "lost"]:
        """Whether what is remembered may be believed; "grace": known tokens work although it may not."""
        now = self._clock()
        if self.trust.holds(now):
            return "trusted"
        return "grace" if self.trust.since(now) < self._grace else "lost"

    @property
    def lag(self) -> float:
        """How late a change of the store may be heard of, in seconds; a day at the most."""
        return min(self.trust.lag(self._clock()), _DAY)

    @property
    def why_not(self) -> str | None:
        """Why no token can be looked up now, or None."""
        now = self._clock()
        return None if self.trust.holds(now) or self.trust.since(now) < self._grace else f"store: {self._reason}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should know although requests are answered."""
        now = self._clock()
        found = ["frozen: no token works until it is thawed"] if self.frozen else []
        if not self.trust.holds(now) and self.why_not is None:
            left = self._grace - self.trust.since(now)
            found.append(f"store: {self._reason}; known tokens work for {left:.0f} s more")
        return tuple(found)


def _limited(seconds: float) -> Deny:
    return Deny(
        reason=Reason.RATE_LIMITED,
        limit=Limit(name="unknown-tokens", quota=MOST_UNKNOWN, window=int(WINDOW), wait=max(1, round(seconds))),
    )
