"""Moments as a person types them: a date and time, a date, or so long from now."""

import re
from typing import Final

from gateway.tokens.timestamp import parse_timestamp

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SPAN: Final = re.compile(r"([1-9]\d{0,5})([dhm])", re.ASCII)
_SHORT_SPAN: Final = re.compile(r"([1-9]\d{0,8})([dhms])", re.ASCII)
_SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}

FORMS: Final = "2027-01-31T12:00:00Z, 2027-01-31 (the start of that day, UTC), or 30d, 12h, 45m from now"
"""What `parse_moment` reads, in words."""


def parse_moment(text: str, now: float) -> int | None:
    """Unix seconds of `text` (one of FORMS; `now` is Unix seconds too), or None."""
    if span := _SPAN.fullmatch(text):
        return int(now) + int(span[1]) * _SECONDS[span[2]]
    if _DATE.fullmatch(text):
        return parse_timestamp(f"{text}T00:00:00Z")
    return parse_timestamp(text)


SPANS: Final = "30d, 12h, 45m or 90s"
"""What `parse_span` reads, in words."""


def parse_span(text: str) -> int | None:
    """Seconds of `text` (one of SPANS), or None."""
    span = _SHORT_SPAN.fullmatch(text)
    return int(span[1]) * _SECONDS[span[2]] if span else None
