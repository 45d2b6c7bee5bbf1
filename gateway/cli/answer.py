"""What the token API answers, as far as the command reads it. Fields that it does not know are passed over."""

from typing import Any, Literal

import msgspec

from gateway.tokens.condition import Condition
from gateway.tokens.rate import Rate


class Note(msgspec.Struct, frozen=True):
    """An entry of `errors`, `messages` or `error_chain`."""

    class Source(msgspec.Struct, frozen=True):
        """Where in the body."""

        pointer: str | None = None

    message: str
    code: int = 0
    source: Source | None = None
    error_chain: tuple["Note", ...] | None = None


class Envelope(msgspec.Struct, frozen=True):
    """What every answer is."""

    class Info(msgspec.Struct, frozen=True):
        """Of a list."""

        total_pages: int = 0
        cursor: str | None = None
        newest: str | None = None

    success: bool
    result: Any = None
    errors: tuple[Note, ...] | None = None
    messages: tuple[Note, ...] | None = None
    result_info: Info | None = None


class Owner(msgspec.Struct, frozen=True):
    """Who a token acts for."""

    kind: str
    id: str


class ShownGroup(msgspec.Struct, frozen=True):
    """A permission group in a policy; the name is missing where the gateway's catalogue lost it."""

    id: str
    name: str = ""


class ShownPolicy(msgspec.Struct, frozen=True):
    """A policy."""

    effect: Literal["allow", "deny"]
    permission_groups: tuple[ShownGroup, ...]
    resources: dict[str, Any]
    apis: tuple[str, ...] = ()


class ShownOwner(msgspec.Struct, frozen=True):
    """An owner as far as people are shown it."""

    id: str
    kind: str
    name: str
    status: str
    policies: tuple[ShownPolicy, ...] = ()
    issued_on: str | None = None
    modified_on: str | None = None


class OwnerName(msgspec.Struct, frozen=True):
    """Which owner; `kind` None: the only one of that id."""

    id: str
    kind: str | None

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/zonegate/owners/{self.id}{'' if self.kind is None else f'?kind={self.kind}'}"


class OwnerAnswer(msgspec.Struct, frozen=True):
    """An owner. `raw` is all of it, as it came."""

    raw: dict[str, Any]
    owner: ShownOwner
    etag: str | None = None


class ShownUse(msgspec.Struct, frozen=True):
    """What a token was used for."""

    class Requests(msgspec.Struct, frozen=True):
        """So many for one route, with one result; `route` "": there was none."""

        route: str
        result: str
        count: int

    last_address: str | None = None
    requests: tuple[Requests, ...] = ()


class ShownToken(msgspec.Struct, frozen=True):
    """A token as far as people are shown it; fields of a later version are passed over."""

    id: str
    name: str
    status: str
    policies: tuple[ShownPolicy, ...] = ()
    condition: Condition = Condition()
    issued_on: str | None = None
    modified_on: str | None = None
    last_used_on: str | None = None
    not_before: str | None = None
    expires_on: str | None = None
    owner: Owner | None = None
    usage: ShownUse | None = None
    value: str | None = None
    """The secret, where a token was just made."""
    limits: Rate | None = None


class Answer(msgspec.Struct, frozen=True):
    """A token. `raw` is all of it, as it came."""

    raw: dict[str, Any]
    token: ShownToken
    etag: str | None = None


class Verified(msgspec.Struct, frozen=True):
    """What the API says of the token that asks."""

    class Result(msgspec.Struct, frozen=True):
        """Of that very token."""

        id: str
        status: str
        not_before: str | None = None
        expires_on: str | None = None

    raw: dict[str, Any]
    result: Result
    messages: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True):
    """A permission group in the list of all."""

    id: str
    name: str
    scopes: tuple[str, ...] = ()


class ShownEntry(msgspec.Struct, frozen=True):
    """An entry of the audit as far as people are shown it."""

    class Action(msgspec.Struct, frozen=True):
        """What was done; `result` False: it was refused."""

        type: str
        result: bool | None = None

    class Actor(msgspec.Struct, frozen=True):
        """Who did it."""

        id: str | None = None
        type: str | None = None
        ip: str | None = None

    class Resource(msgspec.Struct, frozen=True):
        """To what."""

        type: str | None = None
        id: str | None = None

    class Metadata(msgspec.Struct, frozen=True):
        """The gateway's own."""

        actor_token: str | None = None
        method: str | None = None
        path: str | None = None
        reason: str | None = None
        unreadable: bool = False

    id: str
    action: Action
    when: str | None = None
    actor: Actor = Actor()
    resource: Resource = Resource()
    metadata: Metadata = Metadata()
    before: dict[str, Any] | None = msgspec.field(name="oldValueJson", default=None)
    after: dict[str, Any] | None = msgspec.field(name="newValueJson", default=None)


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, as they came and as they are read. `cursor` goes on behind them, None at the end; `newest`: what comes
    later stands behind it.
    """

    raw: tuple[dict[str, Any], ...]
    entries: tuple[ShownEntry, ...]
    cursor: str | None
    newest: str | None


class Explained(msgspec.Struct, frozen=True):
    """Why a request would pass or not. `raw` is all of it, as it came."""

    class Policy(msgspec.Struct, frozen=True):
        """What one policy has to do with it."""

        side: Literal["token", "owner"]
        effect: str
        covers: bool
        why: str

    class Request(msgspec.Struct, frozen=True):
        """What was asked about."""

        method: str
        path: str
        ip: str = ""
        at: str = ""

    class Limits(msgspec.Struct, frozen=True):
        """How often the token may be used, and what is left of that; no `left`: it was asked about another moment."""

        requests: int
        period: int
        side: str
        counted: bool
        left: int | None = None

    class Result(msgspec.Struct, frozen=True):
        """The decision; `reason` is there unless it is allowed."""

        decision: str
        message: str
        request: "Explained.Request"
        policies: tuple["Explained.Policy", ...] = ()
        reason: str = ""
        remedy: str = ""
        limits: "Explained.Limits | None" = None

    raw: dict[str, Any]
    result: Result
