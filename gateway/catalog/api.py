"""One fronted API: its file in `policies/apis/`, read strictly, and its routes, compiled (DESIGN 4)."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Final, Literal

import msgspec

from gateway.catalog.document import CatalogError, Gathered, read_document, read_table
from gateway.catalog.target import fault_in_segment
from gateway.tokens.grammar import Grammar, canonical_zone_name
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Account, Scope, Touched, User, Zone

ApiName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z")]
FieldName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")]
ANY_TOKEN: Final = "any-token"
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


# The file's form.


class _Resolver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    account: str
    name: str = ""
    ttl: Annotated[int, msgspec.Meta(ge=0)] = 300


class _Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: str
    zone: str = ""
    account: str = ""
    pages: str = ""


class _RouteEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    methods: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    path: str
    permission: tuple[str, ...] | str
    resource: str = ""
    filter: _Filter | None = None
    upgrade: tuple[Literal["websocket"], ...] = ()
    operation: str = ""
    reports: bool = False


class _ApiFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: ApiName
    prefix: str
    credential_headers: Annotated[tuple[FieldName, ...], msgspec.Meta(min_length=1)] = ("Authorization",)
    zone_key: Literal["id", "dns-name"] = "id"
    variables: dict[str, str] = {}
    forbid_query: tuple[str, ...] = ()
    resolver: dict[Literal["zone"], _Resolver] = {}
    route: tuple[dict[str, Any], ...] = ()
    """Each is a `_RouteEntry`, read alone."""


# The compiled form.


class Variable(msgspec.Struct, frozen=True):
    """A template's `{name}`: one whole segment of its grammar."""

    name: str
    grammar: Grammar


class Where(Enum):
    """What kind of thing a route works on, when no segment of its path names it."""

    SELF = "user:self"
    LISTED = "a list, cut down to what the token may see"
    NOWHERE = "no resource"


class Named(msgspec.Struct, frozen=True):
    """The route works on what a variable of its path names."""

    scope: Scope
    position: int
    """Index of the segment."""


class InBody(msgspec.Struct, frozen=True):
    """The route works on what the request's JSON body names: a zone, or an account whose zones it adds to."""

    kind: Literal["zone", "zones-of"]
    at: tuple[str, ...]
    """Keys from the body's root."""


class Resolver(msgspec.Struct, frozen=True):
    """How to ask the upstream in which account a zone lies."""

    path: tuple[bytes | Variable, ...]
    """Behind the upstream's base path; the one variable stands for the zone."""
    account: tuple[str, ...]
    """Keys from the answer's root."""
    name: tuple[str, ...]
    """The same for the zone's name; empty: the answer has none."""
    ttl: int
    """Seconds."""


class Filter(msgspec.Struct, frozen=True):
    """Where a list says of each item what it is: keys, of `items` from the answer's root, of the rest from the item."""

    items: tuple[str, ...]
    """Empty: the answer itself is the list."""
    zone: tuple[str, ...]
    account: tuple[str, ...]
    """Empty: not told."""
    pages: tuple[str, str] | None
    """Query parameters: which page, and how many items a page."""


class Api(msgspec.Struct, frozen=True):
    """What is common to the routes of one file."""

    name: str
    prefix: tuple[bytes, ...]
    credential_fields: frozenset[str]
    """Lower case."""
    zone_key: Literal["id", "dns-name"]
    forbid_query: frozenset[bytes]
    """Lower case."""
    resolver: Resolver | None = None

    def zone(self, name: str) -> Zone:
        """The zone that this API calls `name`, as policies compare it."""
        return Zone(canonical_zone_name(name) if self.zone_key == "dns-name" else name)


