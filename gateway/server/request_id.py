"""The request's name in logs, audit and answers."""

import random
import re
from collections.abc import Sequence
from typing import Final

from gateway.tokens.secret import LOOKS_SECRET

_KEPT: Final = re.compile(rb"[A-Za-z0-9._-]{8,128}")


def request_id(sent: Sequence[bytes]) -> bytes:
    """The one `X-Request-Id` that the client sent, if it is plain, else a new one: 32 hex digits.

    One that looks like a token's secret is not kept: it would stand in logs, in the audit, and go up.
    """
    if len(sent) == 1 and _KEPT.fullmatch(sent[0]) and not LOOKS_SECRET.search(sent[0].decode("ascii")):
        return sent[0]
    # A name, no secret: a generator of the process's own costs no call of the kernel (each worker's is seeded anew).
    return b"%032x" % random.getrandbits(128)
