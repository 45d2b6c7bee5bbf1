"""What is stored instead of a secret, and the comparison that proves one (DESIGN 5).

256 random bits need no slow hash. A pepper (a key that is not in the store) keeps a stolen store from telling even
whether a given secret is in it.
"""

import hashlib
import hmac
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from gateway.tokens.secret import Sensitive


class Algorithm(StrEnum):
    """How the digest was made."""

    SHA256 = "sha256"
    HMAC_SHA256 = "hmac-sha256"


# Stored inside the token's JSON. Rule of change: add at the end, with a default; never rename.
class Digest(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """`key` names the pepper by the first 8 hex digits of its SHA-256 ("" without one).

    `ends`: Unix seconds after which this digest proves nothing any more; None: as long as the token.
    """

    alg: Algorithm
    key: str
    hex: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    ends: int | None = None


def pepper_key(pepper: Sensitive) -> str:
    """The public name of a pepper."""
    return hashlib.sha256(pepper.reveal().encode()).hexdigest()[:8]


class _Hmac:
    """HMAC-SHA-256 (RFC 2104) under one key, whose two blocks are hashed once and not for each secret.

    `hmac.digest` sets up OpenSSL anew at each call, which takes two and a half times as long.
    """

    def __init__(self, key: bytes) -> None:
        block = hashlib.sha256().block_size
        key = (hashlib.sha256(key).digest() if len(key) > block else key).ljust(block, b"\0")
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in key))
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in key))

    def hex(self, text: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


_LOST: Final = _Hmac(b"")
"""In the place of a pepper that is gone."""


class Peppers:
    """The secret keys for digests: the first signs, all verify; none: plain SHA-256."""

    def __init__(self, peppers: Sequence[Sensitive] = ()) -> None:
        self._keys = {pepper_key(pepper): _Hmac(pepper.reveal().encode()) for pepper in peppers}
        self.signing_key = next(iter(self._keys), "")
        self._decoy = self.sign(Sensitive("no token has this secret"))

    @property
    def keys(self) -> tuple[str, ...]:
        """Public names of all peppers, the signing one first."""
        return tuple(self._keys)

    def _hex(self, secret: Sensitive, key: str) -> str:
        text = secret.reveal().encode()
        if not key:
            return hashlib.sha256(text).hexdigest()
        return self._keys.get(key, _LOST).hex(text)

    def sign(self, secret: Sensitive) -> Digest:
        """The digest to store for `secret`."""
        alg = Algorithm.HMAC_SHA256 if self.signing_key else Algorithm.SHA256
        return Digest(alg=alg, key=self.signing_key, hex=self._hex(secret, self.signing_key))

    def proves(self, digest: Digest, secret: Sensitive, now: float) -> bool:
        """Whether `secret` is the one that `digest` was made of, in constant time, and the digest still counts."""
        # A pepper that is gone proves nothing; the same work is done, so that time does not tell.
        known = not digest.key or digest.key in self._keys
        same = hmac.compare_digest(self._hex(secret, digest.key), digest.hex)
        return known and same and (digest.ends is None or now < digest.ends)

    def compare_in_vain(self, secret: Sensitive, now: float) -> None:
        """Do for an unknown id what is done for a known one, so that the two take the same time."""
        self.proves(self._decoy, secret, now)

    def is_current(self, digest: Digest) -> bool:
        """Whether `digest` was made with the key that signs now; if not, it is rewritten at its next use."""
        return digest.key == self.signing_key


NO_PEPPERS: Final = Peppers()
