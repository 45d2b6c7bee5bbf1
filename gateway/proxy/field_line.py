"""A line of a head, and what it means. A meaning is a function of the line's bytes alone.

Not of the API, the peer, the route or anything that is set: so it may be remembered by the line's exact bytes, and a
line that was seen before costs one look-up. What was judged is what is sent: `sent` is made here, once.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

MOST_LINES: Final = 4096
LONGEST_LINE: Final = 256
"""Bytes of a line that may be remembered."""

TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_DIGITS: Final = re.compile(rb"\d{1,18}")
_LONGEST_NAME: Final = 64
"""Bytes of a name that may be remembered."""
_OTHER_DASHES: Final = bytes.maketrans(b"_.", b"--")


class Role(Enum):
    """What a field is to a gateway. All that has no part in it is ORDINARY, and passes both ways."""

    ORDINARY = "ordinary"
    HOST = "host"
    LENGTH = "content-length"
    CODING = "transfer-encoding"
    CONNECTION = "connection"
    EXPECT = "expect"
    UPGRADE = "upgrade"
    HOP = "concerns one connection alone (RFC 9110 7.6.1), like what older practice added"
    TRAILER = "trailer"
    REQUEST_ID = "x-request-id"
    VIA = "via"
    FORWARDED = "where a request comes from, as proxies say it"
    CREDENTIAL = "a key of somebody"
    COOKIE = "cookie"
    SET_COOKIE = "set-cookie"
    OVERRIDE = "some frameworks believe it more than the request line"
    OURS = "x-token-..."
    CACHE_CONTROL = "cache-control"
    OTHER_SPELLING = "one of these with _ or . for -: CGI-like readers take it for that"


_ROLES: Final = {
    b"host": Role.HOST,
    b"content-length": Role.LENGTH,
    b"transfer-encoding": Role.CODING,
    b"connection": Role.CONNECTION,
    b"expect": Role.EXPECT,
    b"upgrade": Role.UPGRADE,
    b"keep-alive": Role.HOP,
    b"proxy-connection": Role.HOP,
    b"te": Role.HOP,
    b"proxy-authenticate": Role.HOP,
    b"proxy-authentication-info": Role.HOP,
    b"http2-settings": Role.HOP,
    b"trailer": Role.TRAILER,
    b"x-request-id": Role.REQUEST_ID,
    b"via": Role.VIA,
    b"x-forwarded-for": Role.FORWARDED,
    b"x-forwarded-host": Role.FORWARDED,
    b"x-forwarded-proto": Role.FORWARDED,
    b"forwarded": Role.FORWARDED,
    b"x-real-ip": Role.FORWARDED,
    b"authorization": Role.CREDENTIAL,
    b"x-api-key": Role.CREDENTIAL,
    b"proxy-authorization": Role.CREDENTIAL,
    b"cookie": Role.COOKIE,
    b"set-cookie": Role.SET_COOKIE,
    b"x-http-method": Role.OVERRIDE,
    b"x-http-method-override": Role.OVERRIDE,
    b"x-method-override": Role.OVERRIDE,
    b"x-original-url": Role.OVERRIDE,
    b"x-original-method": Role.OVERRIDE,
    b"x-original-uri": Role.OVERRIDE,
    b"x-rewrite-url": Role.OVERRIDE,
    b"x-forwarded-uri": Role.OVERRIDE,
    b"x-forwarded-prefix": Role.OVERRIDE,
    b"x-forwarded-method": Role.OVERRIDE,
    b"x-forwarded-port": Role.OVERRIDE,
    b"x-forwarded-server": Role.OVERRIDE,
    b"cache-control": Role.CACHE_CONTROL,
}
_PREFIXES: Final = {b"x-auth-": Role.CREDENTIAL, b"x-token-": Role.OURS}
_STARTS: Final = tuple(_PREFIXES)
NEVER_REMEMBERED: Final = frozenset({Role.CREDENTIAL, Role.COOKIE, Role.SET_COOKIE, Role.OTHER_SPELLING})
"""Lines that hold a secret, or may."""


class FieldLine(msgspec.Struct, frozen=True, gc=False):
    """One field, read and judged. `name`: lower case; `value`: without surrounding blanks."""

    name: bytes
    value: bytes
    role: Role
    plain: bytes
    """The name with `-` for `_` and `.`: it stands for all its spellings."""
    sent: bytes
    """The line as it is sent on, with its end."""

    def __repr__(self) -> str:
        return f"FieldLine({self.name!r})"  # its value may be secret


def plain_spelling(name: bytes) -> bytes:
    """The spelling of `name` (lower case) that stands for all its spellings."""
    return name.translate(_OTHER_DASHES)


def role_of(name: bytes) -> Role:
    """What the field called `name` (lower case) is to a gateway."""
    plain = plain_spelling(name)
    role = _ROLES.get(plain)
    if role is None:
        if not plain.startswith(_STARTS):
            return Role.ORDINARY
        role = next(role for start, role in _PREFIXES.items() if plain.startswith(start))
    return role if name == plain else Role.OTHER_SPELLING


def has_control_bytes(text: bytes) -> bool:
    """Whether a field value, or a reason phrase, holds a control byte (a tab is none)."""
    return _CONTROL.search(text) is not None


def is_host(text: bytes) -> bool:
    """Whether `text` is a host, with or without a port (RFC 9112 3.2)."""
    return _HOST.fullmatch(text) is not None


def is_length(text: bytes) -> bool:
    """Whether `text` is one number of at most 18 digits (RFC 9110 8.6): more bytes than anybody has."""
    return _DIGITS.fullmatch(text) is not None


def read_line(line: bytes) -> FieldLine | str:
    """The field that `line` (without its end) is, or what is wrong with it (RFC 9110 5, RFC 9112 5)."""
    raw, colon, value = line.partition(b":")
    named = _read_name(raw) if len(raw) <= _LONGEST_NAME else _read_name.__wrapped__(raw)
    if named is None or not colon:
        return "a line that is folded" if line[:1] in (b" ", b"\t") else "a name that is no token"
    value = value.strip(b" \t")
    if _CONTROL.search(value):
        return "a control byte in a value"
    name, role, plain, start = named
    if role is Role.HOST and not is_host(value):
        return "Host is not a host and port"
    return FieldLine(name, value, role, plain, b"%b%b\r\n" % (start, value))


@lru_cache(maxsize=1024)
def _read_name(raw: bytes) -> tuple[bytes, Role, bytes, bytes] | None:
    """Of a field called `raw`: the name in lower case, its role, its plain spelling, and how its line begins."""
    if not TOKEN.fullmatch(raw):
        return None
    name = raw.lower()
    return name, role_of(name), plain_spelling(name), raw + b": "


class SeenTwice(Generic[T]):
    """Meanings by the exact bytes that they are the meanings of: at most `most`, each of at most `longest` bytes.

    One is remembered at its second appearance: what comes once takes nobody's place. The oldest goes first.
    """

    def __init__(self, most: int, longest: int) -> None:
        self._most = most
        self._longest = longest
        self._once: set[bytes] = set()
        self.known: OrderedDict[bytes, T] = OrderedDict()

    def learn(self, text: bytes, meaning: T) -> None:
        """`text`, which was not known, has appeared."""
        once = self._once
        if text in once:
            once.discard(text)
            self.known[text] = meaning
            if len(self.known) > self._most:
                self.known.popitem(last=False)
        elif len(text) <= self._longest:
            if len(once) >= self._most:
                once.clear()
            once.add(text)


class KnownLines:
    """Meanings of lines, at most `most`, each at most LONGEST_LINE bytes.

    Lines are learned when told by whoever knows that their sender may be trusted with our memory. No line that holds a
    credential, or may, is remembered.
    """

    def __init__(self, never: Iterable[str] = (), most: int = MOST_LINES) -> None:
        """`never`: names (lower case) of further fields whose lines are never remembered."""
        self._never = frozenset(plain_spelling(name.encode()) for name in never)
        self._seen: SeenTwice[FieldLine] = SeenTwice(most, LONGEST_LINE)
        self.lines = self._seen.known

    def learn(self, fresh: Iterable[tuple[bytes, FieldLine]]) -> None:
        """Lines that were not known, with their meanings, have appeared."""
        for line, field in fresh:
            if field.role not in NEVER_REMEMBERED and field.plain not in self._never:
                self._seen.learn(line, field)
