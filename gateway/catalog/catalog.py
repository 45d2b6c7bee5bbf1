"""The whole of `policies/`, read and checked in one go."""

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final

import msgspec

from gateway.catalog.api import Api, Route, read_api
from gateway.catalog.document import CatalogError, read_document
from gateway.catalog.route_table import RouteTable, overlaps
from gateway.catalog.template import Template, read_templates
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Scope

GROUP_FILES: Final = ("permission_groups.toml", "zonegate_groups.toml")
TEMPLATE_FILE: Final = "templates.toml"
TOKEN_API: Final = "zonegate"
"""Name of the API that is ours; its file is part of the package, not of `policies/`."""


class _GroupEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    name: Annotated[str, msgspec.Meta(pattern=r"^[!-~](?:[ -~]{0,118}[!-~])?\Z")]  # it goes into a header
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]


class _GroupFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: tuple[_GroupEntry, ...] = ()


class Catalog(msgspec.Struct, frozen=True):
    """What is in force. `public` has the routes of the listener for clients, `admin` those of the admin listener."""

    groups: PermissionGroups
    templates: tuple[Template, ...]
    apis: tuple[Api, ...]
    public: RouteTable
    admin: RouteTable

    @property
    def credential_fields(self) -> frozenset[str]:
        """Every field in which some API takes a token (lower case)."""
        return frozenset().union(*(api.credential_fields for api in self.apis))


def _read_groups(files: Mapping[str, str]) -> PermissionGroups:
    found: dict[str, PermissionGroup] = {}
    named: set[tuple[str, Scope]] = set()
    for file in GROUP_FILES:
        if file not in files:
            raise CatalogError(file, "missing")
        for entry in read_document(file, files[file], _GroupFile).group:
            names = {(entry.name, scope) for scope in entry.scopes}
            if entry.id in found or names & named:
                raise CatalogError(file, f"group {entry.name!r}: its id, or its name in this scope, is taken")
            named |= names
            found[entry.id] = PermissionGroup(entry.id, entry.name, entry.scopes)
    return PermissionGroups(found.values())


def _reserved(prefix: tuple[bytes, ...]) -> tuple[tuple[bytes | None, ...], ...]:
    """Paths that are the token API's, in this version or a later one."""
    return (
        (*prefix, b"user", b"tokens"),
        (*prefix, b"accounts", None, b"tokens"),
        (*prefix, b"zonegate"),
    )


def load_catalog(
    files: Mapping[str, str], token_api: str, *, prefix: str, served: Collection[str], public_token_api: bool
) -> Catalog:
    """The catalogue that `files` (texts by path under `policies/`) make, or CatalogError.

    `token_api`: the text of our own API's file; `prefix`: where it lives; `served`: names of the APIs that have an
    upstream. Every file is checked; the routes of APIs without an upstream are left out.
    """
    groups = _read_groups(files)
    templates = read_templates(TEMPLATE_FILE, files[TEMPLATE_FILE], groups) if TEMPLATE_FILE in files else ()
    own, own_routes = read_api("token_api.toml", token_api, groups, prefix)
    ours = [("token_api.toml", route) for route in own_routes]
    apis: dict[str, Api] = {}
    routes: list[tuple[str, Route]] = []
    for file in sorted(files):
        path = PurePosixPath(file)
        if path.parts[:-1] != ("apis",) or path.suffix != ".toml":
            continue
        api, found = read_api(file, files[file], groups)
        if api.name != path.stem:
            raise CatalogError(file, f"name: is {api.name!r}, and the file is called {path.name!r}")
        if api.name == TOKEN_API:
            raise CatalogError(file, f"name: {TOKEN_API!r} is the token API's")
        for route in found:
            if any(overlaps(route, reserved) for reserved in _reserved(own.prefix)):
                raise CatalogError(file, f"route {route.text!r}: lies under a path of the token API")
        apis[api.name] = api
        routes += [(file, route) for route in found]
    for name in sorted(served):
        if name not in apis:
            known = ", ".join(sorted(apis)) or "none"
            raise CatalogError(f"apis/{name}.toml", f"missing, and [upstreams.{name}] is set; there are: {known}")
    RouteTable([*ours, *routes])  # of all files together, so that a clash is found whoever is served
    behind = [(file, route) for file, route in routes if route.api.name in served]
    return Catalog(
        groups=groups,
        templates=templates,
        apis=(own, *(apis[name] for name in sorted(served))),
        public=RouteTable([*(ours if public_token_api else []), *behind]),
        admin=RouteTable(ours),
    )
