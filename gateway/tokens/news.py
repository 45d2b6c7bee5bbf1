"""What an operator may want to be told of a token at once: rolled, leaked, about to end. Never a secret."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from gateway.tokens.owner import OwnerRef
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Token


class Event(StrEnum):
    """What happened."""

    ROLLED = "token.rolled"
    LEAKED = "token.leaked"
    ENDING = "token.ending"


class News(msgspec.Struct, frozen=True):
    """One event. Times are Unix seconds, UTC."""

    event: Event
    token_id: str
    name: str
    owner: OwnerRef
    at: int
    expires_on: int | None = None


Tell = Callable[[News], None]
"""Takes news and returns at once: whoever tells waits for nobody."""


def news_of(event: Event, token: Token, now: float) -> News:
    """The news that `event` happened to `token` at `now`."""
    return News(event, token.id, token.name, token.owner, int(now), token.expires_on)


def show_news(news: News) -> dict[str, Any]:
    """As JSON: `event`, `at`, `token` with its id, name, owner and, if it has one, its end."""
    token: dict[str, Any] = {
        "id": news.token_id,
        "name": news.name,
        "owner": {"kind": news.owner.kind, "id": news.owner.id},
    }
    if news.expires_on is not None:
        token["expires_on"] = format_timestamp(news.expires_on)
    return {"event": news.event, "at": format_timestamp(news.at), "token": token}