class Route(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Methods and path -> permission groups (any of) + resource.

    It is equal to itself alone, so that an answer remembered for a route never outlives the catalogue it is of, and so
    that looking one up does not hash all that is in it. `gc=False`: it leads back to nobody, and what is remembered by
    it need not be walked through either.
    """

    api: Api
    methods: tuple[str, ...]
    template: tuple[bytes | Variable, ...]
    """All segments, the API's prefix among them."""
    text: str
    """The template as written, for people."""
    scope: Scope | None
    groups: tuple[PermissionGroup, ...]
    """Any of these opens the route; empty: any token."""
    opened_by: tuple[frozenset[str], ...]
    """For each of `groups`, the ids that give it in a policy: its own, and All Permissions of the scope."""
    where: Where | Named | InBody
    operation: str = ""
    """What the token API does here; "" for a route that is forwarded."""
    reports: bool = False
    """Its body reports leaked secrets: who shows one that it reports has proved that he has it, and needs no more."""
    websocket: bool = False
    """A GET may ask to become a WebSocket, and is a tunnel from then on; else its `Upgrade` is dropped."""
    filter: Filter | None = None
    """Of a list (`Where.LISTED`), and of nothing else."""
    key: str = ""
    """Where it stands in its file: `route[3]`."""

    @property
    def permissions(self) -> tuple[str, ...]:
        """Names of the groups that open the route."""
        return tuple(group.name for group in self.groups)

    def naming(self, segments: tuple[bytes, ...]) -> bytes:
        """The segment that names what a request touches; empty where none does."""
        return segments[self.where.position] if isinstance(self.where, Named) else b""

    def touched(self, segments: tuple[bytes, ...], user_id: str | None) -> Touched | None:
        """What a request for `segments` touches; None when the path alone does not say."""
        match self.where:
            case Named():
                value = self.naming(segments).decode("ascii")
                if self.where.scope is Scope.ZONE:
                    return self.api.zone(value)
                return Account(value) if self.where.scope is Scope.ACCOUNT else User(value)
            case Where.SELF if user_id is not None:
                return User(user_id)
            case _:
                return None


_TEMPLATE_VARIABLE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_RESOURCE: Final = re.compile(r"(zone|account|user|zones-of):(.+)")
_BODY: Final = re.compile(r"\{body\.([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)\}")
_KEYS: Final = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*", re.ASCII)
_PAGES: Final = re.compile(r"([A-Za-z0-9_]+)/([A-Za-z0-9_]+)", re.ASCII)
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_ROUTE_KEYS: Final = frozenset(_RouteEntry.__struct_fields__)
_SCOPES: Final = {"zone": Scope.ZONE, "zones-of": Scope.ZONE, "account": Scope.ACCOUNT, "user": Scope.USER}


class _Compiler:
    """One file's compilation: it knows where it is, so that each error can say so."""

    def __init__(self, file: str, api: _ApiFile, groups: PermissionGroups) -> None:
        self.file = file
        self.source = api
        self.groups = groups
        self.at = ""
        self.grammars = {name: self.grammar(name, text) for name, text in api.variables.items()}
        self.api = Api(
            name=api.name,
            prefix=self.prefix(),
            credential_fields=frozenset(name.lower() for name in api.credential_headers),
            zone_key=api.zone_key,
            forbid_query=frozenset(name.lower().encode() for name in api.forbid_query),
            resolver=self.resolver(),
        )

    def grammar(self, name: str, text: str) -> Grammar:
        try:
            return Grammar(text)
        except ValueError:
            raise self.fail(f"variables.{name}: {text!r} is not one of {' '.join(Grammar)}") from None

    def fail(self, message: str, entry: _RouteEntry | None = None) -> CatalogError:
        """The error that says `message`, which starts with the key that is meant, if there is one."""
        key = message.partition(": ")[0]
        if entry is None:
            return CatalogError(self.file, message, key)
        where = f"route {'/'.join(entry.methods)} {entry.path!r}: "
        return CatalogError(self.file, where + message, f"{self.at}.{key}" if key in _ROUTE_KEYS else self.at)

    def prefix(self) -> tuple[bytes, ...]:
        prefix = self.segments(self.source.prefix, "prefix")
        for segment in prefix:
            if fault := fault_in_segment(segment):
                raise self.fail(f"prefix: {fault}")
        return prefix

    def segments(self, path: str, key: str, entry: _RouteEntry | None = None) -> tuple[bytes, ...]:
        if path == "":
            return ()
        if not path.startswith("/") or not path.isascii():
            raise self.fail(f'{key}: a path starts with "/", and is ASCII', entry)
        return tuple(segment.encode() for segment in path[1:].split("/"))

    def template(
        self, segments: tuple[bytes, ...], key: str, entry: _RouteEntry | None = None
    ) -> Iterator[bytes | Variable]:
        for raw in segments:
            segment = raw.decode()
            if found := _TEMPLATE_VARIABLE.fullmatch(segment):
                name = found[1]
                if name not in self.grammars:
                    raise self.fail(f"{key}: {{{name}}} is not among the variables", entry)
                yield Variable(name, self.grammars[name])
            elif fault := fault_in_segment(raw):
                raise self.fail(f"{key}: {fault}", entry)
            else:
                yield raw

    def keys(self, text: str, key: str, entry: _RouteEntry | None = None) -> tuple[str, ...]:
        """`result.account.id` split; empty for an empty text."""
        if text and not _KEYS.fullmatch(text):
            raise self.fail(f"{key}: names of members with dots between them, such as result.account.id", entry)
        return tuple(text.split(".")) if text else ()

    def resolver(self) -> Resolver | None:
        source = self.source.resolver.get("zone")
        if source is None:
            return None
        path = tuple(self.template(self.segments(source.path, "resolver.zone.path"), "resolver.zone.path"))
        if len([segment for segment in path if isinstance(segment, Variable)]) != 1:
            raise self.fail("resolver.zone.path: has one variable, which stands for the zone")
        account = self.keys(source.account, "resolver.zone.account")
        if not account:
            raise self.fail("resolver.zone.account: where the answer says the account")
        return Resolver(path, account, self.keys(source.name, "resolver.zone.name"), source.ttl)

    def where(
        self, entry: _RouteEntry, template: tuple[bytes | Variable, ...]
    ) -> tuple[Scope | None, Where | Named | InBody]:
        if entry.permission == ANY_TOKEN:
            if entry.resource:
                raise self.fail("resource: any-token needs none", entry)
            if entry.filter is not None:
                raise self.fail("filter: stands with zone:* and account:*, not with any-token", entry)
            return None, Where.NOWHERE
        found = _RESOURCE.fullmatch(entry.resource)
        if found is None:
            raise self.fail(
                "resource: one of zone:{variable} account:{variable} user:self zone:* account:* "
                "zone:{body.field} zones-of:{body.field}",
                entry,
            )
        kind, name = found[1], found[2]
        scope = _SCOPES[kind]
        if (name == "*") != (entry.filter is not None) or (name == "*" and kind not in ("zone", "account")):
            raise self.fail("resource: zone:* and account:* stand with filter, and filter with them", entry)
        if name == "*":
            return scope, Where.LISTED
        if kind == "user" and name == "self":
            return scope, Where.SELF
        if (keys := _BODY.fullmatch(name)) and scope is Scope.ZONE:
            if not _WITH_BODY.issuperset(entry.methods):
                raise self.fail(f"methods: a body names the resource only of {' '.join(sorted(_WITH_BODY))}", entry)
            return scope, InBody("zone" if kind == "zone" else "zones-of", tuple(keys[1].split(".")))
        return scope, Named(scope, self.position(name, kind, entry, template))

    def position(self, name: str, kind: str, entry: _RouteEntry, template: tuple[bytes | Variable, ...]) -> int:
        variable = _TEMPLATE_VARIABLE.fullmatch(name)
        if variable is None or kind == "zones-of":
            raise self.fail(f"resource: {name!r} names nothing", entry)
        places = [
            index
            for index, segment in enumerate(template)
            if isinstance(segment, Variable) and segment.name == variable[1]
        ]
        if len(places) != 1:
            raise self.fail(f"resource: {{{variable[1]}}} stands {len(places)} times in the path", entry)
        grammar = self.grammars[variable[1]]
        if grammar is Grammar.DNS_NAME and (kind != "zone" or self.source.zone_key != "dns-name"):
            raise self.fail(
                'resource: a variable that is a dns-name names a zone, and takes zone_key = "dns-name"', entry
            )
        return places[0]

    def filter(self, entry: _RouteEntry, scope: Scope | None) -> Filter | None:
        source = entry.filter
        if source is None:
            return None
        if entry.methods != ("GET",):
            raise self.fail("filter: only the answer to a GET is a list", entry)
        zone, account = self.keys(source.zone, "filter", entry), self.keys(source.account, "filter", entry)
        if scope is Scope.ZONE and not zone:
            raise self.fail("filter: zone says where an item of zone:* names its zone", entry)
        if scope is Scope.ACCOUNT and (zone or not account):
            raise self.fail(
                "filter: account says where an item of account:* names its account, and zone is not set", entry
            )
        pages = _PAGES.fullmatch(source.pages)
        if source.pages and pages is None:
            raise self.fail('filter: pages are two names of query parameters, such as "page/per_page"', entry)
        return Filter(
            items=self.keys(source.items, "filter", entry),
            zone=zone,
            account=account,
            pages=(pages[1], pages[2]) if pages else None,
        )

    def permissions(self, entry: _RouteEntry, scope: Scope | None) -> tuple[PermissionGroup, ...]:
        if scope is None:
            return ()
        if isinstance(entry.permission, str) or not entry.permission:
            raise self.fail(f'permission: a list of permission groups, or "{ANY_TOKEN}"', entry)
        return tuple(self.permission(name, scope, entry) for name in entry.permission)

    def permission(self, name: str, scope: Scope, entry: _RouteEntry) -> PermissionGroup:
        by_id = name.startswith("id:")
        group = self.groups.get(name.removeprefix("id:")) if by_id else self.groups.named(name, scope)
        if group is None or scope not in group.scopes:
            raise self.fail(f"permission: there is no permission group {name!r} on {scope.a_word}", entry)
        return group

    def websocket(self, entry: _RouteEntry, where: Where | Named | InBody) -> bool:
        if not entry.upgrade:
            return False
        if "GET" not in entry.methods:
            raise self.fail(
                "upgrade: a WebSocket begins with GET (RFC 6455 4.1), which is not among the methods", entry
            )
        if entry.operation:
            raise self.fail("upgrade: the token API's own routes have none", entry)
        if where is Where.LISTED:
            raise self.fail("upgrade: a WebSocket has no list to filter", entry)
        return True

    def route(self, entry: _RouteEntry, *, ours: bool) -> Route:
        if bool(entry.operation) != ours:
            raise self.fail("operation: only the token API's own routes have one", entry)
        if entry.reports and entry.permission != ANY_TOKEN:
            raise self.fail("reports: of a route for any-token alone", entry)
        if entry.reports and not ours:
            raise self.fail("reports: only the token API's own routes have it", entry)
        for method in entry.methods:
            if method not in METHODS:
                raise self.fail(f"methods: {method!r} is not one of {' '.join(sorted(METHODS))}", entry)
        segments = (*self.api.prefix, *self.segments(entry.path, "path", entry))
        template = tuple(self.template(segments, "path", entry))
        scope, where = self.where(entry, template)
        groups = self.permissions(entry, scope)
        return Route(
            api=self.api,
            methods=entry.methods,
            template=template,
            text=self.source.prefix + entry.path,
            scope=scope,
            groups=groups,
            opened_by=tuple(self.groups.standing_for(group, scope) for group in groups if scope is not None),
            where=where,
            operation=entry.operation,
            reports=entry.reports,
            websocket=self.websocket(entry, where),
            filter=self.filter(entry, scope),
            key=self.at,
        )


def read_api(
    file: str, text: str, groups: PermissionGroups, prefix: str | None = None
) -> tuple[Api, tuple[Route, ...]]:
    """The API that `file` describes, and its routes. The error has the faults of all routes.

    `prefix`: for the token API, whose prefix is a setting; only its routes may name an operation.
    """
    gathered = Gathered({file: text})
    found = compile_api(file, text, groups, gathered, prefix)
    gathered.end()
    return found


def compile_api(
    file: str, text: str, groups: PermissionGroups, gathered: Gathered, prefix: str | None = None
) -> tuple[Api, tuple[Route, ...]]:
    """As `read_api`, but what is wrong with single routes goes into `gathered`, and the others are told."""
    source = read_document(file, text, _ApiFile)
    if prefix is not None:
        source = msgspec.structs.replace(source, prefix=prefix)
    compiler = _Compiler(file, source, groups)
    routes = []
    for index, table in enumerate(source.route):
        with gathered.faults():
            compiler.at = f"route[{index}]"
            entry = read_table(file, table, _RouteEntry, compiler.at)
            routes.append(compiler.route(entry, ours=prefix is not None))
    return compiler.api, tuple(routes)
