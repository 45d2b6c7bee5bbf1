"""What becomes of header fields on the way up and on the way down, by their roles (DESIGN 8).

The order matters: what the client's `Connection` names is taken from the client's own fields first, and ours are
added after. The other way round, `Connection: Authorization` would send the request up without our credential.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.proxy.field_line import FieldLine, Role, plain_spelling, role_of
from gateway.tokens.secret import Sensitive

_NEVER_UP: Final = frozenset(
    {
        # Framing, hop-by-hop fields and our own are not the client's to say.
        Role.HOST,
        Role.LENGTH,
        Role.CODING,
        Role.EXPECT,
        Role.CONNECTION,
        Role.UPGRADE,
        Role.HOP,
        Role.TRAILER,
        Role.REQUEST_ID,
        Role.VIA,
    }
)
_OURS_ALONE: Final = frozenset({b"x-token-id", b"authorization", b"proxy-authorization"})
_DROPPED_UP: Final = _NEVER_UP | {Role.FORWARDED, Role.CREDENTIAL, Role.COOKIE, Role.OVERRIDE, Role.OURS}
"""Unless `pass_headers` opens it, where it is not in `_NEVER_UP`."""
_DROPPED_DOWN: Final = frozenset(
    {
        Role.LENGTH,  # said anew
        Role.CODING,
        Role.CONNECTION,
        Role.UPGRADE,
        Role.HOP,
        Role.TRAILER,  # said anew where trailers can follow
        Role.REQUEST_ID,
        Role.SET_COOKIE,  # a session of the all-powerful login
        Role.COOKIE,
        Role.CREDENTIAL,  # its key, where somebody echoes it
        Role.OURS,
    }
)
_NOT_IN_TRAILERS: Final = _DROPPED_DOWN | {Role.HOST, Role.CREDENTIAL, Role.COOKIE, Role.CACHE_CONTROL}
"""RFC 9110 6.5.1: no framing, no routing, no authentication there; and nothing that was dropped above."""
_MOST_REMEMBERED: Final = 512
_LONGEST_REMEMBERED: Final = 64
"""Names, and the bytes of one, of which is remembered what becomes of them."""
_PERSISTENCE: Final = frozenset({b"close", b"keep-alive"})
_VIA: Final = Role.VIA
_HOST: Final = Role.HOST
_OURS_IN_VIA: Final = b"1.1 zonegate"


class Client(msgspec.Struct, frozen=True, gc=False):
    """What we assert about a connection's client. `trusted`: the peer is a proxy of ours, whose assertions are
    extended; `peer` as text.
    """

    peer: bytes
    scheme: bytes
    trusted: bool


class UpRules:
    """What one upstream's requests look like."""

    def __init__(
        self,
        credential: tuple[str, Sensitive] | None,
        credential_fields: frozenset[str],
        passed: Iterable[str] = (),
    ) -> None:
        """`credential`: field and value that log us in; `credential_fields`: of every API and every upstream, since
        whatever opens one of them must reach none; `passed`: opened by `pass_headers`.
        """
        self._login = (
            f"{credential[0]}: {credential[1].reveal()}\r\n".encode("ascii") if credential is not None else b""
        )
        self._credential_fields = frozenset(plain_spelling(name.lower().encode()) for name in credential_fields)
        self.passed = frozenset(name.lower().encode() for name in passed)
        self._drops: dict[bytes, bool] = {}

    def drops(self, name: bytes) -> bool:
        """Whether a client's field called `name` (lower case) stays behind. Another spelling of such a field, with
        `_` or `.` for `-`, goes the same way: CGI-like upstreams read them alike.
        """
        answer = self._drops.get(name)
        if answer is None:
            role = role_of(plain_spelling(name))
            answer = is_never_passed(name, self._credential_fields) or (role in _DROPPED_UP and name not in self.passed)
            if len(self._drops) < _MOST_REMEMBERED and len(name) <= _LONGEST_REMEMBERED:
                self._drops[name] = answer
        return answer

    def lines_up(  # noqa: PLR0913 - what a head is made of
        self,
        ordinary: Sequence[FieldLine],
        special: Sequence[FieldLine],
        options: frozenset[bytes],
        *,
        client: Client,
        host: bytes,
        request_id: bytes,
        token_id: bytes,
    ) -> bytes:
        """The fields that go up, but for Host and framing: the client's, less what stays behind, then ours.

        `options`: what the client's `Connection` names; `host`: for which its request was.
        """
        said = special
        if options - _PERSISTENCE:
            ordinary = [field for field in ordinary if field.name not in options]
            special = [field for field in special if field.name not in options]
        lines = [field.sent for field in ordinary]
        via = b""
        for field in special:
            role = field.role
            if role is _VIA:
                via += field.value + b", "
            elif role is not _HOST and not self.drops(field.name):
                lines.append(field.sent)
        if client.trusted:
            # Whole: who a proxy's client is, must not be lost because he named these in a Connection that it passed on.
            lines.append(_extended(said, client, host))
        else:
            lines.append(
                b"X-Forwarded-For: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Proto: %b\r\n"
                % (client.peer, host, client.scheme)
            )
        lines.append(b"Via: %b%b\r\nX-Request-Id: %b\r\nX-Token-Id: %b\r\n" % (via, _OURS_IN_VIA, request_id, token_id))
        lines.append(self._login)
        return b"".join(lines)

    def own_lines(self) -> bytes:
        """The fields of a question that is the gateway's own, but for Host: nothing of a client's, and our login."""
        return b"Accept: application/json\r\nVia: %b\r\n%b" % (_OURS_IN_VIA, self._login)


