"""One end of a TCP connection, byte by byte: what it sends and in which pieces, what came, and how it ended.

No HTTP library stands between a test and the wire: a raw end says what no library would, and sees what a library
hides. All ends of a test live on one event loop, beside the gateway, so that a byte that is sent is read before the
next one is.
"""

import asyncio
import contextlib
import socket
import struct
from enum import Enum
from typing import Any

import msgspec

PATIENCE = 5.0
"""Seconds after which what a test waits for does not come any more: a hang fails, and fails by name."""
_FLOOD = 64 << 20
_TURNS = 10
_RESET = struct.pack("ii", 1, 0)
_LONG = 700
"""Bytes: what is longer goes byte by byte at both its ends, where the grammar is, and in pieces between them."""
_EDGE = 200
_PIECE = 4093
"""A prime, so that pieces and buffers do not fall into step."""


class Pieces(Enum):
    """How what is sent reaches the other side."""

    WHOLE = "whole"
    BYTES = "byte by byte"


class Ended(Enum):
    """How the other side has ended a connection."""

    CLOSED = "closed"
    RESET = "reset"


class Step(Enum):
    """What either end of a connection may do beside sending."""

    SHUT = "says that it sends no more (FIN), and reads on"
    BREAK = "breaks off (RST)"
    LEAVE = "closes"
    CLOSED = "sees the other side close, after nothing more"
    RESET = "sees the other side break off"
    ENDED = "sees the other side end, one way or the other"
    CUT = "sees the other side end before its message did"
    MAYBE = "need not be reached by anybody"
    SILENCE = "hears nothing, though all that was sent has been read"


class Tell(msgspec.Struct, frozen=True):
    """Let the other end go on that waits for `event`."""

    event: str


class Hear(msgspec.Struct, frozen=True):
    """Wait until the other end has told of `event`."""

    event: str


class Reads(msgspec.Struct, frozen=True):
    """Exactly these bytes come next."""

    data: bytes


class Flood(msgspec.Struct, frozen=True):
    """Send `data` again and again until the other side has had enough, and ends."""

    data: bytes


class Events:
    """What the ends of one test tell each other."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def _event(self, name: str) -> asyncio.Event:
        return self._events.setdefault(name, asyncio.Event())

    def tell(self, name: str) -> None:
        self._event(name).set()

    async def hear(self, name: str) -> None:
        await patiently(self._event(name).wait(), f"nobody told of {name!r}")


async def patiently(wait: Any, what: str) -> Any:
    """The result of `wait`; fails, saying `what`, when it takes too long."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await wait
    except TimeoutError:
        raise AssertionError(f"for {PATIENCE} s: {what}") from None


def pieces_of(data: bytes) -> list[bytes]:
    """`data` as it is sent byte by byte."""
    if len(data) <= _LONG:
        return [data[at : at + 1] for at in range(len(data))]
    middle = data[_EDGE:-_EDGE]
    return [
        *pieces_of(data[:_EDGE]),
        *(middle[at : at + _PIECE] for at in range(0, len(middle), _PIECE)),
        *pieces_of(data[-_EDGE:]),
    ]


