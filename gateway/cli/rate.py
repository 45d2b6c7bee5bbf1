"""Rates as a person types them: so many requests in a span of time."""

import re
from typing import Final

from gateway.cli.moment import parse_span
from gateway.tokens.rate import LONGEST_PERIOD, MOST_REQUESTS, Rate

_RATE: Final = re.compile(r"([1-9]\d{0,8})/(\S+)", re.ASCII)

FORMS: Final = "1200/300s, 100/5m or 10000/1d"
"""What `parse_rate` reads, in words."""


def parse_rate(text: str) -> Rate | None:
    """The rate that `text` (one of FORMS) says, or None: it is none, or no token can have it."""
    found = _RATE.fullmatch(text)
    period = parse_span(found[2]) if found else None
    if found is None or period is None or int(found[1]) > MOST_REQUESTS or period > LONGEST_PERIOD:
        return None
    return Rate(int(found[1]), period)
