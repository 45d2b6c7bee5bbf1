"""The rule of `gives` as DESIGN 5 says it, without an index: what the compiled rights must agree with."""

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


def plain_rights(policies: Iterable[Policy]) -> tuple[Right, ...]:
    return tuple(
        Right(
            policy.effect,
            frozenset(policy.permission_groups),
            tuple(resource(key, value) for key, value in policy.resources.items()),
        )
        for policy in policies
    )


def resource(key: str, value: object) -> Resource:
    found = parse_resource(key, value)
    assert not isinstance(found, str), found
    return found


def plainly_gives(
    policies: Iterable[Policy], opened_by: Iterable[AbstractSet[str]], touched: Touched, account: str | None = None
) -> bool:
    rights = plain_rights(policies)
    return any(
        any(touches(right, ids, touched, account, Effect.ALLOW) for right in rights)
        and not any(touches(right, ids, touched, account, Effect.DENY) for right in rights)
        for ids in opened_by
    )


def touches(right: Right, ids: AbstractSet[str], touched: Touched, account: str | None, effect: Effect) -> bool:
    if right.effect is not effect or right.groups.isdisjoint(ids):
        return False
    enough = {Coverage.YES} if effect is Effect.ALLOW else {Coverage.YES, Coverage.UNKNOWN}
    return any(covers(one, touched, account) in enough for one in right.resources)
