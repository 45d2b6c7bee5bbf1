"""A second reader of a request's head: what the grammars say (RFC 9110, RFC 9112, RFC 3986), and where we are stricter,
one plain step after the other. Slow, and written apart from the one in `gateway/`: where they differ, one is wrong.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

TCHAR = frozenset(b"!#$%&'*+-.^_`|~" + bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)))
DIGIT = frozenset(range(0x30, 0x3A))
ALPHA = frozenset((*range(0x41, 0x5B), *range(0x61, 0x7B)))
HEXDIG = DIGIT | frozenset(b"abcdefABCDEF")
UNRESERVED = ALPHA | DIGIT | frozenset(b"-._~")
PCHAR = UNRESERVED | frozenset(b"!$&'()*+,;=:@")


class NoHead(Exception):  # noqa: N818 - it says what is the case
    """The grammars do not have it, or we are stricter than they are."""


class GoesOn(Exception):  # noqa: N818 - it says what is the case
    """Its end has not come."""


class Naive(NamedTuple):
    method: bytes
    path: bytes
    query: bytes | None
    version: bytes
    host: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes | int
    size: int


def _must(condition: object) -> None:
    if not condition:
        raise NoHead


def _lines(data: bytes) -> tuple[list[bytes], int]:
    """All lines up to the empty one, and how many bytes they take."""
    lines: list[bytes] = []
    line = b""
    blank = at = 0
    while True:
        if at >= len(data):
            raise GoesOn
        if data[at : at + 1] == b"\r":
            if at + 1 >= len(data):
                raise GoesOn
            _must(data[at + 1 : at + 2] == b"\n")
            at += 2
            if line == b"" and not lines:
                blank += 1
                _must(blank <= 8)
            elif line == b"":
                _must(at - 2 * blank <= 65536)
                return lines, at
            else:
                lines.append(line)
            line = b""
        else:
            _must(data[at : at + 1] != b"\n")
            line += data[at : at + 1]
            at += 1


def _host(text: bytes) -> None:
    """RFC 9110 4.2.3 `uri-host [ ":" port ]`; no percent-encoding, no sub-delimiter, no empty name, no empty port."""
    if text.startswith(b"["):
        name, closed, rest = text[1:].partition(b"]")
        _must(closed and name and all(octet in HEXDIG | frozenset(b":.") for octet in name))
    else:
        name, colon, rest = text.partition(b":")
        rest = colon + rest
        _must(name and all(octet in UNRESERVED for octet in name))
    if rest:
        _must(rest[:1] == b":" and 1 <= len(rest[1:]) <= 5 and all(octet in DIGIT for octet in rest[1:]))


def _segment(segment: bytes) -> None:
    _must(segment)
    _must(segment.split(b";")[0] not in {b".", b".."})
    decoded = b""
    while segment:
        octet, segment = segment[0], segment[1:]
        if octet == 0x25:
            digits, segment = segment[:2], segment[2:]
            _must(len(digits) == 2 and all(digit in HEXDIG for digit in digits))
            octet = int(digits, 16)
            _must(octet >= 0x20 and octet != 0x7F and octet not in b"/\\%" and octet not in UNRESERVED)
        else:
            _must(octet in PCHAR)
        decoded += bytes([octet])
    try:
        decoded.decode()
    except UnicodeDecodeError:
        raise NoHead from None


def _target(target: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    """Path, query, and the authority of the absolute form (RFC 9112 3.2)."""
    authority = None
    if not target.startswith(b"/"):
        scheme, mark, rest = target.partition(b"://")
        _must(mark and scheme.lower() in {b"http", b"https"})
        end = min([rest.index(octet) for octet in (b"/", b"?", b"#") if octet in rest], default=len(rest))
        authority, target = rest[:end], rest[end:]
        if not target.startswith(b"/"):
            target = b"/" + target
        _host(authority)
    path, mark, query = target.partition(b"?")
    _must(all(0x21 <= octet <= 0x7E and octet != 0x23 for octet in query))
    if path != b"/":
        for segment in path.split(b"/")[1:]:
            _segment(segment)
    return path, query if mark else None, authority


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    _must(colon and name and all(octet in TCHAR for octet in name))
    while value[:1] in {b" ", b"\t"}:
        value = value[1:]
    while value[-1:] in {b" ", b"\t"}:
        value = value[:-1]
    _must(all(octet == 0x09 or 0x20 <= octet <= 0x7E or octet >= 0x80 for octet in value))
    return name, value


def _body(said: Callable[[bytes], list[bytes]], version: bytes) -> bytes | int:
    """Its length, or "chunked" (RFC 9112 6)."""
    lengths, codings = said(b"content-length"), said(b"transfer-encoding")
    body: bytes | int = 0
    if codings:
        _must(not lengths and version == b"HTTP/1.1")
        _must([coding.lower() for coding in codings] == [b"chunked"])
        body = b"chunked"
    elif lengths:
        _must(len(lengths) == 1 and 1 <= len(lengths[0]) <= 18 and all(octet in DIGIT for octet in lengths[0]))
        body = int(lengths[0])
    _must(not body or not any(b"websocket" in value.lower() for value in said(b"upgrade")))
    return body


def is_another_spelling(name: bytes, names: Collection[str]) -> bool:
    """Whether a CGI-like reader takes `name` for one of `names`."""
    return name.lower().replace(b"_", b"-").replace(b".", b"-").decode("latin-1") in names


def naively(data: bytes) -> Naive:
    """The head that `data` begins with. Raises NoHead, GoesOn."""
    (start, *lines), size = _lines(data)
    parts = start.split(b" ")
    _must(len(parts) == 3)
    method, target, version = parts
    _must(method and all(octet in TCHAR for octet in method) and method not in {b"CONNECT", b"TRACE"})
    _must(version in {b"HTTP/1.0", b"HTTP/1.1"})
    path, query, authority = _target(target)
    _must(len(lines) <= 128)
    fields = [_field(line) for line in lines]

    def said(name: bytes) -> list[bytes]:
        return [value for other, value in fields if other.lower() == name]

    hosts = said(b"host")
    _must(len(hosts) == 1 or (not hosts and version == b"HTTP/1.0"))
    for host in hosts:
        _host(host)
    host = authority if authority is not None else b"".join(hosts)
    return Naive(method, path, query, version, host, fields, _body(said, version), size)
