"""Names of the keys. One hash tag for all: a script may touch several, in a cluster too.

| key | type | what |
| --- | --- | --- |
| `{zg}:token:<id>` | string | the token's document: it alone decides whether the token exists |
| `{zg}:tokens:<owner>` | sorted set | ids by moment of issue (microseconds) |
| `{zg}:living:<owner>` | sorted set | of these, the ids that were not yet seen to be expired, by moment of issue |
| `{zg}:ends:<owner>` | sorted set | of the living, those with an end, by `expires_on` |
| `{zg}:expiries` | sorted set | ids of all tokens with an end, by `expires_on` |
| `{zg}:use:<id>` | hash | when, from where and how often the token was used |
| `{zg}:use-days:<id>` | hash | how often it was used on each of the last days; ends by itself, as the next |
| `{zg}:use-refused:<id>` | list | the last requests that were refused to it, the newest first |
| `{zg}:owner:<owner>` | string | the owner's document; `<owner>` is `user:<id>` or `account:<id>` |
| `{zg}:owners` | sorted set | owners by moment of issue |
| `{zg}:rate:<id>` | string | what a token's bucket lacked of being full, when, and its rate; not there: it is full |
| `{zg}:zone:<api>:<zone>` | string | what an operator has put down of a zone: its account |
| `{zg}:audit` | stream | one entry a change |
| `{zg}:audit-denied` | stream | one entry a refused call of the token API, a sign-in or a sign-out |
| `{zg}:seq` | number | of changes so far |
| `{zg}:changed` | channel | `<seq> <what>`, one message a change; what: see `TokenLookup.told` |
| `{zg}:session:<digest>` | string | a session of the dashboard, under the SHA-256 of its cookie; ends by itself |
| `{zg}:sessions:<id>` | list | the last sessions that were begun with a token, the newest at its end; ends by itself |
| `{zg}:told:<id>:<expires_on>` | string | the webhook was told that the token ends then; ends by itself |
| `{zg}:meta` | hash | `schema`, `generation`, `peppers`, `frozen`, `freezes` (how many there were) |
| `{zg}:probe` | none | never written: a write command on it shows whether the server takes writes |
"""

from typing import Final

TAG: Final = "{zg}"
AUDIT: Final = f"{TAG}:audit"
DENIED_AUDIT: Final = f"{TAG}:audit-denied"
SEQUENCE: Final = f"{TAG}:seq"
CHANGED: Final = f"{TAG}:changed"
META: Final = f"{TAG}:meta"
EXPIRIES: Final = f"{TAG}:expiries"
OWNERS: Final = f"{TAG}:owners"
PROBE: Final = f"{TAG}:probe"


def channel(database: int) -> str:
    """Where the changes of the store in a database are told: channels know no databases."""
    return f"{CHANGED}:{database}" if database else CHANGED


def token_key(token_id: str) -> str:
    """Where a token's document is."""
    return f"{TAG}:token:{token_id}"


def use_key(token_id: str) -> str:
    """Where a token's use is counted."""
    return f"{TAG}:use:{token_id}"


def use_days_key(token_id: str) -> str:
    """Where it is counted how a token was used on each day."""
    return f"{TAG}:use-days:{token_id}"


def use_refused_key(token_id: str) -> str:
    """Where the last requests are that were refused to a token."""
    return f"{TAG}:use-refused:{token_id}"


def tokens_key(owner: str) -> str:
    """Where an owner's list is; `owner` is `OwnerRef.key`."""
    return f"{TAG}:tokens:{owner}"


def living_key(owner: str) -> str:
    """Where the list of an owner's tokens is that are not expired."""
    return f"{TAG}:living:{owner}"


def ends_key(owner: str) -> str:
    """Where it stands when an owner's living tokens expire."""
    return f"{TAG}:ends:{owner}"


def owner_key(owner: str) -> str:
    """Where an owner's document is; `owner` is `OwnerRef.key`."""
    return f"{TAG}:owner:{owner}"


def rate_key(token_id: str) -> str:
    """Where it is counted how often a token may still be used."""
    return f"{TAG}:rate:{token_id}"


def session_key(digest: str) -> str:
    """Where the session is whose cookie has that SHA-256 (hex)."""
    return f"{TAG}:session:{digest}"


def sessions_key(token_id: str) -> str:
    """Where the list of the sessions is that were begun with a token."""
    return f"{TAG}:sessions:{token_id}"


def told_key(token_id: str, expires_on: int) -> str:
    """Where it stands that somebody was told of a token's end."""
    return f"{TAG}:told:{token_id}:{expires_on}"


def zone_key(zone: str) -> str:
    """Where the pin of a zone is; `zone` is `ZonePin.key`."""
    return f"{TAG}:zone:{zone}"
