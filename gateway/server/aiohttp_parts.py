"""What we lean on of aiohttp's server, private parts among it: all of it stands in this module.

aiohttp's `Server` makes the connections, keeps the list of them and ends them; a connection of ours takes the place of
its `RequestHandler` in all of that. The parser, the task and the timers that a `RequestHandler`
starts for itself in `connection_made` are never started: that method, and the others in which aiohttp would touch them,
are ours. `missing_parts` tells what a new version has moved.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler

_PARTS: Final = {
    web.Server: ("_connections", "_loop", "connection_made", "connection_lost", "pre_shutdown", "shutdown"),
    RequestHandler: ("_manager", "_task_handler", "connection_made", "connection_lost", "close", "shutdown"),
    BaseProtocol: ("transport", "_parser"),
}


def missing_parts() -> list[str]:
    """Parts that we lean on, and that this aiohttp does not have."""
    instances: dict[type, object] = {
        RequestHandler: RequestHandler.__slots__ + tuple(vars(RequestHandler)),
        BaseProtocol: BaseProtocol.__slots__ + tuple(vars(BaseProtocol)),
    }
    missing = []
    for kind, names in _PARTS.items():
        known = instances.get(kind)
        for name in names:
            has_it = (
                name in known
                if isinstance(known, tuple)
                else name in web.Server.__init__.__code__.co_names + tuple(vars(kind))
            )
            if not has_it:
                missing.append(f"{kind.__name__}.{name}")
    return missing


class Server(web.Server):
    """aiohttp's low-level server, which hands out connections of ours."""

    def __init__(self, make: "Callable[[Server], RequestHandler]") -> None:
        """`make`: a connection for the server that it is given. Must be made while the loop runs."""
        super().__init__(_never_called)
        self._make = make
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self) -> RequestHandler:
        """A protocol for a new connection."""
        return self._make(self)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """See aiohttp."""
        super().connection_made(handler, transport)
        self._empty.clear()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """See aiohttp."""
        super().connection_lost(handler, exc)
        if not self._connections:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until there is no connection."""
        await self._empty.wait()

    @property
    def size(self) -> int:
        """How many connections there are."""
        return len(self._connections)


async def _never_called(request: web.BaseRequest) -> web.StreamResponse:
    raise NotImplementedError(f"aiohttp has read a request by itself: {request.method}")


class AiohttpConnection(RequestHandler):
    """A `RequestHandler` that is known to its server, and of which nothing else is at work."""

    __slots__ = ()

    def __init__(self, server: Server) -> None:
        super().__init__(server, loop=server._loop)  # noqa: SLF001 - as aiohttp does it
        self._parser = None  # a connection that is idle has no use for its memory

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