def _extended(special: Iterable[FieldLine], client: Client, host: bytes) -> bytes:
    """What we assert about where the request comes from, behind what a trusted peer asserted."""
    found: dict[bytes, list[bytes]] = {}
    for field in special:
        if field.role is Role.FORWARDED:
            found.setdefault(field.name, []).append(field.value)
    out = [
        b"X-Forwarded-For: " + b", ".join([*found.get(b"x-forwarded-for", []), client.peer]),
        b"X-Forwarded-Host: " + b", ".join(found.get(b"x-forwarded-host", [host])),
        b"X-Forwarded-Proto: " + b", ".join(found.get(b"x-forwarded-proto", [client.scheme])),
    ]
    if b"forwarded" in found:
        node = b'"[%b]"' % client.peer if b":" in client.peer else client.peer
        element = b"for=%b;proto=%b" % (node, client.scheme)
        out.append(b"Forwarded: " + b", ".join([*found[b"forwarded"], element]))
    if b"x-real-ip" in found:
        out.append(b"X-Real-IP: " + found[b"x-real-ip"][-1])
    return b"\r\n".join([*out, b""])


def is_never_passed(name: bytes, credential_fields: frozenset[bytes]) -> bool:
    """Whether no `pass_headers` may open the field called `name` (lower case).

    `credential_fields`: where clients put tokens and we put the upstream's key, in plain spelling. A client's token
    must not go up, and framing, hop-by-hop fields and our own are not the client's to say.
    """
    plain = plain_spelling(name)
    return plain in credential_fields or plain in _OURS_ALONE or role_of(plain) in _NEVER_UP


def lines_down(
    ordinary: Sequence[FieldLine],
    special: Sequence[FieldLine],
    options: frozenset[bytes],
    passed: frozenset[bytes],
    *,
    private: bool = True,
) -> bytes:
    """The fields that come down, but for framing and the request's id: the upstream's, less hop-by-hop ones and its
    login's cookies.

    An answer to a token is one person's: a cache between us and the client must not keep it for others. (`private`
    False: an interim answer, which nobody keeps.)
    """
    if options - _PERSISTENCE:
        ordinary = [field for field in ordinary if field.name not in options]
        special = [field for field in special if field.name not in options]
    lines = [field.sent for field in ordinary]
    cached = b"Cache-Control: private\r\n" if private else b""
    for field in special:
        if field.role is Role.CACHE_CONTROL:
            cached = b""
        role = role_of(field.plain)  # another spelling goes the same way
        if role not in _DROPPED_DOWN or (role is Role.SET_COOKIE and field.name in passed):
            lines.append(field.sent)
    lines.append(cached)
    return b"".join(lines)


def trailers_down(trailers: Iterable[tuple[bytes, bytes]], secrets: frozenset[bytes] = frozenset()) -> bytes:
    """The trailer section that comes down (RFC 9110 6.5), without the line that ends it.

    `secrets`: names, in plain spelling, of fields that hold a credential.
    """
    lines = []
    for name, value in trailers:
        plain = plain_spelling(name.lower())
        if plain not in secrets and role_of(plain) not in _NOT_IN_TRAILERS:
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)
