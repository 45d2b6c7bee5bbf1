"""What a browser's request says of itself: which cookies it has, and whether our own page has sent it.

Pure. A cookie is a secret of ours, and is never looked at but by a listener that has sessions. Who sends a change has
to show two things that another site's page cannot: `Origin`, which the browser sets, and a token that only our page was
told. A cookie alone proves neither, since a browser adds it to whatever any page sends.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from gateway.reason import READS, Deny, Reason
from gateway.server.head import Head

COOKIE_BYTES: Final = 32
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_CSRF: Final = b"zonegate csrf\0"
"""What makes of a cookie another value than the one that it is stored under."""


class Cookie:
    """One cookie of ours. Under TLS it is `Secure`, and no other host of the domain can set it (`__Host-`, RFC 6265bis
    4.1.3).
    """

    def __init__(self, name: str, *, tls: bool) -> None:
        self.name = f"__Host-{name}" if tls else name
        self._attributes = "Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if tls else "")

    def value(self, head: Head) -> str | None:
        """What the browser sends; None for none, or none of ours, or two: nobody knows which was meant."""
        fields = (_text(field) for field in head.values(b"cookie"))
        pairs = (pair.strip().partition("=") for field in fields for pair in field.split(";"))
        found = [value for name, _, value in pairs if name == self.name]
        return found[0] if len(found) == 1 and _VALUE.fullmatch(found[0]) else None

    def put(self, value: str) -> tuple[str, str]:
        """The field that makes the browser keep it, until it is closed."""
        return "Set-Cookie", f"{self.name}={value}; {self._attributes}"

    def remove(self) -> tuple[str, str]:
        """The field that makes the browser forget it."""
        return "Set-Cookie", f"{self.name}=; {self._attributes}; Max-Age=0"


def make_value(random: bytes) -> str:
    """A cookie's value out of COOKIE_BYTES random bytes: base64url without padding (RFC 4648 5)."""
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode("ascii")


def stored_under(value: str) -> str:
    """The SHA-256 (hex) of a cookie's value."""
    return hashlib.sha256(value.encode("ascii")).hexdigest()


def csrf_token(value: str) -> str:
    """What our page has to show beside a cookie of that value, in the same form. It tells nothing of the value."""
    return make_value(hashlib.sha256(_CSRF + value.encode("ascii")).digest())


def is_change(method: str) -> bool:
    """Whether a request with `method` may change something."""
    return method not in READS


def why_cross_site(head: Head, scheme: str, cookies: Sequence[str | None]) -> Deny | None:
    """Why a change was not sent by our own page, or None. `cookies`: values whose token counts, where they are sent.

    `Origin` must equal the scheme, and the host and port that were asked, whole (RFC 6454 5).
    """
    origins, shown = head.values(b"origin"), head.values(b"x-csrf-token")
    if (
        not head.host
        or len(origins) != 1
        or _origin(_text(origins[0])) != (scheme, _authority(scheme, _text(head.host)))
    ):
        return Deny(
            reason=Reason.CROSS_SITE,
            detail=f"its Origin is not {scheme}:// and the Host that was asked, or is missing "
            "(behind a proxy that speaks TLS, give the admin listener a certificate: admin.tls)",
        )
    proved = [
        len(shown) == 1 and hmac.compare_digest(shown[0], csrf_token(cookie).encode("ascii"))
        for cookie in cookies
        if cookie is not None
    ]
    if not any(proved):
        return Deny(reason=Reason.CROSS_SITE, detail="its X-CSRF-Token is wrong, or missing: load the page again")
    return None


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _origin(text: str) -> tuple[str, str] | None:
    scheme, separator, authority = text.lower().partition("://")
    return (scheme, _authority(scheme, authority)) if separator and authority else None


def _authority(scheme: str, text: str) -> str:
    """Host and port, the port said."""
    text = text.lower()
    _, colon, port = text.rpartition(":")
    return text if colon and port.isdigit() else f"{text}:{_DEFAULT_PORTS.get(scheme, '')}"
