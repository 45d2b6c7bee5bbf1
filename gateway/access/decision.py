"""What comes out: yes, no, or "fetch me this and ask again"."""

from enum import Enum

import msgspec

from gateway.access.principal import Principal
from gateway.catalog.api import Route
from gateway.catalog.target import Target
from gateway.reason import Deny


class Fact(Enum):
    """What a decision may turn on that the request's head does not say. None is fetched in this version."""


class Allow(msgspec.Struct, frozen=True):
    """Yes. The proxy and the token API take this and nothing else; `decide` alone makes one."""

    principal: Principal
    route: Route
    target: Target


class Need(msgspec.Struct, frozen=True):
    """Not decided: it turns on `fact`. A fact asked for twice is a Deny."""

    fact: Fact


Decision = Allow | Deny | Need
