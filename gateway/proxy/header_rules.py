"""What becomes of header fields on the way up and on the way down, as tables (DESIGN 8).

The order matters: what the client's `Connection` names is taken from the client's own fields first, and ours are
added after. The other way round, `Connection: Authorization` would send the request up without our credential.
"""

import functools
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.proxy.ports import Fields
from gateway.tokens.condition import Address
from gateway.tokens.secret import Sensitive

HOP_BY_HOP: Final = frozenset(
    {
        # RFC 9110 7.6.1, and what RFC 9112 and older practice add to it.
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authentication-info",
        "http2-settings",
    }
)
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "host", "expect"})
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "proxy-authorization", "cookie"})
_CREDENTIAL_PREFIXES: Final = ("x-auth-", "x-token-")
_FORWARDED: Final = frozenset({"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip"})
_OURS: Final = frozenset({"x-request-id", "x-token-id", "via"})
_OVERRIDES: Final = frozenset(
    {
        # Some frameworks believe these more than the request line that we judged.
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-original-method",
        "x-original-uri",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-forwarded-prefix",
        "x-forwarded-method",
        "x-forwarded-port",
        "x-forwarded-server",
    }
)
_FROM_UPSTREAM: Final = HOP_BY_HOP | {"set-cookie", "content-length", "x-request-id"}
_COOKIES: Final = frozenset({"set-cookie"})
_OTHER_DASHES: Final = re.compile(r"[_.]")
_VIA: Final = b"1.1 zonegate"


class UpRules(msgspec.Struct, frozen=True):
    """What one upstream's requests look like.

    `credential_fields` (lower case): of every API and every upstream, since whatever opens one of them must reach
    none. `passed` (lower case): opened by `pass_headers`.
    """

    host: bytes
    credential: tuple[bytes, Sensitive] | None
    credential_fields: frozenset[str]
    passed: frozenset[str] = frozenset()


class Client(msgspec.Struct, frozen=True):
    """What we assert about the client. `trusted`: the peer is a proxy of ours, whose assertions are extended."""

    peer: Address | None
    host: bytes
    scheme: str
    trusted: bool
    request_id: str
    token_id: str


def _plain(name: str) -> str:
    """The spelling with `-`, which stands for all its other spellings."""
    return _OTHER_DASHES.sub("-", name)


@functools.lru_cache(maxsize=64)
def _plain_names(names: frozenset[str]) -> frozenset[str]:
    return frozenset(_plain(name) for name in names)


def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


def named_by_connection(fields: Fields) -> frozenset[str]:
    """The options of `Connection` (RFC 9110 7.6.1), lower case."""
    return frozenset(
        option.strip(" \t").lower()
        for name, value in fields
        if _lower(name) == "connection"
        for option in value.decode("latin-1").split(",")
    )


def is_never_passed(name: str, credential_fields: frozenset[str]) -> bool:
    """Whether no `pass_headers` may open the field called `name` (lower case).

    `credential_fields`: where clients put tokens and we put the upstream's key. A client's token must not go up, and
    framing, hop-by-hop fields and our own are not the client's to say.
    """
    plain = _plain(name)
    return (
        plain in _plain_names(credential_fields)
        or plain in HOP_BY_HOP
        or plain in _FRAMING
        or plain in _OURS
        or plain in ("authorization", "proxy-authorization")
    )


def is_dropped(name: str, rules: UpRules) -> bool:
    """Whether a client's field called `name` (lower case) stays behind.

    Another spelling of such a field, with `_` or `.` for `-`, goes the same way: CGI-like upstreams read them alike.
    """
    if is_never_passed(name, rules.credential_fields):
        return True
    plain = _plain(name)
    dropped = (
        plain in _CREDENTIALS or plain.startswith(_CREDENTIAL_PREFIXES) or plain in _OVERRIDES or plain in _FORWARDED
    )
    return dropped and name not in rules.passed


def _forwarded(fields: Fields, client: Client) -> Iterable[tuple[bytes, bytes]]:
    """What we assert about where the request comes from, extending what a trusted peer asserted."""
    found: dict[str, list[bytes]] = {}
    if client.trusted:
        for name, value in fields:
            if (lower := _lower(name)) in _FORWARDED:
                found.setdefault(lower, []).append(value)
    peer = str(client.peer).encode() if client.peer is not None else b"unknown"
    yield b"X-Forwarded-For", b", ".join([*found.get("x-forwarded-for", []), peer])
    yield b"X-Forwarded-Host", b", ".join(found.get("x-forwarded-host", [client.host]))
    yield b"X-Forwarded-Proto", b", ".join(found.get("x-forwarded-proto", [client.scheme.encode()]))
    if "forwarded" in found:
        node = f'"[{peer.decode()}]"' if b":" in peer else peer.decode()
        element = f"for={node};proto={client.scheme}".encode()
        yield b"Forwarded", b", ".join([*found["forwarded"], element])
    if "x-real-ip" in found:
        yield b"X-Real-IP", found["x-real-ip"][-1]


def fields_up(fields: Fields, rules: UpRules, client: Client) -> list[tuple[bytes, bytes]]:
    """The fields that go up: the client's, less what stays behind, then ours."""
    options = named_by_connection(fields)
    out = [(b"Host", rules.host)]
    out += [
        (name, value)
        for name, value in fields
        if (lower := _lower(name)) not in options and not is_dropped(lower, rules)
    ]
    out += _forwarded(fields, client)
    via = [value for name, value in fields if _lower(name) == "via" and "via" not in options]
    out.append((b"Via", b", ".join([*via, _VIA])))
    out.append((b"X-Request-Id", client.request_id.encode()))
    out.append((b"X-Token-Id", client.token_id.encode()))
    if rules.credential is not None:
        name, value = rules.credential
        out.append((name, value.reveal().encode("ascii")))
    return out


def fields_down(fields: Fields, passed: Iterable[str], *, request_id: str) -> list[tuple[bytes, bytes]]:
    """The fields that come down: the upstream's, less hop-by-hop ones and its login's cookies, then ours.

    An answer to a token is one person's: a cache between us and the client must not keep it for others.
    """
    options = named_by_connection(fields)
    dropped = _FROM_UPSTREAM - (_COOKIES & frozenset(passed))
    out = [(name, value) for name, value in fields if (lower := _lower(name)) not in options and lower not in dropped]
    if not any(_lower(name) == "cache-control" for name, _ in out):
        out.append((b"Cache-Control", b"private"))
    out.append((b"X-Request-Id", request_id.encode()))
    return out
