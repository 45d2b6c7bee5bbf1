"""Routes out of an OpenAPI 3 document: what it says for certain, and a list of what it does not. No I/O.

A document is a stranger's: it may be huge, broken, or go round in circles. Of it are looked at the paths, the names of
their methods, `x-api-token-group`, and path parameters; of `$ref` those within the document, a few steps far. What
cannot be decided is left out, since what no route opens stays closed.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import yaml

from gateway.catalog.api import METHODS
from gateway.catalog.target import fault_in_segment
from gateway.tokens.grammar import Grammar
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Scope

GROUPS_KEY: Final = "x-api-token-group"
NAMES: Final[Mapping[str, str]] = {
    "zone_id": "zone",
    "zone_identifier": "zone",
    "zone_tag": "zone",
    "account_id": "account",
    "account_identifier": "account",
    "account_tag": "account",
    "user_id": "user",
    "user_identifier": "user",
}
"""Path parameters that name what is touched: in the document `zone_id`, `zoneId`, `zone-id` are one."""
_SCOPES: Final = {"zone": Scope.ZONE, "account": Scope.ACCOUNT, "user": Scope.USER}
_OPERATIONS: Final = ("get", "post", "put", "patch", "delete", "options", "head", "trace")
_PARAMETER: Final = re.compile(r"\{([^{}/]{1,100})\}")
_WORD_BEGINS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_HEX_PATTERN: Final = re.compile(r"\^?\[(?:0-9a-f|a-f0-9)\]\{32\}\$?")
_MOST_STEPS: Final = 16
_ID_DIGITS: Final = "32"

Shape = tuple[str | None, ...]
"""A path's segments; None is a parameter."""


class NotOpenApi(Exception):  # noqa: N818 - it is said to a person
    """The document cannot be read. One line."""


class _Undecided(Exception):  # noqa: N818 - it is said to a person
    """Why there is no route for an operation."""


class LeftOut(msgspec.Struct, frozen=True):
    """An operation that stays closed, and why."""

    method: str
    path: str
    why: str


class ImportedRoute(msgspec.Struct, frozen=True):
    """Methods of one path that are opened by the same groups."""

    methods: tuple[str, ...]
    path: str
    permission: tuple[str, ...]
    resource: str


class Imported(msgspec.Struct, frozen=True):
    """What a document comes to."""

    title: str
    prefix: str
    variables: Mapping[str, Grammar]
    routes: tuple[ImportedRoute, ...]
    left_out: tuple[LeftOut, ...]
    operations: int


def is_json(text: bytes) -> bool:
    """Whether `text` looks like a JSON document; else it is YAML."""
    return text.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"


def parse_openapi(text: str) -> dict[str, Any]:
    """The OpenAPI 3 document that `text` (JSON, or YAML) is. Raises NotOpenApi."""
    try:
        # Of YAML every scalar stays a text: no tag, no merge key and no number is obeyed.
        value = msgspec.json.decode(text) if is_json(text[:4096].encode()) else yaml.load(text, Loader=yaml.CBaseLoader)  # noqa: S506
    except msgspec.DecodeError as error:
        raise NotOpenApi(f"not JSON: {error}") from None
    except yaml.MarkedYAMLError as error:
        at = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise NotOpenApi(f"not YAML: {error.problem}{at}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise NotOpenApi(f"not YAML: {error}") from None
    except RecursionError:
        raise NotOpenApi("it is nested too deeply") from None
    version = value.get("openapi") if isinstance(value, dict) else None
    if not isinstance(version, str) or not version.startswith("3."):
        raise NotOpenApi('not an OpenAPI 3 document: it has no `openapi: "3..."`')
    if not isinstance(value.get("paths", {}), dict):
        raise NotOpenApi("paths: not an object")
    document: dict[str, Any] = value
    return document


def prefix_of(document: Mapping[str, Any]) -> str:
    """The path of the first server's URL; "" where it has none, or one that is filled in."""
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, dict) else None
    try:
        path = urlsplit(url).path.rstrip("/") if isinstance(url, str) else ""
    except ValueError:
        return ""
    return "" if fault_in_prefix(path) else path


def fault_in_prefix(prefix: str) -> str | None:
    """What is wrong with a prefix, or None."""
    if not prefix:
        return None
    if not prefix.startswith("/") or not prefix.isascii():
        return 'a prefix starts with "/", and is ASCII'
    return next((fault for segment in prefix[1:].split("/") if (fault := fault_in_segment(segment.encode()))), None)


