"""`zonegate owner`: the commands for owners, through the token API; for the first owner's tokens alone."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from gateway.cli.answer import OwnerAnswer, OwnerName
from gateway.cli.caller import caller_of, template_of, zone_ids_of
from gateway.cli.client import TokenApiClient
from gateway.cli.commands import Commands
from gateway.cli.failure import fail, help_without_command
from gateway.cli.policy_draft import Facts, draft_policies
from gateway.cli.printable import printable
from gateway.cli.refusal import answered, unless_changed
from gateway.cli.table import (
    accept_any_text,
    print_json,
    print_owner,
    print_owners,
    secret_lines,
)
from gateway.cli.token_draft import Body
from gateway.cli.token_flag import (
    Account,
    AllAccounts,
    AllZones,
    Api,
    Config,
    ExceptZone,
    Flags,
    Json,
    Name,
    Permission,
    TemplateName,
    Zone,
    flags,
)

owner = Commands()

_OWNER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def _owner_id(value: str | None) -> str | None:
    if value is not None and not _OWNER_ID.fullmatch(value):
        fail(f"'{printable(value)}': not an owner's id: 1 to 64 of A-Z a-z 0-9 _ -")
    return value


OwnerId = Annotated[str, typer.Argument(metavar="ID", help="The user's or the account's id.", callback=_owner_id)]
Kind = Annotated[
    Literal["user", "account"] | None,
    typer.Option(help="Which is meant where a user and an account have the same id."),
]
User = Annotated[bool, typer.Option("--user", help="The new owner's own user.", rich_help_panel="On what")]


@owner.callback()
def root(context: typer.Context) -> None:
    """Make, show, change and end owners: users and accounts, whose policies are the ceiling of all their tokens.

    ZONEGATE_TOKEN holds a token of the first owner with Zonegate Owners Write (to look, Zonegate Owners Read).

    Example: [bold]ZONEGATE_TOKEN=zgt_... zonegate owner list[/bold]
    """
    help_without_command(context)
    accept_any_text()


@owner.command()
def create(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    *,
    name: Name = None,
    kind: Annotated[Literal["user", "account"], typer.Option(help="What it is.")] = "user",
    owner_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="An account's own id; a user has one made.", callback=_owner_id),
    ] = None,
    template: TemplateName = None,
    permission: Permission = None,
    zone: Zone = None,
    all_zones: AllZones = False,
    account: Account = None,
    all_accounts: AllAccounts = False,
    except_zone: ExceptZone = None,
    user: User = False,
    api: Api = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Make an owner and its first token, which may do all that the owner may; its secret is shown once.

    Example: [bold]zonegate owner create --name 'Team A' --permission 'DNS Write' --account ID --all-zones[/bold]
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
    )
    with answered():
        if said.name is None:
            fail("--name: missing; an owner is known to people by it")
        if kind == "account" and owner_id is None:
            fail("--id: missing; an account has the id that its API knows it by")
        new_id = owner_id or secrets.token_hex(16)
        caller = caller_of(context, config)
        policies = caller.talk(lambda client: _policies(client, context, config, said, new_id, kind))
        body = {"kind": kind, "id": new_id, "name": said.name, "policies": policies}
        answer, secret = caller.talk(lambda client: client.create_owner(body))
    if json:
        print_json(answer.raw)
        return
    typer.echo(
        f'Created {kind} {new_id}, "{printable(said.name)}". Its first token is '
        f"{printable(answer.token.id)}, and may do all that it may:"
    )
    typer.echo("\n".join(secret_lines(caller.url, secret, new_id if kind == "account" else None)))


async def _policies(  # noqa: PLR0913, PLR0917 - who asks, and what he said
    client: TokenApiClient, context: typer.Context, config: Path | None, said: Flags, owner_id: str, kind: str
) -> list[dict[str, Any]]:
    facts = Facts(
        groups=await client.permission_groups(),
        template=template_of(context, config, said.template),
        user_id=owner_id if kind == "user" else None,
        zone_ids=await zone_ids_of(client, said),
    )
    return draft_policies(said, facts)


@owner.command("list")
def list_(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Show all owners.

    Example: [bold]zonegate owner list --json[/bold]
    """
    with answered():
        answers = caller_of(context, config).talk(lambda client: client.owners())
    print_owners(answers, as_json=json)


