"""A token in plain words, for the person who is about to create it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gateway.tokens.permission_group import ALL_PERMISSIONS, PermissionGroup, PermissionGroups
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.rate import in_words
from gateway.tokens.resource import (
    Account,
    EveryAccount,
    EveryZone,
    Resource,
    User,
    Zone,
    ZonesOf,
    parse_resource,
)
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Draft

NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


def resource_in_words(resource: Resource, names: Mapping[str, str] = NO_NAMES) -> str:
    """A resource for people. `names`: of zones and accounts, by id, where they are known."""
    match resource:
        case Zone(name):
            return f"zone {names.get(name, name)}"
        case EveryZone():
            return "all zones"
        case ZonesOf(account):
            return f"all zones of account {names.get(account, account)}"
        case Account(id):
            return f"account {names.get(id, id)}"
        case EveryAccount():
            return "all accounts"
        case User(id):
            return f"user {id}"


def group_in_words(group: PermissionGroup) -> str:
    """A group for people: Write is called Edit, as on Cloudflare's own pages."""
    return group.name.removesuffix(" Write") + " Edit" if group.name.endswith(" Write") else group.name


def _policy_in_words(policy: Policy, groups: PermissionGroups, names: Mapping[str, str]) -> str:
    known = [group for group_id in policy.permission_groups if (group := groups.get(group_id))]
    resources = [parse_resource(key, value) for key, value in policy.resources.items()]
    what = ", ".join(group_in_words(group) for group in known)
    where = ", ".join(resource_in_words(resource, names) for resource in resources if not isinstance(resource, str))
    verb = "may use" if policy.effect is Effect.ALLOW else "except: may NOT use"
    return f"{verb} {what} on {where}{apis_in_words(policy.apis)}"


def apis_in_words(apis: Sequence[str]) -> str:
    """What a policy's `apis` add to it, behind all else; nothing where it is about every API."""
    return f", only of the API{'s' if len(apis) > 1 else ''} {' and '.join(apis)}" if apis else ""


def still_readable(policies: Sequence[Policy], groups: PermissionGroups) -> list[str]:
    """Notes on where the denies take `X Read` of a resource away and leave `X Write`, which reads too."""
    taken = {
        (group_id, key, policy.apis)
        for policy in policies
        if policy.effect is Effect.DENY
        for group_id in policy.permission_groups
        for key in policy.resources
    }
    notes = set()
    for group_id, key, apis in taken:
        group = groups.get(group_id)
        if group is None or not group.reads:
            continue
        for scope in group.scopes:
            write = groups.named(group.name.removesuffix(" Read") + " Write", scope)
            ids = groups.standing_for(write, scope) if write else ()
            if write and not any((one, key, where) in taken for one in ids for where in (apis, ())):
                notes.add(f"note: {group.name} is taken away, but not {write.name}, which reads too")
    return sorted(notes)


_MAKERS: Final = frozenset({"API Tokens Write", "Account API Tokens Write"})


def _makes_tokens(policies: Sequence[Policy], groups: PermissionGroups) -> bool:
    """Whether some allow gives the right to make tokens."""
    for policy in policies:
        names = {group.name for group_id in policy.permission_groups if (group := groups.get(group_id))}
        if policy.effect is Effect.ALLOW and (_MAKERS & names or (ALL_PERMISSIONS in names and not _on_zones(policy))):
            return True
    return False


def _on_zones(policy: Policy) -> bool:
    resources = [parse_resource(key, value) for key, value in policy.resources.items()]
    return all(isinstance(resource, Zone | EveryZone | ZonesOf) for resource in resources)


def policies_in_words(
    policies: Sequence[Policy], groups: PermissionGroups, names: Mapping[str, str] = NO_NAMES
) -> list[str]:
    """Lines that say what `policies` give and take away. `names` as for a resource."""
    return [*(_policy_in_words(policy, groups, names) for policy in policies), *still_readable(policies, groups)]


def summarise(draft: Draft, groups: PermissionGroups, names: Mapping[str, str] = NO_NAMES) -> list[str]:
    """Lines that say what the token may do, from where, when, and how often. `names` as for a resource."""
    lines = policies_in_words(draft.policies, groups, names)
    if _makes_tokens(draft.policies, groups):
        lines.append("may pass all of this, or a part of it, on to tokens that it makes, and nothing else")
    request_ip = draft.condition.request_ip
    if request_ip.allowed:
        lines.append(f"only from {', '.join(request_ip.allowed)}")
    if request_ip.not_in:
        lines.append(f"never from {', '.join(request_ip.not_in)}")
    if draft.not_before is not None:
        lines.append(f"from {format_timestamp(draft.not_before)} on")
    if draft.limits is not None:
        lines.append(f"at most {in_words(draft.limits)}")
    until = f"until {format_timestamp(draft.expires_on)}" if draft.expires_on is not None else "without an end"
    return [*lines, until]
