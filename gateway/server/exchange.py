"""One request, as it becomes known, until it is answered."""

from gateway.access.decision import Allow
from gateway.proxy.relay import Relay
from gateway.reason import Deny
from gateway.server.admission import label
from gateway.server.head import Head
from gateway.tokens.condition import Address


class Exchange:
    """What is known of one request. `started`: by the loop's clock."""

    __slots__ = (
        "address",
        "allow",
        "deny",
        "head",
        "ip",
        "keep_alive",
        "relay",
        "request_id",
        "started",
        "status",
    )

    def __init__(self, started: float, request_id: str, head: Head | None, address: Address | None, ip: str) -> None:
        """`head` None: it could not be read; `ip`: the address as text, "" where there is none."""
        self.started = started
        self.request_id = request_id
        self.head = head
        self.address = address
        self.ip = ip
        self.keep_alive = head is not None and head.keep_alive
        """Another request may follow on this connection."""
        self.allow: Allow | None = None
        self.deny: Deny | None = None
        self.relay: Relay | None = None
        self.status = 0
        """Of the answer; 0: none was begun."""

    @property
    def token_id(self) -> str:
        """Of the token, once it has proved itself; else ""."""
        if self.allow is not None:
            return self.allow.principal.token.id
        return self.deny.token_id if self.deny is not None else ""

    @property
    def route(self) -> str:
        """The label of the route that was asked for; "" where there is none, or nothing was proved."""
        if self.allow is not None and self.head is not None:
            return label(self.head.method, self.allow.route)
        return self.deny.route if self.deny is not None else ""
