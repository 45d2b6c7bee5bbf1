"""Nobody gives what he hasn't got (DESIGN 5): by how much a token or an owner would exceed who makes it.

A child must never pass where its maker is refused. A right is a pair (group, resource) of an API, and rights are
compared as patterns, not request by request: each pair that the child is allowed must be allowed by one policy of the
maker's token and by one of his owner, and what a deny of theirs takes away, a deny of the child must take away too.

A zone lies in an account where that was found out; where it was not, no allow on an account's zones holds it, and each
deny may.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from gateway.tokens.condition import Condition, compile_condition
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef
from gateway.tokens.permission_group import ALL_PERMISSIONS, PermissionGroups
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.rate import Rate, in_words
from gateway.tokens.resource import (
    SCOPE_OF,
    Account,
    EveryAccount,
    EveryZone,
    Resource,
    Scope,
    User,
    Zone,
    ZonesOf,
    parse_resource,
)
from gateway.tokens.strict_json import MOST_FAULTS
from gateway.tokens.summary import group_in_words, resource_in_words
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Token

Held = TypeVar("Held")

_MOST_NAMED: Final = 4
"""Groups or resources that one line names; the rest it counts."""
_EVERY_API: Final = ""
"""Stands for all APIs, those of a later catalogue among them."""

Accounts = Mapping[tuple[str, str], str | None]
"""By API and zone (in that API's canonical form): the zone's account, None where nobody can say. What is not in it is
not known either."""


class Caller(msgspec.Struct, frozen=True):
    """Who gives. `owner` None: there is none, and he has nothing."""

    token: Token
    owner: Owner | None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What is given: a token, or an owner, as it would be."""

    policies: tuple[Policy, ...]
    condition: Condition = Condition()
    expires_on: int | None = None
    limits: Rate | None = None
    new_owner: OwnerRef | None = None
    """Set for an owner: what the caller may do on his own user, he may let a user do on that user's own."""


class Excess(msgspec.Struct, frozen=True):
    """One thing that the caller has not got. `pointer`: where in the body (RFC 6901)."""

    pointer: str
    message: str


class _Reach:
    """The resources of one policy."""

    def __init__(self, policy: Policy, own: tuple[str, str] | None) -> None:
        """`own`: a user, and another one with whom it is as with him."""
        self.all: list[Resource] = []
        for key, value in policy.resources.items():
            match parse_resource(key, value):
                case str() as fault:
                    raise ValueError(fault)
                case User(id) if own is not None and id == own[0]:
                    self.all += [User(id), User(own[1])]
                case User(id) if own is not None and id == own[1] and policy.effect is Effect.ALLOW:
                    pass  # that user's name beside his own: token and owner might mean the one and the other
                case resource:
                    self.all.append(resource)
        self.set = frozenset(self.all)
        self.zones = [resource for resource in self.all if isinstance(resource, Zone)]
        self.names = {resource.name for resource in self.zones}
        self.spellings = {spelling for zone in self.zones for spelling in zone.spellings}
        self.accounts = {resource.account for resource in self.all if isinstance(resource, ZonesOf)}
        self.groups = frozenset(policy.permission_groups)
        self.apis = frozenset(policy.apis) or frozenset({_EVERY_API})
        self.effect = policy.effect

    def is_about(self, api: str) -> bool:
        """Whether it holds for `api`, wholly."""
        return _EVERY_API in self.apis or api in self.apis


class _Zones:
    """In which accounts zones lie."""

    def __init__(self, accounts: Accounts) -> None:
        self._found: defaultdict[str, list[tuple[str, str | None]]] = defaultdict(list)
        for (api, zone), account in accounts.items():
            self._found[zone].append((api, account))

    def of(self, zone: Zone, api: str) -> set[str | None]:
        """The accounts that `zone` has in `api`, or in all APIs that were asked; None among them: it is not known."""
        found = {
            account
            for spelling in zone.spellings
            for name, account in self._found.get(spelling, ())
            if api in (_EVERY_API, name)
        }
        return found or {None}


class _Side:
    """The policies of one of those that are compared."""

    def __init__(
        self,
        policies: Iterable[Policy],
        groups: PermissionGroups,
        zones: _Zones,
        own: tuple[str, str] | None = None,
    ) -> None:
        self._groups = groups
        self._zones = zones
        self.reaches = [_Reach(policy, own) for policy in policies]

    def of(self, effect: Effect) -> Iterator[tuple[int, _Reach]]:
        """Those that give, or those that take away, with their places."""
        return ((place, reach) for place, reach in enumerate(self.reaches) if reach.effect is effect)

    def lacks(
        self, effect: Effect, groups: Iterable[str], resources: Iterable[Resource], api: str
    ) -> list[tuple[list[str], list[Resource]]]:
        """Of the pairs of `groups` and `resources` those that no policy of that effect has, as groups and resources
        each pair of which is one of them.
        """
        found = []
        by_scope: defaultdict[Scope, list[Resource]] = defaultdict(list)
        for resource in resources:
            by_scope[SCOPE_OF[type(resource)]].append(resource)
        groups = list(groups)
        for scope, lying in by_scope.items():
            # The policies that hold a group, or a resource, are the bits of a number: there are few such numbers.
            held_groups = _by_holders((self._naming(effect, group, scope, api), group) for group in groups)
            held_resources = _by_holders((self._holding(effect, resource, api), resource) for resource in lying)
            found += [
                (named, touched)
                for naming, named in held_groups.items()
                for holding, touched in held_resources.items()
                if not naming & holding
            ]
        return found

    def _naming(self, effect: Effect, group: str, scope: Scope, api: str) -> int:
        ids = {group, _whole(self._groups, scope)}
        return sum(
            1 << place for place, reach in self.of(effect) if not ids.isdisjoint(reach.groups) and reach.is_about(api)
        )

    def _holding(self, effect: Effect, resource: Resource, api: str) -> int:
        return sum(1 << place for place, reach in self.of(effect) if self._holds(reach, resource, api))

    def _holds(self, reach: _Reach, resource: Resource, api: str) -> bool:
        """Whether `reach` takes in all of `resource`."""
        if resource in reach.set:
            return True
        match resource:
            case Zone(name):
                if EveryZone() in reach.set or name in reach.spellings:
                    return True
                accounts = self._zones.of(resource, api)
                return len(accounts) == 1 and not reach.accounts.isdisjoint(accounts)
            case ZonesOf():
                return EveryZone() in reach.set
            case Account():
                return EveryAccount() in reach.set
            case _:
                return False


def _by_holders(pairs: Iterable[tuple[int, Held]]) -> dict[int, list[Held]]:
    found: defaultdict[int, list[Held]] = defaultdict(list)
    for holders, held in pairs:
        found[holders].append(held)
    return found


def _whole(groups: PermissionGroups, scope: Scope) -> str:
    """The id of All Permissions; one that no policy has where the catalogue has no such group."""
    group = groups.named(ALL_PERMISSIONS, scope)
    return group.id if group is not None else ""


def zones_in_question(caller: Caller, thing: Grant) -> frozenset[str]:
    """The zones, as policies name them, of which the answer may turn on their account."""
    ours = [*caller.token.policies, *(caller.owner.policies if caller.owner else ())]
    given = [_Reach(policy, None) for policy in thing.policies]
    held = [_Reach(policy, None) for policy in ours]
    found: set[str] = set()
    if any(reach.accounts for reach in held):
        found.update(name for reach in given for name in reach.names)
    if any(reach.accounts for reach in given):
        found.update(name for reach in held if reach.effect is Effect.DENY for name in reach.names)
    return frozenset(found)


def exceeds(caller: Caller, thing: Grant, accounts: Accounts, groups: PermissionGroups) -> tuple[Excess, ...]:
    """What `thing` would have that `caller` has not, at most 50; nothing: he may give it.

    Raises ValueError for an unreadable record.
    """
    zones = _Zones(accounts)
    given = _Side(thing.policies, groups, zones)
    owner = caller.owner.policies if caller.owner else ()
    found: list[Excess] = []
    for whose, policies in (("your token", caller.token.policies), ("your token's owner", owner)):
        held = _Side(policies, groups, zones, _own(caller, thing))
        found += _allowed_beyond(given, held, whose, groups)
        found += _not_taken_away(given, held, whose, groups, zones)
    return tuple([*found, *_limits(caller.token, thing)][:MOST_FAULTS])


def _own(caller: Caller, thing: Grant) -> tuple[str, str] | None:
    """The caller's user, and the new one: what is given or taken away on the one is so on the other. It is the caller's
    policies that are read so: in the thing's, a deny on the one leaves the other open.
    """
    new, ours = thing.new_owner, caller.token.owner
    if new is None or new.kind is not OwnerKind.USER or ours.kind is not OwnerKind.USER:
        return None
    return ours.id, new.id


def _allowed_beyond(given: _Side, held: _Side, whose: str, groups: PermissionGroups) -> Iterator[Excess]:
    for place, reach in given.of(Effect.ALLOW):
        for api in sorted(reach.apis):
            for named, touched in held.lacks(Effect.ALLOW, sorted(reach.groups), reach.all, api):
                what = _in_words(named, touched, api, groups)
                yield Excess(f"/policies/{place}", f"{whose} does not give {what}")


def _not_taken_away(given: _Side, held: _Side, whose: str, groups: PermissionGroups, zones: _Zones) -> Iterator[Excess]:
    for place, allow in given.of(Effect.ALLOW):
        for _, deny in held.of(Effect.DENY):
            for api in _common_apis(allow.apis, deny.apis):
                meeting = sorted(_meeting(allow, deny, api, zones), key=repr)
                for scope in Scope:
                    lying = [resource for resource in meeting if SCOPE_OF[type(resource)] is scope]
                    both = _common_groups(allow.groups, deny.groups, _whole(groups, scope))
                    for named, touched in given.lacks(Effect.DENY, sorted(both), lying, api) if lying else ():
                        what = _in_words(named, touched, api, groups)
                        message = f"{whose} is denied {what}: what it gives must be denied it too, in a policy"
                        yield Excess(f"/policies/{place}", message)


def _common_apis(first: frozenset[str], second: frozenset[str]) -> Sequence[str]:
    if _EVERY_API in first:
        return sorted(second)
    return sorted(first if _EVERY_API in second else first & second)


def _common_groups(first: frozenset[str], second: frozenset[str], whole: str) -> frozenset[str]:
    """The groups that both name; All Permissions names each."""
    both = first & second
    if whole in first:
        both |= second
    if whole in second:
        both |= first
    return both


def _meeting(allow: _Reach, deny: _Reach, api: str, zones: _Zones) -> set[Resource]:
    """What both take in, or may take in: each is as narrow as the narrower of the two."""
    found: set[Resource] = set(allow.set & deny.set)
    for first, second in ((allow, deny), (deny, allow)):
        if EveryZone() in first.set:
            found.update(each for each in second.all if SCOPE_OF[type(each)] is Scope.ZONE)
        if EveryAccount() in first.set:
            found.update(each for each in second.all if SCOPE_OF[type(each)] is Scope.ACCOUNT)
        if first.accounts:
            found.update(zone for zone in second.zones if _may_lie_in(first.accounts, zones.of(zone, api)))
    found.update(zone for zone in allow.zones if not deny.spellings.isdisjoint(zone.spellings))
    return found


def _may_lie_in(wanted: set[str], accounts: set[str | None]) -> bool:
    return None in accounts or not wanted.isdisjoint(accounts)


def _limits(token: Token, thing: Grant) -> Iterator[Excess]:
    if not compile_condition(thing.condition).within(compile_condition(token.condition)):
        yield Excess("/condition", "it would work from addresses from which your token does not")
    if token.expires_on is not None and (thing.expires_on is None or thing.expires_on > token.expires_on):
        yield Excess("/expires_on", f"your token ends on {format_timestamp(token.expires_on)}: give it no later end")
    # What the settings say of tokens without limits is the operator's, for makers and made alike.
    if token.limits is not None and (thing.limits is None or not thing.limits.within(token.limits)):
        yield Excess("/limits", f"your token may make {in_words(token.limits)}: give it no more, at once or in all")


def _in_words(named: Sequence[str], touched: Sequence[Resource], api: str, groups: PermissionGroups) -> str:
    known = sorted(group_in_words(group) if (group := groups.get(each)) else each for each in named)
    where = _some([resource_in_words(resource) for resource in touched])
    return f"{_some(known)} on {where}{f' of the API {api}' if api else ''}"


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return ", ".join(words[:_MOST_NAMED]) + more
