"""The two ends of a relay, in the relay's words. Today aiohttp stands behind both."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from gateway.reason import Deny

Fields = Sequence[tuple[bytes, bytes]]
"""Header fields in their order, names as sent."""


class ClientGone(Exception):  # noqa: N818 - it says what is the case
    """The client has closed its end: there is nobody left to answer."""


class BodyRefused(Exception):  # noqa: N818 - it says what is the case
    """The client's body is too large, too slow, cut or malformed; `deny` says which."""

    def __init__(self, deny: Deny) -> None:
        super().__init__(deny.reason)
        self.deny = deny


class Outgoing(msgspec.Struct, frozen=True):
    """A request as it goes up. `target` is origin form. `length` None with a body: chunked."""

    method: str
    target: bytes
    fields: Fields
    has_body: bool
    length: int | None


class Incoming(msgspec.Struct, frozen=True):
    """The head of an upstream's answer. `length` None with a body: unknown."""

    status: int
    phrase: str
    fields: Fields
    length: int | None
    has_body: bool


class UpstreamFailed(Exception):  # noqa: N818 - it says what is the case
    """No answer, or none that can be used. `timeout`: it was time that ran out."""

    def __init__(self, message: str, *, timeout: bool = False) -> None:
        super().__init__(message)
        self.timeout = timeout


class UpstreamAnswer(Protocol):
    """An answer under way."""

    head: Incoming

    def body(self) -> AsyncIterator[bytes]:
        """The body, in pieces as they come. Raises UpstreamFailed when it breaks off."""


class Upstream(Protocol):
    """One API's upstream."""

    def exchange(self, request: Outgoing, body: AsyncIterator[bytes]) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """Send `request`, with `body` as it comes; entered when the answer's head is there. Raises UpstreamFailed,
        and BodyRefused when the client's body was at fault: the upstream has seen no end of it then.
        """

    async def close(self) -> None:
        """Close every connection."""


class ClientConnection(Protocol):
    """The client's side of one request."""

    def body(self) -> AsyncIterator[bytes]:
        """The request's body, in pieces as they come. Raises BodyRefused."""

    async def start(self, head: Incoming) -> None:
        """Send the answer's head. Raises ClientGone."""

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; returns when the client keeps up. Raises ClientGone."""

    async def finish(self) -> None:
        """End the answer cleanly. Raises ClientGone."""

    def abort(self) -> None:
        """Break the connection off: the client must see that the answer is not whole."""
