"""Policies, compiled: which pairs of (permission group, resource) they give, and which they take away (DESIGN 5).

A number stands for a set of policies, one bit for each. The index says of each group and of each resource which
policies name it, so that an allow on a pair is a bit in both, and never half from each of two policies. What a look-up
costs is the same for one policy and for fifty of 300 groups and 1,000 resources.
"""

import sys
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from gateway.tokens.grammar import canonical_zone_name
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import (
    Account,
    EveryAccount,
    EveryZone,
    Resource,
    Scope,
    Touched,
    User,
    Zone,
    ZonesOf,
    parse_resource,
)

_NONE: Final[Mapping[str, int]] = {}
"""One for all that have nothing of a kind: a worker holds a hundred thousand of these indexes."""


class Rights(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All policies of a token or an owner: `allows` and `denies` are sets of them, the rest says who names what."""

    allows: int
    denies: int
    groups: Mapping[str, int]
    zones: Mapping[str, int]
    """By `_spellings`."""
    every_zone: int
    zones_of: Mapping[str, int]
    """By account."""
    zones_of_any: int
    accounts: Mapping[str, int]
    every_account: int
    users: Mapping[str, int]
    every_api: int
    apis: Mapping[str, int]
    """By name, of the policies that name some."""
    on_zones: int
    """Which name some zone, or all, or those of an account."""
    on_accounts: int


def _resource(key: str, value: object) -> Resource:
    match parse_resource(key, value):
        case str() as fault:
            raise ValueError(fault)
        case resource:
            return resource


def _spellings(name: str) -> set[str]:
    """Under which a policy's zone stands in the index: as written, and as a DNS name (`Zone.spellings`).

    Not as a DNS name where that only adds the final dot: `_policies_naming` takes the dot off, and a large token is
    half as large.
    """
    canonical = canonical_zone_name(name)
    return {name} if canonical == f"{name}." else {name, canonical}


def _policies_naming(zones: Mapping[str, int], touched: str) -> int:
    """The policies that name the zone `touched`."""
    found = zones.get(touched, 0)
    if touched.endswith("."):
        plain = touched[:-1]
        if canonical_zone_name(plain) == touched:
            found |= zones.get(plain, 0)
    return found


class _Index:
    """An index that grows by one policy after another."""

    def __init__(self) -> None:
        self.effects = dict.fromkeys(Effect, 0)
        self.groups: dict[str, int] = {}
        self.zones: dict[str, int] = {}
        self.zones_of: dict[str, int] = {}
        self.accounts: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self.apis: dict[str, int] = {}
        self.every_zone = self.every_account = self.every_api = 0

    def add(self, bit: int, policy: Policy) -> None:
        self.effects[policy.effect] |= bit
        for group in policy.permission_groups:
            _note(self.groups, group, bit)
        for api in policy.apis:
            _note(self.apis, api, bit)
        if not policy.apis:
            self.every_api |= bit
        for key, value in policy.resources.items():
            self.add_resource(bit, _resource(key, value))

    def add_resource(self, bit: int, resource: Resource) -> None:
        match resource:
            case Zone(name):
                for spelling in _spellings(name):
                    _note(self.zones, spelling, bit)
            case EveryZone():
                self.every_zone |= bit
            case ZonesOf(account):
                _note(self.zones_of, account, bit)
            case Account(id):
                _note(self.accounts, id, bit)
            case EveryAccount():
                self.every_account |= bit
            case User(id):
                _note(self.users, id, bit)


def _note(index: dict[str, int], name: str, bit: int) -> None:
    # Groups and zones repeat from token to token: one string for all that are held. So does the number where only one
    # policy names it, as is the rule.
    held = index.get(name)
    index[sys.intern(name)] = bit if held is None else held | bit


def compile_rights(policies: Iterable[Policy]) -> Rights:
    """The rights of `policies`. Raises ValueError for what validation would not have let in: an unreadable record."""
    index = _Index()
    for number, policy in enumerate(policies):
        index.add(1 << number, policy)
    zones_of_any = _union(index.zones_of.values())
    return Rights(
        allows=index.effects[Effect.ALLOW],
        denies=index.effects[Effect.DENY],
        groups=index.groups or _NONE,
        zones=index.zones or _NONE,
        every_zone=index.every_zone,
        zones_of=index.zones_of or _NONE,
        zones_of_any=zones_of_any,
        accounts=index.accounts or _NONE,
        every_account=index.every_account,
        users=index.users or _NONE,
        every_api=index.every_api,
        apis=index.apis or _NONE,
        on_zones=index.every_zone | _union(index.zones.values()) | zones_of_any,
        on_accounts=index.every_account | _union(index.accounts.values()),
    )


def _union(sets: Iterable[int]) -> int:
    found = 0
    for one in sets:
        found |= one
    return found


def gives(
    rights: Rights, opened_by: Iterable[AbstractSet[str]], touched: Touched, account: str | None = None, *, api: str
) -> bool:
    """Whether some group is given on `touched` by an allow and taken away by no deny, in the API of that name.

    `opened_by`: for each group that would do, the ids that stand for it in a policy. An allow and a deny meet only in
    the same group: Read taken away leaves Write. A zone whose account is unknown (`account` None) is covered by no
    allow on an account's zones, and by each such deny.
    """
    covering, perhaps = _policies_on(rights, touched, account)
    return _given(rights, opened_by, api, covering, covering | perhaps)


def gives_unless_an_account_is_denied(
    rights: Rights, opened_by: Iterable[AbstractSet[str]], touched: Touched, *, api: str
) -> bool:
    """Whether what speaks against it, if anything does, is only a deny on the zones of an account that nobody knows to
    be that of `touched`; so that an allow on an account's zones is not what it takes.
    """
    covering, _ = _policies_on(rights, touched, None)
    return _given(rights, opened_by, api, covering, covering)


def gives_on_some(rights: Rights, opened_by: Iterable[AbstractSet[str]], scope: Scope, *, api: str) -> bool:
    """Whether an allow gives some group on anything of `scope`, whatever the denies: then a list may be asked for."""
    return _given(rights, opened_by, api, rights.on_zones if scope is Scope.ZONE else rights.on_accounts, 0)


def _given(rights: Rights, opened_by: Iterable[AbstractSet[str]], api: str, giving: int, taking: int) -> bool:
    """Whether a policy of the set `giving` allows some group that none of the set `taking` denies."""
    counting = rights.every_api | rights.apis.get(api, 0)
    allowing = rights.allows & giving & counting
    if not allowing:
        return False
    denying = rights.denies & taking & counting
    for ids in opened_by:
        naming = 0
        for group in ids:
            naming |= rights.groups.get(group, 0)
        if naming & allowing and not naming & denying:
            return True
    return False


def _policies_on(rights: Rights, touched: Touched, account: str | None) -> tuple[int, int]:
    """The policies that cover `touched`, and those that perhaps do: it turns on an account that nobody has fetched."""
    match touched:
        case Zone():
            covering = rights.every_zone | _policies_naming(rights.zones, touched.name)
            if account is None:
                return covering, rights.zones_of_any
            return covering | rights.zones_of.get(account, 0), 0
        case ZonesOf():
            return rights.every_zone | rights.zones_of.get(touched.account, 0), 0
        case Account():
            return rights.every_account | rights.accounts.get(touched.id, 0), 0
        case User():
            return rights.users.get(touched.id, 0), 0
