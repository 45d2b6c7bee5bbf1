"""Whom the command asks, and with which secret: `ZONEGATE_URL`, `ZONEGATE_TOKEN`, else the settings."""

import re
from typing import Final
from urllib.parse import urlsplit

from gateway.settings import Settings, in_url
from gateway.tokens.secret import Sensitive

_URL: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_SECRET: Final = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a listener may say


class BadAddress(Exception):  # noqa: N818 - it is said to a person
    """There is nobody to ask, or nothing to ask with: a line that names the variable."""


def parse_url(text: str) -> str:
    """The base URL without a final slash. Raises BadAddress."""
    try:
        parts = urlsplit(text)
        fit = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fit = False
    if not fit or not _URL.fullmatch(text) or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        msg = "ZONEGATE_URL: not a base URL, such as http://127.0.0.1:8080/client/v4 (no user, no password)"
        raise BadAddress(msg)
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        msg = "ZONEGATE_URL: a base URL ends with its prefix, such as /client/v4"
        raise BadAddress(msg)
    return text.rstrip("/")


def parse_token(text: str | None) -> Sensitive:
    """The secret in ZONEGATE_TOKEN. Raises BadAddress, which does not show it."""
    text = (text or "").strip()
    if not text:
        msg = "ZONEGATE_TOKEN: not set; it holds the secret of your own token (the first one: zonegate init)"
        raise BadAddress(msg)
    if not _SECRET.fullmatch(text):
        msg = "ZONEGATE_TOKEN: not a secret: it has blanks, or characters beyond ASCII"
        raise BadAddress(msg)
    return Sensitive(text)


def url_of(settings: Settings) -> str:
    """The base URL of the token API of a gateway with these settings, on this machine. Raises BadAddress."""
    listen, admin = settings.listen, settings.admin
    if listen.token_api and listen.port:
        host, port, tls = listen.host, listen.port, listen.tls
    elif admin.enabled and admin.port:
        host, port, tls = admin.host, admin.port, admin.tls
    else:
        msg = "ZONEGATE_URL: not set, and by the settings no listener has the token API"
        raise BadAddress(msg)
    host = _ANYWHERE.get(host, host)
    return f"http{'s' if tls.cert else ''}://{in_url(host)}:{port}{listen.prefix}"
