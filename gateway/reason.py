"""Every refusal of the gateway, in one closed table, and the v4 envelope that all answers of ours wear.

Labels in logs and the tests are made from `REFUSALS`. Nothing that a stranger sent is echoed but the
path in 7003 and the address in 9109, both escaped here.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec


class Reason(StrEnum):
    """Why not. The value is the label in logs and metrics."""

    BAD_REQUEST = "bad_request"
    MISSING_CREDENTIALS = "missing_credentials"
    MALFORMED_CREDENTIALS = "malformed_credentials"
    UNKNOWN_TOKEN = "unknown_token"
    TOKEN_DISABLED = "token_disabled"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    IP_DENIED = "ip_denied"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross_site"
    NO_ROUTE = "no_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    HEAD_TOO_LARGE = "head_too_large"
    INVALID_BODY = "invalid_body"
    EXCEEDS_CALLER = "exceeds_caller"
    NOT_FOUND = "not_found"
    PRECONDITION_FAILED = "precondition_failed"
    UNSUPPORTED_FRAMING = "unsupported_framing"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    STORE_UNAVAILABLE = "store_unavailable"
    NOT_REPLICATED = "not_replicated"
    FROZEN = "frozen"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    INTERNAL_ERROR = "internal_error"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One row: how a reason looks from outside. `{detail}`, `{path}`, `{address}` in a message are filled in."""

    status: int
    code: int
    message: str
    chain: tuple[int, str] | None = None


_HEADERS: Final = "Invalid request headers"
_INVALID_TOKEN: Final = "Invalid API Token"

REFUSALS: Final[Mapping[Reason, Refusal]] = MappingProxyType(
    {
        Reason.BAD_REQUEST: Refusal(status=400, code=6003, message="Invalid request {detail}"),
        Reason.MISSING_CREDENTIALS: Refusal(status=401, code=9106, message="Missing Authorization header"),
        Reason.MALFORMED_CREDENTIALS: Refusal(
            status=400, code=6003, message=_HEADERS, chain=(6111, "Invalid format for Authorization header")
        ),
        Reason.UNKNOWN_TOKEN: Refusal(status=401, code=1000, message=_INVALID_TOKEN),
        Reason.TOKEN_DISABLED: Refusal(status=401, code=1000, message=_INVALID_TOKEN),
        Reason.TOKEN_EXPIRED: Refusal(status=401, code=1000, message=_INVALID_TOKEN),
        Reason.TOKEN_NOT_YET_VALID: Refusal(status=401, code=1000, message=_INVALID_TOKEN),
        Reason.IP_DENIED: Refusal(
            status=403, code=9109, message="Cannot use the access token from location: {address}"
        ),
        Reason.FORBIDDEN: Refusal(status=403, code=10000, message="Authentication error"),
        Reason.CROSS_SITE: Refusal(
            status=403, code=10403, message="This was not asked by the dashboard's own page: {detail}"
        ),
        Reason.NO_ROUTE: Refusal(
            status=404,
            code=7003,
            message="Could not route to {path}, perhaps your object identifier is invalid?",
        ),
        Reason.METHOD_NOT_ALLOWED: Refusal(status=405, code=7001, message="Method not allowed"),
        Reason.BODY_TOO_LARGE: Refusal(status=413, code=10413, message="The request body is too large{detail}"),
        Reason.REQUEST_TIMEOUT: Refusal(status=408, code=10408, message="The request took too long to arrive"),
        Reason.HEAD_TOO_LARGE: Refusal(
            status=431, code=10431, message="The request head is over 64 KiB, or has more than 128 fields"
        ),
        Reason.INVALID_BODY: Refusal(status=400, code=10400, message="Invalid request body"),
        Reason.EXCEEDS_CALLER: Refusal(
            status=403, code=10000, message="A token cannot give what its maker does not have"
        ),
        Reason.NOT_FOUND: Refusal(status=404, code=10404, message="There is no such {detail}"),
        Reason.PRECONDITION_FAILED: Refusal(
            status=412, code=10412, message="It was changed meanwhile: read it again, then repeat the change"
        ),
        Reason.UNSUPPORTED_FRAMING: Refusal(
            status=501, code=6003, message=f"{_HEADERS}: the only Transfer-Encoding known here is chunked"
        ),
        Reason.RATE_LIMITED: Refusal(status=429, code=10429, message="Too many requests"),
        Reason.UPSTREAM_UNREACHABLE: Refusal(
            status=502,
            code=10502,
            message="The API behind the gateway could not be reached, or answered badly",
        ),
        Reason.UPSTREAM_TIMEOUT: Refusal(
            status=504, code=10504, message="The API behind the gateway did not answer in time"
        ),
        Reason.STORE_UNAVAILABLE: Refusal(status=503, code=10500, message="The token store cannot be reached"),
        Reason.NOT_REPLICATED: Refusal(
            status=503, code=10500, message="The change is stored, not replicated: a failover may undo it"
        ),
        Reason.FROZEN: Refusal(
            status=503, code=10500, message="The gateway is frozen: no token works until it is thawed"
        ),
        Reason.OVERLOADED: Refusal(status=503, code=10500, message="The gateway has too much to do at once"),
        Reason.DRAINING: Refusal(status=503, code=10500, message="The gateway is shutting down"),
        Reason.INTERNAL_ERROR: Refusal(status=503, code=10500, message="The gateway failed to answer"),
    }
)

