"""A request's head, read strictly: what gets through here no two readers read differently (RFC 9110, RFC 9112).

A pure function of the bytes, and of the table in which lines that were seen before stand with their meanings. In a
fault's text no byte of what was sent comes back. Where RFC 9112 lets a server be lenient, this one is not: no bare LF,
no folded line, no blank but the two of a request line, no HTTP/0.9.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from gateway.catalog.target import Target, split_target
from gateway.proxy.field_line import TOKEN, FieldLine, KnownLines, Role, is_host, plain_spelling, read_line, role_of
from gateway.proxy.framing import LARGEST_HEAD, MOST_FIELDS, UNFRAMED, UnknownCoding, read_framing, read_options
from gateway.reason import Deny, Reason
from gateway.server.shown_lines import Shown
from gateway.tokens.credential import AUTHORIZATION

Split = Callable[[bytes], Target | Deny]

_END: Final = b"\r\n\r\n"
_CR: Final = 0x0D
_METHODS: Final = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE"})
_PARTS: Final = 3
_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_OPTIONS: Final = {option: frozenset({option}) for option in (b"keep-alive", b"close")}
_WEBSOCKET: Final = b"websocket"
_MOST_BLANK_LINES: Final = 8
_JUDGED_EARLY: Final = 256
"""Bytes of a request line that is judged before its head has come: that happens again at each byte that comes then."""

# To take a member of an Enum out of it costs more than to compare it.
_ORDINARY: Final = Role.ORDINARY
_HOST: Final = Role.HOST
_CONNECTION: Final = Role.CONNECTION
_LENGTH: Final = Role.LENGTH
_CODING: Final = Role.CODING
_EXPECT: Final = Role.EXPECT
_UPGRADE: Final = Role.UPGRADE
_READ_HERE: Final = frozenset({_HOST, _CONNECTION, _LENGTH, _CODING, _EXPECT, _UPGRADE})


class Head(msgspec.Struct, frozen=True, gc=False):
    """A judged head. `length` None with `has_body`: chunked."""

    method: str
    target: Target
    is_1_1: bool
    """HTTP/1.1; else 1.0."""
    ordinary: Sequence[FieldLine]
    """Fields in which a gateway has no part, in their order."""
    special: Sequence[FieldLine]
    """All others, in their order, but for those that hold a credential: they concern nobody else."""
    host: bytes
    has_body: bool
    length: int | None
    keep_alive: bool
    """The client keeps its connection after this."""
    options: frozenset[bytes]
    """What `Connection` names, in lower case."""
    expects_continue: bool
    upgrade: bool
    """An upgrade to WebSocket was asked for; what another `Upgrade` says is nobody's here."""
    credentials: Sequence[tuple[bytes, FieldLine]]
    """Fields in which some API takes a token, with their lines."""
    shown: Shown | None
    """What is known of the one credential's line."""
    fresh: Sequence[tuple[bytes, FieldLine]]
    """Lines that were not known."""
    size: int
    """Bytes that it takes, its end included."""

    def __repr__(self) -> str:
        return f"Head({self.method} {self.target.path!r})"  # what else is in it may be secret

    def values(self, name: bytes) -> list[bytes]:
        """Values of all fields called `name` (lower case), in their order."""
        return [field.value for field in (*self.ordinary, *self.special) if field.name == name]


class Unfinished(msgspec.Struct, frozen=True):
    """The head goes on behind what has come. `blank`: nothing of it has come yet."""

    blank: bool


def _bad(what: str) -> Deny:
    return Deny(reason=Reason.BAD_REQUEST, detail=what)


_TOO_LARGE: Final = Deny(reason=Reason.HEAD_TOO_LARGE)
_BARE: Final = _bad("headers: a line end that is not CRLF")
_NO_LINE: Final = _bad("line: not METHOD TARGET HTTP/1.1")
_NOTHING_YET: Final = Unfinished(blank=True)
_SOME: Final = Unfinished(blank=False)


