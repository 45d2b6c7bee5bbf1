"""One row of the table."""

import msgspec

from support.raw_client import ClientStep
from support.raw_upstream import Script


class Case(msgspec.Struct, frozen=True):
    """What the client sends and must get, and what the upstream must see and sends.

    `upstream`: a script for each connection that the gateway makes; without one, it makes none. `source`: the client's
    address. `impatient`: on a gateway whose time-outs are short. `takes_time`: some time has to run out. `compares`: an
    allowed request with one answer, which is the same without the gateway.
    """

    name: str
    client: tuple[ClientStep, ...]
    upstream: tuple[Script, ...] = ()
    source: str = "127.0.0.1"
    impatient: bool = False
    takes_time: bool = False
    compares: bool = False
