"""A policy: effect, permission groups, resources. It gives or takes away every pair of its groups and its resources."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

API_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)


class Effect(StrEnum):
    """What a deny takes away, no allow gives back."""

    ALLOW = "allow"
    DENY = "deny"


# Stored inside the token's and the owner's JSON. Rule of change: add at the end, with a default; never rename.
class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """As the client sent it, in its order, but for `id`, which we give: 32 hex digits."""

    id: str
    effect: Effect
    permission_groups: tuple[str, ...]
    """Ids. Names are looked up when a policy is shown."""
    resources: dict[str, Any]
    """`parse_resource` reads each entry."""
    apis: tuple[str, ...] = ()
    """Names of the APIs that it is about, as zones of different APIs are different things; empty: every API."""


def without_ids(policies: Iterable[Policy]) -> tuple[Policy, ...]:
    """What `policies` say, to be compared: their ids are ours, and clients need not send them back."""
    return tuple(msgspec.structs.replace(policy, id="") for policy in policies)