# The holder of the secret has proved that he knows it, so he may be told what is wrong with his token.
_TOLD_TO_THE_HOLDER: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.TOKEN_DISABLED: "The token is disabled",
        Reason.TOKEN_EXPIRED: "The token has expired",
        Reason.TOKEN_NOT_YET_VALID: "The token is not valid yet",
    }
)


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong in a request body. `pointer` is a JSON pointer (RFC 6901); "" is the whole body."""

    pointer: str
    message: str


class Limit(msgspec.Struct, frozen=True):
    """A limit that was reached: so many in a window of seconds; `wait` seconds until there is more."""

    name: str
    quota: int
    window: int
    wait: int


class Deny(msgspec.Struct, frozen=True, kw_only=True):
    """No, for one reason; the rest is what the caller may know about it."""

    reason: Reason
    detail: str = ""
    path: str = ""
    address: str = ""
    needs: tuple[str, ...] = ()
    """Names of the permission groups that would open the route: `X-Accepted-Permissions`."""
    note: str = ""
    """A sentence for `messages`: what the route needs, in words."""
    methods: tuple[str, ...] = ()
    """What the path can do (405): `Allow`."""
    faults: tuple[Fault, ...] = ()
    token_id: str = ""
    """Of a token that was proved before it was refused: for log, audit and counters alone, as are the next three."""
    owner: str = ""
    """That token's owner, as `OwnerRef.key`."""
    route: str = ""
    """Method and path template of the route that was asked for, if there is one."""
    api: str = ""
    """The name of that route's API."""
    limit: Limit | None = None
    """Which limit was reached (429)."""
    outcome_unknown: bool = False
    """A write was sent to the store, and nobody knows whether it happened: clients must not repeat it."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of ours: status, end-to-end fields, and a body that fits in memory."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    reason: Reason | None = None
    """Set on a refusal, for logs and counters."""


READS: Final = ("GET", "HEAD")
"""The methods that change nothing: what a page of ours answers."""
JSON_FIELDS: Final = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
_encoder: Final = msgspec.json.Encoder()


def _escape(text: str, limit: int = 200) -> str:
    """`text` in printable ASCII, at most `limit` characters: a log line or a terminal can show it."""
    shown = "".join(character if " " <= character <= "~" else "?" for character in text[:limit])
    return shown + ("..." if len(text) > limit else "")


def refuse(deny: Deny) -> Answer:
    """The answer that says `deny`, in the v4 envelope."""
    row = REFUSALS[deny.reason]
    message = row.message.format(detail=deny.detail, path=_escape(deny.path), address=_escape(deny.address, limit=64))
    errors: list[dict[str, Any]] = [
        {"code": row.code, "message": fault.message, "source": {"pointer": fault.pointer}} for fault in deny.faults
    ] or [{"code": row.code, "message": message}]
    if row.chain is not None:
        errors[0]["error_chain"] = [{"code": row.chain[0], "message": row.chain[1]}]
    note = deny.note or _TOLD_TO_THE_HOLDER.get(deny.reason, "")
    messages = [{"code": row.code, "message": note}] if note else []
    fields = list(JSON_FIELDS)
    if row.status == HTTPStatus.UNAUTHORIZED:
        fields.append(("WWW-Authenticate", "Bearer"))
    if deny.needs:
        fields.append(("X-Accepted-Permissions", ", ".join(deny.needs)))
    if deny.reason is Reason.METHOD_NOT_ALLOWED:
        fields.append(("Allow", ", ".join(deny.methods)))
    if deny.limit is not None:
        limit = deny.limit
        fields += [
            ("Retry-After", str(limit.wait)),
            ("Ratelimit-Policy", f'"{limit.name}";q={limit.quota};w={limit.window}'),
            ("Ratelimit", f'"{limit.name}";r=0;t={limit.wait}'),
        ]
    if deny.outcome_unknown or deny.reason is Reason.NOT_REPLICATED:
        # Cloudflare's SDKs repeat a 503 by themselves unless this says no.
        fields.append(("X-Should-Retry", "false"))
    body = {"success": False, "errors": errors, "messages": messages, "result": None}
    return Answer(status=row.status, fields=tuple(fields), body=_encoder.encode(body), reason=deny.reason)


def succeed(
    result: object,
    *,
    messages: Sequence[tuple[int, str]] = (),
    result_info: Mapping[str, object] | None = None,
    fields: Sequence[tuple[str, str]] = (),
) -> Answer:
    """A 200 with `result` in the v4 envelope; `messages` are (code, text)."""
    body: dict[str, Any] = {
        "success": True,
        "errors": [],
        "messages": [{"code": code, "message": text, "type": None} for code, text in messages],
        "result": result,
    }
    if result_info is not None:
        body["result_info"] = result_info
    return Answer(status=200, fields=(*JSON_FIELDS, *fields), body=_encoder.encode(body))