def import_openapi(  # noqa: PLR0913 - the document, and what is there already
    document: Mapping[str, Any],
    groups: PermissionGroups,
    prefix: str,
    taken: Mapping[tuple[Shape, str], str],
    reserved: Sequence[Shape],
    *,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> Imported:
    """The routes of `document` behind `prefix`.

    `taken`: shapes and methods that other APIs' routes have, and whose; `reserved`: shapes under which nobody's lie;
    `progress` is told how many paths are done, and of how many.
    """
    return _Importer(document, groups, prefix, taken, reserved).all(progress)


class _Importer:
    """One document on its way to routes."""

    def __init__(
        self,
        document: Mapping[str, Any],
        groups: PermissionGroups,
        prefix: str,
        taken: Mapping[tuple[Shape, str], str],
        reserved: Sequence[Shape],
    ) -> None:
        self.document = document
        self.groups = groups
        self.prefix = prefix
        self.taken = dict(taken)
        self.reserved = reserved
        self.variables: dict[str, Grammar] = {}
        self.left_out: list[LeftOut] = []
        self.operations = 0

    def all(self, progress: Callable[[int, int], None]) -> Imported:
        found: list[ImportedRoute] = []
        paths = self.document.get("paths", {})
        for count, (path, item) in enumerate(paths.items()):
            progress(count, len(paths))
            found += self.routes(path, item)
        info = self.document.get("info")
        title = info.get("title", "") if isinstance(info, dict) else ""
        return Imported(
            title=str(title),
            prefix=self.prefix,
            variables=self.variables,
            routes=tuple(found),
            left_out=tuple(self.left_out),
            operations=self.operations,
        )

    def routes(self, path: str, item: object) -> Iterator[ImportedRoute]:
        """Those of one path: methods that are opened by the same groups stand in one route."""
        if not path.startswith("/"):  # an extension, `x-...`
            return
        try:
            item = self.followed(item)
        except _Undecided as why:
            self.leave_out("*", path, str(why))
            return
        if not isinstance(item, dict):
            self.leave_out("*", path, "it is not an object")
            return
        opened: dict[tuple[tuple[str, ...], str, str], list[str]] = {}
        for name in _OPERATIONS:
            if name not in item or (name == "head" and "get" in item):  # a GET route serves HEAD too
                continue
            self.operations += 1
            method = name.upper()
            try:
                route = self.route(method, path, item, item[name])
            except _Undecided as why:
                self.leave_out(method, path, str(why))
            else:
                opened.setdefault(route, []).append(method)
        for (permission, resource, text), methods in opened.items():
            yield ImportedRoute(tuple(methods), text, permission, resource)

    def leave_out(self, method: str, path: str, why: str) -> None:
        self.left_out.append(LeftOut(method, path, why))

    def route(
        self, method: str, path: str, item: Mapping[str, Any], operation: object
    ) -> tuple[tuple[str, ...], str, str]:
        """Permission, resource, and path as routes have it."""
        if method not in METHODS:
            raise _Undecided(f"no route is for {method}")
        if not isinstance(operation, dict):
            raise _Undecided("it is not an object")
        segments = self.segments(path)
        resource, scope = self.resource(segments)
        permission = tuple(dict.fromkeys(group.name for group in self.opening(operation, scope)))
        self.claim(method, segments)
        grammars = self.grammars(item, operation)
        for segment in segments:
            if isinstance(segment, _Parameter):
                self.note(segment.name, grammars.get(segment.written, Grammar.NAME))
        return permission, resource, "".join(f"/{segment}" for segment in segments)

    def segments(self, path: str) -> list["str | _Parameter"]:
        found: list[str | _Parameter] = []
        for text in path[1:].split("/"):
            whole = _PARAMETER.fullmatch(text)
            if whole is None and ("{" in text or "}" in text):
                raise _Undecided("a parameter is not a whole segment")
            if whole is None:
                if not text.isascii() or (fault := fault_in_segment(text.encode())):
                    raise _Undecided(f"path: {fault if text.isascii() else 'not ASCII'}")
                found.append(text)
                continue
            name = _spelt_as_variable(whole[1])
            if name is None:
                raise _Undecided("a parameter has no name that a variable could have")
            found.append(_Parameter(whole[1], name))
        return found

    def resource(self, segments: Sequence["str | _Parameter"]) -> tuple[str, Scope]:
        naming = [segment.name for segment in segments if isinstance(segment, _Parameter) and segment.name in NAMES]
        if len(naming) > 1:
            raise _Undecided(f"{' and '.join(naming)} both name what it touches")
        if naming:
            kind = NAMES[naming[0]]
            return f"{kind}:{{{naming[0]}}}", _SCOPES[kind]
        if segments[0] == "user":
            return "user:self", Scope.USER
        raise _Undecided("no parameter names a zone, an account or a user")

    def opening(self, operation: Mapping[str, Any], scope: Scope) -> list[PermissionGroup]:
        said = operation.get(GROUPS_KEY)
        names = [said] if isinstance(said, str) else said
        if not isinstance(names, list) or not names:
            raise _Undecided(f"no {GROUPS_KEY} says what opens it")
        found = [self.groups.named(name, scope) for name in names if isinstance(name, str)]
        known = [group for group in found if group is not None]
        if not known:
            raise _Undecided(f"{GROUPS_KEY} names no permission group on {scope.a_word}")
        return known

    def claim(self, method: str, segments: Sequence["str | _Parameter"]) -> None:
        shape = shape_of(f"{self.prefix}/{'/'.join(map(str, segments))}")
        if any(_lies_under(shape, reserved) for reserved in self.reserved):
            raise _Undecided("it lies under a path of the token API")
        if other := self.taken.get((shape, method)):
            raise _Undecided(f"{other} has the same shape and method")
        self.taken[shape, method] = "another path of this document"

    def note(self, name: str, grammar: Grammar) -> None:
        """A variable has one grammar in a file: the wider of two."""
        if self.variables.get(name) is not Grammar.NAME:
            self.variables[name] = grammar

    def grammars(self, item: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Grammar]:
        """Of the path parameters, by the name that the document has for them."""
        found = {}
        for parameters in (item.get("parameters"), operation.get("parameters")):
            for each in parameters if isinstance(parameters, list) else ():
                try:
                    parameter = self.followed(each)
                    schema = self.followed(parameter.get("schema")) if isinstance(parameter, dict) else None
                except _Undecided:
                    continue  # what it may be is not known: a name
                if isinstance(parameter, dict) and parameter.get("in") == "path":
                    found[str(parameter.get("name"))] = _grammar(schema)
        return found

    def followed(self, value: object) -> object:
        """What `value` is, or stands at the end of its `$ref`s."""
        for _ in range(_MOST_STEPS):
            if not isinstance(value, dict) or "$ref" not in value:
                return value
            value = self.at(value["$ref"])
        raise _Undecided("its $ref leads round in a circle, or too far")

    def at(self, reference: object) -> object:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _Undecided("its $ref leads out of the document")
        value: object = self.document
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")  # RFC 6901 4
            if not isinstance(value, dict) or name not in value:
                raise _Undecided("its $ref leads nowhere")
            value = value[name]
        return value


class _Parameter(msgspec.Struct, frozen=True):
    """A whole segment `{written}`, which is called `name` here."""

    written: str
    name: str

    def __str__(self) -> str:
        return f"{{{self.name}}}"


def shape_of(path: str) -> Shape:
    """The shape of a path that starts with "/"."""
    return tuple(None if _PARAMETER.fullmatch(text) else text for text in path[1:].split("/"))


def _lies_under(shape: Shape, reserved: Shape) -> bool:
    """Whether some path of `shape` lies at or under `reserved`. A parameter may be any word: wider than its grammar."""
    return len(shape) >= len(reserved) and all(
        segment is None or name is None or segment == name for segment, name in zip(shape, reserved, strict=False)
    )


def _spelt_as_variable(written: str) -> str | None:
    """`zoneId`, `zone-id` as `zone_id`."""
    name = _OTHER.sub("_", _WORD_BEGINS.sub("_", written).lower()).strip("_")
    return name if name[:1].isalpha() else None


def _grammar(schema: object) -> Grammar:
    """`id` where the schema says 32 characters or hex digits, else the wider `name`."""
    if not isinstance(schema, dict):
        return Grammar.NAME
    pattern = schema.get("pattern")
    is_hex = isinstance(pattern, str) and _HEX_PATTERN.fullmatch(pattern) is not None
    return Grammar.ID if is_hex or str(schema.get("maxLength")) == _ID_DIGITS else Grammar.NAME


def write_api(name: str, imported: Imported) -> str:
    """The file of the API: `policies/apis/NAME.toml`."""
    variables = ", ".join(f"{variable} = {json.dumps(grammar)}" for variable, grammar in imported.variables.items())
    lines = [
        "# Made from an OpenAPI document. Read it before you serve it: a route that is missing is closed, one that is",
        "# there is as open as the document says.",
        "",
        f"name = {json.dumps(name)}",
        f"prefix = {json.dumps(imported.prefix)}",
        f"variables = {{ {variables} }}" if variables else "variables = {}",
    ]
    for route in imported.routes:
        lines += [
            "",
            "[[route]]",
            f"methods = {json.dumps(route.methods)}",
            f"path = {json.dumps(route.path)}",
            f"permission = {json.dumps(route.permission)}",
            f"resource = {json.dumps(route.resource)}",
        ]
    return "\n".join(lines) + "\n"
