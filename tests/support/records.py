"""Tokens, owners and principals with sensible parts; a test names only what it is about."""

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from gateway.access.compiled import CompiledToken, compile_owner, compile_token
from gateway.access.principal import Principal, prove
from gateway.catalog.catalog import Catalog, load_catalog
from gateway.policy_files import policy_files
from gateway.reason import Deny
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.digest import NO_PEPPERS, Digest, Peppers
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.rate import Rate
from gateway.tokens.resource import Scope
from gateway.tokens.secret import Sensitive, make_secret, parse_secret
from gateway.tokens.token import SCHEMA, Status, Token

USER = "0123456789abcdef0123456789abcdef"
ZONE_A = "a" * 32
ZONE_B = "b" * 32
ACCOUNT_A = "c" * 32
ACCOUNT_B = "d" * 32
TOKEN_ID = "f" * 32
NOW = 1_800_000_000

ZONE = Scope.ZONE
ACCOUNT = Scope.ACCOUNT
USER_SCOPE = Scope.USER


def token_api_text() -> str:
    """The token API's own routes, as the package has them."""
    return resources.files("gateway.catalog").joinpath("token_api.toml").read_text()


def shipped_catalog(served: Iterable[str] = ("cloudflare-dns", "billing")) -> Catalog:
    """The catalogue of the package."""
    return load_catalog(
        policy_files(""), token_api_text(), prefix="/client/v4", served=tuple(served), public_token_api=True
    )


CATALOG = shipped_catalog()
GROUPS = CATALOG.groups


def group_id(name: str, scope: Scope = Scope.ZONE) -> str:
    """The id of a group of the shipped catalogue."""
    group = GROUPS.named(name, scope)
    assert group is not None, name
    return group.id


def zone(zone_id: str) -> str:
    return f"{Scope.ZONE}.{zone_id}"


def account(account_id: str) -> str:
    return f"{Scope.ACCOUNT}.{account_id}"


def user(user_id: str) -> str:
    return f"{Scope.USER}.{user_id}"


def policy(
    groups: Iterable[str],
    resources: Iterable[str] | Mapping[str, Any],
    effect: str = "allow",
    scope: Scope = Scope.ZONE,
) -> Policy:
    """A policy by the names of its groups. `resources`: keys, or a whole resources object."""
    return Policy(
        id="1" * 32,
        effect=Effect(effect),
        permission_groups=tuple(group_id(name, scope) for name in groups),
        resources=dict(resources) if isinstance(resources, Mapping) else dict.fromkeys(resources, "*"),
    )


DNS_ON_A = policy(["DNS Write"], [zone(ZONE_A)])


def secret_of(token_id: str = TOKEN_ID, kind: OwnerKind = OwnerKind.USER, fill: int = 7) -> Sensitive:
    """A well-formed secret; another `fill`, another secret."""
    return make_secret(kind, token_id, bytes([fill]) * 32)


def token(
    policies: Iterable[Policy] = (DNS_ON_A,),
    *,
    token_id: str = TOKEN_ID,
    owner: OwnerRef = OwnerRef(OwnerKind.USER, USER),  # noqa: B008 - frozen
    digests: tuple[Digest, ...] | None = None,
    name: str = "a token",
    status: Status = Status.ACTIVE,
    issued_on: int = NOW - 1000,
    request_ip: Iterable[str] = (),
    not_in: Iterable[str] = (),
    not_before: int | None = None,
    expires_on: int | None = None,
    limits: Rate | None = None,
) -> Token:
    """A token's record, whose secret is `secret_of(token_id, owner.kind)`."""
    return Token(
        schema=SCHEMA,
        id=token_id,
        owner=owner,
        issued_by="",
        digests=digests if digests is not None else (NO_PEPPERS.sign(secret_of(token_id, owner.kind)),),
        name=name,
        status=status,
        issued_on=issued_on,
        modified_on=issued_on,
        policies=tuple(policies),
        condition=Condition(RequestIp(tuple(request_ip), tuple(not_in))),
        not_before=not_before,
        expires_on=expires_on,
        limits=limits,
    )


EVERYTHING = (
    policy(["All Permissions"], [f"{Scope.ZONE}.*"]),
    policy(["All Permissions"], [f"{Scope.ACCOUNT}.*"], scope=Scope.ACCOUNT),
    policy(["All Permissions"], [user(USER)], scope=Scope.USER),
)


def owner(
    policies: Iterable[Policy] = EVERYTHING,
    *,
    ref: OwnerRef = OwnerRef(OwnerKind.USER, USER),  # noqa: B008 - frozen
    status: OwnerStatus = OwnerStatus.ACTIVE,
) -> Owner:
    """An owner's record; with every right unless a test says otherwise."""
    return Owner(
        schema=SCHEMA,
        ref=ref,
        name="an owner",
        status=status,
        issued_on=NOW - 2000,
        modified_on=NOW - 2000,
        policies=tuple(policies),
    )


def compiled(of: Token | None = None, ceiling: Owner | None = None) -> CompiledToken:
    """A token under its owner, as a cache holds it."""
    of = of or token()
    return compile_token(of, compile_owner(ceiling or owner(ref=of.owner)))


def principal(of: Token | None = None, ceiling: Owner | None = None, peppers: Peppers = NO_PEPPERS) -> Principal:
    """The principal of a token whose secret was shown."""
    of = of or token()
    credential = parse_secret(secret_of(of.id, of.owner.kind).reveal())
    assert credential is not None
    found = prove(credential, compiled(of, ceiling), peppers, NOW)
    assert not isinstance(found, Deny)
    return found
