"""An HTTP/1.1 message, read naively and strictly: the tests' own reader, which shares nothing with the gateway's.

It takes one spelling of everything, since nothing has another that the gateway sent: what it cannot read is an
`AssertionError`. From a peer that is not the gateway (`strict` off) it takes what RFC 9112 allows beside that.
"""

import re

import msgspec

from support.raw_connection import Cut, Ended, RawConnection

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_NUMBER = re.compile(rb"0|[1-9][0-9]*")
_DIGITS = re.compile(rb"[0-9]+")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_WITHOUT_BODY = (204, 304)

Fields = tuple[tuple[bytes, bytes], ...]


class Message(msgspec.Struct, frozen=True):
    """One message. `framing` is "length", "chunked", "close" (its end is the connection's) or "" (no body at all).

    `whole` False: the connection ended before the message did; then `body` is what came of it.
    """

    start: bytes
    fields: Fields
    framing: str = ""
    body: bytes = b""
    trailers: Fields = ()
    whole: bool = True

    def values(self, name: str) -> list[bytes]:
        """Values of all fields called `name` (lower case)."""
        return [value for found, value in self.fields if found.lower() == name.encode()]

    def value(self, name: str) -> bytes | None:
        """The value of the only field called `name`, or None."""
        found = self.values(name)
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def status(self) -> int:
        version, status, _ = self.start.split(b" ", 2)
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), self.start
        assert re.fullmatch(rb"[1-5][0-9][0-9]", status), self.start
        return int(status)


def _read_fields(block: bytes) -> Fields:
    fields = []
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        assert colon, f"a field line without a colon: {line!r}"
        assert _NAME.fullmatch(name), f"a field name that is none: {line!r}"
        assert _VALUE.fullmatch(value), f"a control byte in a field: {line!r}"
        fields.append((name, value.strip(b" \t")))
    return tuple(fields)


def _read_head(head: bytes, *, strict: bool) -> Message:
    start, _, block = head.removesuffix(b"\r\n\r\n").partition(b"\r\n")
    message = Message(start, _read_fields(block) if block else ())
    coding, length = message.value("transfer-encoding"), message.value("content-length")
    if coding is not None and not strict:
        coding = coding.lower()
    assert coding in (None, b"chunked"), f"a coding that is not chunked: {coding!r}"
    assert coding is None or length is None, "both Transfer-Encoding and Content-Length"
    number = _NUMBER if strict else _DIGITS
    assert length is None or number.fullmatch(length), f"a length that is none: {length!r}"
    framing = "chunked" if coding else "" if length is None else "length"
    return msgspec.structs.replace(message, framing=framing)


class Body(msgspec.Struct, frozen=True):
    """A step: exactly these bytes of the body come next; it goes on."""

    data: bytes


class BodyEnd(msgspec.Struct, frozen=True):
    """A step: the body ends here, and cleanly."""

    trailers: tuple[str, ...] = ()


class BodyReader:
    """The body of the message whose `head` was read, as it comes."""

    def __init__(self, connection: RawConnection, head: Message) -> None:
        self._connection = connection
        self._framing = head.framing
        self._left = int(head.value("content-length") or 0) if head.framing == "length" else 0
        """Of the body, or of the chunk under way."""
        self._is_begun = False
        self._is_over = head.framing == ""
        self.body = bytearray()
        """What came of it."""
        self.trailers: Fields = ()

    async def _next(self, most: int) -> bytes:
        """Some bytes, at most so many; none at the end. Raises Cut where there is none."""
        if self._framing == "close":
            data = await self._connection.some(most)
            if not data and self._connection.ended is Ended.RESET:
                raise Cut(self._connection)
            return data
        if self._framing == "chunked" and not self._left and not self._is_over:
            await self._begin_chunk()
        if self._left == 0:
            return b""
        data = await self._connection.some(min(most, self._left))
        if not data:
            raise Cut(self._connection)
        self._left -= len(data)
        return data

    async def _begin_chunk(self) -> None:
        if self._is_begun:
            assert await self._connection.exactly(2) == b"\r\n", "a chunk that does not end where its size says"
        self._is_begun = True
        size = (await self._connection.until(b"\r\n"))[:-2]
        if not self._connection.strict:
            size = size.partition(b";")[0]
        assert _SIZE.fullmatch(size), f"a chunk size that is none: {size!r}"
        self._left = int(size, 16)
        if self._left:
            return
        block = b""
        while (line := await self._connection.until(b"\r\n")) != b"\r\n":
            block += line
        self.trailers = _read_fields(block.removesuffix(b"\r\n")) if block else ()
        self._is_over = True

    async def take(self, count: int) -> bytes:
        """The next `count` bytes; fewer where the body ends. Raises Cut."""
        taken = b""
        while len(taken) < count and (data := await self._next(count - len(taken))):
            taken += data
        self.body += taken
        return taken

    async def rest(self) -> None:
        """All of it has come. Raises Cut."""
        while data := await self._next(1 << 18):
            self.body += data

    async def message(self, head: Message) -> Message:
        """The message of `head` with its body; cut off, it is not whole."""
        whole = True
        try:
            await self.rest()
        except Cut:
            whole = False
        return msgspec.structs.replace(head, body=bytes(self.body), trailers=self.trailers, whole=whole)

    async def step(self, step: Body | BodyEnd) -> None:
        """Check what comes next."""
        match step:
            case Body(data):
                found = await self.take(len(data))
                assert found == data, f"of the body comes {found[:300]!r}, and not {data[:300]!r}"
            case BodyEnd(trailers):
                found = await self._next(1 << 18)
                assert not found, f"the body goes on with {found[:300]!r}"
                assert lines(self.trailers) == trailers, self.trailers


def lines(fields: Fields) -> tuple[str, ...]:
    """Fields as `Name: value`."""
    return tuple(f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in fields)


async def read_head(connection: RawConnection) -> Message:
    """The head of the next message. Raises Cut when the connection ends before it is whole."""
    block = await connection.until(b"\r\n\r\n")
    if not connection.strict:
        while not (block := block.removeprefix(b"\r\n").removeprefix(b"\r\n")):
            block = await connection.until(b"\r\n\r\n")
    return _read_head(block, strict=connection.strict)


async def read_request(connection: RawConnection) -> Message:
    """The next request, with its body. Raises Cut when the connection ends before its head is whole."""
    head = await read_head(connection)
    return await BodyReader(connection, head).message(head)


def framed(head: Message, method: str) -> Message:
    """The `head` of an answer to `method`, framed as it is read (RFC 9112 6.3)."""
    if method == "HEAD" or head.status in _WITHOUT_BODY or 100 <= head.status < 200:
        return msgspec.structs.replace(head, framing="")
    return head if head.framing else msgspec.structs.replace(head, framing="close")
