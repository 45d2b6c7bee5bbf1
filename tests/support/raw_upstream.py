"""An upstream that does what a test says, byte for byte, and judges what it is sent."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from support.raw_connection import (
    PATIENCE,
    Cut,
    Events,
    Flood,
    Hear,
    Pieces,
    RawConnection,
    Reads,
    Step,
    Tell,
    patiently,
)
from support.raw_message import Body, BodyEnd, BodyReader, Message, lines, read_head, read_request

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
_FRAMING = ("content-length", "transfer-encoding")


class Seen(msgspec.Struct, frozen=True):
    """The next request, exactly.

    `fields`: the client's own as they must have come through, in their order, as `Name: value`. `asserted`: by name,
    what the gateway must have said; None: that it is not there. `framing` as `Message` has it; None: not looked at.
    """

    line: str
    fields: tuple[str, ...]
    asserted: tuple[tuple[str, str | None], ...]
    body: bytes | None = b""
    framing: str | None = None
    reads_body: bool = True
    """False: only the head is read now; `Body` and `BodyEnd` read on."""


UpstreamStep = bytes | Seen | Body | BodyEnd | Step | Tell | Hear | Reads | Flood
Script = Sequence[UpstreamStep]


def check_request(seen: Seen, message: Message, host: str) -> None:
    """Whether `message` is what `seen` says; `host` is the target's own."""
    assert message.start == seen.line.encode("latin-1"), f"{message.start!r}, and not {seen.line!r}"
    asserted = {"host": host, **dict(seen.asserted)}
    for name, value in asserted.items():
        found = [each.decode("latin-1") for each in message.values(name)]
        if name == "x-request-id" and value == "":
            assert len(found) == 1, f"{name}: {found}"
            assert _REQUEST_ID.fullmatch(found[0]), f"{name}: {found}"
        else:
            assert found == ([] if value is None else [value]), f"{name} is {found}, and not {value!r}"
    rest = lines(
        tuple(
            field
            for field in message.fields
            if (lower := field[0].decode().lower()) not in asserted and lower not in _FRAMING
        )
    )
    assert rest == seen.fields, f"the fields are {rest}, and not {seen.fields}"
    if seen.framing is not None:
        assert message.framing == seen.framing, f"framed by {message.framing!r}, and not {seen.framing!r}"
    if not seen.reads_body:
        return
    assert message.whole, f"it is cut off: {message}"
    if seen.body is not None:
        assert message.body == seen.body, f"the body is {message.body[:300]!r}, and not {seen.body[:300]!r}"
    assert not message.trailers, f"trailers went up: {message.trailers}"


class _Play:
    """One test's connections: the first runs the first script, and so on; there is none without a script."""

    def __init__(self, scripts: Sequence[Script], pieces: Pieces, events: Events, group: asyncio.TaskGroup) -> None:
        self.scripts = scripts
        self.pieces = pieces
        self.events = events
        self.group = group
        self.connections: list[RawConnection] = []
        self.seen: list[Message] = []
        self.strays = 0
        self.done = asyncio.Semaphore(0)


class RawUpstream:
    """A listener on 127.0.0.1 whose connections run scripts. It lives on one event loop."""

    def __init__(self, *, judges: bool = True) -> None:
        """`judges` False: what is sent is read, and not compared."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self.host = f"127.0.0.1:{self.port}"
        self._judges = judges
        self._play: _Play | None = None
        self._last: tuple[int, asyncio.Event] | None = None

    async def serve(self) -> None:
        """Take connections until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            sock, (_, port) = await loop.sock_accept(self._listener)
            if self._last is not None and port == self._last[0]:
                sock.close()
                self._last[1].set()
                continue
            play = self._play
            if play is None or len(play.connections) == len(play.scripts):
                sock.close()
                if play is not None:
                    play.strays += 1
                continue
            connection = RawConnection(sock, play.pieces, "the upstream", strict=self._judges)
            play.connections.append(connection)
            play.group.create_task(self._run(play, play.scripts[len(play.connections) - 1], connection))

    async def _run(self, play: _Play, script: Script, connection: RawConnection) -> None:
        try:
            reader: BodyReader | None = None
            for step in script:
                match step:
                    case Seen():
                        head = await read_head(connection)
                        reader = BodyReader(connection, head)
                        message = await reader.message(head) if step.reads_body else head
                        play.seen.append(message)
                        if self._judges:
                            check_request(step, message, self.host)
                    case Body() | BodyEnd():
                        assert reader is not None
                        await reader.step(step)
                    case Step.CUT:
                        await self._read_cut(connection)
                    case Step.MAYBE:
                        pass
                    case _:
                        assert await connection.common(step, play.events), step
        except Cut as cut:
            raise AssertionError(f"the upstream saw the end, and no request: {cut}") from None
        play.done.release()

    async def _all_accepted(self) -> None:
        """Every connection that was made before has been taken: one of our own, the last, has come out of the queue."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as sock:
            self._last = sock.getsockname()[1], asyncio.Event()
            await patiently(self._last[1].wait(), "the upstream takes no connection")
        self._last = None

    @staticmethod
    async def _read_cut(connection: RawConnection) -> None:
        with suppress(Cut):
            message = await read_request(connection)
            assert not message.whole, f"a request that was never whole went up as if it were: {message}"

    @asynccontextmanager
    async def playing(self, scripts: Sequence[Script], pieces: Pieces, events: Events) -> AsyncIterator[list[Message]]:
        """The next connections run `scripts`; yields the requests that come.

        On the way out each script must have run to its end; then the gateway must let go of every connection.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._play = play = _Play(scripts, pieces, events, group)
                try:
                    yield play.seen
                    await self._all_accepted()
                    wanted = sum(Step.MAYBE not in script for script in scripts)
                    for number in range(max(wanted, len(play.connections))):
                        await patiently(
                            play.done.acquire(),
                            f"of {len(scripts)} scripts of the upstream only {number} ran to the end",
                        )
                    for connection in play.connections:
                        await self._let_go(connection)
                    assert not play.strays, f"{play.strays} connections more than there should be"
                finally:
                    self._play = None
                    for connection in play.connections:
                        connection.close()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    @staticmethod
    async def _let_go(connection: RawConnection) -> None:
        """What is idle ends when the upstream says so, and nothing more was sent on it."""
        if connection.is_closed or connection.ended is not None:
            return
        connection.shut()
        rest = await connection.rest()
        assert not rest, f"the upstream was sent more: {rest[:300]!r}"

    def close(self) -> None:
        with suppress(OSError):
            self._listener.close()
