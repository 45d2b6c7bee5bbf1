"""`zonegate zone`: the commands that say in which account a zone lies, through the token API."""

from typing import Annotated, Any

import typer

from gateway.cli.caller import caller_of
from gateway.cli.commands import Commands
from gateway.cli.failure import fail, help_without_command
from gateway.cli.printable import printable
from gateway.cli.refusal import answered
from gateway.cli.table import accept_any_text, print_json
from gateway.cli.token_flag import Config, Json
from gateway.tokens.grammar import Grammar

zone = Commands()


def _zone_id(value: str) -> str:
    if not Grammar.DNS_NAME.accepts(value.replace("/", "=2F").encode("utf-8", "replace")):
        fail(f"'{printable(value)}': not a zone: its id, or its DNS name")
    return value.replace("/", "=2F")


ZoneId = Annotated[str, typer.Argument(metavar="ID", help="The zone's id, or its DNS name.", callback=_zone_id)]
ApiName = Annotated[str, typer.Option("--api", metavar="NAME", help="The API that has the zone, such as powerdns.")]


@zone.callback()
def root(context: typer.Context) -> None:
    """Say in which account a zone lies, where its API does not tell: all tokens on that account reach it then.

    ZONEGATE_TOKEN holds a token of the first owner with Zonegate Owners Write (to look, Zonegate Owners Read).

    Example: [bold]zonegate zone set example.com --api powerdns --account ID[/bold]
    """
    help_without_command(context)
    accept_any_text()


@zone.command("set")
def set_(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    zone_id: ZoneId,
    *,
    api: ApiName,
    account: Annotated[str, typer.Option(metavar="ID", help="The account that it lies in.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The zone's name.")] = "",
    json: Json = False,
    config: Config = None,
) -> None:
    """Put down in which account a zone lies, in the place of what was put down before.

    Example: [bold]zonegate zone set example.com --api powerdns --account ID[/bold]
    """
    body = {"account": account, "name": name}
    with answered():
        shown = caller_of(context, config).talk(lambda client: client.zone("PUT", api, zone_id, body))
    _print(shown, json=json)


@zone.command()
def show(context: typer.Context, zone_id: ZoneId, *, api: ApiName, json: Json = False, config: Config = None) -> None:
    """Show what is put down of a zone.

    Example: [bold]zonegate zone show example.com --api powerdns[/bold]
    """
    with answered():
        shown = caller_of(context, config).talk(lambda client: client.zone("GET", api, zone_id))
    _print(shown, json=json)


@zone.command()
def unset(context: typer.Context, zone_id: ZoneId, *, api: ApiName, json: Json = False, config: Config = None) -> None:
    """Put down nothing of a zone any more: its API says where it lies, or nobody does.

    Example: [bold]zonegate zone unset example.com --api powerdns[/bold]
    """
    with answered():
        shown = caller_of(context, config).talk(lambda client: client.zone("DELETE", api, zone_id))
    if json:
        print_json(shown)
    else:
        typer.echo(f"Nothing is put down of zone {_text(shown, 'id')} of {_text(shown, 'api')} any more.")


def _print(shown: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(shown)
        return
    name = f" ({_text(shown, 'name')})" if shown.get("name") else ""
    where = f"lies in account {_text(shown, 'account')}"
    typer.echo(f"Zone {_text(shown, 'id')}{name} of {_text(shown, 'api')} {where}.")


def _text(shown: dict[str, Any], key: str) -> str:
    return printable(str(shown.get(key, "?")))
