"""One request, as it becomes known, until it is answered."""

from collections.abc import Sequence
from typing import Final

from gateway.access.decision import Allow
from gateway.access.principal import Principal
from gateway.proxy.field_line import FieldLine
from gateway.proxy.relay import Relay
from gateway.reason import Deny
from gateway.server.admission import label
from gateway.server.head import Head
from gateway.telemetry.kind import Kind
from gateway.telemetry.trace_context import Trace
from gateway.tokens.condition import Address

_LONGEST_METHOD: Final = 64
"""Characters of a method that log and counters are told: whoever sends a longer one means us no good."""


class Exchange:
    """What is known of one request. What stands in the class is so until it is known better."""

    allow: Allow | None = None
    deny: Deny | None = None
    relay: Relay | None = None
    body: bytes | None = None
    """Of the request, where it was judged before it was forwarded."""
    status = 0
    """Of the answer; 0: none was begun."""
    ended_at = 0.0
    """Unix seconds."""
    seconds = 0.0
    """From the arrival of the head to the end of the answer."""
    gateway_seconds = -1.0
    """From the arrival of the head until it went up; below 0: it did not."""
    upstream_seconds = -1.0
    """From the moment in which the upstream had all of it to the head of its answer; below 0: there was none."""
    upstream = ""
    """The target to which it went."""
    left = False
    """The client was gone before the answer had ended."""
    bytes_out = 0
    """Bytes that were written in answer to it."""
    trace: Trace | None = None
    """Its place in a trace, where it went up and requests are traced."""
    visitor: Principal | None = None
    """Who has signed in, and asks what the dashboard's pages ask."""
    limits_told = b""
    """What the answer says of the token's limits, as lines of its head."""

    def __init__(self, started: float, request_id: bytes, head: Head | None, address: Address | None, ip: str) -> None:
        """`started`: monotonic seconds; `head` None: it could not be read; `ip`: the address as text, "" where there
        is none.
        """
        self.started = started
        self.request_id = request_id
        self.head = head
        self.address = address
        self.ip = ip
        self.bytes_in = head.size if head is not None else 0
        """Bytes of its head, and of what has come of its body, less what frames it."""
        self.keep_alive = head is not None and head.keep_alive
        """Another request may follow on this connection."""

    @property
    def path(self) -> bytes | None:
        """As it was judged; None: it was not."""
        return self.head.target.path if self.head is not None else None

    @property
    def host(self) -> bytes:
        """For which it was, as the client says; b"": it does not."""
        return self.head.host if self.head is not None else b""

    @property
    def ordinary(self) -> Sequence[FieldLine]:
        """Those of its fields in which a gateway has no part."""
        return self.head.ordinary if self.head is not None else ()

    @property
    def token_id(self) -> str:
        """Of the token, once it has proved itself; else ""."""
        return self._whose[0]

    @property
    def _whose(self) -> tuple[str, str]:
        """The id of that token, and the key of its owner (`OwnerRef.key`); "" where it is not known."""
        who = self.allow.principal if self.allow is not None else self.visitor
        if who is not None:
            token = who.token
            return token.id, token.ceiling.key if token.ceiling is not None else ""
        return (self.deny.token_id, self.deny.owner) if self.deny is not None else ("", "")

    @property
    def route(self) -> str:
        """The label of the route that was asked for; "" where there is none, or nothing was proved."""
        if self.allow is not None and self.head is not None:
            return label(self.head.method, self.allow.route)
        return self.deny.route if self.deny is not None else ""

    def visited_by(self, principal: Principal) -> None:
        """The dashboard is asked by `principal`."""
        self.visitor = principal

    @property
    def kind(self) -> Kind:
        """What it has in common with others, for log and counters."""
        head, allow, deny = self.head, self.allow, self.deny
        token_id, owner = self._whose
        return Kind(
            head.method[:_LONGEST_METHOD] if head is not None else "",
            allow.route.api.name if allow is not None else deny.api if deny is not None else "",
            self.route,
            token_id,
            deny.reason if deny is not None else None,
            self.ip,
            self.status,
            owner,
            self.upstream,
            allow is not None,
            self.left,
        )
