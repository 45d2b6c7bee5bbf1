"""`zonegate freeze` and `zonegate thaw`: the handle to pull when it is not known which token was stolen."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import typer

from gateway.access.ports import Conflict
from gateway.cli.caller import settings_of
from gateway.cli.failure import INTERRUPTED, fail, told
from gateway.cli.table import print_json
from gateway.cli.token_flag import Config, Json
from gateway.store.redis_store import RedisStore
from gateway.store_access import ask_store
from gateway.telemetry.logs import configure_logs
from gateway.tokens.timestamp import format_timestamp


class _State(msgspec.Struct, frozen=True):
    """How it is now, and whether that is our doing."""

    frozen: bool
    since: str | None
    changed: bool


def freeze(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Let no token work, anywhere, until `zonegate thaw`.

    Every gateway on this store obeys as it obeys a revoked token, also after a restart. Exit code 0 if it was so
    already.

    Example: [bold]zonegate freeze[/bold]
    """
    state = _change(context, config, lambda store: store.freeze(time.time()))
    if json:
        print_json(msgspec.to_builtins(state))
    elif state.changed:
        typer.echo("Frozen: no token works, and every request to a gateway on this store is answered with 503.")
        typer.echo("That holds over restarts, and for the token API too. `zonegate thaw` ends it.")
    else:
        since = f", since {state.since}" if state.since else ""
        typer.echo(f"It was frozen already{since}: no token works until `zonegate thaw`.")


def thaw(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Let tokens work again after `zonegate freeze`. Exit code 0 if they do already.

    Example: [bold]zonegate thaw[/bold]
    """
    state = _change(context, config, lambda store: store.thaw(time.time()))
    if json:
        print_json(msgspec.to_builtins(state))
    else:
        typer.echo("Thawed: tokens work again." if state.changed else "It was not frozen: tokens work.")


def _change(context: typer.Context, config: Path | None, change: Callable[[RedisStore], Awaitable[None]]) -> _State:
    async def ask(store: RedisStore) -> _State:
        try:
            await change(store)
            changed = True
        except Conflict:  # it is so already
            changed = False
        async with store.using() as clients:
            frozen = (await store.meta(clients)).frozen
        since = format_timestamp(int(frozen)) if frozen and frozen.isdecimal() else None
        return _State(frozen is not None, since, changed)

    with told():
        settings = settings_of(context, config)
        configure_logs(settings.log.format, "warning")
        try:
            return ask_store(settings, ask)
        except KeyboardInterrupt:
            fail("interrupted: it may have been done; the same command says so", INTERRUPTED)
