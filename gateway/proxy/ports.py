"""The client's side of an exchange, in the relay's words."""

from collections.abc import Coroutine
from typing import Any, Protocol

from gateway.reason import Deny


class UpstreamFailed(Exception):  # noqa: N818 - it says what is the case
    """No answer, or none that can be used. `timeout`: it was time that ran out."""

    def __init__(self, message: str, *, timeout: bool = False) -> None:
        super().__init__(message)
        self.timeout = timeout


class ClientSide(Protocol):
    """One request's client, as its relay sees it. No method waits.

    Exactly one of `done`, `fail` and `abort` ends an exchange, and is the last that its relay calls.
    """

    is_1_1: bool
    """The client speaks HTTP/1.1, so that it knows chunks and interim answers."""
    request_id: bytes

    def begin(self, status: int, *, ends_with_close: bool) -> bytes:
        """An answer of this status begins: what its head says of the connection, as lines.

        `ends_with_close`: the end of the connection is the end of the body.
        """

    def write(self, data: bytes) -> None:
        """Send these bytes after all before them."""

    def done(self) -> None:
        """The answer is written to its end."""

    def fail(self, deny: Deny) -> None:
        """There is no answer, and nothing of one was sent but interim ones."""

    def abort(self) -> None:
        """Break the connection off: the client must see that the answer is not whole."""

    def hold_body(self) -> None:
        """The upstream does not keep up: no more of the request's body for now."""

    def resume_body(self) -> None:
        """It keeps up again."""

    def open_tunnel(self) -> None:
        """From now on what the client sends goes to `Relay.send_through`."""

    def end_sending(self) -> bool:
        """In a tunnel: the upstream sends nothing more. False: the connection cannot be closed by half."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` in a task that ends with the exchange."""
