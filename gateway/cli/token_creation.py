"""`zonegate token create`."""

import sys
import time
from typing import Annotated

import typer

from gateway.cli.caller import caller_of, facts_of, new_id, template_of
from gateway.cli.failure import REFUSED, fail
from gateway.cli.printable import printable
from gateway.cli.refusal import answered, fail_all
from gateway.cli.table import print_json, secret_lines
from gateway.cli.token_draft import check, new_token
from gateway.cli.token_flag import (
    Account,
    AllAccounts,
    AllZones,
    Api,
    Config,
    ExceptZone,
    Expires,
    Ip,
    Json,
    Limit,
    Name,
    NotBefore,
    NotIp,
    Permission,
    TemplateName,
    User,
    Zone,
    flags,
)
from gateway.tokens.summary import summarise


def create(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    *,
    name: Name = None,
    template: TemplateName = None,
    permission: Permission = None,
    zone: Zone = None,
    all_zones: AllZones = False,
    account: Account = None,
    all_accounts: AllAccounts = False,
    except_zone: ExceptZone = None,
    user: User = False,
    api: Api = None,
    ip: Ip = None,
    not_ip: NotIp = None,
    not_before: NotBefore = None,
    expires: Expires = None,
    limit: Limit = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make a token, after saying in plain words what it may do; its secret is shown once.

    Example: [bold]zonegate token create --template 'Edit zone DNS' --zone example.com --expires 30d[/bold]
    """
    said = flags(
        name=name,
        template=template,
        permission=permission,
        zone=zone,
        all_zones=all_zones,
        account=account,
        all_accounts=all_accounts,
        except_zone=except_zone,
        user=user,
        api=api,
        ip=ip,
        not_ip=not_ip,
        not_before=not_before,
        expires=expires,
        limit=limit,
    )
    with answered():
        if not yes and not json and not (sys.stdin and sys.stdin.isatty()):
            fail("standard input is no terminal, so nobody can be asked: --yes creates the token without a question")
        chosen = template_of(context, config, said.template)
        caller = caller_of(context, config)
        facts = caller.talk(lambda client: facts_of(client, said, chosen))
        now = time.time()
        body = new_token(said, facts, now)
        draft = check(body, facts.groups, now, new_id)
        if isinstance(draft, tuple):
            fail_all(draft)
        asks = not yes and bool(sys.stdin and sys.stdin.isatty())
        if asks or not json:
            typer.echo(f'The token "{printable(draft.name)}"', err=json)
            for line in summarise(draft, facts.groups):
                typer.echo(f"  {printable(line)}", err=json)
        if asks and not _agreed(err=json):
            typer.echo("Nothing was created.", err=json)
            raise typer.Exit(REFUSED)
        answer, secret = caller.talk(lambda client: client.create(body))
    if json:
        print_json(answer.raw)
        return
    typer.echo(f"\nCreated token {printable(answer.token.id)}. Its secret:")
    typer.echo("\n".join(secret_lines(caller.url, secret, caller.account)))


def _agreed(*, err: bool) -> bool:
    try:
        return typer.confirm("Create this token?", err=err)
    except typer.Abort:  # Ctrl-C, Ctrl-D: no answer is no
        typer.echo(err=err)
        return False
