"""In which account a zone lies: by an operator's pin, else as the upstream says (DESIGN 4, `resolver`). And what the
upstream calls it, for people.

Both are asked when a decision turns on it, by the first of those who want to know, and for all of them. What cannot be
found out is said to be so: whoever asks fails closed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Generic, Protocol, TypeVar

import msgspec
import structlog

from gateway.access.ports import StoreUnavailable, ZoneAccounts
from gateway.access.question import Unknown
from gateway.catalog.api import Api, Resolver, Variable
from gateway.proxy.ask import Ask
from gateway.proxy.member import member
from gateway.proxy.ports import UpstreamFailed

T = TypeVar("T")
_Zone = tuple[str, str]
"""The API's name, and the zone in its canonical spelling."""

log = structlog.get_logger(__name__)

_LARGEST: Final = 1024 * 1024
"""Bytes of an answer about one zone."""
_MOST_KNOWN: Final = 65_536
_MOST_UNKNOWN: Final = 4_096
"""Zones that are remembered, and names that are remembered to be no zone's: anybody with a token can think of those."""
_PINNED_FOR: Final = 60.0
"""Seconds, as for all that is remembered of the store. A change is told, and heard at once."""
_UNKNOWN_FOR: Final = 30.0
_UNREACHABLE_FOR: Final = 1.0
"""So that an upstream that is down is not asked by each request."""
_AT_ONCE: Final = 32
"""Questions to upstreams that are under way together: the requests need connections too."""


class Pins(Protocol):
    """What operators have put down."""

    async def get(self, api: str, zone: str) -> str | None:
        """The account that `zone` was put into, or None. Raises StoreUnavailable."""

    async def among(self, api: str, zones: Sequence[str]) -> Mapping[str, str]:
        """The accounts of those of `zones` that were put into one. Raises StoreUnavailable."""


class _Table(Generic[T]):
    """What is remembered of zones, each until its time: `most` of them, and the oldest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[_Zone, tuple[T, float]] = {}

    def get(self, key: _Zone, now: float) -> T | None:
        found = self._held.get(key)
        return found[0] if found is not None and now < found[1] else None

    def put(self, key: _Zone, value: T, until: float) -> None:
        self._held.pop(key, None)
        if len(self._held) >= self._most:
            del self._held[next(iter(self._held))]
        self._held[key] = value, until

    def forget(self, key: _Zone) -> None:
        self._held.pop(key, None)

    def clear(self) -> None:
        self._held.clear()


class ZoneResolver(ZoneAccounts):
    """The `ZoneAccounts` of production."""

    def __init__(self, ask: Ask, pins: Pins, *, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._ask = ask
        self._pins = pins
        self._clock = clock
        self._known: _Table[str] = _Table(_MOST_KNOWN)
        self._unknown: _Table[Unknown] = _Table(_MOST_UNKNOWN)
        self._names: _Table[str] = _Table(_MOST_UNKNOWN)
        self._asking: dict[_Zone, asyncio.Future[str | Unknown]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    def known(self, api: Api, zone: str) -> str | Unknown | None:
        """See `ZoneAccounts`."""
        key, now = (api.name, zone), self._clock()
        return self._known.get(key, now) or self._unknown.get(key, now)

    async def find(self, api: Api, zone: str) -> str | Unknown:
        """See `ZoneAccounts`. Those who ask for one zone together get one answer."""
        key = (api.name, zone)
        while True:
            found = self.known(api, zone)
            if found is not None:
                return found
            asking = self._asking.get(key)
            if asking is None:
                found = await self._look_up(api, zone)
                if found is not None:
                    return found
            else:
                await asyncio.wait([asking])
                if not asking.cancelled():
                    return asking.result()

    async def pinned(self, api: Api, zones: Sequence[str]) -> Mapping[str, str]:
        """See `ZoneAccounts`."""
        return await self._pins.among(api.name, zones)

    async def _look_up(self, api: Api, zone: str) -> str | Unknown | None:
        """What is found out, and told to all who wait; None where a pin was changed meanwhile: then ask anew."""
        key = (api.name, zone)
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            found, seconds = await self._find_out(api, zone)
            if self._asking.get(key) is not asking:
                return None
            if isinstance(found, Unknown):
                self._unknown.put(key, found, self._clock() + seconds)
            else:
                self._known.put(key, found, self._clock() + seconds)
            asking.set_result(found)
            return found
        finally:
            # Whoever asked may have left: then the next of those who wait asks.
            asking.cancel()
            if self._asking.get(key) is asking:
                del self._asking[key]

    async def _find_out(self, api: Api, zone: str) -> tuple[str | Unknown, float]:
        """The account, and for how many seconds that holds."""
        try:
            pinned = await self._pins.get(api.name, zone)
            if pinned is not None:
                return pinned, _PINNED_FOR
            found = await self._ask_upstream(api, zone)
        except (UpstreamFailed, StoreUnavailable, msgspec.DecodeError) as error:
            log.warning("account of a zone not found out", api=api.name, error=str(error))
            return Unknown.UNREACHABLE, _UNREACHABLE_FOR
        if isinstance(found, Unknown) or api.resolver is None:
            return found, _UNKNOWN_FOR
        return found, api.resolver.ttl

    async def _ask_upstream(self, api: Api, zone: str) -> str | Unknown:
        return (
            await self._said(api, zone, api.resolver.account if api.resolver is not None else ()) or Unknown.NOT_FOUND
        )

    async def _said(self, api: Api, zone: str, keys: tuple[str, ...]) -> str:
        """What the upstream says of `zone` under `keys`; "": nothing. Raises UpstreamFailed and msgspec.DecodeError."""
        path = _path(api.resolver, api, zone) if api.resolver is not None else None
        if not keys or path is None:
            return ""
        async with self._places:
            answer = await self._ask.get(api.name, path, most=_LARGEST)
        if answer.status == HTTPStatus.NOT_FOUND:
            return ""
        if answer.status != HTTPStatus.OK or answer.is_encoded:
            raise UpstreamFailed(f"an answer of status {answer.status} that says nothing of the zone")
        found = member(answer.body, keys)
        return found if isinstance(found, str) else ""

    async def name(self, api: Api, zone: str) -> str:
        """What the upstream calls `zone`; "" where nobody can say. Never raises. No decision turns on it."""
        key, resolver = (api.name, zone), api.resolver
        if resolver is None:
            return ""
        found = self._names.get(key, self._clock())
        if found is None:
            try:
                found = await self._said(api, zone, resolver.name)
            except (UpstreamFailed, msgspec.DecodeError):
                found = ""
            self._names.put(key, found, self._clock() + (resolver.ttl if found else _UNKNOWN_FOR))
        return found

    def told(self, zone: str) -> None:
        """The pin of `zone` (`<api>:<zone>`) has changed; "": any may have."""
        if not zone:
            self._known.clear()
            self._unknown.clear()
            self._asking.clear()
            return
        api, _, name = zone.partition(":")
        key = (api, name)
        self._known.forget(key)
        self._unknown.forget(key)
        self._asking.pop(key, None)


def _path(resolver: Resolver, api: Api, zone: str) -> tuple[bytes, ...] | None:
    """Where `api` says what it knows of `zone`; None where no zone can have such a name."""
    name = zone.replace("/", "=2F") if api.zone_key == "dns-name" else zone
    if not name.isascii():
        return None
    segment = name.encode("ascii")
    if not all(part.grammar.accepts(segment) for part in resolver.path if isinstance(part, Variable)):
        return None
    return tuple(segment if isinstance(part, Variable) else part for part in resolver.path)
