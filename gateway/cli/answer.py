"""What the token API answers, as far as the command reads it. Fields that it does not know are passed over."""

from typing import Any, Literal

import msgspec

from gateway.tokens.condition import Condition


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
    value: str | None = None
    """The secret, where a token was just made."""


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
