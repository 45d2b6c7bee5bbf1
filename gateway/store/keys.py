"""Names of the keys. One hash tag for all: a script may touch several, in a cluster too.

| key | type | what |
| --- | --- | --- |
| `{zg}:token:<id>` | string | the token's document: it alone decides whether the token exists |
| `{zg}:tokens:<owner>` | sorted set | ids by moment of issue (microseconds) |
| `{zg}:expiries` | sorted set | ids of tokens with an end, by `expires_on` |
| `{zg}:owner:<owner>` | string | the owner's document; `<owner>` is `user:<id>` or `account:<id>` |
| `{zg}:owners` | sorted set | owners by moment of issue |
| `{zg}:audit` | stream | one entry a change |
| `{zg}:seq` | number | of changes so far |
| `{zg}:changed` | channel | `<seq> <key without tag>`, one message a change |
| `{zg}:meta` | hash | `schema`, `generation`, `peppers` |
"""

from typing import Final

TAG: Final = "{zg}"
AUDIT: Final = f"{TAG}:audit"
SEQUENCE: Final = f"{TAG}:seq"
CHANGED: Final = f"{TAG}:changed"
META: Final = f"{TAG}:meta"
EXPIRIES: Final = f"{TAG}:expiries"
OWNERS: Final = f"{TAG}:owners"


def token_key(token_id: str) -> str:
    """Where a token's document is."""
    return f"{TAG}:token:{token_id}"


def tokens_key(owner: str) -> str:
    """Where an owner's list is; `owner` is `OwnerRef.key`."""
    return f"{TAG}:tokens:{owner}"


def owner_key(owner: str) -> str:
    """Where an owner's document is; `owner` is `OwnerRef.key`."""
    return f"{TAG}:owner:{owner}"
