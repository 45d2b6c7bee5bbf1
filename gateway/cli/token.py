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


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and whom."""

    url: str
    secret: Sensitive

    def talk(self, conversation: Callable[[TokenApi], Awaitable[Talked]]) -> Talked:
        """What `conversation` with the token API comes to. Raises Refused, NoAnswer."""
        return talk(self.url, self.secret, conversation)


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


def _settings(context: typer.Context, config: Config) -> Settings:
    return load_settings(config or context.find_root().obj, environment())


def _caller(context: typer.Context, config: Config) -> Caller:
    """From the environment; the settings are read only if they are needed. Raises BadAddress, SettingsError."""
    variables = environment()
    secret = parse_token(variables.get("ZONEGATE_TOKEN"))
    url = variables.get("ZONEGATE_URL")
    return Caller(parse_url(url) if url else url_of(_settings(context, config)), secret)


def _template(context: typer.Context, config: Config, name: str | None) -> Template | None:
    if name is None:
        return None
    return find_template(name, build_catalog(_settings(context, config)).templates)


async def _facts(api: TokenApi, said: Flags, template: Template | None) -> tuple[PermissionGroups, str | None]:
    """The gateway's permission groups, and the caller's user if the policies name it."""
    groups = await api.permission_groups()
    return groups, await api.own_user() if needs_user(said, template) else None


def _new_id() -> str:
    return secrets.token_hex(16)


@token.command()
def create(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    name: Name = None,
    template: TemplateName = None,
    permission: Permission = None,
    zone: Zone = None,
    all_zones: AllZones = False,
    account: Account = None,
    all_accounts: AllAccounts = False,
    except_zone: ExceptZone = None,
    user: User = False,
    ip: Ip = None,
    not_ip: NotIp = None,
    not_before: NotBefore = None,
    expires: Expires = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make a token, after saying in plain words what it may do; its secret is shown once.

    Example: [bold]zonegate token create --template 'Edit zone DNS' --zone example.com --ip 192.0.2.0/24 --expires 30d[/bold]
    """
    said = flags(
        name=name,
        template=template,
        permissions=permission,
        zones=zone,
        all_zones=all_zones,
        accounts=account,
        all_accounts=all_accounts,
        except_zones=except_zone,
        user=user,
        ip=ip,
        not_ip=not_ip,
        not_before=not_before,
        expires=expires,
    )
    with answered():
        if not yes and not json and not (sys.stdin and sys.stdin.isatty()):
            fail("standard input is no terminal, so nobody can be asked: --yes creates the token without a question")
        chosen = _template(context, config, said.template)
        caller = _caller(context, config)
        groups, user_id = caller.talk(lambda api: _facts(api, said, chosen))
        now = time.time()
        body = new_token(said, chosen, groups, user_id, now)
        draft = check(body, groups, now, _new_id)
        if isinstance(draft, tuple):
            fail_all(draft)
        if not json:
            typer.echo(f'The token "{printable(draft.name)}"')
            for line in summarise(draft, groups):
                typer.echo(f"  {printable(line)}")
        if not json and not yes and not typer.confirm("Create this token?"):
            typer.echo("Nothing was created.")
            raise typer.Exit(REFUSED)
        answer, secret = caller.talk(lambda api: api.create(body))
    if json:
        print_json(answer.raw)
        return
    typer.echo(f"\nCreated token {printable(answer.token.id)}. Its secret:")
    typer.echo("\n".join(secret_lines(caller.url, secret)))


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


def _print_token(answer: Answer, *, json: bool) -> None:
    if json:
        print_json(answer.raw)
    else:
        print_table(token_sheet(answer.token))


async def _change(api: TokenApi, token_id: str, change: Callable[[Body], Body]) -> Answer:
    """Read the token, and put it back as `change` makes it, unless somebody else was faster."""
    old = await api.token(token_id)
    if old.etag is None:
        fail("the answer has no ETag (a proxy took it away?), so a change could undo another: nothing is done", REFUSED)
    try:
        return await api.replace(token_id, change(old.raw), old.etag)
    except Refused as refused:
        if refused.status != _PRECONDITION_FAILED:
            raise
        fail(
            f"somebody else changed token {token_id} meanwhile, so nothing was done: look at it, then try again",
            REFUSED,
        )


@token.command()
def edit(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    token_id: TokenId,
    name: Name = None,
    template: TemplateName = None,
    permission: Permission = None,
    zone: Zone = None,
    all_zones: AllZones = False,
    account: Account = None,
    all_accounts: AllAccounts = False,
    except_zone: ExceptZone = None,
    user: User = False,
    ip: Ip = None,
    not_ip: NotIp = None,
    no_ip: Annotated[
        bool, typer.Option("--no-ip", help="Drop all networks first.", rich_help_panel="From where, and when")
    ] = False,
    not_before: NotBefore = None,
    expires: Expires = None,
    no_expiry: Annotated[
        bool, typer.Option("--no-expiry", help="Works without an end.", rich_help_panel="From where, and when")
    ] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Change what the flags say of a token, and keep the rest; its secret stays the same.

    A flag for permissions or resources makes all policies anew: name all of them. --ip and --not-ip each replace
    their own list.

    Example: [bold]zonegate token edit 0123456789abcdef0123456789abcdef --name deploy --ip 192.0.2.7 --expires 30d[/bold]
    """
    said = flags(
        name=name,
        template=template,
        permissions=permission,
        zones=zone,
        all_zones=all_zones,
        accounts=account,
        all_accounts=all_accounts,
        except_zones=except_zone,
        user=user,
        ip=ip,
        not_ip=not_ip,
        no_ip=no_ip,
        not_before=not_before,
        expires=expires,
        no_expiry=no_expiry,
    )
    with answered():
        if said == Flags():
            fail("nothing to change: say what, such as --name, --permission with --zone, --ip, --expires")
        chosen = _template(context, config, said.template)
        answer = _caller(context, config).talk(lambda api: _edit(api, token_id, said, chosen))
    _print_token(answer, json=json)


async def _edit(api: TokenApi, token_id: str, said: Flags, template: Template | None) -> Answer:
    groups, user_id = PermissionGroups([]), None
    if said.of_policies:
        groups, user_id = await _facts(api, said, template)

    def change(shown: Body) -> Body:
        now = time.time()
        body = changed_token(shown, said, template, groups, user_id, now)
        if faults := check_change(body, shown, groups, now, _new_id):
            fail_all(faults)
        return body

    return await _change(api, token_id, change)


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
