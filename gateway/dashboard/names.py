"""Zones and accounts by name, as a token may see them.

They come out of the lists of the served APIs, cut down as for any client that shows that token: the dashboard knows
nothing that its user might not ask for. Zones and accounts that the token's own policies name are there too, though it
may not list them.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec

from gateway.access.compiled import CompiledToken
from gateway.access.decision import Allow
from gateway.access.principal import Principal
from gateway.access.rights import Rights
from gateway.catalog.api import Api, Filter, Route, Variable
from gateway.catalog.target import Target
from gateway.proxy.field_line import FieldLine
from gateway.proxy.header_rules import Client
from gateway.proxy.list_body import read_list
from gateway.reason import Deny
from gateway.server.admission import Admission
from gateway.server.ports import FilteredLists, Visit
from gateway.tokens.owner import OwnerKind

_PER_PAGE: Final = 1000
_MOST_PAGES: Final = 50
_KEPT: Final = 15.0
_KEPT_INCOMPLETE: Final = 1.0
"""Seconds: a form asks for a summary again and again. What could not be had is asked for soon, yet no faster."""
_MOST_KEPT: Final = 64
_MOST_NAMED: Final = 64
"""Zones out of policies whose names are asked for, one by one."""
_ID: Final = re.compile(r"[0-9a-f]{32}")
_ITSELF: Final = ("id",)
"""Where an item of a list has the name of what it is, and not of what it is about."""
_ANY_SERVER: Final = b"localhost"
"""What PowerDNS calls the only server that it has."""


class NamedZone(msgspec.Struct, frozen=True):
    """A zone. `id`: as a policy names it; `account_id` "": nobody says."""

    id: str
    name: str
    account_id: str
    api: str


class NamedAccount(msgspec.Struct, frozen=True):
    """An account."""

    id: str
    name: str


class Names(msgspec.Struct, frozen=True):
    """What a token sees. `incomplete`: some list could not be had, or not all of it, for whatever reason."""

    zones: tuple[NamedZone, ...]
    accounts: tuple[NamedAccount, ...]
    incomplete: bool

    @property
    def of_ids(self) -> Mapping[str, str]:
        """Names by id, of zones and accounts."""
        return {account.id: account.name for account in self.accounts} | {zone.id: zone.name for zone in self.zones}


class ZoneNames(Protocol):
    """What upstreams call zones."""

    async def name(self, api: Api, zone: str) -> str:
        """The name of `zone`, in its canonical spelling; "" where nobody can say. Never raises."""


class _OwnHead(msgspec.Struct, frozen=True):
    """What a list's request looks like: a `RequestHead` without fields of a client's."""

    host: bytes
    method: str = "GET"
    ordinary: Sequence[FieldLine] = ()
    special: Sequence[FieldLine] = ()
    options: frozenset[bytes] = frozenset()
    has_body: bool = False
    length: int | None = 0
    expects_continue: bool = False


class _List(msgspec.Struct, frozen=True, eq=False):
    """A list of an API's: where it is, and where it says what its items are."""

    api: Api
    path: tuple[bytes, ...]
    cut: Filter


