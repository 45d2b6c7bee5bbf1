"""Who asks, proved. The comparison of digests is the only maker of a `Principal`; one is made of another here too."""

from typing import Final

import msgspec

from gateway.access.compiled import CompiledToken
from gateway.reason import Deny, Reason
from gateway.tokens.digest import Digest, Peppers
from gateway.tokens.owner import Owner
from gateway.tokens.secret import Credential
from gateway.tokens.token import Token

_UNKNOWN: Final = Deny(reason=Reason.UNKNOWN_TOKEN)


class Record(msgspec.Struct, frozen=True):
    """What the store holds of a token: its document and its owner's, and the document's bytes.

    `owner` None: the owner's record is gone, and with it the ceiling; nothing passes.
    """

    token: Token
    owner: Owner | None
    raw: bytes


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A token whose secret the client has."""

    token: CompiledToken
    digest: Digest
    """The one of the token's digests that was proved."""
    credential_field: str


def prove(credential: Credential, compiled: CompiledToken | None, peppers: Peppers, now: float) -> Principal | Deny:
    """The principal that `credential` shows, or "unknown token".

    `compiled`: the token of the id in the credential; None where there is none. An unknown id, a wrong secret and a
    wrong prefix look alike from outside: same work, same answer.
    """
    if compiled is None:
        peppers.compare_in_vain(credential.secret, now)
        return _UNKNOWN
    proved = None
    for digest in compiled.digests:  # every one, so that time does not tell which it was
        if peppers.proves(digest, credential.secret, now) and proved is None:
            proved = digest
    if proved is None or compiled.owner.kind is not credential.kind:
        return _UNKNOWN
    return Principal(compiled, proved, credential.field)


def renew(principal: Principal, compiled: CompiledToken | None, now: float) -> Principal | None:
    """Who `principal` is now that its token is `compiled` (None: gone); None where its secret proves nothing any more.

    For a request that goes on for long: the secret is not shown again, so the digest that it proved has to be there.
    """
    return _go_on(principal.digest, compiled, principal.credential_field, now)


def resume(digest: Digest, compiled: CompiledToken | None, credential_field: str, now: float) -> Principal | None:
    """The principal that `digest` was proved to be before, now that its token is `compiled`; None where the secret
    proves nothing any more.

    For a session, which outlives requests: of a secret that has got an end since then (a roll with an overlap), the
    digest goes on until that end.
    """
    held = () if compiled is None else compiled.digests
    known = next((each for each in held if msgspec.structs.replace(each, ends=digest.ends) == digest), None)
    return None if known is None else _go_on(known, compiled, credential_field, now)


def _go_on(digest: Digest, compiled: CompiledToken | None, credential_field: str, now: float) -> Principal | None:
    if compiled is None or digest not in compiled.digests or (digest.ends is not None and now >= digest.ends):
        return None
    return Principal(compiled, digest, credential_field)


def resigned(principal: Principal, digest: Digest) -> Principal:
    """`principal` after its digest was made anew: `digest` is of the same secret, and is the one that `renew` finds."""
    return Principal(principal.token, digest, principal.credential_field)
