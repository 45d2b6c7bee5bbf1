"""What a policy may name, and what a request may touch (token API: resources).

A policy's key is read once, here, into one of the patterns below. `covers` is the only place that compares a pattern
with what a request touches.
"""

import re
from enum import Enum, StrEnum
from typing import Final

import msgspec

from gateway.tokens.grammar import Grammar, canonical_zone_name


class Scope(StrEnum):
    """Where a permission group's rights lie. Names of groups repeat across scopes; ids don't."""

    ZONE = "com.cloudflare.api.account.zone"
    ACCOUNT = "com.cloudflare.api.account"
    USER = "com.cloudflare.api.user"
    R2_BUCKET = "com.cloudflare.edge.r2.bucket"

    @property
    def word(self) -> str:
        """The scope in messages for people: `zone`."""
        return {"ZONE": "zone", "ACCOUNT": "account", "USER": "user", "R2_BUCKET": "R2 bucket"}[self.name]

    @property
    def a_word(self) -> str:
        """The same with its article: `an account`."""
        return f"{'an' if self in (Scope.ACCOUNT, Scope.R2_BUCKET) else 'a'} {self.word}"


class Zone(msgspec.Struct, frozen=True):
    """One zone. In a policy `name` is as sent; in a request it is the API's canonical value.

    An API keys its zones by id (compared exactly) or by DNS name (compared in canonical form, which ends in a dot, so
    that the two never meet): a policy's zone is compared in both spellings.
    """

    name: str

    @property
    def spellings(self) -> tuple[str, str]:
        """As written, and as a DNS name."""
        return self.name, canonical_zone_name(self.name)


class EveryZone(msgspec.Struct, frozen=True):
    """All zones that the owner may reach."""


class ZonesOf(msgspec.Struct, frozen=True):
    """All zones of one account: in a request, a zone that is to be made there and has no name to be told by."""

    account: str


class Account(msgspec.Struct, frozen=True):
    """One account."""

    id: str


class EveryAccount(msgspec.Struct, frozen=True):
    """All accounts."""


class User(msgspec.Struct, frozen=True):
    """One user."""

    id: str


Resource = Zone | EveryZone | ZonesOf | Account | EveryAccount | User
Touched = Zone | ZonesOf | Account | User

SCOPE_OF: Final[dict[type[Resource], Scope]] = {
    Zone: Scope.ZONE,
    EveryZone: Scope.ZONE,
    ZonesOf: Scope.ZONE,
    Account: Scope.ACCOUNT,
    EveryAccount: Scope.ACCOUNT,
    User: Scope.USER,
}


class Coverage(Enum):
    """Whether a pattern takes in what a request touches."""

    NO = 0
    YES = 1
    UNKNOWN = 2
    """It turns on the zone's account, which nobody has fetched: no allow may count on it, every deny must."""


def covers(pattern: Resource, touched: Touched, account: str | None = None) -> Coverage:
    """Whether `pattern` takes in `touched`; `account` is the zone's account, if known."""
    match pattern, touched:
        case Zone(), Zone(name):
            return Coverage.YES if name in pattern.spellings else Coverage.NO
        case EveryZone(), Zone() | ZonesOf():
            return Coverage.YES
        case ZonesOf(wanted), Zone():
            if account is None:
                return Coverage.UNKNOWN
            return Coverage.YES if account == wanted else Coverage.NO
        case (ZonesOf(wanted), ZonesOf(id)) | (Account(wanted), Account(id)) | (User(wanted), User(id)):
            return Coverage.YES if id == wanted else Coverage.NO
        case EveryAccount(), Account():
            return Coverage.YES
        case _:
            return Coverage.NO


_ZONE_PREFIX: Final = Scope.ZONE + "."
_ACCOUNT_PREFIX: Final = Scope.ACCOUNT + "."
_USER_PREFIX: Final = Scope.USER + "."
_EVERY: Final = "*"
_MISSPELT_ID: Final = re.compile(r"[0-9A-Fa-f]{32}")


def _is(grammar: Grammar, text: str) -> bool:
    return text.isascii() and grammar.accepts(text.encode("ascii"))


def parse_resource(key: str, value: object) -> Resource | str:
    """The pattern that `key: value` in a policy's `resources` stands for, or what is wrong with it."""
    if isinstance(value, dict):
        return _parse_nested(key, value)
    if value != _EVERY:
        return 'the value of a resource is "*", or {"com.cloudflare.api.account.zone.*": "*"} under an account'
    if key.startswith(_ZONE_PREFIX):
        return _parse_zone(key.removeprefix(_ZONE_PREFIX))
    if key.startswith(_ACCOUNT_PREFIX):
        name = key.removeprefix(_ACCOUNT_PREFIX)
        if name == _EVERY:
            return EveryAccount()
        if _EVERY in name:
            return "an account's id has no * in it: com.cloudflare.api.account.* is all accounts"
        return Account(name) if _is_named_id(name) else _BAD_ID
    if key.startswith(_USER_PREFIX):
        name = key.removeprefix(_USER_PREFIX)
        return User(name) if _is_named_id(name) else _BAD_ID
    return f"not a resource: it starts with {_ZONE_PREFIX}, {_ACCOUNT_PREFIX} or {_USER_PREFIX}"


_BAD_ID: Final = "not an id: 32 lower-case hex digits, or 1 to 64 of A-Z a-z 0-9 _ -"


def _is_named_id(name: str) -> bool:
    # "com.cloudflare.api.account.zone" is the name of a scope; and an id in capitals would match no request, which
    # in a deny policy would leave open what it was meant to close.
    return _is(Grammar.ID, name) or (_is(Grammar.NAME, name) and name != "zone" and not _MISSPELT_ID.fullmatch(name))


def _parse_zone(name: str) -> Resource | str:
    if name == _EVERY:
        return EveryZone()
    if _is(Grammar.ID, name):
        return Zone(name)
    if _MISSPELT_ID.fullmatch(name):
        return "a zone id is written in lower case"
    if _EVERY in name:
        return "a zone has no * in its name: com.cloudflare.api.account.zone.* is all zones"
    if _is(Grammar.DNS_NAME, name.replace("/", "=2F")):
        return Zone(name)
    return "not a zone: 32 lower-case hex digits, or a DNS name"


def _parse_nested(key: str, value: dict[object, object]) -> Resource | str:
    account = parse_resource(key, _EVERY)
    match account, value:
        case Account(id), {"com.cloudflare.api.account.zone.*": "*"} if len(value) == 1:
            return ZonesOf(id)
        case str(), _:
            return account
        case Account(), _:
            return 'what stands under an account is {"com.cloudflare.api.account.zone.*": "*"}: all its zones'
        case _:
            return "only an account's id holds other resources"
