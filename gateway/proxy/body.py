"""A message's body, out of the bytes behind its head: the same for what clients send and what upstreams answer.

Strict (RFC 9112 6, 7): a body that two readers could end at different places is a fault, never a guess. None of
these holds payload back.
"""

import re
from typing import Final, Protocol

from gateway.proxy.field_line import TOKEN, has_control_bytes

LONGEST_SIZE_LINE: Final = 256
"""Bytes of a chunk's size with its extensions."""
MOST_EXTENSIONS: Final = 16 * 1024
"""Bytes of all extensions of a body: they mean nothing to us, and must not cost us more than that."""
LARGEST_TRAILERS: Final = 16 * 1024
"""Bytes of the trailer section, the empty line that ends it among them."""
MOST_TRAILERS: Final = 64

_CRLF: Final = b"\r\n"
# (?>...) and a repeat that ends in "+" give nothing back: no line makes these look for a second way to read it.
_PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)\r\n")
_NAME: Final = rb"(?>" + TOKEN.pattern + rb")"
_QUOTED: Final = rb'"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t -\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb"[\t ]*+;[\t ]*+" + _NAME + rb"(?:[\t ]*+=[\t ]*+(?:" + _NAME + rb"|" + _QUOTED + rb"))?+"
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)((?:" + _EXTENSION + rb")*+)")


class BodyFault(Exception):  # noqa: N818 - the peer made it, not we
    """A body is not framed as it should be. Its one short text holds no byte of the input."""


class Decoder(Protocol):
    """Reads one body. `decode` is for what the connection brought, in order, until `complete`; not after."""

    __slots__ = ()

    complete: bool
    """The end of the body was reached."""
    rest: bytes
    """What came behind the end, in the same read; empty until `complete`."""
    trailers: tuple[tuple[bytes, bytes], ...]
    """Names as sent, values without the blanks around them, in their order; none unless chunked."""

    def decode(self, data: bytes) -> bytes:
        """The payload in `data`, maybe none. Raises BodyFault."""
        ...

    def end(self) -> None:
        """The peer has closed: the body is complete, or BodyFault is raised (RFC 9112 8)."""
        ...


