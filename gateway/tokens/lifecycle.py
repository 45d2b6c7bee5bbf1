"""What becomes of a token: made, edited, rolled; and what it is at a given moment."""

import math
from typing import Protocol

import msgspec

from gateway.tokens.digest import Digest
from gateway.tokens.owner import OwnerRef
from gateway.tokens.token import SCHEMA, Draft, Status, Token


class Ending(Protocol):
    """A token, or what was compiled of one."""

    @property
    def status(self) -> Status:
        """The stored one."""

    @property
    def expires_on(self) -> int | None:
        """Unix seconds, UTC; None: never."""


def effective_status(token: Ending, now: float) -> Status:
    """The status to show: `expired` from the very second of `expires_on` on, whatever else is stored."""
    if token.expires_on is not None and now >= token.expires_on:
        return Status.EXPIRED
    return token.status


def issue(  # noqa: PLR0913 - the parts of a record, each by name
    draft: Draft, *, token_id: str, owner: OwnerRef, issued_by: str, digest: Digest, now: float
) -> Token:
    """A new token out of `draft`."""
    return Token(
        schema=SCHEMA,
        id=token_id,
        owner=owner,
        issued_by=issued_by,
        digests=(digest,),
        name=draft.name,
        status=draft.status or Status.ACTIVE,
        issued_on=int(now),
        modified_on=int(now),
        policies=draft.policies,
        condition=draft.condition,
        not_before=draft.not_before,
        expires_on=draft.expires_on,
        limits=draft.limits,
    )


def edit(token: Token, draft: Draft, *, issued_by: str, now: float) -> Token:
    """`token` as `draft` says: what the draft leaves out is removed, but for the status, which stays.

    The secret stays too (an edit is not a roll). Who enables a token answers for it from then on.
    """
    status = draft.status or token.status
    enabled = status is Status.ACTIVE and token.status is Status.DISABLED
    return msgspec.structs.replace(
        token,
        issued_by=issued_by if enabled else token.issued_by,
        name=draft.name,
        status=status,
        modified_on=int(now),
        policies=draft.policies,
        condition=draft.condition,
        not_before=draft.not_before,
        expires_on=draft.expires_on,
        limits=draft.limits,
    )


def roll(token: Token, digest: Digest, *, issued_by: str, now: float, overlap: int = 0) -> Token:
    """`token` with a new secret in place of all its old ones.

    With `overlap` the secret that was the token's own proves it for so many seconds more, but never past the token's
    end. One that was in its overlap already is dead: there are two secrets at most.
    """
    left: tuple[Digest, ...] = ()
    if overlap:
        ends = math.ceil(now) + overlap if token.expires_on is None else min(math.ceil(now) + overlap, token.expires_on)
        left = tuple(msgspec.structs.replace(old, ends=ends) for old in token.digests if old.ends is None)
    return msgspec.structs.replace(token, digests=(digest, *left), issued_by=issued_by, modified_on=int(now))


def end_overlap(token: Token, digest: Digest, now: float) -> Token:
    """`token` without `digest`, whose secret was rolled: the other one goes on."""
    left = tuple(each for each in token.digests if each != digest)
    return msgspec.structs.replace(token, digests=left, modified_on=int(now))


def resign(token: Token, old: Digest, new: Digest) -> Token:
    """`token` with `old` made anew by the pepper that signs now. The secret is the same: no date changes."""
    digests = tuple(
        msgspec.structs.replace(new, ends=old.ends) if digest == old else digest for digest in token.digests
    )
    return msgspec.structs.replace(token, digests=digests)
