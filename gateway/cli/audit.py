"""`zonegate audit`: what was done to tokens and owners, and what was refused, through the token API."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from gateway.cli.answer import AuditPage, ShownEntry
from gateway.cli.caller import caller_of
from gateway.cli.client import TokenApiClient
from gateway.cli.failure import INTERRUPTED, fail, say
from gateway.cli.moment import parse_moment
from gateway.cli.printable import printable
from gateway.cli.refusal import answered
from gateway.cli.table import WIDE, accept_any_text, console, print_json_line
from gateway.cli.token_flag import Config
from gateway.tokens.timestamp import format_timestamp

LATEST: Final = 100
"""Entries that people see who do not say since when."""
POLL_INTERVAL: Final = 1.0
_PER_PAGE: Final = 1000
_TOKEN_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SAID_ANYWAY: Final = frozenset({"modified_on", "issued_by"})
"""Fields that differ with each change: when it was, and by which token."""
_IN_WORDS: Final = {"roll": "a new secret", "resign": "its digest was made anew", "revoke-self": "by its own secret"}

Filters = dict[str, str | int]
Show = Callable[[AuditPage], None]


def audit(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    token: Annotated[
        str | None, typer.Option("--token", metavar="ID", help="Only what was done to this token, or with it.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="Only from then on: 1h, 30d ago, 2027-01-31, 2027-01-31T12:00:00Z."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all entries as JSON, one a line.")] = False,
    config: Config = None,
) -> None:
    """Show who changed which token, and what was refused; needs the permission Zonegate Audit Read.

    Without --since, people see the latest 100 entries; --json prints all that there are, the oldest first.

    Example: [bold]zonegate audit --since 30d --json > audit.jsonl[/bold]
    """
    accept_any_text()
    filters = _filters(token, since, time.time())
    show = _show_json if json else _show_lines()
    latest = LATEST if since is None and not json else None
    with answered():
        try:
            caller_of(context, config).talk(lambda api: tell(api, filters, show, latest=latest, follow=follow))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _filters(token: str | None, since: str | None, now: float) -> Filters:
    """The API's parameters; ends the command on what is none."""
    found: Filters = {}
    if token is not None:
        if not _TOKEN_ID.fullmatch(token):
            fail(f"--token '{printable(token)}': not a token's id: 32 lower-case hex digits")
        found["token"] = token
    if since is not None:
        moment = moment_since(since, now)
        if moment is None:
            fail(f"--since '{printable(since)}': not a moment, such as 1h, 30d, 2027-01-31 or 2027-01-31T12:00:00Z")
        found["since"] = format_timestamp(moment)
    return found


def moment_since(text: str, now: float) -> int | None:
    """Unix seconds of `text`: as `parse_moment` reads it, but a span goes back from `now`. None: it is no moment."""
    moment = parse_moment(text, now)
    if moment is None or moment == parse_moment(text, 0):
        return moment
    return max(0, 2 * int(now) - moment)  # what turns on `now` is a span


async def tell(  # noqa: PLR0913 - what to ask, and how long
    api: TokenApiClient,
    filters: Filters,
    show: Show,
    *,
    latest: int | None,
    follow: bool,
    interval: float = POLL_INTERVAL,
) -> None:
    """Show all entries that fit, or the `latest` so many, oldest first; with `follow`, then what comes, for ever."""
    if latest is None:
        seen = await _show_behind(api, filters, show, None)
    else:
        seen = await _show_latest(api, filters, show, latest)
    while follow:
        await asyncio.sleep(interval)
        seen = await _show_behind(api, filters, show, seen)


async def _show_behind(api: TokenApiClient, filters: Filters, show: Show, seen: str | None) -> str | None:
    """Show what is newer than the entry `seen`; returns the newest that there is now."""
    async for page in _pages(api, filters | {"direction": "asc", "per_page": _PER_PAGE}, seen):
        show(page)
        seen = page.newest or seen
    return seen


async def _show_latest(api: TokenApiClient, filters: Filters, show: Show, count: int) -> str | None:
    found: list[AuditPage] = []
    async for page in _pages(api, filters | {"direction": "desc", "per_page": count}, None):
        found.append(page)
        if sum(len(each.entries) for each in found) >= count:
            break
    raw = [each for page in found for each in page.raw][:count]
    entries = [each for page in found for each in page.entries][:count]
    show(AuditPage(tuple(reversed(raw)), tuple(reversed(entries)), None, None))
    if found[-1].cursor is not None:
        say(f"these are the latest {count}; --since 30d, or a date, shows older ones")
    return found[0].newest


async def _pages(api: TokenApiClient, filters: Filters, cursor: str | None) -> AsyncIterator[AuditPage]:
    """One page after the other, behind `cursor` (None: from the beginning)."""
    while True:
        page = await api.audit(**filters, **({"cursor": cursor} if cursor else {}))
        yield page
        if page.cursor is None or page.cursor == cursor:
            return
        cursor = page.cursor


def _show_json(page: AuditPage) -> None:
    for entry in page.raw:
        print_json_line(entry)


def _show_lines() -> Show:
    screen = console()

    def show(page: AuditPage) -> None:
        for entry in page.entries:
            style = "red" if entry.action.result is False else ""
            for line in entry_lines(entry, wide=screen.width >= WIDE):
                screen.print(Text(line, style=style), soft_wrap=True)

    return show


def entry_lines(entry: ShownEntry, *, wide: bool) -> list[str]:
    """When, what, to which token, who, from where, and what is different now: in one line, or in three narrow ones."""
    when, action = entry.when or "no date", entry.action.type
    what = " ".join(filter(None, (entry.resource.type, entry.resource.id))) or "-"
    by = f"token {entry.metadata.actor_token}" if entry.metadata.actor_token else _ACTORS.get(entry.actor.type, "-")
    who = f"by {by}" + (f" from {entry.actor.ip}" if entry.actor.ip else "")
    change = change_in_words(entry)
    if wide:
        lines = [f"{when:<24}  {action:<12}  {what:<38}  {who}" + (f"  {change}" if change else "")]
    else:
        lines = [f"{when}  {action}  {what}", f"  {who}", *([f"  {change}"] if change else [])]
    return [printable(line) for line in lines]


_ACTORS: Final[dict[str | None, str]] = {"admin": "an operator", "user": "a user"}


def change_in_words(entry: ShownEntry) -> str:
    """What is different now, or what was refused and why; "" where the action says all."""
    if entry.metadata.unreadable:
        return "parts of this entry cannot be read"
    if entry.metadata.reason:
        return f"{entry.metadata.method} {entry.metadata.path}: {entry.metadata.reason}"
    words = [_IN_WORDS.get(entry.action.type, ""), *_differences(entry.before or {}, entry.after or {})]
    return ", ".join(filter(None, words))


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterable[str]:
    if not before or not after:
        name = (before or after).get("name")
        yield f'"{name}"' if isinstance(name, str) else ""
        return
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new or key in _SAID_ANYWAY:
            continue
        plain = all(value is None or isinstance(value, (str, int)) for value in (old, new))
        yield f"{key}: {_shown(old)} -> {_shown(new)}" if plain else key


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
