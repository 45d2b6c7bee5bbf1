"""A token in plain words, for the person who is about to create it."""

from collections.abc import Sequence

from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.policy import Effect, Policy
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


def resource_in_words(resource: Resource) -> str:
    """A resource for people."""
    match resource:
        case Zone(name):
            return f"zone {name}"
        case EveryZone():
            return "all zones"
        case ZonesOf(account):
            return f"all zones of account {account}"
        case Account(id):
            return f"account {id}"
        case EveryAccount():
            return "all accounts"
        case User(id):
            return f"user {id}"


def group_in_words(group: PermissionGroup) -> str:
    """A group for people: Write is called Edit, as on Cloudflare's own pages."""
    return group.name.removesuffix(" Write") + " Edit" if group.name.endswith(" Write") else group.name


def _policy_in_words(policy: Policy, groups: PermissionGroups) -> str:
    known = [group for group_id in policy.permission_groups if (group := groups.get(group_id))]
    resources = [parse_resource(key, value) for key, value in policy.resources.items()]
    what = ", ".join(group_in_words(group) for group in known)
    where = ", ".join(resource_in_words(resource) for resource in resources if not isinstance(resource, str))
    verb = "may use" if policy.effect is Effect.ALLOW else "may NOT use"
    return f"{verb} {what} on {where}"


def _still_readable(policies: Sequence[Policy], groups: PermissionGroups) -> list[str]:
    """Where the denies take `X Read` of a resource away and leave `X Write`, which reads too."""
    taken = {
        (group_id, key)
        for policy in policies
        if policy.effect is Effect.DENY
        for group_id in policy.permission_groups
        for key in policy.resources
    }
    notes = set()
    for group_id, key in taken:
        group = groups.get(group_id)
        if group is None or not group.reads:
            continue
        for scope in group.scopes:
            write = groups.named(group.name.removesuffix(" Read") + " Write", scope)
            if write and not any((one, key) in taken for one in groups.standing_for(write, scope)):
                notes.add(f"note: {group.name} is taken away, but not {write.name}, which reads too")
    return sorted(notes)


def summarise(draft: Draft, groups: PermissionGroups) -> list[str]:
    """Lines that say what the token may do, from where, and when."""
    lines = [_policy_in_words(policy, groups) for policy in draft.policies]
    lines += _still_readable(draft.policies, groups)
    request_ip = draft.condition.request_ip
    if request_ip.allowed:
        lines.append(f"only from {', '.join(request_ip.allowed)}")
    if request_ip.not_in:
        lines.append(f"never from {', '.join(request_ip.not_in)}")
    if draft.not_before is not None:
        lines.append(f"from {format_timestamp(draft.not_before)} on")
    until = f"until {format_timestamp(draft.expires_on)}" if draft.expires_on is not None else "without an end"
    return [*lines, until]
