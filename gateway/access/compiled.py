"""What is kept of a token, so that to decide about it takes no JSON, no I/O and no search.

Made of one token document, one owner document and one catalogue; when one of them changes, another is made.
"""

from enum import Enum
from typing import Final

import msgspec

from gateway.access.rights import Rights, compile_rights, gives, gives_on_some, gives_unless_an_account_is_denied
from gateway.catalog.api import InBody, Route, Where
from gateway.tokens.condition import AddressRule, compile_condition
from gateway.tokens.digest import Digest
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.rate import Rate
from gateway.tokens.resource import Account, Scope, Touched, Zone
from gateway.tokens.token import Status, Token

REMEMBERED: Final = 256
"""Answers that a token remembers."""
_STRANGER: Final = ""
"""An account that no policy names, as none is called that."""


class _Miss(Enum):
    MISS = "not remembered"


_MISS: Final = _Miss.MISS


class CompiledOwner(msgspec.Struct, frozen=True, gc=False):
    """What its tokens need of an owner: one for all of them."""

    ref: OwnerRef
    active: bool
    rights: Rights
    key: str
    """`ref.key`, which the access log would have to put together for each request."""


class CompiledToken(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What decisions need of a token. `ceiling` None: the owner's record is gone, and nothing passes.

    `gc=False`: nothing in it leads back to it, and the collector would walk through a hundred thousand of them.
    """

    id: str
    owner: OwnerRef
    status: Status
    not_before: int | None
    expires_on: int | None
    digests: tuple[Digest, ...]
    address_rule: AddressRule
    rights: Rights
    ceiling: CompiledOwner | None
    """The owner's own rights: a request must pass both, each looked at alone."""
    rate: Rate | None = None
    """How often it may be used: as it says itself, else as the settings say; None: as often as anybody likes."""
    _memo: dict[tuple[Route, bytes], bool | None] = {}
    """Answers of the policies by route (that very one: another catalogue has others) and by the segment that names what
    is touched. Status, dates, address and the owner's status are never in it: they turn on more than the documents."""

    def __repr__(self) -> str:
        return f"CompiledToken({self.id!r})"

    def opens(self, route: Route, segments: tuple[bytes, ...]) -> bool | None:
        """Whether the policies give one of the route's groups on what `segments` touch, and the owner's do, each alone.

        None: it turns on a fact, the account of the zone or what the body names. An answer that used a fetched fact is
        not remembered (`opens_on`), as it has an age.
        """
        key = (route, route.naming(segments))
        answer = self._memo.get(key, _MISS)
        if answer is _MISS:
            answer = self._judge(route, segments)
            if len(self._memo) >= REMEMBERED:
                del self._memo[next(iter(self._memo))]  # the oldest: a dict keeps its order
            self._memo[key] = answer
        return answer

    def opens_on(self, route: Route, touched: Touched, account: str | None = None) -> bool:
        """The same on `touched`, whose account is `account`; None: nobody knows, so no allow on an account's zones
        covers it and each such deny does.
        """
        return self.ceiling is not None and all(
            gives(rights, route.opened_by, touched, account, api=route.api.name)
            for rights in (self.rights, self.ceiling.rights)
        )

    def sees(self, route: Route, item: Zone | Account, account: str | None = None) -> bool:
        """Whether `item` of the list that `route` asks for is shown: by its own right, each deny counted.

        `account`: that of a zone, None where it cannot be told. A zone is in its API's spelling (`Api.zone`).
        """
        return self.opens_on(route, item, account)

    def turns_on_account(self, route: Route, zone: Zone) -> bool:
        """Whether there is an account that, were `zone` in it, would make a yes of the answer without."""
        if self.ceiling is None or self.opens_on(route, zone):
            return False
        named = {*self.rights.zones_of, *self.ceiling.rights.zones_of}
        return bool(named) and any(self.opens_on(route, zone, account) for account in (_STRANGER, *named))

    def lacks_only_the_account(self, route: Route, zone: Zone) -> bool:
        """Whether, for all that is known without the zone's account, only an allow on an account's zones could give it:
        not that there is another allow, and a deny on an account's zones against it.
        """
        return self.ceiling is not None and not all(
            gives_unless_an_account_is_denied(rights, route.opened_by, zone, api=route.api.name)
            for rights in (self.rights, self.ceiling.rights)
        )

    def touched(self, route: Route, segments: tuple[bytes, ...]) -> Touched | None:
        """What a request for `segments` touches; None when the path alone does not say."""
        return route.touched(segments, self.owner.id if self.owner.kind is OwnerKind.USER else None)

    def _judge(self, route: Route, segments: tuple[bytes, ...]) -> bool | None:
        if isinstance(route.where, InBody):
            return None if self._gives_on_some(route, Scope.ZONE) else False
        if route.where is Where.LISTED:
            return route.scope is not None and self._gives_on_some(route, route.scope)
        touched = self.touched(route, segments)
        if touched is None:
            return False
        if self.opens_on(route, touched):
            return True
        return None if isinstance(touched, Zone) and self.turns_on_account(route, touched) else False

    def _gives_on_some(self, route: Route, scope: Scope) -> bool:
        return self.ceiling is not None and all(
            gives_on_some(rights, route.opened_by, scope, api=route.api.name)
            for rights in (self.rights, self.ceiling.rights)
        )


def compile_owner(owner: Owner) -> CompiledOwner:
    """`owner`, compiled. Raises ValueError for an unreadable record."""
    return CompiledOwner(
        ref=owner.ref,
        active=owner.status is OwnerStatus.ACTIVE,
        rights=compile_rights(owner.policies),
        key=owner.ref.key,
    )


def compile_token(token: Token, owner: CompiledOwner | None, rate: Rate | None = None) -> CompiledToken:
    """`token` under `owner` (None: its record is gone), compiled; `rate` is for one that has no limits of its own.

    Raises ValueError for an unreadable record.
    """
    if owner is not None and owner.ref != token.owner:
        raise ValueError("the owner's record is another owner's")
    return CompiledToken(
        id=token.id,
        owner=token.owner if owner is None else owner.ref,
        status=token.status,
        not_before=token.not_before,
        expires_on=token.expires_on,
        digests=token.digests,
        address_rule=compile_condition(token.condition),
        rights=compile_rights(token.policies),
        ceiling=owner,
        rate=token.limits or rate,
    )
