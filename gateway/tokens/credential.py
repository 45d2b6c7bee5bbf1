"""Reading the credential out of a request's fields (RFC 6750 2.1; the scheme in any case, RFC 9110 11.1)."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from gateway.reason import Deny, Reason
from gateway.tokens.secret import Credential, parse_secret

AUTHORIZATION: Final = "authorization"


def read_credential(fields: Iterable[tuple[bytes, bytes]], names: AbstractSet[str]) -> Credential | Deny:
    """The one credential among `fields`, looked for in the fields called `names` (lower case).

    `Authorization` holds `Bearer SECRET`, any other field the bare secret. Two of them are malformed, even when both
    say the same: we and the upstream might each believe another one.
    """
    found = [
        (name, value)
        for raw, value in fields
        if (name := raw.decode("latin-1").lower()) in names or name == AUTHORIZATION
    ]
    match found:
        case []:
            return Deny(reason=Reason.MISSING_CREDENTIALS)
        case [(name, value)]:
            text = value.decode("latin-1").strip(" \t")
            if name == AUTHORIZATION:
                scheme, _, text = text.partition(" ")
                text = text.lstrip(" ") if scheme.lower() == "bearer" else ""
            return parse_secret(text, name) or Deny(reason=Reason.MALFORMED_CREDENTIALS)
        case _:
            return Deny(reason=Reason.MALFORMED_CREDENTIALS)
