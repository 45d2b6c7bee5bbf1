"""The operations on zones: in which account one lies, put down by the first owner (DESIGN 9: `zonegate zone set`).

What is put down goes before what the zone's API says, and so widens every token that may do something on all zones of
that account.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from gateway.access.ports import Actor, Conflict
from gateway.admin.request import CHANGED, Operation, Request, invalid
from gateway.catalog.api import Api
from gateway.reason import Answer, Deny, Fault, Reason, succeed
from gateway.store.zone_pin import ZonePin
from gateway.tokens.resource import Account, Scope, parse_resource
from gateway.tokens.strict_json import parse_json, pointer
from gateway.tokens.timestamp import format_timestamp

_LONGEST_NAME: Final = 253


class Pins(Protocol):
    """Where it stands what was put down. Every method raises StoreUnavailable, each change NotReplicated too."""

    async def find(self, api: str, zone: str) -> ZonePin | None:
        """What was put down, or None."""

    async def put(self, api: str, zone: str, account: str, name: str, by: Actor, now: float) -> ZonePin:  # noqa: PLR0913, PLR0917 - a pin's parts, and who says so
        """Put it down, in the place of what was there. Raises Conflict if that goes on changing."""

    async def delete(self, api: str, zone: str, by: Actor, now: float) -> bool:
        """Take it away; says whether there was anything. Raises Conflict as `put`."""


class ZoneApi:
    """What routes name by `operations`. Every one raises StoreUnavailable, NotReplicated."""

    def __init__(self, pins: Pins, apis: Sequence[Api], clock: Callable[[], float]) -> None:
        """`apis`: those that have zones; `clock`: Unix seconds."""
        self._pins = pins
        self._apis = {api.name: api for api in apis}
        self._clock = clock
        self.operations: Mapping[str, Operation] = {
            "get-zone": self._get,
            "set-zone": self._set,
            "unset-zone": self._unset,
        }

    async def _get(self, request: Request) -> Answer | Deny:
        zone = self._zone(request)
        if isinstance(zone, Deny):
            return zone
        found = await self._pins.find(*zone)
        return _show(found) if found else Deny(reason=Reason.NOT_FOUND, detail="zone")

    async def _set(self, request: Request) -> Answer | Deny:
        zone = self._zone(request)
        if isinstance(zone, Deny):
            return zone
        said = _read(request.call.body)
        if isinstance(said, tuple):
            return invalid(*said)
        try:
            return _show(await self._pins.put(*zone, said["account"], said["name"], request.actor, self._clock()))
        except Conflict:
            return CHANGED

    async def _unset(self, request: Request) -> Answer | Deny:
        zone = self._zone(request)
        if isinstance(zone, Deny):
            return zone
        try:
            there = await self._pins.delete(*zone, request.actor, self._clock())
        except Conflict:
            return CHANGED
        return succeed({"id": zone[1], "api": zone[0]}) if there else Deny(reason=Reason.NOT_FOUND, detail="zone")

    def _zone(self, request: Request) -> tuple[str, str] | Deny:
        """API and zone in the path, the zone as that API's requests are compared."""
        api = self._apis.get(request.named("api") or "")
        if api is None:
            return Deny(reason=Reason.NOT_FOUND, detail=f"API; there are: {', '.join(sorted(self._apis)) or 'none'}")
        return api.name, api.zone(request.named("zone_id") or "").name


def _show(pin: ZonePin) -> Answer:
    return succeed(
        {
            "id": pin.zone,
            "api": pin.api,
            "account": pin.account,
            "name": pin.name,
            "modified_on": format_timestamp(pin.modified_on),
        }
    )


def _read(body: bytes) -> dict[str, str] | tuple[Fault, ...]:
    """`account` and `name` of a body, or its faults."""
    value, broken = parse_json(body)
    if broken:
        return broken
    if not isinstance(value, dict):
        return (Fault("", "not an object"),)
    unknown = [Fault(pointer(key), "unknown field") for key in value if key not in _FIELDS]
    account, name = value.get("account"), value.get("name", "")
    found: list[Fault] = []
    match parse_resource(f"{Scope.ACCOUNT}.{account}", "*") if isinstance(account, str) else "missing, or no text":
        case Account():
            pass
        case str() as fault:
            found.append(Fault("/account", fault))
        case _:
            found.append(Fault("/account", "one account's id"))
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
        found.append(Fault("/name", f"the zone's name, at most {_LONGEST_NAME} characters"))
    return (*unknown, *found) or {"account": str(account), "name": str(name)}


_FIELDS: Final = frozenset({"account", "name", "id", "api", "modified_on"})
"""What the answer has beside the first two is sent back by clients, and means nothing."""
