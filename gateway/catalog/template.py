"""Templates: the usual tokens, ready to be filled in (token API: templates)."""

from typing import Annotated, Any, Literal

import msgspec

from gateway.catalog.document import CatalogError, Gathered, read_document, read_table
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
    passes_on: bool = False


class _TemplateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    template: tuple[dict[str, Any], ...]
    """Each is a `_TemplateEntry`, read alone."""


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
    passes_on: bool = False
    """Its holder makes tokens: which rights they may have is asked for beside it."""


class _Reader:
    """One template's policies: it knows where they are, so that each error can say so."""

    def __init__(self, file: str, key: str, template: str, groups: PermissionGroups) -> None:
        self.file = file
        self.key = key
        self.template = template
        self.groups = groups

    def fail(self, message: str, key: str) -> CatalogError:
        return CatalogError(self.file, f"template {self.template!r}: {message}", key)

    def policy(self, entry: _PolicyEntry, index: int) -> TemplatePolicy:
        key = f"{self.key}.policy[{index}]"
        if bool(entry.every) == bool(entry.permission_groups):
            raise self.fail("a policy has permission_groups or every", key)
        if entry.every:
            found = tuple(group for group in self.groups if group.reads and entry.scope in group.scopes)
        else:
            found = tuple(self.named(name, entry.scope, key) for name in entry.permission_groups)
        return TemplatePolicy(entry.scope, found, entry.resources)

    def named(self, name: str, scope: Scope, key: str) -> PermissionGroup:
        group = self.groups.named(name, scope)
        if group is None:
            raise self.fail(f"there is no permission group {name!r} on {scope.a_word}", f"{key}.permission_groups")
        return group


def read_templates(file: str, text: str, groups: PermissionGroups) -> tuple[Template, ...]:
    """The templates of `file`, in its order. The error has the faults of all of them."""
    gathered = Gathered({file: text})
    found = []
    for index, table in enumerate(read_document(file, text, _TemplateFile).template):
        with gathered.faults():
            key = f"template[{index}]"
            entry = read_table(file, table, _TemplateEntry, key)
            reader = _Reader(file, key, entry.name, groups)
            policies = []
            for number, policy in enumerate(entry.policy):
                with gathered.faults():
                    policies.append(reader.policy(policy, number))
            found.append(Template(entry.name, entry.description, tuple(policies), entry.passes_on))
    gathered.end()
    return tuple(found)
