"""Paths of the dashboard, one of which ends in a slash, as no path of an API may."""

from typing import Final

from gateway.catalog.target import Target, split_target
from gateway.reason import Deny

ROOT: Final = b"dashboard"
INDEX: Final = "index.html"
_INDEX_TARGET: Final = b"/dashboard/index.html"


def split_page_target(raw: bytes) -> Target | Deny:
    """As `split_target`, but that `/dashboard/` is its `index.html`. Nothing that is read so is ever forwarded."""
    path, mark, query = raw.partition(b"?")
    return split_target(_INDEX_TARGET + mark + query if path == b"/dashboard/" else raw)
