"""The first owner, and the token with which everything else is made: every right in every scope."""

from collections.abc import Callable

from gateway.tokens import lifecycle
from gateway.tokens.condition import Condition
from gateway.tokens.digest import Peppers
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.permission_group import ALL_PERMISSIONS, PermissionGroups
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import Scope
from gateway.tokens.secret import Sensitive, make_secret
from gateway.tokens.token import SCHEMA, Draft, Status, Token


def first_owner(
    groups: PermissionGroups,
    peppers: Peppers,
    user_id: str,
    now: float,
    randomness: Callable[[int], bytes],
) -> tuple[Owner, Token, Sensitive]:
    """The user `user_id` with all permissions on everything, its first token, and that token's secret."""
    everything = {
        Scope.ZONE: f"{Scope.ZONE}.*",
        Scope.ACCOUNT: f"{Scope.ACCOUNT}.*",
        Scope.USER: f"{Scope.USER}.{user_id}",
    }
    policies = tuple(
        Policy(
            id=randomness(16).hex(),
            effect=Effect.ALLOW,
            permission_groups=(group.id,),
            resources={resource: "*"},
        )
        for scope, resource in everything.items()
        if (group := groups.named(ALL_PERMISSIONS, scope))
    )
    ref = OwnerRef(OwnerKind.USER, user_id)
    owner = Owner(
        schema=SCHEMA,
        ref=ref,
        name="First owner",
        status=OwnerStatus.ACTIVE,
        issued_on=int(now),
        modified_on=int(now),
        policies=policies,
    )
    token_id = randomness(16).hex()
    secret = make_secret(ref.kind, token_id, randomness(32))
    draft = Draft(
        name="First token: every right",
        policies=policies,
        condition=Condition(),
        not_before=None,
        expires_on=None,
        status=Status.ACTIVE,
    )
    token = lifecycle.issue(draft, token_id=token_id, owner=ref, issued_by="", digest=peppers.sign(secret), now=now)
    return owner, token, secret
