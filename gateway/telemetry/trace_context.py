"""A request's place in its trace, and the header lines that carry it on (W3C Trace Context)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.proxy.field_line import FieldLine, Role

PARENT: Final = b"traceparent"
STATE: Final = b"tracestate"
SAMPLED: Final = 1
"""The flag that says: whoever is asked records it too."""


class Trace(msgspec.Struct, frozen=True, gc=False):
    """Where a request stands. Ids are numbers of 128 and 64 bits, never 0 but for `parent`: there is none."""

    trace_id: int
    parent: int
    """The client's span."""
    server: int
    """Ours, of the request."""
    client: int
    """Ours, of what went up; its parent is `server`."""
    flags: int
    state: str
    """As in `tracestate`."""
    attributes: Mapping[str, str | int] = {}
    """What the sampler wants to be said of it."""

    @property
    def is_sampled(self) -> bool:
        """Whether there will be spans."""
        return bool(self.flags & SAMPLED)

    def carried(self, ordinary: Sequence[FieldLine], span: int) -> Sequence[FieldLine]:
        """A request's ordinary fields as they go up for our `span`.

        Where we record nothing, the client's own parent stays that of the upstream: the fields are as they came.
        """
        if self.parent and not self.is_sampled:
            return ordinary
        kept = [field for field in ordinary if field.name not in (PARENT, STATE)]
        kept.append(_line(PARENT, b"00-%032x-%016x-%02x" % (self.trace_id, span, self.flags)))
        if self.state:
            kept.append(_line(STATE, self.state.encode("ascii")))
        return kept


def _line(name: bytes, value: bytes) -> FieldLine:
    return FieldLine(name, value, Role.ORDINARY, name, b"%b: %b\r\n" % (name, value))
