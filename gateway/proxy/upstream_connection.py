"""One connection to an upstream: it carries one exchange at a time, and knows when it can carry another."""

import asyncio
from typing import Final, Protocol, cast

from gateway.proxy.tls import is_ended
from gateway.proxy.transport import set_up

READ_SIZE: Final = 64 * 1024
"""Bytes that one read brings at most, and so what a client that does not keep up makes us hold: uvloop's own are 256
KiB.
"""


class Exchange(Protocol):
    """What a connection carries."""

    def received(self, data: bytes) -> None:
        """These bytes came."""

    def ended(self) -> None:
        """The upstream sends nothing more."""

    def lost(self) -> None:
        """The connection is gone."""

    def upstream_full(self) -> None:
        """The upstream does not take what is sent to it."""

    def upstream_ready(self) -> None:
        """It does again."""


class Owner(Protocol):
    """Who keeps connections, all to one place, and all on one loop."""

    host_line: bytes
    """Of each request that is sent there."""
    place: str
    """`host:port`."""
    read_buffer: memoryview
    """READ_SIZE bytes: read into and taken out of without a wait, so that one does for all connections."""

    def gone(self, connection: "UpstreamConnection") -> None:
        """The connection is closed, or will be in a moment."""


class UpstreamConnection(asyncio.BufferedProtocol):
    """Hands what comes to the exchange that it carries, in pieces of at most 64 KiB.

    A byte or an end that comes while it carries none closes it: it is nobody's answer, least of all the next request's.
    """

    __slots__ = ("_owner", "_read", "exchange", "host", "place", "transport", "used")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.host = owner.host_line
        self.place = owner.place
        self._read = owner.read_buffer
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.exchange: Exchange | None = None
        self.used = False
        """It has carried an exchange to its end before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast("asyncio.Transport", transport)
        set_up(self.transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """See asyncio."""
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        exchange = self.exchange
        if exchange is None:
            self.abort()
        else:
            exchange.received(self._read[:nbytes].tobytes())

    def eof_received(self) -> bool:
        """See asyncio. True: our own half stays open, for a tunnel; TLS has no such thing."""
        exchange = self.exchange
        tls = self.transport.get_extra_info("ssl_object")
        if exchange is None:
            self.abort()
        elif tls is not None and not is_ended(tls):
            self.exchange = None
            exchange.lost()
        else:
            exchange.ended()
        return self.exchange is not None and tls is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended changes nothing
        """See asyncio."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.lost()  # first: whose connection it was, is known until it is gone
        self._owner.gone(self)

    def pause_writing(self) -> None:
        """See asyncio."""
        if self.exchange is not None:
            self.exchange.upstream_full()

    def resume_writing(self) -> None:
        """See asyncio."""
        if self.exchange is not None:
            self.exchange.upstream_ready()

    def write(self, data: bytes) -> None:
        """Send `data`, unless the connection has ended already: of that, `Exchange.lost` tells in a moment."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        """Close it now; who is carried hears no more of it."""
        self.exchange = None
        self._owner.gone(self)
        self.transport.abort()
