"""Lines of credentials that have proved themselves: who shows one again need not be compared again.

A line stands here with the compiled token that it proved, and with which of its digests. It counts only while that very
object is the one in the cache for its id; status, dates, address and the digest's own end are looked at each time.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from gateway.access.principal import Principal
from gateway.proxy.field_line import LONGEST_LINE, FieldLine

MOST_LINES: Final = 32_768
MOST_OF_A_TOKEN: Final = 4


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A credential's line that has proved itself before, and who it proved."""

    field: FieldLine
    principal: Principal


class ShownLines:
    """Lines by their exact bytes: at most `most`, and MOST_OF_A_TOKEN of one token."""

    def __init__(self, most: int = MOST_LINES) -> None:
        self._most = most
        self.lines: OrderedDict[bytes, Shown] = OrderedDict()
        self._of_token: dict[str, list[bytes]] = {}

    def enter(self, line: bytes, field: FieldLine, principal: Principal) -> None:
        """`line` has just proved `principal`, by the comparison."""
        if len(line) > LONGEST_LINE:
            return
        token_id = principal.token.id
        before = self.lines.get(line)
        if before is not None:
            self._forget(line, before)
        of_token = self._of_token.setdefault(token_id, [])
        if len(of_token) >= MOST_OF_A_TOKEN:
            del self.lines[of_token.pop(0)]
        of_token.append(line)
        self.lines[line] = Shown(field, principal)
        if len(self.lines) > self._most:
            oldest = next(iter(self.lines))
            self._forget(oldest, self.lines[oldest])

    def _forget(self, line: bytes, shown: Shown) -> None:
        del self.lines[line]
        token_id = shown.principal.token.id
        of_token = self._of_token[token_id]
        of_token.remove(line)
        if not of_token:
            del self._of_token[token_id]
