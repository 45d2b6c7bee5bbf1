"""A zone's account as an operator has put it down: it goes before what the zone's API would say."""

from typing import Final

import msgspec

PIN_SCHEMA: Final = 1


# Stored as JSON. Rule of change: add at the end, with a default; never rename; raise PIN_SCHEMA when an older reader
# would misread.
class ZonePin(msgspec.Struct, frozen=True, omit_defaults=True):
    """`zone` as the API's requests name it, in canonical form; `name` is for people; `modified_on`: Unix seconds."""

    schema: int
    api: str
    zone: str
    account: str
    name: str
    modified_on: int

    @property
    def key(self) -> str:
        """The zone in a key of the store, and in messages: `<api>:<zone>`."""
        return f"{self.api}:{self.zone}"
