"""A token as the API shows it (token API: Token). The secret is never part of it."""

from typing import Any

import msgspec

from gateway.tokens.lifecycle import effective_status
from gateway.tokens.owner import Owner
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.policy import Policy
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Token


def show_group(group: PermissionGroup) -> dict[str, Any]:
    """A permission group in lists."""
    return {"id": group.id, "name": group.name, "scopes": list(group.scopes)}


def show_policy(policy: Policy, groups: PermissionGroups) -> dict[str, Any]:
    """A policy, its groups with their names. A group that the catalogue lost has its id only."""
    named = ((group_id, groups.get(group_id)) for group_id in policy.permission_groups)
    shown: dict[str, Any] = {
        "id": policy.id,
        "effect": policy.effect,
        "permission_groups": [
            {"id": group_id, "name": group.name} if group else {"id": group_id} for group_id, group in named
        ],
        "resources": policy.resources,
    }
    if policy.apis:
        shown["apis"] = list(policy.apis)
    return shown


def show_token(token: Token, groups: PermissionGroups, now: float, last_used_on: int | None = None) -> dict[str, Any]:
    """The token at `now`, last used at `last_used_on` (Unix seconds; None: not known). `limits`, `owner` and
    `issued_by` are extensions of ours.
    """
    shown: dict[str, Any] = {
        "id": token.id,
        "name": token.name,
        "status": effective_status(token, now),
        "issued_on": format_timestamp(token.issued_on),
        "modified_on": format_timestamp(token.modified_on),
    }
    moments = (
        ("last_used_on", last_used_on),
        ("not_before", token.not_before),
        ("expires_on", token.expires_on),
    )
    for key, moment in moments:
        if moment is not None:
            shown[key] = format_timestamp(moment)
    shown["policies"] = [show_policy(policy, groups) for policy in token.policies]
    condition = msgspec.to_builtins(token.condition)
    if condition:
        shown["condition"] = condition
    if token.limits is not None:
        shown["limits"] = msgspec.to_builtins(token.limits)
    shown["owner"] = {"kind": token.owner.kind, "id": token.owner.id}
    if token.issued_by:
        shown["issued_by"] = token.issued_by
    return shown


def show_owner(owner: Owner, groups: PermissionGroups) -> dict[str, Any]:
    """An owner, as our own endpoints show it."""
    return {
        "id": owner.ref.id,
        "kind": owner.ref.kind,
        "name": owner.name,
        "status": owner.status,
        "issued_on": format_timestamp(owner.issued_on),
        "modified_on": format_timestamp(owner.modified_on),
        "policies": [show_policy(policy, groups) for policy in owner.policies],
    }
