"""The policies that flags and a template make: one a scope, and a deny for the zones left out."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from gateway.catalog.template import Template
from gateway.cli.printable import printable
from gateway.cli.token_flag import Flags, WrongUse
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Account, Scope, Zone, parse_resource

_FLAGS_FOR: Final = {
    Scope.ZONE: "--zone or --all-zones",
    Scope.ACCOUNT: "--account or --all-accounts",
    Scope.USER: "--user",
}
_EVERY_ZONE: Final = {f"{Scope.ZONE}.*": "*"}
_EVERY_ACCOUNT: Final = {f"{Scope.ACCOUNT}.*": "*"}

Resources = dict[str, Any]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What flags are read by: the gateway's permission groups, the template they name, the caller's own user."""

    groups: PermissionGroups
    template: Template | None = None
    user_id: str | None = None
    """There when `needs_user` says so, and the caller's token is a user's."""
    zone_ids: Mapping[str, str] = MappingProxyType({})
    """By name, of zones that the flags name so."""


class _Reach(msgspec.Struct):
    """The resources that a permission of each scope gets.

    `behind`: with --all-zones an account stands for its zones; what lies on accounts alone still gets the account
    itself, or there were no way to say it.
    """

    of: dict[Scope, Resources]
    behind: Resources

    def get(self, scope: Scope) -> Resources | None:
        return self.of.get(scope) or (self.behind if scope is Scope.ACCOUNT and self.behind else None)


def find_template(name: str, templates: Sequence[Template]) -> Template:
    """The template of that name, in any case. Raises WrongUse, which lists them all."""
    for template in templates:
        if template.name.casefold() == name.casefold():
            return template
    names = ", ".join(template.name for template in templates) or "none"
    msg = f"--template: there is no template {_quoted(name)}; there are: {names}"
    raise WrongUse(msg)


def needs_user(flags: Flags, template: Template | None) -> bool:
    """Whether the policies name the user whom the caller's token belongs to."""
    return flags.user or any(policy.scope is Scope.USER for policy in (template.policies if template else ()))


def draft_policies(flags: Flags, facts: Facts) -> list[dict[str, Any]]:
    """The `policies` of a request body. Raises WrongUse."""
    if facts.template is None and not flags.permission:
        msg = "--permission: missing; name what it may do, or take a --template"
        raise WrongUse(msg)
    if facts.template is not None and facts.template.passes_on and not flags.permission:
        raise WrongUse(
            f"--template {facts.template.name!r}: say with --permission, and --zone, --account or --user, which rights "
            "its holder may pass on to the tokens that he makes; you must have them yourself"
        )
    flags = _by_their_ids(flags, facts.zone_ids)
    reach = _reach(flags, facts.user_id)
    given = tuple(reach.of)
    chosen: dict[Scope, dict[str, PermissionGroup]] = {}
    if facts.template:
        _add_template(facts.template, facts, reach, chosen)
    for text in flags.permission:
        for scope, group in _find(text, reach, facts.groups):
            chosen.setdefault(scope, {})[group.id] = group
    for scope in given:
        if scope not in chosen:
            raise WrongUse(_unused(scope, flags))
    policies = [_policy("allow", chosen[scope], reach.get(scope) or {}) for scope in Scope if scope in chosen]
    if flags.except_zone:
        if Scope.ZONE not in chosen:
            msg = "--except-zone: nothing here lies on a zone"
            raise WrongUse(msg)
        policies.append(_policy("deny", chosen[Scope.ZONE], _zones("--except-zone", flags.except_zone)))
    return [policy | {"apis": list(flags.api)} for policy in policies] if flags.api else policies


def _by_their_ids(flags: Flags, ids: Mapping[str, str]) -> Flags:
    return msgspec.structs.replace(
        flags,
        zone=tuple(ids.get(name, name) for name in flags.zone),
        except_zone=tuple(ids.get(name, name) for name in flags.except_zone),
    )


def _policy(effect: str, groups: Iterable[str], resources: Resources) -> dict[str, Any]:
    return {
        "effect": effect,
        "permission_groups": [{"id": group_id} for group_id in groups],
        "resources": dict(resources),
    }


def _reach(flags: Flags, user_id: str | None) -> _Reach:
    zones = _zones("--zone", flags.zone)
    accounts = _accounts(flags.account)
    if both := sorted(set(zones) & set(_zones("--except-zone", flags.except_zone))):
        msg = f"--except-zone: {both[0].removeprefix(Scope.ZONE + '.')} is named by --zone too"
        raise WrongUse(msg)
    of: dict[Scope, Resources] = {}
    if flags.all_zones:
        if zones and not accounts:
            msg = "--zone: --all-zones takes it in; give one of them"
            raise WrongUse(msg)
        zones |= {key: dict(_EVERY_ZONE) for key in accounts} or _EVERY_ZONE
    elif accounts and flags.all_accounts:
        msg = "--account: --all-accounts takes it in; give one of them"
        raise WrongUse(msg)
    if zones:
        of[Scope.ZONE] = zones
    if flags.all_accounts:
        of[Scope.ACCOUNT] = dict(_EVERY_ACCOUNT)
    elif accounts and not flags.all_zones:
        of[Scope.ACCOUNT] = accounts
    if flags.user:
        of[Scope.USER] = _user(user_id)
    return _Reach(of, accounts if flags.all_zones and not flags.all_accounts else {})