class HeadReader:
    """Reads the heads that come to one listener."""

    def __init__(
        self,
        lines: KnownLines,
        *,
        token_fields: frozenset[str],
        secret_fields: frozenset[str],
        shown: Mapping[bytes, Shown],
        split: Split = split_target,
    ) -> None:
        """`lines`: what is known of lines; `token_fields`: lower-case names of the fields in which a token may come,
        `secret_fields`: and of all that hold a credential of anybody; `shown`: lines of credentials that have proved
        themselves; `split`: how a target is read.
        """
        self._lines = lines.lines
        self._split = split
        # Beside another credential Authorization counts too, where no API takes it: who knows which one was meant?
        token_fields |= {AUTHORIZATION}
        self._token_fields = frozenset(name.encode() for name in token_fields)
        secret = {plain_spelling(name.encode()) for name in token_fields | secret_fields}
        # Who was told to put a key where a length belongs gets no further, and his body is no request all the same.
        self._secret_fields = frozenset(name for name in secret if role_of(name) not in _READ_HERE)
        self._shown = shown

    def read(self, data: bytes, seen: int = 0) -> Head | Unfinished | Deny:
        """The head that `data` begins with, or why it is none. The verdict is the same however the bytes come.

        `seen`: bytes of it that were found unfinished before; they are not gone through again, however many they are.
        """
        start = 0
        # RFC 9112 2.2: some clients send one behind a body. Who sends nothing else would have us look at them for ever.
        while data.startswith(b"\r\n", start) and start < 2 * _MOST_BLANK_LINES:
            start += 2
        end = data.find(_END, max(start, seen - len(_END) + 1))
        if end < 0 or end - start > LARGEST_HEAD - len(_END):
            return _judge_beginning(data, start, max(start, seen), self._split)
        return self._judge(data, start, end)

    def _judge(self, data: bytes, start: int, end: int) -> Head | Deny:
        """The head from `start` to its end, the empty line, at `end`."""
        lines = data[start:end].split(b"\r\n")
        line = _read_request_line(lines[0], self._split)
        if isinstance(line, Deny):
            return line
        if len(lines) > MOST_FIELDS + 1:
            return _BARE if data.count(b"\n", start, end) != len(lines) - 1 else _TOO_LARGE
        known, secret_fields = self._lines, self._secret_fields
        ordinary: list[FieldLine] = []
        special: list[FieldLine] = []
        fresh: list[tuple[bytes, FieldLine]] = []
        credentials: list[tuple[bytes, FieldLine]] = []
        for raw in lines[1:]:
            field = known.get(raw)
            if field is not None:
                (ordinary if field.role is _ORDINARY else special).append(field)
                continue
            shown = self._shown.get(raw)
            read = read_line(raw) if shown is None else shown.field
            if isinstance(read, str):
                # A line end that is none stands in no field that is one, and is told of first.
                return _BARE if data.count(b"\n", start, end) != len(lines) - 1 else _bad(f"headers: {read}")
            if read.plain in secret_fields:
                if read.name in self._token_fields:
                    credentials.append((raw, read))
                continue
            fresh.append((raw, read))
            (ordinary if read.role is _ORDINARY else special).append(read)
        return self._finish(line, ordinary, special, fresh, credentials, end + len(_END))

    def _finish(  # noqa: PLR0913, PLR0917 - what `_judge` has gathered
        self,
        line: tuple[str, Target, bool],
        ordinary: list[FieldLine],
        special: list[FieldLine],
        fresh: list[tuple[bytes, FieldLine]],
        credentials: list[tuple[bytes, FieldLine]],
        size: int,
    ) -> Head | Deny:
        method, target, is_1_1 = line
        said = _read_special(special)
        if isinstance(said, Deny):
            return said
        host, options, codings, lengths, expects_continue, upgrade = said
        if host is None and is_1_1:
            return _bad("headers: Host is missing")
        if target.authority is not None:
            if not is_host(target.authority):
                return _bad("headers: Host is not a host and port")
            host = target.authority
        framing = read_framing(codings, lengths, is_1_1=is_1_1) if codings or lengths else UNFRAMED
        if isinstance(framing, UnknownCoding):
            return Deny(reason=Reason.UNSUPPORTED_FRAMING)
        if isinstance(framing, str):
            return _bad(f"headers: {framing}")
        has_body = framing.chunked or bool(framing.length)
        if has_body and upgrade:
            return _bad("headers: an upgrade has no body")
        return Head(
            method,
            target,
            is_1_1,
            ordinary,
            special,
            host or b"",
            has_body,
            framing.length,
            (b"close" not in options) if is_1_1 else (b"keep-alive" in options and b"close" not in options),
            options,
            is_1_1 and expects_continue,
            upgrade,
            credentials,
            self._shown.get(credentials[0][0]) if len(credentials) == 1 else None,
            fresh,
            size,
        )


