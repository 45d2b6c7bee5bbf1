"""Who may do what, a second time: written from the rules of tokens alone (DESIGN 4 and 5), slowly and without an index.

It imports nothing of what it is compared with. Records are plain objects as in JSON, a request is what it touches, and
the world says in which account a zone lies. The words of the rules stand above what puts them into code.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

Json = Mapping[str, Any]
ZONE: Final = "com.cloudflare.api.account.zone"
ACCOUNT: Final = "com.cloudflare.api.account"
USER: Final = "com.cloudflare.api.user"

NOT_FOUND: Final = object()
"""In place of an account: there is no such zone."""
UNREACHABLE: Final = object()
"""In place of an account: nobody could be asked."""


class Request(NamedTuple):
    """What is asked for. `kind`: "zone", "new-zone" (`name` is an account), "account", "self", "zones", "accounts" (the
    lists) or "nothing"; `name` None: the request does not say.
    """

    api: str
    names_zones_by_dns: bool
    kind: str
    name: str | None
    groups: tuple[str, ...]
    """Ids; any of them would do."""
    now: int


class World(NamedTuple):
    """What only others know."""

    account: Any
    """Of the zone that is touched: an id, NOT_FOUND or UNREACHABLE."""
    every_group: Mapping[str, str]
    """By scope, the id of the group that stands for each other."""


SCOPE_OF_KIND: Final = {
    "zone": ZONE,
    "new-zone": ZONE,
    "zones": ZONE,
    "account": ACCOUNT,
    "accounts": ACCOUNT,
    "self": USER,
}


def outcome(token: Json, owner: Json | None, request: Request, world: World) -> str:
    """ "allow", or why not."""
    if token["status"] != "active" or owner is None or owner["status"] != "active":
        return "disabled"
    # A token lives in [not_before, expires_on).
    if token.get("not_before") is not None and request.now < token["not_before"]:
        return "early"
    if token.get("expires_on") is not None and request.now >= token["expires_on"]:
        return "late"
    if request.kind == "nothing":
        return "allow"
    if request.kind == "self":
        # An account has no user of its own.
        if token["owner"]["kind"] != "user":
            return "forbidden"
        request = request._replace(name=token["owner"]["id"])
    # "passes when the token's policies pass it and the owner's policies pass it, each looked at alone"
    sides = (token["policies"], owner["policies"])
    if all(passes(side, request, world) for side in sides):
        return "allow"
    if world.account is UNREACHABLE and request.kind == "zone" and turns_on_account(sides, request, world):
        # The upstream is down: that is the reason only where nothing but an account-wide policy could allow.
        without = [[without_account_wide(policy) for policy in side] for side in sides]
        if not all(passes(side, request, world) for side in without):
            return "unreachable"
    return "forbidden"


def passes(policies: Iterable[Json], request: Request, world: World) -> bool:
    """ "one of the route's groups, on the route's resource, is given by an allow and taken away by no deny" """
    policies = [policy for policy in policies if not policy.get("apis") or request.api in policy["apis"]]
    if request.kind in ("zones", "accounts"):
        # "passes when some allow gives one of these groups on any zone, whatever the denies"
        return any(
            policy["effect"] == "allow" and names(policy, group, request, world) and lies_in(policy, request.kind)
            for group in request.groups
            for policy in policies
        )
    # "A target that the body doesn't name is covered by no allow"
    if request.name is None:
        return False
    return any(
        any(policy["effect"] == "allow" and has_pair(policy, group, request, world) for policy in policies)
        and not any(policy["effect"] == "deny" and has_pair(policy, group, request, world) for policy in policies)
        for group in request.groups
    )


def has_pair(policy: Json, group: str, request: Request, world: World) -> bool:
    """ "A policy gives (allow) or takes away (deny) every pair of its groups and its resources" """
    return names(policy, group, request, world) and any(
        takes_in(key, value, policy["effect"], request, world) for key, value in policy["resources"].items()
    )


def names(policy: Json, group: str, request: Request, world: World) -> bool:
    """ "`All Permissions` stands for each group of its scope" """
    return group in policy["permission_groups"] or (
        world.every_group[SCOPE_OF_KIND[request.kind]] in policy["permission_groups"]
    )


def takes_in(key: str, value: Any, effect: str, request: Request, world: World) -> bool:
    if isinstance(value, Mapping):
        # All zones of an account.
        account = key.removeprefix(f"{ACCOUNT}.")
        if request.kind == "new-zone":
            return account == request.name
        if request.kind != "zone":
            return False
        if world.account in (NOT_FOUND, UNREACHABLE):
            # An account that is not known is covered by no allow on an account's zones, and by each deny.
            return effect == "deny"
        return bool(account == world.account)
    match request.kind:
        case "zone" | "new-zone" if key == f"{ZONE}.*":
            return True
        case "zone" if key.startswith(f"{ZONE}."):
            return same_zone(key.removeprefix(f"{ZONE}."), request)
        case "account":
            return key in (f"{ACCOUNT}.*", f"{ACCOUNT}.{request.name}")
        case "self":
            return key == f"{USER}.{request.name}"
        case _:
            return False


def same_zone(written: str, request: Request) -> bool:
    """ "Policies compare the canonical value (lower case, final dot, `=2F` undone)" where zones are named by DNS."""
    if not request.names_zones_by_dns:
        return written == request.name
    return canonical(written) == canonical(request.name or "")


def canonical(name: str) -> str:
    return (name if name.endswith(".") else f"{name}.").replace("=2F", "/").lower()


def lies_in(policy: Json, kind: str) -> bool:
    """Whether the policy names any zone, or any account."""
    return any(
        (key.startswith(f"{ZONE}.") or isinstance(value, Mapping))
        if kind == "zones"
        else (key.startswith(f"{ACCOUNT}.") and not key.startswith(f"{ZONE}.") and not isinstance(value, Mapping))
        for key, value in policy["resources"].items()
    )


def turns_on_account(sides: Iterable[Iterable[Json]], request: Request, world: World) -> bool:
    """Whether there is an account that would make a yes of it: one that is named, or one that is not."""
    sides = [list(side) for side in sides]
    named = {account for side in sides for policy in side for account in accounts_in(policy)}
    return any(
        all(passes(side, request, world._replace(account=account)) for side in sides)
        for account in (*sorted(named), "an account that nobody names")
    )


def accounts_in(policy: Json) -> Iterator[str]:
    return (key.removeprefix(f"{ACCOUNT}.") for key, value in policy["resources"].items() if isinstance(value, Mapping))


def without_account_wide(policy: Json) -> Json:
    resources = {key: value for key, value in policy["resources"].items() if not isinstance(value, Mapping)}
    return {**policy, "resources": resources}


def shows(token: Json, owner: Json, request: Request, world: World, item: str) -> bool:
    """Whether `item` stands in the list that `request` asks for: "the answer is cut down to those" """
    one = request._replace(kind="zone" if request.kind == "zones" else "account", name=item)
    return all(passes(side, one, world) for side in (token["policies"], owner["policies"]))