class ResourceNames:
    """Asks the lists of all served APIs."""

    def __init__(  # noqa: PLR0913 - what it asks
        self,
        lists: FilteredLists,
        admission: Admission,
        routes: Sequence[Route],
        zone_names: ZoneNames,
        *,
        scheme: str,
        clock: Callable[[], float],
    ) -> None:
        """`admission`, `routes`: those of the public listener; `scheme`: of the listener that the pages are on;
        `clock`: monotonic seconds.
        """
        self._lists = lists
        self._zone_names = zone_names
        self._admission = admission
        lists_of_all = [
            _List(route.api, path, route.filter)
            for route in routes
            if route.filter and (path := _path(route)) is not None
        ]
        self._zones = [each for each in lists_of_all if each.cut.zone == _ITSELF]
        self._accounts = [each for each in lists_of_all if not each.cut.zone and each.cut.account == _ITSELF]
        self._scheme = scheme.encode("ascii")
        self._clock = clock
        self._kept: dict[str, tuple[CompiledToken, float, Names]] = {}

    async def seen_by(self, principal: Principal, visit: Visit) -> Names:
        """All that `principal` sees from where `visit` comes; what cannot be asked for is left out."""
        token = principal.token
        kept = self._kept.get(token.id)
        if kept is not None and kept[0] is token and self._clock() < kept[1]:
            return kept[2]
        async with asyncio.TaskGroup() as group:
            asked = [
                (each, group.create_task(self._items(each, principal, visit)))
                for each in (*self._accounts, *self._zones)
            ]
        accounts: dict[str, str] = {token.owner.id: token.owner.id} if token.owner.kind is OwnerKind.ACCOUNT else {}
        zones: dict[tuple[str, str], NamedZone] = {}
        is_whole = bool(asked)
        for each, task in asked:
            items, is_all = task.result()
            is_whole &= is_all
            for item in items:
                if each.cut.zone:
                    zone = _zone(each, item)
                    zones[zone.api, zone.id] = zone
                account = _account(each.cut, item)
                if account is not None and (account.id not in accounts or account.name != account.id):
                    accounts[account.id] = account.name
        await self._add_named(token, zones, accounts)
        found = Names(
            zones=tuple(sorted(zones.values(), key=lambda zone: (zone.name, zone.api))),
            accounts=tuple(
                NamedAccount(*pair) for pair in sorted(accounts.items(), key=lambda pair: (pair[1], pair[0]))
            ),
            incomplete=not is_whole,
        )
        self._keep(token, found)
        return found

    async def _add_named(
        self, token: CompiledToken, zones: dict[tuple[str, str], NamedZone], accounts: dict[str, str]
    ) -> None:
        """What the policies name, and is not known yet, is added: by its id where nobody says its name."""
        rights, ceiling = token.rights, token.ceiling
        for account in (*rights.accounts, *rights.zones_of):
            accounts.setdefault(account, account)
        apis = {each.api.name: each.api for each in self._zones}
        named = sorted({_plain(name) for name in rights.zones})
        missing = [
            (api, zone)
            for zone in named
            for api in apis.values()
            if (api.zone_key == "id") is (_ID.fullmatch(zone) is not None) and (api.name, zone) not in zones
        ]
        # An owner's ceiling is over all that its tokens are told, too.
        asked = [each for each in missing if ceiling is not None and _may_cover(ceiling.rights, each[1])]
        async with asyncio.TaskGroup() as group:
            names = {
                (api.name, zone): group.create_task(self._zone_names.name(api, api.zone(zone).name))
                for api, zone in asked[:_MOST_NAMED]
            }
        for api, zone in missing:
            task = names.get((api.name, zone))
            name = task.result() if task is not None else ""
            zones[api.name, zone] = NamedZone(zone, name.removesuffix(".") or zone, "", api.name)

    def _keep(self, token: CompiledToken, found: Names) -> None:
        """`found` is known for a while. What is known no more goes: of large fleets it is much."""
        now = self._clock()
        self._kept = {token_id: kept for token_id, kept in self._kept.items() if now < kept[1] and token_id != token.id}
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[token.id] = token, now + (_KEPT_INCOMPLETE if found.incomplete else _KEPT), found

    async def _items(self, of: _List, principal: Principal, visit: Visit) -> tuple[list[dict[str, Any]], bool]:
        """The items of a list, as far as they can be had, and whether these are all."""
        pages, found = of.cut.pages, list[dict[str, Any]]()
        for number in range(1, _MOST_PAGES + 1):
            query = None if pages is None else f"{pages[0]}={number}&{pages[1]}={_PER_PAGE}".encode("ascii")
            page = await self._page(of, Target(of.path, query), principal, visit)
            if page is None:
                return found, False
            items, last = page
            found += items
            if pages is None or last is None or number >= last:
                return found, True
        return found, False

    async def _page(
        self, of: _List, target: Target, principal: Principal, visit: Visit
    ) -> tuple[list[dict[str, Any]], int | None] | None:
        """The items of a page, and how many pages there are (None: it does not say); None: it cannot be had."""
        allow = self._admission.decide(principal, "GET", target, visit.address)
        if not isinstance(allow, Allow):
            return None
        answer = await self._lists.answer(
            allow,
            _OwnHead(visit.head.host),
            Client((visit.ip or "unknown").encode("ascii"), self._scheme, trusted=False),
            visit.request_id.encode("ascii"),
            partial(self._admission.again, allow, "GET", visit.address),
        )
        if isinstance(answer, Deny):
            return None
        try:
            if answer.status != HTTPStatus.OK:
                return None
            body = read_list(answer.body, of.cut.items)
            items = [item for raw in body.items if isinstance(item := msgspec.json.decode(raw), dict)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # an item is read here for the first time
            return None
        finally:
            answer.place.empty()
        return items, body.pages


def _plain(zone: str) -> str:
    """A zone as the lists have it: a policy may write a DNS name in other ways too."""
    return zone.removesuffix(".").lower()


def _may_cover(rights: Rights, zone: str) -> bool:
    """Whether `rights` have to do with `zone`, or with zones that nobody names."""
    named = zone in rights.zones or f"{zone}." in rights.zones
    return bool(named or rights.every_zone or rights.zones_of or rights.zones_of_any)


def _path(route: Route) -> tuple[bytes, ...] | None:
    """Where a list is; None where that takes a name that nobody knows here."""
    if not all(part.grammar.accepts(_ANY_SERVER) for part in route.template if isinstance(part, Variable)):
        return None
    return tuple(_ANY_SERVER if isinstance(part, Variable) else part for part in route.template)


def _zone(of: _List, item: Mapping[str, Any]) -> NamedZone:
    api = of.api
    at = api.resolver.name if api.resolver is not None and api.resolver.name else ("name",)
    zone_id, name = str(item.get("id", "")), item.get(at[-1])
    if api.zone_key == "dns-name":
        zone_id = zone_id.removesuffix(".")
    shown = name.removesuffix(".") if isinstance(name, str) and name else zone_id
    account = _account(of.cut, item)
    return NamedZone(zone_id, shown or zone_id, account.id if account is not None else "", api.name)


def _account(cut: Filter, item: Mapping[str, Any]) -> NamedAccount | None:
    """The account that `item` is, or that it names."""
    if not cut.account:
        return None
    holder: object = item
    for key in cut.account[:-1]:
        holder = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        return None
    account_id, name = holder.get(cut.account[-1]), holder.get("name")
    if not isinstance(account_id, str) or not account_id:
        return None
    return NamedAccount(account_id, name if isinstance(name, str) and name else account_id)
