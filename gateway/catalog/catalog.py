"""The whole of `policies/`, read and checked in one go."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

import msgspec

from gateway.catalog.api import Api, Route, compile_api
from gateway.catalog.document import CatalogError, Gathered, parse_toml, read_document, read_table
from gateway.catalog.route_table import RouteTable, overlaps
from gateway.catalog.template import Template, read_templates
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Scope

GROUP_FILES: Final = ("permission_groups.toml", "zonegate_groups.toml")
TEMPLATE_FILE: Final = "templates.toml"
TOKEN_API: Final = "zonegate"
"""Name of the API that is ours; its file is part of the package, not of `policies/`."""
TOKEN_API_FILE: Final = "token_api.toml"


class _GroupEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    name: Annotated[str, msgspec.Meta(pattern=r"^[!-~](?:[ -~]{0,118}[!-~])?\Z")]  # it goes into a header
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]


class _GroupFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: tuple[dict[str, Any], ...] = ()
    """Each is a `_GroupEntry`, read alone."""


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


class _GroupReader:
    """Reads the files of groups one after the other: an id, and a name in a scope, stand once in all of them."""

    def __init__(self, gathered: Gathered) -> None:
        self.found: dict[str, PermissionGroup] = {}
        self._gathered = gathered
        self._named: set[tuple[str, Scope]] = set()

    def read(self, file: str, text: str | None) -> None:
        """All good groups of `file` are among those found."""
        if text is None:
            raise CatalogError(file, "missing")
        for index, table in enumerate(read_document(file, text, _GroupFile).group):
            with self._gathered.faults():
                self._add(file, f"group[{index}]", table)

    def _add(self, file: str, key: str, table: dict[str, Any]) -> None:
        entry = read_table(file, table, _GroupEntry, key)
        names = {(entry.name, scope) for scope in entry.scopes}
        if entry.id in self.found or names & self._named:
            raise CatalogError(file, f"group {entry.name!r}: its id, or its name in this scope, is taken", key)
        self._named |= names
        self.found[entry.id] = PermissionGroup(entry.id, entry.name, entry.scopes)


def _read_groups(files: Mapping[str, str], gathered: Gathered) -> PermissionGroups | None:
    """The groups of all files; None where a file is not there or no TOML: what needs its groups cannot be judged."""
    reader = _GroupReader(gathered)
    read = 0
    for file in GROUP_FILES:
        with gathered.faults():
            reader.read(file, files.get(file))
            read += 1
    return PermissionGroups(reader.found.values()) if read == len(GROUP_FILES) else None


def reserved_paths(prefix: tuple[bytes, ...]) -> tuple[tuple[bytes | None, ...], ...]:
    """Paths that are the token API's, in this version or a later one."""
    return (
        (*prefix, b"user", b"tokens"),
        (*prefix, b"accounts", None, b"tokens"),
        (*prefix, b"zonegate"),
    )


class _ApiReader:
    """Reads the APIs, ours first; what lies under our own paths is a fault."""

    def __init__(self, groups: PermissionGroups, gathered: Gathered) -> None:
        self.apis: dict[str, Api] = {}
        self.routes: list[tuple[str, Route]] = []
        self._groups = groups
        self._gathered = gathered

    def read(self, file: str, text: str, own: Api) -> None:
        """The API of `file`, and its good routes, are among those found."""
        api, found = compile_api(file, text, self._groups, self._gathered)
        stem = PurePosixPath(file).stem
        if api.name != stem:
            raise CatalogError(file, f"name: is {api.name!r}, and the file is called {stem + '.toml'!r}", "name")
        if api.name == TOKEN_API:
            raise CatalogError(file, f"name: {TOKEN_API!r} is the token API's", "name")
        for route in found:
            if any(overlaps(route, reserved) for reserved in reserved_paths(own.prefix)):
                with self._gathered.faults():
                    raise CatalogError(file, f"route {route.text!r}: lies under a path of the token API", route.key)
            else:
                self.routes.append((file, route))
        self.apis[api.name] = api


def api_files(files: Iterable[str]) -> list[str]:
    """Those of `files` that describe an API, in their order."""
    paths = [PurePosixPath(file) for file in sorted(files)]
    return [str(path) for path in paths if path.parts[:-1] == ("apis",) and path.suffix == ".toml"]


def load_catalog(
    files: Mapping[str, str], token_api: str, *, prefix: str, served: Collection[str], public_token_api: bool
) -> Catalog:
    """The catalogue that `files` (texts by path under `policies/`) make, or CatalogError with all faults of all files.

    `token_api`: the text of our own API's file; `prefix`: where it lives; `served`: names of the APIs that have an
    upstream. Every file is checked; the routes of APIs without an upstream are left out.
    """
    gathered = Gathered({**files, TOKEN_API_FILE: token_api})
    groups = _read_groups(files, gathered)
    if groups is None:
        for file in [*api_files(files), *({TEMPLATE_FILE} & files.keys())]:
            with gathered.faults():
                parse_toml(file, files[file])
        raise gathered.error()
    templates: tuple[Template, ...] = ()
    if TEMPLATE_FILE in files:
        with gathered.faults():
            templates = read_templates(TEMPLATE_FILE, files[TEMPLATE_FILE], groups)
    reader = _ApiReader(groups, gathered)
    own, own_routes = compile_api(TOKEN_API_FILE, token_api, groups, gathered, prefix)
    ours = [(TOKEN_API_FILE, route) for route in own_routes]
    for file in api_files(files):
        with gathered.faults():
            reader.read(file, files[file], own)
    apis, routes = reader.apis, reader.routes
    for name in sorted(served):
        if name not in apis and f"apis/{name}.toml" not in files:
            known = ", ".join(sorted(apis)) or "none"
            with gathered.faults():
                raise CatalogError(f"apis/{name}.toml", f"missing, and [upstreams.{name}] is set; there are: {known}")
    with gathered.faults():
        RouteTable([*ours, *routes])  # of all files together, so that a clash is found whoever is served
    gathered.end()
    behind = [(file, route) for file, route in routes if route.api.name in served]
    return Catalog(
        groups=groups,
        templates=templates,
        apis=(own, *(apis[name] for name in sorted(served))),
        public=RouteTable([*(ours if public_token_api else []), *behind]),
        admin=RouteTable(ours),
    )
