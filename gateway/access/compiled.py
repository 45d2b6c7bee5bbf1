"""What is kept of a token, so that to decide about it takes no JSON, no I/O and no search.

Made of one token document, one owner document and one catalogue; when one of them changes, another is made.
"""

from typing import Final

import msgspec

from gateway.access.rights import Rights, compile_rights, gives
from gateway.catalog.api import Route
from gateway.tokens.condition import AddressRule, compile_condition
from gateway.tokens.digest import Digest
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.token import Status, Token

REMEMBERED: Final = 256
"""Answers that a token remembers."""


class CompiledOwner(msgspec.Struct, frozen=True, gc=False):
    """What its tokens need of an owner: one for all of them."""

    ref: OwnerRef
    active: bool
    rights: Rights


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
    _memo: dict[tuple[Route, bytes], bool] = {}
    """Answers of the policies by route (that very one: another catalogue has others) and by the segment that names what
    is touched. Status, dates, address and the owner's status are never in it: they turn on more than the documents."""

    def __repr__(self) -> str:
        return f"CompiledToken({self.id!r})"

    def opens(self, route: Route, segments: tuple[bytes, ...], account: str | None = None) -> bool:
        """Whether the policies give one of the route's groups on what `segments` touch, and the owner's do, each alone.

        `account`: the touched zone's, where it was fetched. Such an answer is not remembered, as a fetched fact has an
        age.
        """
        if account is not None:
            return self._judge(route, segments, account)
        key = (route, route.naming(segments))
        answer = self._memo.get(key)
        if answer is None:
            answer = self._judge(route, segments)
            if len(self._memo) >= REMEMBERED:
                del self._memo[next(iter(self._memo))]  # the oldest: a dict keeps its order
            self._memo[key] = answer
        return answer

    def _judge(self, route: Route, segments: tuple[bytes, ...], account: str | None = None) -> bool:
        if self.ceiling is None:
            return False
        touched = route.touched(segments, self.owner.id if self.owner.kind is OwnerKind.USER else None)
        if touched is None:
            return False
        return gives(self.rights, route.opened_by, touched, account) and gives(
            self.ceiling.rights, route.opened_by, touched, account
        )


def compile_owner(owner: Owner) -> CompiledOwner:
    """`owner`, compiled. Raises ValueError for an unreadable record."""
    return CompiledOwner(
        ref=owner.ref, active=owner.status is OwnerStatus.ACTIVE, rights=compile_rights(owner.policies)
    )


def compile_token(token: Token, owner: CompiledOwner | None) -> CompiledToken:
    """`token` under `owner` (None: its record is gone), compiled. Raises ValueError for an unreadable record."""
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
    )
