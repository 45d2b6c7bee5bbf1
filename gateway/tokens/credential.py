"""Reading the credential out of a request's fields (RFC 6750 2.1; the scheme in any case, RFC 9110 11.1)."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from gateway.reason import Deny, Reason
from gateway.tokens.secret import BEARER, Credential, parse_secret

AUTHORIZATION: Final = "authorization"


@lru_cache(maxsize=16)  # a gateway has one set of names, or a few while it reloads
def _in_bytes(names: frozenset[str]) -> Mapping[bytes, str]:
    """Each of `names`, and `authorization`, as it comes over the wire."""
    return {name.encode("ascii"): name for name in (*names, AUTHORIZATION)}


def read_credential(fields: Iterable[tuple[bytes, bytes]], names: frozenset[str]) -> Credential | Deny:
    """The one credential among `fields`, looked for in the fields called `names` (lower case).

    `Authorization` holds `Bearer SECRET`, any other field the bare secret. Two of them are malformed, even when both
    say the same: we and the upstream might each believe another one.
    """
    wanted = _in_bytes(names)
    found = None
    for raw, value in fields:
        name = wanted.get(raw.lower())
        if name is not None:
            if found is not None:
                return Deny(reason=Reason.MALFORMED_CREDENTIALS)
            found = name, value
    return Deny(reason=Reason.MISSING_CREDENTIALS) if found is None else read_value(*found)


def read_value(field: str, value: bytes) -> Credential | Deny:
    """The credential that is the `value` of `field` (lower case)."""
    text = value.decode("latin-1")
    found = parse_secret(text, field, BEARER) if field == AUTHORIZATION else parse_secret(text.strip(" \t"), field)
    return found or Deny(reason=Reason.MALFORMED_CREDENTIALS)
