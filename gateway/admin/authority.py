"""What a caller may do beyond what the route's guard says: nobody gives what he hasn't got (DESIGN 5)."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from gateway.access.granting import Caller, Grant, exceeds, zones_in_question
from gateway.access.ports import TokenStore, ZoneAccounts
from gateway.admin.request import Request
from gateway.catalog.api import Api, Route
from gateway.reason import Deny, Fault, Reason
from gateway.tokens.grammar import Grammar
from gateway.tokens.owner import OwnerStatus
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.resource import Scope
from gateway.tokens.token import Status

_MOST_LOOK_UPS: Final = 200
"""Zones whose account is found out for one call; of the rest it is not known."""
_UNKNOWN_TOKEN: Final = Deny(reason=Reason.UNKNOWN_TOKEN)
_DISABLED: Final = Deny(reason=Reason.TOKEN_DISABLED)
_IN_OVERLAP: Final = Deny(
    reason=Reason.FORBIDDEN,
    note="This secret was rolled and is in its overlap: it creates, changes and rolls nothing; use the new one",
)


class Authority:
    """Says no to who would give more than he has."""

    def __init__(
        self, store: TokenStore, groups: PermissionGroups, apis: Sequence[Api], accounts: ZoneAccounts | None
    ) -> None:
        """`apis`: those that have zones; `accounts` None: in which account a zone lies is never known."""
        self._store = store
        self._groups = groups
        self._apis = tuple(apis)
        self._accounts = accounts

    def secret_denies(self, request: Request) -> Deny | None:
        """Why the secret that was shown may change nothing, or None."""
        return None if request.allow.principal.digest.ends is None else _IN_OVERLAP

    async def caller(self, request: Request) -> Caller | Deny:
        """Who calls, as the store has him at this moment; or why he is nobody any more. Raises StoreUnavailable."""
        principal = request.allow.principal
        record = await self._store.get(principal.token.id)
        if record is None or principal.digest not in record.token.digests:
            return _UNKNOWN_TOKEN
        off = record.owner is None or record.owner.status is OwnerStatus.DISABLED
        return _DISABLED if off or record.token.status is Status.DISABLED else Caller(record.token, record.owner)

    async def why_not(self, request: Request, thing: Grant) -> Deny | None:
        """Why the caller may not give `thing`, or None. Raises StoreUnavailable."""
        caller = await self.caller(request)
        accounts: dict[tuple[str, str], str | None] = {}
        asked: frozenset[str] = frozenset()
        while not isinstance(caller, Deny) and (zones := zones_in_question(caller, thing)) - asked:
            accounts |= await self._accounts_of(sorted(zones - asked))
            asked |= zones
            caller = await self.caller(request)  # that took its time: he may have been narrowed or ended meanwhile
        if isinstance(caller, Deny):
            return caller
        found = exceeds(caller, thing, accounts, self._groups)
        if not found:
            return None
        return Deny(reason=Reason.EXCEEDS_CALLER, faults=tuple(Fault(each.pointer, each.message) for each in found))

    async def _accounts_of(self, zones: Sequence[str]) -> dict[tuple[str, str], str | None]:
        """In which accounts `zones` (as policies name them) lie, in each API that may have such a zone."""
        if self._accounts is None:
            return {}
        asked = [(api, api.zone(zone).name) for zone in zones for api in self._apis if _may_have(api, zone)]
        found = await asyncio.gather(*(self._account(api, zone) for api, zone in asked[:_MOST_LOOK_UPS]))
        # What was not asked is there too, as not known: a zone may lie in one account here, in another one there.
        return {(api.name, zone): account for (api, zone), account in zip_longest(asked, found)}

    async def _account(self, api: Api, zone: str) -> str | None:
        assert self._accounts is not None  # noqa: S101 - who calls this has looked
        found = await self._accounts.find(api, zone)
        return found if isinstance(found, str) else None


def with_zones(routes: Iterable[Route]) -> tuple[Api, ...]:
    """The APIs that have to do with zones: in others no zone lies in any account."""
    return tuple({route.api.name: route.api for route in routes if route.scope is Scope.ZONE}.values())


def _may_have(api: Api, zone: str) -> bool:
    """Whether `zone` is written as this API names its zones: an id is no DNS name, and what has a dot is no id."""
    if Grammar.ID.accepts(zone.encode()):
        return api.zone_key == "id"
    return api.zone_key == "dns-name" or "." not in zone