def _read_special(
    special: list[FieldLine],
) -> tuple[bytes | None, frozenset[bytes], Sequence[bytes], Sequence[bytes], bool, bool] | Deny:
    """What fields say of the request itself: the host, what `Connection` names, all transfer codings, all lengths,
    whether a 100 is expected, whether a WebSocket is asked for.
    """
    host = None
    options = _NO_OPTIONS
    codings: list[bytes] = []
    lengths: list[bytes] = []
    expects_continue = upgrade = False
    for field in special:
        role = field.role
        if role is _HOST:
            if host is not None:
                return _bad("headers: two Hosts")
            host = field.value
        elif role is _CONNECTION:
            options |= _OPTIONS.get(field.value) or read_options(field.value)
        elif role is _LENGTH:
            lengths.append(field.value)
        elif role is _CODING:
            codings.append(field.value)
        elif role is _EXPECT:
            expects_continue = expects_continue or field.value.lower() == b"100-continue"
        elif role is _UPGRADE:
            upgrade = upgrade or _WEBSOCKET in field.value.lower()
    return host, options, codings, lengths, expects_continue, upgrade


def _judge_beginning(data: bytes, start: int, seen: int, split: Split) -> Unfinished | Deny:
    """What can be said of a head whose end has not come, or comes too late: the faults that `_judge` finds first."""
    stop = min(len(data), start + LARGEST_HEAD)
    # A CR at the end of what has come may become one of a CRLF.
    new = seen - 1 if seen > start and data[seen - 1] == _CR else seen
    bare = data.count(b"\n", new, stop) != data.count(b"\r\n", new, stop)
    too_large = len(data) - start > LARGEST_HEAD
    end = data.find(b"\r\n", start, stop)
    if end >= new or (end >= 0 and (bare or too_large)):
        first = data[start:end]
        if bare or too_large or len(first) <= _JUDGED_EARLY:
            line = _read_request_line(first, split)
            if isinstance(line, Deny):
                return line
    if bare:
        return _NO_LINE if b"\n" in data[start : end if end >= 0 else stop] else _BARE
    if too_large:
        return _TOO_LARGE
    return _SOME if data[start:stop].strip(b"\r") else _NOTHING_YET


def _read_request_line(line: bytes, split: Split) -> tuple[str, Target, bool] | Deny:
    """Method, target, and whether it is HTTP/1.1 (RFC 9112 3)."""
    parts = line.split(b" ")
    if len(parts) != _PARTS or b"\n" in line:
        return _NO_LINE
    raw_method, raw_target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        return _bad("line: the version is neither HTTP/1.1 nor HTTP/1.0")
    method = _METHODS.get(raw_method)
    if method is None:
        if not TOKEN.fullmatch(raw_method):
            return _bad("line: a method that is no token")
        if raw_method in _REFUSED_METHODS:
            return _bad("line: a method that no gateway forwards")
        method = raw_method.decode("ascii")
    target = split(raw_target)
    return target if isinstance(target, Deny) else (method, target, version == b"HTTP/1.1")
