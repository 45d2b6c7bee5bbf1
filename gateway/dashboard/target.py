"""Paths of the dashboard, one of which ends in a slash, as no path of an API may."""

import re
from typing import Final

from gateway.catalog.target import Target, split_target
from gateway.reason import Deny

ROOT: Final = b"dashboard"
INDEX: Final = "index.html"
_INDEX_PATH: Final = re.compile(rb"(?:[Hh][Tt][Tt][Pp][Ss]?://[^/?#]*)?/dashboard/")
"""In the origin form, and in the absolute form (RFC 9112 3.2.2)."""


def split_page_target(raw: bytes) -> Target | Deny:
    """As `split_target`, but that `/dashboard/` is its `index.html`. Nothing that is read so is ever forwarded."""
    path, mark, query = raw.partition(b"?")
    return split_target(path + INDEX.encode() + mark + query if _INDEX_PATH.fullmatch(path) else raw)
