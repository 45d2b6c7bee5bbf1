"""What the token API takes and gives, as types: out of these the OpenAPI document is made, and nothing is read by them.

Bodies are read by `tokens/validation.py`, which tells all faults at once and knows what no type can say. Rule of
change: whatever that takes, and `tokens/representation.py` gives, has its place here (a test holds each answer against
its type).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.admin.leaked import Outcome
from gateway.tokens.leaked import MOST_SECRETS
from gateway.tokens.owner import OwnerKind, OwnerStatus
from gateway.tokens.policy import Effect
from gateway.tokens.rate import LONGEST_PERIOD, MOST_REQUESTS
from gateway.tokens.resource import Scope
from gateway.tokens.token import Status
from gateway.tokens.validation import (
    LONGEST_NAME,
    LONGEST_OVERLAP,
    MOST_APIS,
    MOST_GROUPS,
    MOST_NETWORKS,
    MOST_POLICIES,
    MOST_RESOURCES,
)

Id = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
OwnerId = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339")]
Secret = Annotated[str, Meta(pattern="^zg[ta]_[0-9a-f]{32}_[0-9A-Za-z]{49}$", description="Shown this once")]
ResourceKey = Annotated[str, Meta(pattern=r"^com\.cloudflare\.")]
Resources = Annotated[dict[str, Any], Meta(min_length=1, max_length=MOST_RESOURCES)]


class _Object(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


# Both ways.


class GroupRef(_Object, frozen=True):
    """A permission group in a policy; in a body the id is what counts."""

    id: str
    name: str | msgspec.UnsetType = msgspec.UNSET
    meta: Any | msgspec.UnsetType = msgspec.UNSET


class Policy(_Object, frozen=True):
    """Gives (allow) or takes away (deny) every pair of its groups and its resources."""

    effect: Effect
    permission_groups: Annotated[tuple[GroupRef, ...], Meta(min_length=1, max_length=MOST_GROUPS)]
    resources: Resources
    id: str | msgspec.UnsetType = msgspec.UNSET
    apis: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_APIS)] | msgspec.UnsetType = msgspec.UNSET


Policies = Annotated[tuple[Policy, ...], Meta(min_length=1, max_length=MOST_POLICIES)]
_Networks = Annotated[tuple[str, ...], Meta(max_length=MOST_NETWORKS)]


class RequestIp(_Object, frozen=True, rename={"in_": "in"}):
    """Networks (CIDR) from which a token works, or does not; null, in a body alone, is none."""

    in_: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_NETWORKS)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    not_in: _Networks | msgspec.UnsetType | None = msgspec.UNSET


class Condition(_Object, frozen=True):
    """From where a token works; null, in a body alone, is from anywhere."""

    request_ip: RequestIp | msgspec.UnsetType | None = msgspec.UNSET


class Limits(_Object, frozen=True):
    """How often a token may be used: so many requests in a period of seconds, all gateways together."""

    requests: Annotated[int, Meta(ge=1, le=MOST_REQUESTS)]
    period: Annotated[int, Meta(ge=1, le=LONGEST_PERIOD)]


class OwnerName(_Object, frozen=True):
    """Who a token acts for."""

    kind: OwnerKind
    id: OwnerId


# Bodies.


class TokenBody(_Object, frozen=True):
    """A token to be made, or to be put in the place of one. What an answer has beside this may be sent back."""

    name: Name
    policies: Policies
    condition: Condition | None = None
    not_before: Moment | None = None
    expires_on: Moment | None = None
    status: Literal["active", "disabled"] | None = None
    limits: Limits | None = None


class RollBody(_Object, frozen=True):
    """For how many seconds the old secret goes on beside the new one."""

    overlap: Annotated[int, Meta(ge=1, le=LONGEST_OVERLAP)] | None = None


class LeakedBody(_Object, frozen=True):
    """Secrets that were found where they should not be."""

    secrets: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_SECRETS)]


class ExplainBody(_Object, frozen=True):
    """A request, as a client would send it; without `ip` and `at` it is one from here and now."""

    method: Annotated[str, Meta(pattern="^[A-Z]{1,16}$")]
    path: Annotated[str, Meta(pattern="^/[!-~]*$", max_length=8192)]
    ip: str | None = None
    at: Moment | None = None
    body: Any = None


class OwnerBody(_Object, frozen=True):
    """An owner to be made, or to be put in the place of one."""

    name: Name
    policies: Policies
    kind: OwnerKind | None = None
    id: OwnerId | None = None
    status: OwnerStatus | None = None


class ZoneBody(_Object, frozen=True):
    """In which account a zone lies."""

    account: OwnerId
    name: Annotated[str, Meta(max_length=253)] | msgspec.UnsetType = msgspec.UNSET


# Results.


class RouteUse(_Object, frozen=True):
    """How often a route was asked for with one result: "allowed", or why not."""

    route: str
    result: str
    count: int


class Usage(_Object, frozen=True):
    """What a token was used for."""

    last_address: str
    requests: tuple[RouteUse, ...]


class _TokenParts(_Object, frozen=True, kw_only=True):
    id: Id
    name: str
    status: Status
    issued_on: Moment
    modified_on: Moment
    policies: tuple[Policy, ...]
    last_used_on: Moment | msgspec.UnsetType = msgspec.UNSET
    not_before: Moment | msgspec.UnsetType = msgspec.UNSET
    expires_on: Moment | msgspec.UnsetType = msgspec.UNSET
    condition: Condition | msgspec.UnsetType = msgspec.UNSET
    limits: Limits | msgspec.UnsetType = msgspec.UNSET
    issued_by: Id | msgspec.UnsetType = msgspec.UNSET
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    value: Secret | msgspec.UnsetType = msgspec.UNSET


class Token(_TokenParts, frozen=True, kw_only=True):
    """A token. The secret is never part of it, but for `value` in the answer that made it."""

    owner: OwnerName


class Verified(_Object, frozen=True):
    """The caller's own token."""

    id: Id
    status: Status
    not_before: Moment | msgspec.UnsetType = msgspec.UNSET
    expires_on: Moment | msgspec.UnsetType = msgspec.UNSET


