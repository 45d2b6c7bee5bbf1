"""What is proved before anything is measured: a check that checks nothing would win every contest."""

import http.client
from typing import Final

from contest.arena import JOURNALLED, OK, Arena, Broken, Stand, get, path_of
from contest.launch import UPSTREAM_CREDENTIAL
from contest.scenario import FORBIDDEN, UNAUTHENTICATED
from contest.token_set import FIRST, OTHER_ZONE, WRONG_SECRET, holder

_LAST: Final = holder(9_999)

_RIGHT: Final = (("the first token", FIRST), ("the last token", _LAST))
_WRONG: Final = (
    ("no token", FIRST.zone, "", UNAUTHENTICATED),
    ("a wrong secret", FIRST.zone, f"Bearer {WRONG_SECRET}", UNAUTHENTICATED),
    ("another zone", OTHER_ZONE, FIRST.credential, FORBIDDEN),
    ("another token's zone", FIRST.zone, _LAST.credential, FORBIDDEN),
)


def _ask(stand: Stand, what: str, zone: str, credential: str, status: int) -> None:
    try:
        answer = get(stand.port, path_of(zone, JOURNALLED), credential)
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f"{stand.contestant.title}, {what}: {error}") from None
    if answer.status != status:
        raise Broken(f"{stand.contestant.title}, {what}: {answer.status}, not {status}")


def check(arena: Arena, stand: Stand) -> None:
    """It lets right requests through, under the upstream's credential if it checks tokens; and then it refuses wrong
    ones, of which the upstream sees nothing. Raises Broken.
    """
    before = len(arena.journal)
    for what, holder_ in _RIGHT:
        _ask(stand, what, holder_.zone, holder_.credential, OK)
    arrived = arena.journal[before:]
    if len(arrived) != len(_RIGHT):
        raise Broken(f"{stand.contestant.title}: {len(arrived)} of {len(_RIGHT)} requests reached the upstream")
    if not stand.contestant.checks:
        return
    if any(each["credential"] != UPSTREAM_CREDENTIAL for each in arrived):
        raise Broken(f"{stand.contestant.title}: a request reached the upstream under another credential")
    for what, zone, credential, status in _WRONG:
        _ask(stand, what, zone, credential, status)
    if len(arena.journal) != before + len(_RIGHT):
        raise Broken(f"{stand.contestant.title}: a refused request reached the upstream")