@owner.command()
def show(
    context: typer.Context, owner_id: OwnerId, kind: Kind = None, json: Json = False, config: Config = None
) -> None:
    """Show one owner: what its tokens may do at most.

    Example: [bold]zonegate owner show 0123456789abcdef0123456789abcdef[/bold]
    """
    with answered():
        answer = caller_of(context, config).talk(lambda client: client.owner(OwnerName(owner_id, kind)))
    print_owner(answer, as_json=json)


async def _change(client: TokenApiClient, name: OwnerName, change: Callable[[Body], Body]) -> OwnerAnswer:
    """Read the owner, and put it back as `change` makes it, unless somebody else was faster."""
    old = await client.owner(name)
    return await unless_changed(
        f"owner {name.id}", old.etag, lambda etag: client.replace_owner(name, change(old.raw), etag)
    )


@owner.command()
def edit(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    owner_id: OwnerId,
    *,
    kind: Kind = None,
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
    json: Json = False,
    config: Config = None,
) -> None:
    """Change an owner's name, or all its policies: its tokens obey them at once.

    Example: [bold]zonegate owner edit ID --permission 'DNS Read' --all-zones[/bold]
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
    )

    async def edit_it(client: TokenApiClient) -> OwnerAnswer:
        which = OwnerName(owner_id, kind)
        changed: Body = {} if said.name is None else {"name": said.name}
        if said.of_policies:
            of_kind = kind or (await client.owner(which)).owner.kind
            changed["policies"] = await _policies(client, context, config, said, owner_id, of_kind)
        return await _change(client, which, lambda shown: shown | changed)

    with answered():
        if said == Flags():
            fail("nothing to change: say what, such as --name, or --permission with --zone")
        answer = caller_of(context, config).talk(edit_it)
    print_owner(answer, as_json=json)


def _set_status(context: typer.Context, name: OwnerName, status: str, config: Path | None, *, json: bool) -> None:
    with answered():
        answer = caller_of(context, config).talk(
            lambda client: _change(client, name, lambda shown: shown | {"status": status})
        )
    if json:
        print_json(answer.raw)
        return
    shown = answer.owner
    typer.echo(f'Owner {printable(shown.id)}, "{printable(shown.name)}", is {printable(shown.status)}.')


@owner.command()
def disable(
    context: typer.Context, owner_id: OwnerId, kind: Kind = None, json: Json = False, config: Config = None
) -> None:
    """Let no token of an owner work until it is enabled again.

    Example: [bold]zonegate owner disable 0123456789abcdef0123456789abcdef[/bold]
    """
    _set_status(context, OwnerName(owner_id, kind), "disabled", config, json=json)


@owner.command()
def enable(
    context: typer.Context, owner_id: OwnerId, kind: Kind = None, json: Json = False, config: Config = None
) -> None:
    """Let the tokens of a disabled owner work again.

    Example: [bold]zonegate owner enable 0123456789abcdef0123456789abcdef[/bold]
    """
    _set_status(context, OwnerName(owner_id, kind), "active", config, json=json)


@owner.command()
def delete(
    context: typer.Context, owner_id: OwnerId, kind: Kind = None, json: Json = False, config: Config = None
) -> None:
    """End an owner for good with all its tokens, without a question.

    Example: [bold]zonegate owner delete 0123456789abcdef0123456789abcdef[/bold]
    """
    with answered():
        result = caller_of(context, config).talk(lambda client: client.delete_owner(OwnerName(owner_id, kind)))
    if json:
        print_json(result)
    else:
        typer.echo(f"Owner {owner_id} is deleted, and its tokens: {result.get('tokens')}.")
