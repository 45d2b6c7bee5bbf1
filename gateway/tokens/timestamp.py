"""Dates on the wire: RFC 3339, read with any offset, written in UTC with whole seconds."""

import re
from datetime import UTC, datetime
from typing import Final

_RFC3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:[0-5]\d)", re.ASCII
)


def parse_timestamp(text: str) -> int | None:
    """Unix seconds of an RFC 3339 date-time (5.6; fractions are dropped), or None.

    Stricter than the RFC: no leap second, which Unix time cannot say.
    """
    if not _RFC3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        # In UTC it must be writable too: 9999-12-31T23:59:59-01:00 is in the year 10000.
        return int(moment.astimezone(UTC).replace(microsecond=0).timestamp())
    except (ValueError, OverflowError):
        return None


def format_timestamp(seconds: int) -> str:
    """`seconds` as `2026-11-24T07:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"
