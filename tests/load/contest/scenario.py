"""What is asked of the contestants, and who takes part in it."""

from typing import Final

import msgspec

from contest import contestant as who
from contest.arena import KIB_16, MIB, OK, path_of
from contest.contestant import FASTAPI, HAPROXY, HAPROXY_TOKENS, LUA_CACHE, LUA_REDIS, NAIVE, NGINX, ZONEGATE
from contest.token_set import FIRST, OTHER_ZONE

UNAUTHENTICATED: Final = 401
FORBIDDEN: Final = 403


class Scenario(msgspec.Struct, frozen=True):
    """Requests of one kind. `unlike`: each has a query and a `traceparent` of its own; `many`: a token of all those
    there are; `close`: a connection for each; `share`: no contest for the most, but a constant rate, as a share of
    the most that the gateway managed in the scenario `of`. `counts_bytes`: whether bytes a second are the figure.
    """

    key: str
    title: str
    contestants: tuple[str, ...]
    target: str = path_of(FIRST.zone)
    method: str = "GET"
    body: int = 0
    credential: str = FIRST.credential
    status: int = OK
    unlike: bool = True
    many: bool = False
    close: bool = False
    connections: int = 64
    counts_bytes: bool = False
    share: float = 0.0
    of: str = ""


_GUARDS: Final = (ZONEGATE, NAIVE, LUA_REDIS, LUA_CACHE, HAPROXY_TOKENS, FASTAPI)
_PLAIN: Final = (ZONEGATE, NGINX, HAPROXY)

ALIKE: Final = "alike"
UNLIKE: Final = "unlike"
TOKENS: Final = "tokens"
DENIED: Final = "denied"
ANONYMOUS: Final = "unauthenticated"
POST: Final = "post"
MIDDLE: Final = "16k"
LARGE: Final = "1m"
CROWD: Final = "1000-connections"
NEW: Final = "new-connections"
STEADY: Final = "steady"

ALL: Final = (
    Scenario(ALIKE, "small GET, all alike, 9 fields", who.KEYS, unlike=False),
    Scenario(UNLIKE, "small GET, each with its own query and traceparent, 9 fields", who.KEYS),
    Scenario(TOKENS, "the same with 10,000 tokens over 1,000 zones", _GUARDS, many=True),
    Scenario(DENIED, "denied: another zone (403)", _GUARDS, target=path_of(OTHER_ZONE), status=FORBIDDEN),
    Scenario(ANONYMOUS, "unauthenticated: no token (401)", _GUARDS, credential="", status=UNAUTHENTICATED),
    Scenario(
        POST,
        "POST of 1 KiB",
        (*_PLAIN, NAIVE, LUA_CACHE),
        target=path_of(FIRST.zone).rpartition("/")[0],
        method="POST",
        body=1024,
    ),
    Scenario(MIDDLE, "answers of 16 KiB", _PLAIN, target=path_of(FIRST.zone, KIB_16), counts_bytes=True),
    Scenario(LARGE, "answers of 1 MiB", _PLAIN, target=path_of(FIRST.zone, MIB), connections=16, counts_bytes=True),
    Scenario(CROWD, "1,000 connections", (*_PLAIN, NAIVE, LUA_REDIS, LUA_CACHE), connections=1000),
    Scenario(NEW, "a new connection for each request", (*_PLAIN, LUA_CACHE), close=True),
    Scenario(
        STEADY,
        "70 % of the gateway's most, at a constant rate",
        (ZONEGATE, NGINX),
        unlike=False,
        share=0.7,
        of=ALIKE,
    ),
)
KEYS: Final = tuple(each.key for each in ALL)
IDLE: Final = "idle"
"""What is no scenario, and can be chosen like one: idle connections, see `idle_connections.py`."""
