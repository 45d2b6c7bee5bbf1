"""What we lean on of aiohttp's server, private parts among it: all of it stands in this module.

aiohttp's `Server` makes the connections, keeps the list of them and ends them; a connection of ours takes the place of
its `RequestHandler` in all of that. The parser, the task and the timers that a `RequestHandler` starts for itself in
`connection_made` are never started: that method, and the others in which aiohttp would touch them, are ours.
`missing_parts` tells what a new version has moved.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

_PARTS: Final[Mapping[type, Sequence[str]]] = {
    web.Server: ("connections", "connection_made", "connection_lost", "shutdown"),
    RequestHandler: ("transport", "_manager", "_task_handler", "_parser"),
}
"""Methods and attributes. Those of a `RequestHandler` are slots, and so its class has them too."""


def missing_parts() -> list[str]:
    """Parts that we lean on, and that this aiohttp does not have."""
    return [f"{kind.__name__}.{name}" for kind, names in _PARTS.items() for name in names if not hasattr(kind, name)]


class Server(web.Server):
    """aiohttp's low-level server, which hands out connections of ours."""

    def __init__(self, make: "Callable[[Server], RequestHandler]") -> None:
        """`make`: a connection for the server that it is given. Must be made while the loop runs."""
        super().__init__(_never_called)
        self._make = make
        self.size = 0
        """How many connections there are."""
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self) -> RequestHandler:
        """A protocol for a new connection."""
        return self._make(self)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """See aiohttp."""
        super().connection_made(handler, transport)
        self.size += 1
        self._empty.clear()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """See aiohttp."""
        super().connection_lost(handler, exc)
        self.size -= 1
        if not self.size:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until there is no connection."""
        await self._empty.wait()


async def _never_called(request: web.BaseRequest) -> web.StreamResponse:
    raise NotImplementedError(f"aiohttp has read a request by itself: {request.method}")


class AiohttpConnection(RequestHandler):
    """A `RequestHandler` that is known to its server, and of which nothing else is at work."""

    __slots__ = ()

    def __init__(self, server: Server) -> None:
        # It would log by itself, and parse: what it has for that is memory of a connection that is idle.
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
        self._parser = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is known to the server."""
        self.transport = cast("asyncio.Transport", transport)
        if self._manager is not None:
            self._manager.connection_made(self, self.transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is no more."""
        if self._manager is not None:
            self._manager.connection_lost(self, exc)
        self._manager = None
        self.transport = None
