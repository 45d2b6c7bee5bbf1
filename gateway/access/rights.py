"""Policies, compiled: which pairs of (permission group, resource) they give, and which they take away (DESIGN 5)."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import msgspec

from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import Coverage, Resource, Touched, covers, parse_resource


class Right(msgspec.Struct, frozen=True):
    """One policy: every pair of its groups and its resources."""

    effect: Effect
    groups: frozenset[str]
    resources: tuple[Resource, ...]


def _resource(key: str, value: object) -> Resource:
    match parse_resource(key, value):
        case str() as fault:
            raise ValueError(fault)
        case resource:
            return resource


def compile_rights(policies: Iterable[Policy]) -> tuple[Right, ...]:
    """The rights of `policies`. Raises ValueError for what validation would not have let in: an unreadable record."""
    return tuple(
        Right(
            policy.effect,
            frozenset(policy.permission_groups),
            tuple(_resource(key, value) for key, value in policy.resources.items()),
        )
        for policy in policies
    )


def gives(
    rights: Iterable[Right], opened_by: Iterable[AbstractSet[str]], touched: Touched, account: str | None = None
) -> bool:
    """Whether some group is given on `touched` by an allow and taken away by no deny.

    `opened_by`: for each group that would do, the ids that stand for it in a policy. An allow and a deny meet only in
    the same group: Read taken away leaves Write. A zone whose account is unknown (`account` None) is covered by no
    allow on an account's zones, and by each such deny.
    """
    rights = tuple(rights)
    return any(
        any(_touches(right, ids, touched, account, Effect.ALLOW) for right in rights)
        and not any(_touches(right, ids, touched, account, Effect.DENY) for right in rights)
        for ids in opened_by
    )


def _touches(right: Right, ids: AbstractSet[str], touched: Touched, account: str | None, effect: Effect) -> bool:
    if right.effect is not effect or right.groups.isdisjoint(ids):
        return False
    enough = {Coverage.YES} if effect is Effect.ALLOW else {Coverage.YES, Coverage.UNKNOWN}
    return any(covers(resource, touched, account) in enough for resource in right.resources)
