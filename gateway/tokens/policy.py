"""A policy: effect, permission groups, resources. It gives or takes away every pair of its groups and its resources."""

from enum import StrEnum
from typing import Any

import msgspec


class Effect(StrEnum):
    """What a deny takes away, no allow gives back."""

    ALLOW = "allow"
    DENY = "deny"


# Stored inside the token's and the owner's JSON. Rule of change: add at the end, with a default; never rename.
class Policy(msgspec.Struct, frozen=True):
    """As the client sent it, in its order, but for `id`, which we give: 32 hex digits."""

    id: str
    effect: Effect
    permission_groups: tuple[str, ...]
    """Ids. Names are looked up when a policy is shown."""
    resources: dict[str, Any]
    """`parse_resource` reads each entry."""
