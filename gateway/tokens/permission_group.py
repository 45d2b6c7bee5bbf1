"""Permission groups: named rights, each in one scope, and the set of them that is in force."""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from gateway.tokens.resource import Scope

ALL_PERMISSIONS = "All Permissions"
"""Our own group, one a scope: it stands for each group of its scope in the catalogue in force."""


class PermissionGroup(msgspec.Struct, frozen=True):
    """A named right, such as `DNS Read` on zones. `id`: 32 hex digits, public, the same for everybody."""

    id: str
    name: str
    scopes: tuple[Scope, ...]

    @property
    def reads(self) -> bool:
        """Whether it is a Read group by its name."""
        return self.name.endswith((" Read", " read"))


class PermissionGroups:
    """The catalogue in force: groups in the order of their files, found by id or by name and scope."""

    def __init__(self, groups: Iterable[PermissionGroup]) -> None:
        self._by_id = {group.id: group for group in groups}
        self._by_name = {(group.name, scope): group for group in self for scope in group.scopes}

    def __iter__(self) -> Iterator[PermissionGroup]:
        return iter(self._by_id.values())

    def get(self, group_id: str) -> PermissionGroup | None:
        """The group of that id, or None."""
        return self._by_id.get(group_id)

    def named(self, name: str, scope: Scope) -> PermissionGroup | None:
        """The group of that name in that scope, or None."""
        return self._by_name.get((name, scope))

    def standing_for(self, group: PermissionGroup, scope: Scope) -> frozenset[str]:
        """Ids of all groups in a policy that give `group` on `scope`: itself, and All Permissions."""
        whole = self.named(ALL_PERMISSIONS, scope)
        return frozenset({group.id} if whole is None else {group.id, whole.id})


def own_group_id(name: str, scope: Scope) -> str:
    """The id of a group that Cloudflare's catalogue lacks: made from its name and scope, so that it never moves."""
    return hashlib.sha256(f"zonegate:{name}:{scope}".encode()).hexdigest()[:32]
