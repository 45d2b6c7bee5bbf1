"""`zonegate token edit`, and every other change of a token that is there."""

import time
from collections.abc import Callable
from typing import Annotated

import typer

from gateway.catalog.template import Template
from gateway.cli.answer import Answer
from gateway.cli.caller import caller_of, facts_of, new_id, template_of
from gateway.cli.client import TokenApiClient
from gateway.cli.failure import fail
from gateway.cli.refusal import answered, fail_all, unless_changed
from gateway.cli.table import print_token
from gateway.cli.token_draft import Body, changed_token, check_change
from gateway.cli.token_flag import (
    LIMITS_PANEL,
    Account,
    AllAccounts,
    AllZones,
    Api,
    Config,
    ExceptZone,
    Expires,
    Flags,
    Ip,
    Json,
    Limit,
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
from gateway.tokens.permission_group import PermissionGroups


async def change_token(api: TokenApiClient, token_id: str, change: Callable[[Body], Body]) -> Answer:
    """Read the token, and put it back as `change` makes it, unless somebody else was faster."""
    old = await api.token(token_id)
    return await unless_changed(
        f"token {token_id}", old.etag, lambda etag: api.replace(token_id, change(old.raw), etag)
    )


def edit(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    token_id: TokenId,
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
    no_ip: Annotated[
        bool,
        typer.Option(
            "--no-ip",
            help="Drop all networks; --ip, --not-ip beside it begin anew.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = False,
    not_before: NotBefore = None,
    expires: Expires = None,
    no_expiry: Annotated[
        bool, typer.Option("--no-expiry", help="Works without an end.", rich_help_panel=LIMITS_PANEL)
    ] = False,
    limit: Limit = None,
    no_limit: Annotated[
        bool,
        typer.Option(
            "--no-limit", help="No rate of its own: the gateway's default, if any.", rich_help_panel=LIMITS_PANEL
        ),
    ] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Change what the flags say of a token, and keep the rest; its secret stays the same.

    A flag for permissions or resources makes all policies anew. --ip and --not-ip each replace their own list.

    Example: [bold]zonegate token edit 0123456789abcdef0123456789abcdef --name deploy --expires 30d[/bold]
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
        no_ip=no_ip,
        not_before=not_before,
        expires=expires,
        no_expiry=no_expiry,
        limit=limit,
        no_limit=no_limit,
    )
    with answered():
        if said == Flags():
            fail("nothing to change: say what, such as --name, --permission with --zone, --ip, --expires")
        chosen = template_of(context, config, said.template)
        answer = caller_of(context, config).talk(lambda client: _edit(client, token_id, said, chosen))
    print_token(answer, as_json=json)


async def _edit(api: TokenApiClient, token_id: str, said: Flags, template: Template | None) -> Answer:
    facts = await facts_of(api, said, template) if said.of_policies else None
    groups = facts.groups if facts else PermissionGroups([])

    def change(shown: Body) -> Body:
        now = time.time()
        body = changed_token(shown, said, facts, now)
        if faults := check_change(body, shown, groups, now, new_id):
            fail_all(faults)
        return body

    return await change_token(api, token_id, change)
