"""What comes out: yes, no, or "fetch me this and ask again"."""

from typing import Final

import msgspec

from gateway.access.principal import Principal
from gateway.catalog.api import Api, Route
from gateway.catalog.target import Target
from gateway.reason import Deny

LARGEST_BODY: Final = 1024 * 1024
"""Bytes of a body that is read before it is sent on."""


class ZoneAccount(msgspec.Struct, frozen=True):
    """To be fetched: the account that `zone` (in its canonical spelling) lies in, out of a pin or from the upstream."""

    api: Api
    zone: str


class Body(msgspec.Struct, frozen=True):
    """To be fetched: the request's whole body, at most `limit` bytes, decoded by nobody. What is longer is a 413."""

    limit: int = LARGEST_BODY


Fact = ZoneAccount | Body
"""What a decision may turn on that the request's head does not say."""


class Allow(msgspec.Struct, frozen=True):
    """Yes. The proxy and the token API take this and nothing else; `decide` alone makes one."""

    principal: Principal
    route: Route
    target: Target


class Need(msgspec.Struct, frozen=True):
    """Not decided: it turns on `fact`. A fact asked for twice is a Deny."""

    fact: Fact


Decision = Allow | Deny | Need
