"""What a listener hands allowed requests to."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from gateway.access.compiled import CompiledToken
from gateway.access.decision import Allow
from gateway.access.ports import Miss
from gateway.access.principal import Principal
from gateway.catalog.target import Target
from gateway.proxy.field_line import FieldLine
from gateway.proxy.forward import RequestHead
from gateway.proxy.header_rules import Client
from gateway.proxy.listing import Passed, Still
from gateway.proxy.ports import ClientSide
from gateway.proxy.relay import Relay
from gateway.reason import Answer, Deny
from gateway.server.head import Head
from gateway.telemetry.trace_context import Trace
from gateway.tokens.condition import Address


class Call(msgspec.Struct, frozen=True):
    """A request to the token API, whole."""

    query: bytes
    body: bytes
    if_match: tuple[bytes, ...]
    address: str
    request_id: str


class TokenApi(Protocol):
    """Our own API."""

    async def answer(self, allow: Allow, call: Call) -> Answer | Deny:
        """Do what `allow.route.operation` says."""


UNCOUNTED: Final = frozenset({"verify", "revoke-self", "leaked"})
"""Operations that no limit holds up: whoever looks whether his token is good does no work, and a token ends at once."""


class RateLimits(Protocol):
    """How often tokens may be used, all gateways together."""

    def take(self, token: CompiledToken) -> Deny | Miss | None:
        """Count one request of `token`, which has a rate: None, or why it may not go on. A Miss: it takes a question
        to know, and nothing was counted.
        """

    async def wait(self, token: CompiledToken) -> Deny | None:
        """The same after a Miss. Never raises."""

    def told(self, token: CompiledToken) -> bytes:
        """What an answer to `token` says of its limits, as lines of a head."""


class Tracing(Protocol):
    """Where it is known which trace a request belongs to."""

    def begin(self, ordinary: Sequence[FieldLine]) -> Trace:
        """The place of a request with these fields: see `telemetry.spans.Spans.begin`."""


class Forwarder(Protocol):
    """The way to the upstreams."""

    def relay(  # noqa: PLR0913 - what a request is made of
        self,
        allow: Allow,
        head: RequestHead,
        client: Client,
        side: ClientSide,
        *,
        body: bytes | None,
        upgrade: bool = False,
    ) -> Relay | Deny:
        """The relay of what was allowed, which has not begun yet: see `Proxy.relay`."""


class FilteredLists(Protocol):
    """Lists of which each token sees its own part."""

    async def answer(
        self, allow: Allow, head: RequestHead, client: Client, request_id: bytes, still: Still
    ) -> Passed | Deny:
        """What a token that may ask for a list sees of it: see `Lists.answer`."""


class Pages(Protocol):
    """What a listener answers without a token (health)."""

    async def answer(self, method: str, path: bytes) -> Answer | Deny | None:
        """The answer, or None when it has no such page."""


class Visit(msgspec.Struct, frozen=True):
    """A request to the dashboard. `body`: reads it, so many bytes at most, or says why there is none; `known`: is told
    who has signed in, for the log.
    """

    head: Head
    address: Address | None
    ip: str
    request_id: str
    body: Callable[[int], Awaitable[bytes | Deny]]
    known: Callable[[Principal], None]


class Dashboard(Protocol):
    """The pages for people, and what these pages ask."""

    def concerns(self, target: Target) -> bool:
        """Whether `target` is the dashboard's: then nobody else is asked."""

    async def answer(self, visit: Visit) -> Answer | Deny:
        """The page, or what a page asked for."""


class Refused(msgspec.Struct, frozen=True):
    """A request that was refused to a token which had proved itself."""

    deny: Deny
    method: str
    target: Target
    token_id: str
    owner: str
    """As `OwnerRef.key`."""
    address: str
    request_id: str


class RefusedCalls(Protocol):
    """Where it is written down what the token API was asked in vain."""

    def concerns(self, target: Target) -> bool:
        """Whether `target` is the token API's: of such a request, `write` is to be told."""

    async def write(self, refused: Refused, now: float) -> None:
        """Write `refused` down if it was a call of the token API; `now` is Unix seconds. Never raises."""
