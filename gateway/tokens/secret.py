"""The string that a client sends: shape, making, and the check that needs no store (DESIGN 5).

    zgt_ + 32 hex of the token's id + _ + 43 base62 (256 random bits) + 6 base62 (CRC-32 of all before it)

`zga_` instead of `zgt_` for a token that an account owns. The id inside makes authentication one read. The check
rejects typing errors and junk without I/O, and lets secret scanners match without false alarms.
"""

import re
import zlib
from typing import Final

import msgspec

from gateway.tokens.owner import OwnerKind

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_PAIR: Final = len(_PAIRS)
_RANDOM_BYTES: Final = 32
_RANDOM_DIGITS: Final = 43
_CHECK_DIGITS: Final = 6
_PREFIXES: Final = {OwnerKind.USER: "zgt_", OwnerKind.ACCOUNT: "zga_"}
_KINDS: Final = {prefix: kind for kind, prefix in _PREFIXES.items()}
_SHAPE: Final = r"((zg[ta]_)([0-9a-f]{32})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})"

BARE: Final = re.compile(_SHAPE, re.ASCII)
"""A text that is a secret and nothing else."""
BEARER: Final = re.compile(rf"[ \t]*(?i:bearer) +{_SHAPE}[ \t]*", re.ASCII)
"""`Bearer SECRET` (RFC 6750 2.1), blanks around it allowed: scheme and secret are found in one look."""

SCANNED: Final = re.compile(r"zg[ta]_[0-9a-f]{32}_[0-9A-Za-z]{49}\b", re.ASCII)
"""A secret anywhere in a text: the expression that scanners are given (docs/leaked-secrets.md). It may come after a
letter, as in `token%3Dzgt_`, or after the `\\n` of a JSON text.
"""
LOOKS_SECRET: Final = re.compile(r"(zg[ta]_[0-9a-f]{32})_[0-9A-Za-z]+", re.ASCII)
"""Where a secret, whole or cut, stands in a text; group 1 is what may be shown of it."""


def without_secrets(text: str) -> str:
    """`text`, of each secret in it the id alone: for logs, spans, the audit."""
    return LOOKS_SECRET.sub(r"\1_...", text)


class Sensitive:
    """A text that must not leak: it shows itself to nobody who does not ask by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Search for this word to find every place where a secret is used."""
        return self._text

    def __repr__(self) -> str:
        return "Sensitive('...')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


class Credential(msgspec.Struct, frozen=True, gc=False):
    """A well-formed secret, not yet proved, and the field in which it came (lower case)."""

    token_id: str
    kind: OwnerKind
    secret: Sensitive
    field: str = "authorization"


def _base62(number: int, digits: int) -> str:
    out = []
    for _ in range(digits):
        number, digit = divmod(number, 62)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def _check(text: str) -> str:
    return _base62(zlib.crc32(text.encode("ascii")), _CHECK_DIGITS)


def make_secret(kind: OwnerKind, token_id: str, random: bytes) -> Sensitive:
    """The secret of token `token_id` out of 32 random bytes of the operating system."""
    if len(random) != _RANDOM_BYTES:
        msg = f"a secret takes {_RANDOM_BYTES} random bytes"
        raise ValueError(msg)
    text = f"{_PREFIXES[kind]}{token_id}_{_base62(int.from_bytes(random), _RANDOM_DIGITS)}"
    return Sensitive(text + _check(text))


def parse_secret(text: str, field: str = "authorization", form: re.Pattern[str] = BARE) -> Credential | None:
    """The credential that stands in `text` in this `form`, or None when shape or check is off."""
    shape = form.fullmatch(text)
    if shape is None:
        return None
    body, prefix, token_id, check = shape.groups()
    number = zlib.crc32(body.encode("ascii"))
    # What `_check` does, with half its divisions: each request comes through here.
    high = number // _PAIR
    if check != f"{_PAIRS[high // _PAIR]}{_PAIRS[high % _PAIR]}{_PAIRS[number % _PAIR]}":
        return None
    return Credential(token_id, _KINDS[prefix], Sensitive(body + check), field)
