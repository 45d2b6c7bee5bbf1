"""What decisions and the token API need of a store, in their own words."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from enum import Enum, StrEnum
from typing import Protocol

import msgspec

from gateway.access.compiled import CompiledToken
from gateway.access.principal import Record
from gateway.access.question import Unknown
from gateway.catalog.api import Api
from gateway.reason import Deny
from gateway.tokens.condition import Address
from gateway.tokens.owner import Owner, OwnerRef
from gateway.tokens.token import Token


class StoreUnavailable(Exception):  # noqa: N818 - it says what is the case
    """The store did not answer, or what it holds cannot be read.

    `outcome_unknown`: a change was sent, and may or may not have happened; it must not be repeated blindly.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class NotReplicated(Exception):  # noqa: N818 - it says what is the case
    """The change is made on the primary; too few replicas have it: a failover may undo it."""


class Conflict(Exception):  # noqa: N818 - it says what is the case
    """The document is not what it was when it was read (or, at a creation, is already there). Nothing was written."""


class Action(StrEnum):
    """What was done, in the audit."""

    INIT = "init"
    RECOVER = "recover"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ROLL = "roll"
    REVOKE_SELF = "revoke-self"
    LEAKED = "leaked"
    RESIGN = "resign"
    EXPIRE = "expire"
    IMPORT = "import"
    REPAIR = "repair"
    OWNER_CREATE = "owner-create"
    OWNER_UPDATE = "owner-update"
    OWNER_DELETE = "owner-delete"
    ZONE_SET = "zone-set"
    ZONE_UNSET = "zone-unset"
    FREEZE = "freeze"
    THAW = "thaw"
    DENIED = "denied"
    SIGN_IN = "sign-in"
    SIGN_OUT = "sign-out"


class Actor(msgspec.Struct, frozen=True):
    """Who did it: ids, the client's address, the request. Never a secret."""

    token_id: str
    owner: str
    address: str
    request_id: str


class Denied(msgspec.Struct, frozen=True):
    """A call of the token API that was refused to a token which had proved itself."""

    method: str
    path: str
    reason: str
    token_id: str
    """The token in the path, "" if there is none."""


class Page(msgspec.Struct, frozen=True):
    """One page of an owner's tokens, in order of issue, and how many there are in all."""

    tokens: tuple[Token, ...]
    total: int


class OwnerPage(msgspec.Struct, frozen=True):
    """One page of owners, in order of issue, and how many there are in all."""

    owners: tuple[Owner, ...]
    total: int


class TokenStore(Protocol):
    """Documents of tokens and owners.

    Every method raises StoreUnavailable, every change NotReplicated too; no error of a library gets past here.
    """

    async def get(self, token_id: str) -> Record | None:
        """The token and its owner, or None when there is no such token."""

    async def page(  # noqa: PLR0913 - a page has so many sides
        self, owner: OwnerRef, *, start: int, count: int, descending: bool, include_expired: bool, now: float
    ) -> Page:
        """Tokens `start` to `start + count` of `owner`, oldest first, or newest first if `descending`."""

    async def create(self, token: Token, by: Actor, now: float) -> bytes:
        """Store a new token; returns the document's bytes. Raises Conflict if the id is taken."""

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:
        """Put `new` in the place of exactly `old`, else Conflict; returns the document's bytes."""

    async def delete(self, old: Record, action: Action, by: Actor, now: float) -> None:
        """Delete exactly `old`, else Conflict."""

    async def initialise(self, owner: Owner, token: Token, now: float) -> None:
        """Store the first owner and its token. Raises Conflict when there is an owner."""

    def issued_by(self, makers: Collection[str]) -> AsyncIterator[Record]:
        """All tokens that name one of `makers` (ids) as theirs, whoever owns them; `makers` may grow meanwhile."""

    async def first_owner(self) -> OwnerRef | None:
        """The owner that `initialise` made, or None: it alone has to do with other owners."""

    async def owners(self, *, start: int, count: int, descending: bool) -> OwnerPage:
        """Owners `start` to `start + count`, oldest first, or newest first if `descending`."""

    async def get_owner(self, ref: OwnerRef) -> tuple[Owner, bytes] | None:
        """The owner and its document, or None."""

    async def create_owner(self, owner: Owner, token: Token, by: Actor, now: float) -> None:
        """Store a new owner and its first token. Raises Conflict if there is that owner already."""

    async def change_owner(  # noqa: PLR0913, PLR0917 - what, in whose place, and who says so
        self, ref: OwnerRef, old: bytes, new: Owner | None, action: Action, by: Actor, now: float
    ) -> bytes:
        """Put `new` (None: nothing) in the place of exactly the document `old`, else Conflict; returns its bytes."""

    async def denied(self, what: Denied, by: Actor, now: float) -> None:
        """Put a refused call into the audit."""


class Miss(Enum):
    """What `Tokens.look` answers when it takes a read to know."""

    MISS = "not in memory"


class Tokens(Protocol):
    """Compiled tokens, as this process knows them. None is an unknown id; a Deny, that nobody can say now."""

    def look(self, token_id: str) -> CompiledToken | Deny | Miss | None:
        """The token out of memory: no I/O."""

    async def fetch(
        self, token_id: str, address: Address | None, *, proved: bool = False
    ) -> CompiledToken | Deny | None:
        """The token after a Miss, for a client at `address`. Never raises.

        `proved`: the id is that of a token which has proved itself before, and no guess.
        """


class ZoneAccounts(Protocol):
    """In which account a zone lies: by an operator's pin, else as the upstream says."""

    def known(self, api: Api, zone: str) -> str | Unknown | None:
        """The account of `zone` (in its canonical spelling) out of memory; None: it takes a look-up."""

    async def find(self, api: Api, zone: str) -> str | Unknown:
        """The account, out of memory where it is there, else looked up. Never raises."""

    async def pinned(self, api: Api, zones: Sequence[str]) -> Mapping[str, str]:
        """The accounts of those of `zones` that an operator has put down. Raises StoreUnavailable."""