def _zones(flag: str, names: Iterable[str]) -> Resources:
    found = {}
    for name in names:
        key = f"{Scope.ZONE}.{name}"
        match parse_resource(key, "*"):
            case Zone():
                found[key] = "*"
            case str() as fault:
                msg = f"{flag} {_quoted(name)}: {fault}"
                raise WrongUse(msg)
            case _:
                msg = f"{flag} {_quoted(name)}: one zone; for all of them there is --all-zones"
                raise WrongUse(msg)
    return found


def _accounts(names: Iterable[str]) -> Resources:
    found = {}
    for name in names:
        key = f"{Scope.ACCOUNT}.{name}"
        match parse_resource(key, "*"):
            case Account():
                found[key] = "*"
            case str() as fault:
                msg = f"--account {_quoted(name)}: {fault}"
                raise WrongUse(msg)
            case _:  # "*", and "zone.<id>", whose key would be a zone's
                msg = f"--account {_quoted(name)}: the id of one account; for all of them there is --all-accounts"
                raise WrongUse(msg)
    return found


def _user(user_id: str | None) -> Resources:
    if user_id is None:
        msg = "--user: there is none: it is an account whose token this is"
        raise WrongUse(msg)
    return {f"{Scope.USER}.{user_id}": "*"}


def _add_template(
    template: Template, facts: Facts, reach: _Reach, chosen: dict[Scope, dict[str, PermissionGroup]]
) -> None:
    """Put the template's groups into `chosen`; what it has of itself (all zones, the user) into `reach`."""
    for policy in template.policies:
        if reach.get(policy.scope) is None:
            reach.of[policy.scope] = _of_template(template, policy.scope, policy.resources, facts.user_id)
        for group in policy.groups:
            if facts.groups.get(group.id) is None:
                msg = f"--template {template.name!r}: the gateway knows no permission {group.name!r}"
                raise WrongUse(msg)
            chosen.setdefault(policy.scope, {})[group.id] = group


def _of_template(template: Template, scope: Scope, resources: str, user_id: str | None) -> Resources:
    if scope is Scope.USER:
        return _user(user_id)
    if resources == "all" and scope is Scope.ZONE:
        return dict(_EVERY_ZONE)
    if resources == "all" and scope is Scope.ACCOUNT:
        return dict(_EVERY_ACCOUNT)
    raise WrongUse(f"--template {template.name!r}: {_where(scope)}")


def _find(text: str, reach: _Reach, groups: PermissionGroups) -> list[tuple[Scope, PermissionGroup]]:
    """The groups that `--permission TEXT` means, each with the scope in which it is used."""
    found = _by_id(text, groups) if text.startswith("id:") else _by_name(text, groups)
    usable = [(scope, group) for scope, group in found if scope in reach.of]
    usable = usable or [(scope, group) for scope, group in found if reach.get(scope)]
    if not usable:
        scopes = [scope for scope in Scope if scope in {scope for scope, _ in found}]
        raise WrongUse(f"--permission {_quoted(text)}: {_where(*scopes)}")
    return usable


def _by_id(text: str, groups: PermissionGroups) -> list[tuple[Scope, PermissionGroup]]:
    group = groups.get(text.removeprefix("id:"))
    if group is None:
        msg = f"--permission {_quoted(text)}: the gateway knows no permission of that id"
        raise WrongUse(msg)
    return [(scope, group) for scope in group.scopes]


def _by_name(text: str, groups: PermissionGroups) -> list[tuple[Scope, PermissionGroup]]:
    wanted = text.casefold()
    # Summaries and Cloudflare's pages say Edit where the group is called Write; one group is called Edit indeed.
    for name in (wanted, wanted.removesuffix(" edit") + " write" if wanted.endswith(" edit") else wanted):
        found = [(scope, group) for group in groups if group.name.casefold() == name for scope in group.scopes]
        if found:
            return found
    names = {group.name.casefold(): group.name for group in groups}
    near = [names[name] for name in difflib.get_close_matches(wanted, names, n=4)]
    remedy = f"; like it: {', '.join(near)}" if near else ""
    msg = f"--permission {_quoted(text)}: the gateway knows no permission of that name{remedy}"
    raise WrongUse(msg)


def _where(*scopes: Scope) -> str:
    """What has to be named for permissions of `scopes`."""
    lies = " or ".join(scope.a_word for scope in scopes)
    flags = " or ".join(_FLAGS_FOR[scope] for scope in scopes if scope in _FLAGS_FOR)
    if not flags:
        return f"it lies on {lies}, which no flag can name" if lies else "it lies nowhere"
    return f"it lies on {lies}: name which with {flags}"


def _unused(scope: Scope, flags: Flags) -> str:
    """A resource that no permission uses was meant to limit something, and would not."""
    said = {
        Scope.ZONE: "--zone" if flags.zone else "--all-zones",
        Scope.ACCOUNT: "--account" if flags.account and not flags.all_zones else "--all-accounts",
    }.get(scope, "--user")
    hint = "; for all zones of the account, add --all-zones" if said == "--account" else ""
    return f"{said}: no permission here lies on {scope.a_word}{hint}"


def _quoted(text: str) -> str:
    return f"'{printable(text)}'"
