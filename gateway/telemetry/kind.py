"""What is known of a request that has ended."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from gateway.proxy.field_line import FieldLine
from gateway.reason import Reason
from gateway.telemetry.trace_context import Trace

CLIENT_GONE: Final = "client_gone"
"""In the place of a reason: what was answered, or would have been, has nobody heard to its end."""


class Kind(NamedTuple):
    """What requests have in common that are counted as one. Names are "" where there is none, or nothing was proved."""

    method: str
    """"": the head could not be read."""
    api: str
    route: str
    """The label of the route that was asked for."""
    token: str
    """Its id."""
    reason: Reason | None
    """Why it was refused, or broken off."""
    address: str
    status: int
    owner: str = ""
    """The token's, as `OwnerRef.key`."""
    upstream: str = ""
    """The target to which it went, as `host:port`."""
    allowed: bool = False
    """Decided was: yes, whatever came of it then."""
    left: bool = False
    """The client was gone before the answer had ended."""

    @property
    def why(self) -> str:
        """Why it came to no good end, as log and counters have it; "": it did not."""
        if self.reason is not None:
            return self.reason.value
        return CLIENT_GONE if self.left else ""


class Ended(Protocol):
    """A request that has ended."""

    request_id: bytes
    ended_at: float
    """Unix seconds."""
    seconds: float
    """From the arrival of its head to the end of its answer."""
    upstream_seconds: float
    """From the moment in which the upstream had all of it to the head of its answer; below 0: there was none."""
    gateway_seconds: float
    """From the arrival of its head until it went up; below 0: it did not."""
    bytes_in: int
    """Of its head and of its body."""
    bytes_out: int
    """Written in answer to it."""
    trace: Trace | None
    """None: nobody has asked for its place in a trace yet."""

    @property
    def path(self) -> bytes | None:
        """As it was judged, and so plain ASCII; None: it was not."""

    @property
    def kind(self) -> Kind:
        """What it has in common with others."""

    @property
    def host(self) -> bytes:
        """For which it was, as the client says."""

    @property
    def ordinary(self) -> Sequence[FieldLine]:
        """Those of its fields in which a gateway has no part."""
