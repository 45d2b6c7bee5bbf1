"""The description of our own API (OpenAPI 3.1), made from its routes, the types of `wire.py` and the table of refusals.

`OPERATIONS` says of each operation what no route can: what it takes and gives, and why else it may say no. An operation
without a row is an error at the start.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec

from gateway import __version__
from gateway.admin import wire
from gateway.admin.query import LEAST_PER_PAGE, MOST_ENTRIES, MOST_PER_PAGE
from gateway.catalog.api import Route, Variable
from gateway.reason import JSON_FIELDS, READS, REFUSALS, Answer, Deny, Reason, refuse
from gateway.server.ports import Pages
from gateway.tokens.grammar import Grammar
from gateway.tokens.owner import OwnerKind

PATH: Final = b"/openapi.json"
_REF: Final = "#/components/schemas/{name}"
_ALWAYS: Final = (
    Reason.BAD_REQUEST,
    Reason.MALFORMED_CREDENTIALS,
    Reason.MISSING_CREDENTIALS,
    Reason.UNKNOWN_TOKEN,
    Reason.TOKEN_DISABLED,
    Reason.TOKEN_EXPIRED,
    Reason.TOKEN_NOT_YET_VALID,
    Reason.IP_DENIED,
    Reason.FORBIDDEN,
    Reason.NO_ROUTE,
    Reason.METHOD_NOT_ALLOWED,
    Reason.REQUEST_TIMEOUT,
    Reason.BODY_TOO_LARGE,
    Reason.RATE_LIMITED,
    Reason.HEAD_TOO_LARGE,
    Reason.UNSUPPORTED_FRAMING,
    Reason.STORE_UNAVAILABLE,
    Reason.FROZEN,
    Reason.OVERLOADED,
    Reason.DRAINING,
    Reason.INTERNAL_ERROR,
)
"""What each operation may be refused for: the head, the credential, the moment."""
_FINDS: Final = (Reason.NOT_FOUND,)
_CHANGES: Final = (Reason.NOT_REPLICATED, Reason.PRECONDITION_FAILED)
_GIVES: Final = (*_CHANGES, Reason.INVALID_BODY, Reason.EXCEEDS_CALLER)

Schema = dict[str, Any]


class Parameter(msgspec.Struct, frozen=True):
    """One of the query, or a field of the head."""

    name: str
    schema: Schema
    description: str
    where: str = "query"

    def shown(self) -> Schema:
        """As OpenAPI has it."""
        return {"name": self.name, "in": self.where, "schema": self.schema, "description": self.description}


class Described(msgspec.Struct, frozen=True):
    """An operation: what it takes and gives. `lists`: `result` is an array of it, with `info` beside it."""

    summary: str
    gives: Any
    takes: Any = None
    body_required: bool = True
    lists: bool = False
    info: type | None = None
    parameters: tuple[Parameter, ...] = ()
    reasons: tuple[Reason, ...] = ()


class ListInfo(msgspec.Struct, frozen=True):
    """Which page of how many it is."""

    page: int
    per_page: int
    count: int
    total_count: int
    total_pages: int


class AuditInfo(msgspec.Struct, frozen=True):
    """Where the page ends (`cursor`, missing at the end), and where what comes later will stand (`newest`)."""

    page: int
    per_page: int
    count: int
    cursor: str | msgspec.UnsetType = msgspec.UNSET
    cursors: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    newest: str | msgspec.UnsetType = msgspec.UNSET


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


_DIRECTION: Final = Parameter("direction", {"type": "string", "enum": ["asc", "desc"]}, "Oldest or newest first")
_PAGES: Final = (
    Parameter("page", _whole(1, 999_999_999), "Which page"),
    Parameter("per_page", _whole(LEAST_PER_PAGE, MOST_PER_PAGE), "Items a page"),
    _DIRECTION,
)
_KIND: Final = Parameter("kind", {"type": "string", "enum": [str(kind) for kind in OwnerKind]}, "Where ids repeat")
_IF_MATCH: Final = Parameter(
    "If-Match",
    {"type": "string", "pattern": "^[!-~]+$"},
    "Change it only if it still is the one of this ETag",
    "header",
)

_ZONE: Final = "023e105f4ecef8ad9ca31a8372d0c353"
_ACCOUNT: Final = "eb78d65290b24279ba6f44721b3ea3c4"
_DNS_WRITE: Final = "4755a26eedb94da69e1066d98aa820be"
_POLICY: Final[Schema] = {
    "effect": "allow",
    "permission_groups": [{"id": _DNS_WRITE, "name": "DNS Write"}],
    "resources": {f"com.cloudflare.api.account.zone.{_ZONE}": "*"},
}
_EXAMPLES: Final[Mapping[type, Schema]] = MappingProxyType(
    {
        wire.TokenBody: {
            "name": "certbot",
            "policies": [_POLICY],
            "condition": {"request_ip": {"in": ["192.0.2.0/24", "2001:db8::/48"]}},
            "limits": {"requests": 1200, "period": 300},
        },
        wire.RollBody: {"overlap": 3600},
        wire.LeakedBody: {"secrets": [f"zgt_{'0' * 32}_{'0' * 49}"]},
        wire.ExplainBody: {"method": "POST", "path": f"{{prefix}}/zones/{_ZONE}/dns_records", "ip": "192.0.2.7"},
        wire.OwnerBody: {
            "name": "Team DNS",
            "kind": "account",
            "id": _ACCOUNT,
            "policies": [
                _POLICY
                | {"resources": {f"com.cloudflare.api.account.{_ACCOUNT}": {"com.cloudflare.api.account.zone.*": "*"}}}
            ],
        },
        wire.ZoneBody: {"account": _ACCOUNT, "name": "example.com"},
    }
)
"""What a body may look like, by its type."""

OPERATIONS: Final[Mapping[str, Described]] = MappingProxyType(
    {
        "list": Described(
            "All tokens of the owner",
            wire.Token,
            lists=True,
            info=ListInfo,
            parameters=(*_PAGES, Parameter("include_expired", {"type": "boolean"}, "Expired ones too")),
        ),
        "create": Described("A new token; the answer has its secret, once", wire.Token, wire.TokenBody, reasons=_GIVES),
        "verify": Described("Whether the caller's own token works", wire.Verified),
        "revoke-self": Described(
            "End the caller's own token, or the overlap of a secret that was rolled",
            wire.Ended,
            parameters=(_IF_MATCH,),
            reasons=(*_CHANGES, *_FINDS),
        ),
        "leaked": Described(
            "Disable the tokens whose secrets are shown; one of these will do as the bearer",
            wire.LeakedEntry,
            wire.LeakedBody,
            lists=True,
            reasons=(*_CHANGES, Reason.INVALID_BODY),
        ),
        "permission-groups": Described(
            "The permission groups",
            wire.Group,
            lists=True,
            parameters=(
                Parameter("name", {"type": "string"}, "Of this name only"),
                Parameter("scope", {"type": "string"}, "Of this scope only; another word finds none"),
            ),
        ),
        "get": Described("One token, with its use", wire.Token, reasons=_FINDS),
        "update": Described(
            "Put another token in the place of one; what is left out is removed, but for the status",
            wire.Token,
            wire.TokenBody,
            parameters=(_IF_MATCH,),
            reasons=(*_GIVES, *_FINDS),
        ),
        "delete": Described(
            "End a token for good",
            wire.Ended,
            parameters=(Parameter("cascade", {"type": "boolean"}, "And all that was made with it"), _IF_MATCH),
            reasons=(*_CHANGES, *_FINDS),
        ),
        "roll": Described(
            "Give a token a new secret, which is the result",
            wire.Secret,
            wire.RollBody,
            body_required=False,
            parameters=(_IF_MATCH,),
            reasons=(*_GIVES, *_FINDS),
        ),
        "explain": Described(
            "Why a request with this token would pass or not",
            wire.Explained,
            wire.ExplainBody,
            reasons=(Reason.INVALID_BODY, *_FINDS),
        ),
        "audit": Described(
            "All entries of the audit",
            wire.AuditEntry,
            lists=True,
            info=AuditInfo,
            parameters=(
                Parameter("page", _whole(1, 999_999_999), "Which page"),
                Parameter("per_page", _whole(1, MOST_ENTRIES), "Entries a page"),
                _DIRECTION,
                Parameter("since", {"type": "string"}, "From this date, or date and time, on"),
                Parameter("before", {"type": "string"}, "Up to this date, or date and time"),
                Parameter("action.type", {"type": "string", "pattern": "^[a-z][a-z-]{0,63}$"}, "This action only"),
                Parameter("id", {"type": "string"}, "This entry only"),
                Parameter("token", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "About this token only"),
                Parameter("cursor", {"type": "string"}, "Go on where an earlier answer ended"),
            ),
        ),
        "list-owners": Described("All owners", wire.Owner, lists=True, info=ListInfo, parameters=_PAGES),
        "create-owner": Described("A new owner, and its first token", wire.FirstToken, wire.OwnerBody, reasons=_GIVES),
        "get-owner": Described("One owner", wire.Owner, parameters=(_KIND,), reasons=_FINDS),
        "update-owner": Described(
            "Put another owner in the place of one",
            wire.Owner,
            wire.OwnerBody,
            parameters=(_KIND, _IF_MATCH),
            reasons=(*_GIVES, *_FINDS),
        ),
        "delete-owner": Described(
            "End an owner and all its tokens",
            wire.EndedOwner,
            parameters=(_KIND, _IF_MATCH),
            reasons=(*_CHANGES, *_FINDS),
        ),
        "get-zone": Described("What was put down of a zone", wire.Zone, reasons=_FINDS),
        "set-zone": Described(
            "Put down in which account a zone lies",
            wire.Zone,
            wire.ZoneBody,
            reasons=(*_CHANGES, Reason.INVALID_BODY, *_FINDS),
        ),
        "unset-zone": Described("Take it away", wire.EndedZone, reasons=(*_CHANGES, *_FINDS)),
    }
)

_GRAMMARS: Final[Mapping[Grammar, Schema]] = MappingProxyType(
    {
        Grammar.ID: {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        Grammar.NAME: {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        Grammar.DNS_NAME: {"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63}){0,3}$"},
    }
)


def describe(routes: Iterable[Route], prefix: str, cookie: str) -> dict[str, Any]:
    """The document. `routes`: our own; `prefix`: where they live; `cookie`: the name of the one that a session of the
    dashboard has. Raises KeyError for an operation without a row.
    """
    routes = [route for route in routes if route.operation]
    types = [type_ for row in OPERATIONS.values() for type_ in (row.gives, row.takes, row.info) if type_ is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    named = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes:
        for method in route.methods:
            path = route.text.removeprefix(prefix)
            paths[path][method.lower()] = _operation(path, method, route, OPERATIONS[route.operation], named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Zonegate: the token API",
            "version": __version__,
            "description": "Scoped API tokens in front of an API that has one all-powerful credential.",
        },
        "servers": [{"url": prefix or "/"}],
        "paths": dict(paths),
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "Of the dashboard; it counts as the token that signed in, on this listener alone.",
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRF-Token",
                    "description": "Goes with a session's changes, as does the Origin of the dashboard's own pages.",
                },
            },
            "schemas": components | {"Refusal": _refusal(), "Message": _message()},
        },
    }


def _operation(path: str, method: str, route: Route, row: Described, named: Mapping[int, Schema]) -> Schema:
    who = path.split("/")[1]
    needs = " or ".join(route.permissions)
    changes = method not in READS
    reasons = (*_ALWAYS, *((Reason.CROSS_SITE,) if changes else ()), *row.reasons)
    shown: Schema = {
        "operationId": route.operation if who == "zonegate" else f"{who}-{route.operation}",
        "summary": row.summary,
        "description": f"Needs {needs}." if needs else "Any token will do.",
        "parameters": [*_in_path(route), *(parameter.shown() for parameter in row.parameters)],
        "responses": {"200": _success(row, named), **_refusals(reasons)},
        "security": [{"token": []}, {"session": [], "csrf": []} if changes else {"session": []}],
    }
    if row.takes is not None:
        prefix = route.text.removesuffix(path)
        example = {
            name: value.replace("{prefix}", prefix) if isinstance(value, str) else value
            for name, value in _EXAMPLES[row.takes].items()
        }
        content = {"application/json": {"schema": named[id(row.takes)], "example": example}}
        shown["requestBody"] = {"required": row.body_required, "content": content}
    return shown


def _in_path(route: Route) -> list[Schema]:
    return [
        {"name": part.name, "in": "path", "required": True, "schema": _GRAMMARS[part.grammar]}
        for part in route.template
        if isinstance(part, Variable)
    ]


def _success(row: Described, named: Mapping[int, Schema]) -> Schema:
    given = named[id(row.gives)]
    properties: dict[str, Any] = {
        "success": {"const": True},
        "errors": {"type": "array", "maxItems": 0},
        "messages": {"type": "array", "items": {"$ref": _REF.format(name="Message")}},
        "result": {"type": "array", "items": given} if row.lists else given,
    }
    if row.info is not None:
        properties["result_info"] = named[id(row.info)]
    schema = {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}
    return {"description": row.summary, "content": {"application/json": {"schema": schema}}}


def _refusals(reasons: Sequence[Reason]) -> Schema:
    """By status: the reasons that have it."""
    found: dict[int, list[Reason]] = defaultdict(list)
    for reason in reasons:
        found[REFUSALS[reason].status].append(reason)
    return {str(status): _refused(status, reasons) for status, reasons in sorted(found.items())}


def _refused(status: int, reasons: Sequence[Reason]) -> Schema:
    told = "; ".join(f"{reason} (code {REFUSALS[reason].code})" for reason in reasons)
    shown: Schema = {
        "description": told,
        "content": {"application/json": {"schema": {"$ref": _REF.format(name="Refusal")}}},
    }
    match status:
        case HTTPStatus.UNAUTHORIZED:
            shown["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
        case HTTPStatus.METHOD_NOT_ALLOWED:
            shown["headers"] = {"Allow": {"required": True, "schema": {"type": "string"}}}
        case HTTPStatus.TOO_MANY_REQUESTS:
            shown["headers"] = {"Retry-After": {"required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
    return shown


def _message() -> Schema:
    return {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "integer"},
            "message": {"type": "string"},
            "type": {"type": "null"},
            "source": {"type": "object", "properties": {"pointer": {"type": "string"}}},
            "error_chain": {"type": "array", "items": {"$ref": _REF.format(name="Message")}},
        },
        "additionalProperties": False,
    }


def _refusal() -> Schema:
    messages = {"type": "array", "items": {"$ref": _REF.format(name="Message")}}
    properties = {
        "success": {"const": False},
        "errors": messages | {"minItems": 1},
        "messages": messages,
        "result": {"type": "null"},
    }
    example = msgspec.json.decode(refuse(Deny(reason=Reason.FORBIDDEN)).body)
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
        "examples": [example],
    }


class OpenApiPage:
    """`/openapi.json`; all other pages are those of `others`."""

    def __init__(self, document: Mapping[str, Any], others: Pages) -> None:
        self._body = msgspec.json.encode(document)
        self._others = others

    async def answer(self, method: str, path: bytes) -> Answer | Deny | None:
        """See `Pages.answer`."""
        if path != PATH:
            return await self._others.answer(method, path)
        if method not in READS:
            return Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=READS)
        return Answer(status=200, fields=JSON_FIELDS, body=self._body)