class RawConnection:
    """A connected socket. What comes stays until it is read.

    `whose` end it is, faults say; `strict`: see `raw_message`.
    """

    def __init__(self, sock: socket.socket, pieces: Pieces, whose: str, *, strict: bool = True) -> None:
        self.strict = strict
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._pieces = pieces
        self._whose = whose
        self._loop = asyncio.get_running_loop()
        self._left = bytearray()
        self.ended: Ended | None = None
        self.is_closed = False

    async def send(self, data: bytes, pieces: Pieces | None = None) -> None:
        """Send `data`, in the connection's own `pieces` unless others are asked for.

        That the other side has ended is not the sender's business: who reads hears of it.
        """
        with contextlib.suppress(ConnectionError):
            if (pieces or self._pieces) is Pieces.WHOLE:
                await patiently(
                    self._loop.sock_sendall(self._sock, data), f"{len(data)} bytes of {self._whose} were not taken"
                )
                return
            for piece in pieces_of(data):
                try:
                    taken = self._sock.send(piece)
                except BlockingIOError:
                    taken = 0
                if taken < len(piece):
                    await patiently(
                        self._loop.sock_sendall(self._sock, piece[taken:]), f"a piece of {self._whose} was not taken"
                    )
                # One turn of the loop to find that the other side has something to read, one to read it.
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    async def _send_all(self, data: bytes) -> None:
        await patiently(self._loop.sock_sendall(self._sock, data), f"of {self._whose} {len(data)} bytes were not taken")

    async def _fill(self) -> bool:
        """Whether something came; False at the end."""
        if self.ended is not None:
            return False
        try:
            data = await patiently(
                self._loop.sock_recv(self._sock, 1 << 18), f"to {self._whose} came nothing, behind {self.left[-300:]!r}"
            )
        except ConnectionError:
            self.ended = Ended.RESET
            return False
        if not data:
            self.ended = Ended.CLOSED
            return False
        self._left += data
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(self._left[:count])
        del self._left[:count]
        return taken

    async def until(self, mark: bytes) -> bytes:
        """What comes up to `mark`, and `mark`. Raises Cut at the end before it."""
        while (at := self._left.find(mark)) < 0:
            if not await self._fill():
                raise Cut(self)
        return self._take(at + len(mark))

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises Cut at the end before them."""
        while len(self._left) < count:
            if not await self._fill():
                raise Cut(self)
        return self._take(count)

    async def some(self, most: int) -> bytes:
        """What comes next, at most so many bytes; none at the end."""
        if not self._left:
            await self._fill()
        return self._take(min(most, len(self._left)))

    async def rest(self) -> bytes:
        """All that comes before the end."""
        while await self._fill():
            pass
        return self._take(len(self._left))

    async def end(self) -> Ended:
        """How the other side ends the connection; that it says nothing more is checked."""
        rest = await self.rest()
        assert not rest, f"to {self._whose} more came before the end: {rest[:300]!r}"
        assert self.ended is not None
        return self.ended

    @property
    def left(self) -> bytes:
        """What came and was not read."""
        return bytes(self._left)

    async def flood(self, data: bytes) -> None:
        """Send `data` until the other side ends; that it takes it all for ever is a fault."""
        sent = 0
        try:
            while sent < _FLOOD:
                await patiently(self._loop.sock_sendall(self._sock, data), "a flood was neither taken nor refused")
                sent += len(data)
        except ConnectionError:
            self.ended = Ended.RESET
            return
        raise AssertionError(f"{sent} bytes were taken, and it goes on")

    async def silence(self) -> None:
        """Nothing has come, and it has not ended."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        try:
            data = self._sock.recv(1)
        except BlockingIOError:
            return
        raise AssertionError(f"to {self._whose} came {data!r}, or the end, where nothing should")

    def shut(self) -> None:
        """FIN: nothing more is sent."""
        with contextlib.suppress(OSError):  # it may have ended already
            self._sock.shutdown(socket.SHUT_WR)

    def break_off(self) -> None:
        """RST."""
        if not self.is_closed:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def close(self) -> None:
        self.is_closed = True
        self._sock.close()

    async def common(self, step: object, events: Events) -> bool:
        """Do `step` if it is one that either end may do; whether it was."""
        match step:
            case bytes():
                await self.send(step)
            case Tell():
                events.tell(step.event)
            case Hear():
                await events.hear(step.event)
            case Reads():
                await self._read_exactly(step.data)
            case Flood():
                await self.flood(step.data)
            case Step():
                await self._do(step)
            case _:
                return False
        return True

    async def _read_exactly(self, data: bytes) -> None:
        try:
            found = await self.exactly(len(data))
        except Cut:
            found = self.left
        assert found == data, f"to {self._whose} came {found!r}, and not {data!r}"

    async def _do(self, step: Step) -> None:
        match step:
            case Step.SHUT:
                self.shut()
            case Step.BREAK:
                self.break_off()
            case Step.LEAVE:
                self.close()
            case Step.SILENCE:
                await self.silence()
            case Step.ENDED:
                await self.rest()
            case Step.CLOSED:
                assert await self.end() is Ended.CLOSED, f"to {self._whose} the gateway broke off, and did not close"
            case Step.RESET:
                await self.rest()
                assert self.ended is Ended.RESET, f"to {self._whose} the gateway closed as if all were well"
            case Step.CUT | Step.MAYBE:
                raise NotImplementedError(step)


class Cut(Exception):  # noqa: N818 - it says what is the case
    """The other side ended the connection before what was read for."""

    def __init__(self, connection: RawConnection) -> None:
        super().__init__(f"{connection.ended} after {connection.left[:300]!r}")
        self.ended = connection.ended
        self.left = connection.left