class LengthBody(Decoder):
    """A body of `length` bytes (RFC 9112 6.2); of none, complete from the start."""

    __slots__ = ("_left", "complete", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self.complete = length == 0
        self.rest = b""
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()
        self._left = length

    def decode(self, data: bytes) -> bytes:
        """The payload in `data`: `data` itself when all of it belongs to the body."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self.complete = True
        if left < 0:
            self.rest = data[left:]
            data = data[:left]
        self._left = 0
        return data

    def end(self) -> None:
        """BodyFault unless all bytes have come."""
        if not self.complete:
            raise BodyFault("the body breaks off before its length")


class UntilClose(Decoder):
    """A body that ends where the peer closes (RFC 9112 6.3, its last rule): an answer's only, never a request's."""

    __slots__ = ("complete", "rest", "trailers")

    def __init__(self) -> None:
        self.complete = False
        self.rest = b""
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()

    def decode(self, data: bytes) -> bytes:
        """All of `data`."""
        return data

    def end(self) -> None:
        """The body is complete."""
        self.complete = True


class ChunkedBody(Decoder):
    """A body in chunks (RFC 9112 7.1). Lines end in CRLF alone; extensions are judged, then forgotten.

    Kept between two reads: a line that is not finished yet, and finished trailers; never payload. After a BodyFault
    each call raises it again, and the body is never complete.
    """

    __slots__ = (
        "_ending",
        "_extensions",
        "_fault",
        "_in_trailers",
        "_left",
        "_line",
        "_room",
        "_trailers",
        "complete",
        "rest",
        "trailers",
    )

    def __init__(self) -> None:
        self.complete = False
        self.rest = b""
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()
        self._left = 0
        """Payload of the present chunk that has not come."""
        self._ending = b""
        """What must come next, behind a chunk's payload: CRLF, or its LF."""
        self._in_trailers = False
        self._line = bytearray()
        """A size line or trailer line as far as it came."""
        self._room = LARGEST_TRAILERS
        """Bytes that the trailer section may still take."""
        self._extensions = 0
        """Bytes of extensions so far."""
        self._trailers: list[tuple[bytes, bytes]] = []
        self._fault = ""

    def decode(self, data: bytes) -> bytes:
        """The payload in `data`: `data` itself when it all lies within one chunk."""
        if len(data) < self._left:
            self._left -= len(data)
            return data
        if self._fault:
            raise self._broken(self._fault)
        pieces: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not self.complete:
            if self._left:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._ending = b"" if self._left else _CRLF
            elif self._ending:
                position = self._end_chunk(data, position)
            elif self._line or self._in_trailers or (size := _PLAIN_SIZE.match(data, position)) is None:
                position = self._read_line(data, position)
            else:
                length, start = int(size[1], 16), size.end()
                stop = start + length
                if not data.startswith(_CRLF, stop):
                    self._start_chunk(length)
                    position = start
                    continue
                # The usual case, in one go: a whole chunk is here; or the last one, with no trailers behind it.
                position = stop + len(_CRLF)
                if length:
                    pieces.append(data[start:stop])
                else:
                    self._finish(data[position:])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> None:
        """BodyFault unless the last chunk and the trailers have come."""
        if not self.complete:
            raise self._broken("the body breaks off before its last line")

    def _broken(self, what: str) -> BodyFault:
        self._left = 0
        self._fault = self._fault or what
        return BodyFault(self._fault)

    def _start_chunk(self, size: int) -> None:
        self._left = size
        self._in_trailers = size == 0

    def _end_chunk(self, data: bytes, position: int) -> int:
        """Where the chunk's CRLF, as far as it came, ends."""
        found = data[position : position + len(self._ending)]
        if not self._ending.startswith(found):
            raise self._broken("a chunk does not end where its size says")
        self._ending = self._ending[len(found) :]
        return position + len(found)

    def _read_line(self, data: bytes, position: int) -> int:
        """Where the line at `position` ends, now taken; or the end of `data`, with the line kept as far as it came."""
        room = (self._room if self._in_trailers else LONGEST_SIZE_LINE + len(_CRLF)) - len(self._line)
        stop = data.find(b"\n", position, position + room) + 1
        if not stop:
            if len(data) - position >= room:
                raise self._broken(
                    "the trailers are too large" if self._in_trailers else "the line of a chunk's size is too long"
                )
            self._line += data[position:]
            return len(data)
        self._line += data[position:stop]
        if not self._line.endswith(_CRLF):
            raise self._broken("a line ends in LF alone")
        line = bytes(self._line[:-2])
        self._line.clear()
        if not self._in_trailers:
            self._take_size(line)
        elif line:
            self._take_trailer(line)
        else:
            self._finish(data[stop:])
        return stop

    def _finish(self, rest: bytes) -> None:
        self.complete = True
        self.trailers = tuple(self._trailers)
        self.rest = rest

    def _take_size(self, line: bytes) -> None:
        found = _SIZE_LINE.fullmatch(line)
        if found is None:
            raise self._broken("the line of a chunk's size is malformed")
        self._extensions += len(found[2])
        if self._extensions > MOST_EXTENSIONS:
            raise self._broken("too many chunk extensions")
        self._start_chunk(int(found[1], 16))

    def _take_trailer(self, line: bytes) -> None:
        self._room -= len(line) + len(_CRLF)
        name, colon, value = line.partition(b":")
        trailer = (name, value.strip(b" \t"))
        # A folded line begins with a blank, and so has no token for a name.
        if not colon or not TOKEN.fullmatch(name) or has_control_bytes(value):
            raise self._broken("a trailer is malformed")
        if len(self._trailers) == MOST_TRAILERS:
            raise self._broken("too many trailers")
        self._trailers.append(trailer)
