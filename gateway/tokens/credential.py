"""Reading the credential out of the field in which it came (RFC 6750 2.1; the scheme in any case, RFC 9110 11.1)."""

from typing import Final

from gateway.reason import Deny, Reason
from gateway.tokens.secret import BEARER, Credential, parse_secret

AUTHORIZATION: Final = "authorization"


def read_value(field: str, value: bytes) -> Credential | Deny:
    """The credential that is the `value` of `field` (lower case).

    `Authorization` holds `Bearer SECRET`, any other field the bare secret.
    """
    text = value.decode("latin-1")
    found = parse_secret(text, field, BEARER) if field == AUTHORIZATION else parse_secret(text.strip(" \t"), field)
    return found or Deny(reason=Reason.MALFORMED_CREDENTIALS)
