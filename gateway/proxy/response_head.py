"""The head of an upstream's answer, read as strictly as a client's.

What a client would be refused for, an upstream is not believed in: a head that two readers could read differently may
hide a second answer, which would be the next client's.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.proxy.field_line import FieldLine, KnownLines, Role, read_line
from gateway.proxy.framing import LARGEST_HEAD, MOST_FIELDS, UNFRAMED, Framing, read_framing, read_options
from gateway.proxy.ports import UpstreamFailed

_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?")
_ORDINARY: Final = Role.ORDINARY
_SWITCHING_PROTOCOLS: Final = 101
_OK: Final = 200


class ResponseHead(msgspec.Struct, frozen=True):
    """A judged head. `size`: bytes that it takes, its end included."""

    status: int
    phrase: bytes
    is_1_1: bool
    ordinary: Sequence[FieldLine]
    special: Sequence[FieldLine]
    framing: Framing
    options: frozenset[bytes]
    """What `Connection` names, in lower case."""
    keep_alive: bool
    size: int

    @property
    def is_interim(self) -> bool:
        """Another head follows (RFC 9110 15.2)."""
        return self.status < _OK and self.status != _SWITCHING_PROTOCOLS


def read_response_head(data: bytes, lines: KnownLines) -> ResponseHead | None:
    """The head that `data` begins with; None where its end has not come. Raises UpstreamFailed."""
    end = data.find(_END, 0, LARGEST_HEAD)
    if end < 0:
        _judge_beginning(data)
        return None
    first, *rest = data[:end].split(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise UpstreamFailed("a status line that is none")
    if data.count(b"\n", 0, end) != len(rest) or len(rest) > MOST_FIELDS:
        raise UpstreamFailed("a head that is too large, or has a line end that is not CRLF")
    known = lines.lines
    ordinary: list[FieldLine] = []
    special: list[FieldLine] = []
    fresh: list[tuple[bytes, FieldLine]] = []
    for raw in rest:
        field = known.get(raw)
        if field is None:
            read = read_line(raw)
            if isinstance(read, str):
                raise UpstreamFailed(f"a field: {read}")
            field = read
            fresh.append((raw, field))
        (ordinary if field.role is _ORDINARY else special).append(field)
    if fresh:
        lines.learn(fresh)
    minor, status, phrase = line.groups()
    is_1_1 = minor == b"1"
    framing, options = _framing(special, is_1_1=is_1_1)
    return ResponseHead(
        int(status),
        phrase or b"",
        is_1_1,
        ordinary,
        special,
        framing,
        options,
        b"close" not in options and (is_1_1 or b"keep-alive" in options),
        end + len(_END),
    )


def _framing(special: Sequence[FieldLine], *, is_1_1: bool) -> tuple[Framing, frozenset[bytes]]:
    """How the body is framed, and what `Connection` names."""
    codings, lengths = [], []
    options: frozenset[bytes] = frozenset()
    for field in special:
        role = field.role
        if role is Role.LENGTH:
            lengths.append(field.value)
        elif role is Role.CODING:
            codings.append(field.value)
        elif role is Role.CONNECTION:
            options |= read_options(field.value)
    framing = read_framing(codings, lengths, is_1_1=is_1_1) if codings or lengths else UNFRAMED
    if not isinstance(framing, Framing):
        raise UpstreamFailed("a body that two readers could read differently")
    return framing, options


def _judge_beginning(data: bytes) -> None:
    """Raises UpstreamFailed for a head whose end has not come, and cannot come any more."""
    if len(data) >= LARGEST_HEAD:
        raise UpstreamFailed("a head that is too large")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise UpstreamFailed("a line end that is not CRLF")
    first, ended, _ = data.partition(b"\r\n")
    if (ended and not _STATUS_LINE.fullmatch(first)) or not b"HTTP/1.".startswith(data[:7]):
        raise UpstreamFailed("a status line that is none")
