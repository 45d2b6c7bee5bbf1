"""A call of the token API, and what every operation does with one."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.access.decision import Allow
from gateway.access.ports import Actor
from gateway.catalog.api import Variable
from gateway.reason import Answer, Deny, Fault, Reason
from gateway.server.ports import Call
from gateway.tokens.owner import OwnerKind, OwnerRef

CHANGED = Deny(reason=Reason.PRECONDITION_FAILED)
"""Somebody else was faster."""
ATTEMPTS = 10
"""How often a change is done anew on what is there by then."""

Randomness = Callable[[int], bytes]


class Request(msgspec.Struct, frozen=True):
    """A call, and who makes it."""

    allow: Allow
    call: Call

    def named(self, variable: str) -> str | None:
        """What stands in the path for a variable of the route's template; None where the route has none of it."""
        for segment, part in zip(self.allow.target.segments, self.allow.route.template, strict=True):
            if isinstance(part, Variable) and part.name == variable:
                return segment.decode("ascii")
        return None

    @property
    def token_id(self) -> str:
        """The id in the path."""
        return self.named("token_id") or ""

    @property
    def owner(self) -> OwnerRef:
        """Whose tokens the call is about: the account's in the path, else the caller's own owner's."""
        account = self.named("account_id")
        return self.allow.principal.token.owner if account is None else OwnerRef(OwnerKind.ACCOUNT, account)

    @property
    def actor(self) -> Actor:
        """Who it is, for the audit."""
        token = self.allow.principal.token
        return Actor(token.id, token.owner.key, self.call.address, self.call.request_id)


Operation = Callable[[Request], Awaitable[Answer | Deny]]


def entity_tag(raw: bytes) -> str:
    """The `ETag` of a document: it changes with every byte of it."""
    return f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


def matches(if_match: Sequence[bytes], raw: bytes) -> bool:
    """Whether `If-Match` (RFC 9110 13.1.1) lets a change of the document `raw` happen. Weak tags never match."""
    tags = [tag.strip() for value in if_match for tag in value.split(b",")]
    return not tags or tags == [b"*"] or entity_tag(raw).encode() in tags


def invalid(*faults: Fault) -> Deny:
    """The body is refused for its faults."""
    return Deny(reason=Reason.INVALID_BODY, faults=faults)
