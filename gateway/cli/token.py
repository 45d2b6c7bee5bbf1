"""`zonegate token`: the commands that make, show, change and end tokens, through the token API."""

import io
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from gateway.app import build_catalog
from gateway.catalog.template import Template
from gateway.cli.address import parse_token, parse_url, url_of
from gateway.cli.answer import Answer
from gateway.cli.client import Refused, TokenApi, talk
from gateway.cli.failure import REFUSED, fail
from gateway.cli.policy_draft import find_template, needs_user
from gateway.cli.printable import printable
from gateway.cli.refusal import answered, fail_all
from gateway.cli.table import print_json, print_table, secret_lines, token_sheet, token_table
from gateway.cli.token_draft import Body, changed_token, check, check_change, new_token, with_status
from gateway.cli.token_flag import (
    Account,
    AllAccounts,
    AllZones,
    Config,
    ExceptZone,
    Expires,
    Flags,
    Ip,
    Json,
    Name,
    NotBefore,
    NotIp,
    Permission,
    TemplateName,
    TokenId,
    User,
    Zone,
    flags,
)
from gateway.settings import Settings, environment, load_settings
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.secret import Sensitive
from gateway.tokens.summary import summarise

token = typer.Typer(no_args_is_help=True)

Talked = TypeVar("Talked")
_PRECONDITION_FAILED = 412


@token.callback()
def root() -> None:
    """Make, show, change and end tokens, through the token API of a running gateway.

    ZONEGATE_TOKEN holds your own token's secret. ZONEGATE_URL is the API's base URL with its prefix; when it is not
    set, the settings say where the gateway listens.

    Example: [bold]ZONEGATE_TOKEN=zgt_... zonegate token list[/bold]
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what the terminal's encoding lacks


@token.command("list")
def list_(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Show all your tokens, expired ones too.

    Example: [bold]zonegate token list --json[/bold]
    """
    with answered():
        answers = _caller(context, config).talk(lambda api: api.tokens())
    if json:
        print_json([answer.raw for answer in answers])
    else:
        print_table(token_table(answer.token for answer in answers))


@token.command()
def show(context: typer.Context, token_id: TokenId, json: Json = False, config: Config = None) -> None:
    """Show one token: what it may do, from where, and when.

    Example: [bold]zonegate token show 0123456789abcdef0123456789abcdef[/bold]
    """
    with answered():
        answer = _caller(context, config).talk(lambda api: api.token(token_id))
    _print_token(answer, json=json)


@token.command()
def verify(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Ask whether the token in ZONEGATE_TOKEN works.

    Example: [bold]ZONEGATE_TOKEN=zgt_... zonegate token verify[/bold]
    """
    with answered():
        verified = _caller(context, config).talk(lambda api: api.verify())
    if json:
        print_json(verified.raw)
        return
    result = verified.result
    since = f", from {printable(result.not_before)} on" if result.not_before else ""
    until = f"until {printable(result.expires_on)}" if result.expires_on else "without an end"
    typer.echo(f"Token {printable(result.id)} is {printable(result.status)}{since}, {until}.")
    for message in verified.messages:
        typer.echo(printable(message))


@token.command()
def roll(context: typer.Context, token_id: TokenId, json: Json = False, config: Config = None) -> None:
    """Give a token a new secret, shown once; the old one is dead at once.

    Example: [bold]zonegate token roll 0123456789abcdef0123456789abcdef[/bold]
    """
    with answered():
        caller = _caller(context, config)
        secret = caller.talk(lambda api: api.roll(token_id))
    if json:
        print_json({"id": token_id, "value": secret.reveal()})
        return
    typer.echo(f"Token {token_id} has a new secret, and the old one is dead:")
    typer.echo("\n".join(secret_lines(caller.url, secret)))


def _set_status(context: typer.Context, token_id: str, status: str, config: Config) -> Answer:
    with answered():
        return _caller(context, config).talk(
            lambda api: _change(api, token_id, lambda shown: with_status(shown, status))
        )


def _print_status(answer: Answer, *, json: bool) -> None:
    if json:
        print_json(answer.raw)
        return
    shown = answer.token
    ended = f" since {printable(shown.expires_on)}" if shown.status == "expired" and shown.expires_on else ""
    typer.echo(f'Token {printable(shown.id)}, "{printable(shown.name)}", is {printable(shown.status)}{ended}.')


@token.command()
def disable(context: typer.Context, token_id: TokenId, json: Json = False, config: Config = None) -> None:
    """Let a token do nothing until it is enabled again.

    Example: [bold]zonegate token disable 0123456789abcdef0123456789abcdef[/bold]
    """
    _print_status(_set_status(context, token_id, "disabled", config), json=json)


@token.command()
def enable(context: typer.Context, token_id: TokenId, json: Json = False, config: Config = None) -> None:
    """Let a disabled token work again.

    Example: [bold]zonegate token enable 0123456789abcdef0123456789abcdef[/bold]
    """
    _print_status(_set_status(context, token_id, "active", config), json=json)


@token.command()
def delete(context: typer.Context, token_id: TokenId, json: Json = False, config: Config = None) -> None:
    """End a token for good, without a question.

    Example: [bold]zonegate token delete 0123456789abcdef0123456789abcdef[/bold]
    """
    with answered():
        result: dict[str, Any] = _caller(context, config).talk(lambda api: api.delete(token_id))
    if json:
        print_json(result)
    else:
        typer.echo(f"Token {token_id} is deleted.")