class Ended(_Object, frozen=True):
    """A token that is no more; `revoked`: with cascade, what was made with it."""

    id: Id
    revoked: tuple[Id, ...] | msgspec.UnsetType = msgspec.UNSET


class LeakedEntry(_Object, frozen=True):
    """What became of one secret; `id`: the token's, None where it was no secret of ours by its shape."""

    id: Id | None
    outcome: Outcome


class Group(_Object, frozen=True):
    """A permission group of the catalogue."""

    id: Id
    name: str
    scopes: tuple[Scope, ...]


class Owner(_Object, frozen=True):
    """An owner: its policies are the ceiling of all its tokens."""

    id: OwnerId
    kind: OwnerKind
    name: str
    status: OwnerStatus
    issued_on: Moment
    modified_on: Moment
    policies: tuple[Policy, ...]


class FirstToken(_TokenParts, frozen=True, kw_only=True):
    """The first token of an owner that was made, with the owner."""

    owner: Owner


class EndedOwner(_Object, frozen=True):
    """An owner that is no more, with so many tokens."""

    id: OwnerId
    kind: OwnerKind
    tokens: int


class Zone(_Object, frozen=True):
    """What was put down of a zone."""

    id: str
    api: str
    account: OwnerId
    name: str
    modified_on: Moment


class EndedZone(_Object, frozen=True):
    """A zone of which nothing is put down any more."""

    id: str
    api: str


class ExplainedPolicy(_Object, frozen=True):
    """What one policy has to do with the request."""

    side: Literal["token", "owner"]
    id: str
    effect: Effect
    covers: bool
    why: str


class ExplainedRequest(_Object, frozen=True):
    """What was asked about, with what was taken for granted."""

    method: str
    path: str
    ip: str
    at: Moment


class ExplainedLimits(_Object, frozen=True):
    """How often the token may be used, who says so, whether this request counts, and what is left now."""

    requests: int
    period: int
    side: Literal["token", "settings"]
    counted: bool
    left: int | msgspec.UnsetType = msgspec.UNSET
    wait: int | msgspec.UnsetType = msgspec.UNSET


class Explained(_Object, frozen=True):
    """Why a request would pass or not, and the least change that would let it pass."""

    decision: Literal["allow", "deny", "need"]
    message: str
    remedy: str
    policies: tuple[ExplainedPolicy, ...]
    request: ExplainedRequest
    limits: ExplainedLimits | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    status: int | msgspec.UnsetType = msgspec.UNSET
    code: int | msgspec.UnsetType = msgspec.UNSET


class AuditAction(_Object, frozen=True):
    """What was done; `result`: whether it was done, or refused."""

    type: str
    result: bool | None


class AuditEntry(_Object, frozen=True):
    """An entry, in the shape of Cloudflare's audit logs (version 1)."""

    id: str
    when: str | None
    action: AuditAction
    actor: dict[str, Any]
    interface: str
    metadata: dict[str, Any]
    old_value: str = msgspec.field(name="oldValue")
    old_value_json: dict[str, Any] = msgspec.field(name="oldValueJson")
    new_value: str = msgspec.field(name="newValue")
    new_value_json: dict[str, Any] = msgspec.field(name="newValueJson")
    owner: dict[str, Any]
    resource: dict[str, Any]
