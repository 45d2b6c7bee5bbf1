"""Templates: the usual tokens, ready to be filled in (token API: templates)."""

from typing import Annotated, Literal

import msgspec

from gateway.catalog.document import CatalogError, read_document
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Scope


class _PolicyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scope: Scope
    resources: Literal["choose", "all"]
    permission_groups: tuple[str, ...] = ()
    every: Literal["", "Read"] = ""


class _TemplateEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    description: str
    policy: Annotated[tuple[_PolicyEntry, ...], msgspec.Meta(min_length=1)]


class _TemplateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    template: tuple[_TemplateEntry, ...]


class TemplatePolicy(msgspec.Struct, frozen=True):
    """Groups of one scope. `resources`: "choose" (the person picks) or "all" of the scope."""

    scope: Scope
    groups: tuple[PermissionGroup, ...]
    resources: Literal["choose", "all"]


class Template(msgspec.Struct, frozen=True):
    """A named start for a token."""

    name: str
    description: str
    policies: tuple[TemplatePolicy, ...]


def _policy(file: str, template: str, entry: _PolicyEntry, groups: PermissionGroups) -> TemplatePolicy:
    def named(name: str) -> PermissionGroup:
        group = groups.named(name, entry.scope)
        if group is None:
            raise CatalogError(
                file, f"template {template!r}: there is no permission group {name!r} on {entry.scope.a_word}"
            )
        return group

    if bool(entry.every) == bool(entry.permission_groups):
        raise CatalogError(file, f"template {template!r}: a policy has permission_groups or every")
    if entry.every:
        found = tuple(group for group in groups if group.reads and entry.scope in group.scopes)
    else:
        found = tuple(named(name) for name in entry.permission_groups)
    return TemplatePolicy(entry.scope, found, entry.resources)


def read_templates(file: str, text: str, groups: PermissionGroups) -> tuple[Template, ...]:
    """The templates of `file`, in its order."""
    return tuple(
        Template(
            entry.name,
            entry.description,
            tuple(_policy(file, entry.name, policy, groups) for policy in entry.policy),
        )
        for entry in read_document(file, text, _TemplateFile).template
    )
