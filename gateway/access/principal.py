"""Who asks, proved. The comparison of digests is the only maker of a `Principal`."""

import msgspec

from gateway.access.rights import Right, compile_rights
from gateway.reason import Deny, Reason
from gateway.tokens.condition import AddressRule
from gateway.tokens.digest import Digest, Peppers
from gateway.tokens.owner import Owner
from gateway.tokens.secret import Credential
from gateway.tokens.token import Token


class Record(msgspec.Struct, frozen=True):
    """What the store holds of a token: its document and its owner's, and the document's bytes.

    `owner` None: the owner's record is gone, and with it the ceiling; nothing passes.
    """

    token: Token
    owner: Owner | None
    raw: bytes


class Principal(msgspec.Struct, frozen=True):
    """A token whose secret the client has, compiled for decisions."""

    token: Token
    owner: Owner | None
    digest: Digest
    """The one of the token's digests that was proved."""
    address_rule: AddressRule
    rights: tuple[Right, ...]
    ceiling: tuple[Right, ...]
    """The owner's own rights: a request must pass both, each looked at alone."""
    credential_field: str


def prove(credential: Credential, record: Record | None, peppers: Peppers, now: float) -> Principal | Deny:
    """The principal that `credential` shows, or "unknown token".

    An unknown id, a wrong secret and a wrong prefix look alike from outside: same work, same answer. Raises ValueError
    for a record that cannot be read.
    """
    unknown = Deny(reason=Reason.UNKNOWN_TOKEN)
    if record is None:
        peppers.compare_in_vain(credential.secret, now)
        return unknown
    token = record.token
    # Every digest is tried, so that time does not tell which one it was.
    proofs = [digest for digest in token.digests if peppers.proves(digest, credential.secret, now)]
    if not proofs or token.owner.kind is not credential.kind:
        return unknown
    return Principal(
        token=token,
        owner=record.owner,
        digest=proofs[0],
        address_rule=AddressRule(token.condition),
        rights=compile_rights(token.policies),
        ceiling=compile_rights(record.owner.policies if record.owner else ()),
        credential_field=credential.field,
    )
