"""Zones whose account an operator has put down (DESIGN 9: `zonegate zone set`)."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.access.ports import Action, Actor, Conflict
from gateway.store import keys
from gateway.store.redis_store import RedisStore, decode_pin
from gateway.store.zone_pin import PIN_SCHEMA, ZonePin

_ATTEMPTS: Final = 10
_READ_AT_ONCE: Final = 1000
_encoder: Final = msgspec.json.Encoder()


class ZonePins:
    """The pins of a store. Zones are named in their API's canonical form.

    Each change is told to all workers as `zone:<api>:<zone>`. Every method raises StoreUnavailable, each change
    NotReplicated too.
    """

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def get(self, api: str, zone: str) -> str | None:
        """The account of the zone, or None where nobody has put one down."""
        found = await self.find(api, zone)
        return found.account if found else None

    async def find(self, api: str, zone: str) -> ZonePin | None:
        """The pin, or None."""
        raw = await self._read(api, zone)
        return decode_pin(raw, f"{api}:{zone}") if raw else None

    async def among(self, api: str, zones: Sequence[str]) -> dict[str, str]:
        """The accounts of those of `zones` that somebody has put down."""
        found: dict[str, str] = {}
        for start in range(0, len(zones), _READ_AT_ONCE):
            some = zones[start : start + _READ_AT_ONCE]
            async with self._store.using() as clients:
                reader: Any = clients.reader
                raws = await reader.mget([keys.zone_key(f"{api}:{zone}") for zone in some])
            found |= {
                zone: decode_pin(raw, f"{api}:{zone}").account for zone, raw in zip(some, raws, strict=True) if raw
            }
        return found

    async def put(self, api: str, zone: str, account: str, name: str, by: Actor, now: float) -> ZonePin:  # noqa: PLR0913, PLR0917 - a pin's parts, and who says so
        """The zone is the account's, whatever was put down before."""
        pin = ZonePin(PIN_SCHEMA, api, zone, account, name, int(now))
        await self._change(api, zone, _encoder.encode(pin), Action.ZONE_SET, by, now)
        return pin

    async def delete(self, api: str, zone: str, by: Actor, now: float) -> bool:
        """Nothing is put down for the zone; says whether something was."""
        return await self._change(api, zone, b"", Action.ZONE_UNSET, by, now)

    async def _change(self, api: str, zone: str, new: bytes, action: Action, by: Actor, now: float) -> bool:  # noqa: PLR0913, PLR0917 - see `put`
        for _ in range(_ATTEMPTS):
            old = await self._read(api, zone)
            if not old and not new:
                return False
            try:
                await self._store.change_zone(f"{api}:{zone}", old or b"", new, action, by, now)
            except Conflict:  # somebody else was faster: the audit must say what was there before
                continue
            return True
        raise Conflict

    async def _read(self, api: str, zone: str) -> bytes | None:
        async with self._store.using() as clients:
            reader: Any = clients.reader
            found: bytes | None = await reader.get(keys.zone_key(f"{api}:{zone}"))
        return found
