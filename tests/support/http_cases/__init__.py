"""The table: what goes over the wire on both sides of the gateway, by theme.

A row says what the client sends and gets, and what the upstream sees and sends; `words.py` has the words for it.
"""

from collections.abc import Mapping

from . import aliases, faults, framing, headers, paths, semantics, smuggling, streams, upgrades
from .case import Case

BY_THEME: Mapping[str, tuple[Case, ...]] = {
    "framing": framing.CASES,
    "smuggling": smuggling.CASES,
    "paths": paths.CASES,
    "headers": headers.CASES,
    "aliases": aliases.CASES,
    "semantics": semantics.CASES,
    "streams": streams.CASES,
    "upgrades": upgrades.CASES,
    "faults": faults.CASES,
}
CASES = tuple(case for cases in BY_THEME.values() for case in cases)
