"""What a listener hands allowed requests to."""

from typing import Protocol

import msgspec

from gateway.access.decision import Allow
from gateway.catalog.target import Target
from gateway.proxy.forward import RequestHead
from gateway.proxy.header_rules import Client
from gateway.proxy.listing import Passed, Still
from gateway.proxy.ports import ClientSide
from gateway.proxy.relay import Relay
from gateway.reason import Answer, Deny


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
