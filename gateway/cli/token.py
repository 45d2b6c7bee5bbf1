"""`zonegate token`: the commands that make, show, change and end tokens, through the token API."""

from typing import Annotated, Any

import typer

from gateway.cli.answer import Answer
from gateway.cli.caller import caller_of
from gateway.cli.commands import Commands
from gateway.cli.failure import help_without_command
from gateway.cli.moment import SPANS, parse_span
from gateway.cli.printable import printable
from gateway.cli.refusal import answered
from gateway.cli.table import accept_any_text, print_json, print_token, print_tokens, secret_lines
from gateway.cli.token_creation import create
from gateway.cli.token_draft import with_status
from gateway.cli.token_edit import change_token, edit
from gateway.cli.token_flag import ACCOUNT_OWNED, Config, Json, TokenId, WrongUse, account_id
from gateway.cli.token_leaked import leaked
from gateway.tokens.validation import LONGEST_OVERLAP

token = Commands()


@token.callback()
def root(
    context: typer.Context,
    account_owned: Annotated[
        str | None,
        typer.Option("--account-owned", metavar="ID", help="Tokens that this account owns.", callback=account_id),
    ] = None,
) -> None:
    """Make, show, change and end tokens, through the token API of a running gateway.

    ZONEGATE_TOKEN holds your own token's secret; ZONEGATE_URL the API's base URL, else the settings say it. They are
    your user's tokens, or with --account-owned, before the command, those of an account.

    Example: [bold]ZONEGATE_TOKEN=zgt_... zonegate token list[/bold]
    """
    context.meta[ACCOUNT_OWNED] = account_owned
    help_without_command(context)
    accept_any_text()


token.command()(create)


@token.command("list")
def list_(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Show all your tokens, expired ones too.

    Example: [bold]zonegate token list --json[/bold]
    """
    with answered():
        answers = caller_of(context, config).talk(lambda api: api.tokens())
    print_tokens(answers, as_json=json)


@token.command()
def show(context: typer.Context, token_id: TokenId, json: Json = False, config: Config = None) -> None:
    """Show one token: what it may do, from where, and when.

    Example: [bold]zonegate token show 0123456789abcdef0123456789abcdef[/bold]
    """
    with answered():
        answer = caller_of(context, config).talk(lambda api: api.token(token_id))
    print_token(answer, as_json=json)


token.command()(edit)
token.command()(leaked)


@token.command()
def verify(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Ask whether the token in ZONEGATE_TOKEN works.

    Example: [bold]ZONEGATE_TOKEN=zgt_... zonegate token verify[/bold]
    """
    with answered():
        verified = caller_of(context, config).talk(lambda api: api.verify())
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
def roll(
    context: typer.Context,
    token_id: TokenId,
    overlap: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help=f"The old secret goes on so long beside the new one: {SPANS}, at most 30d."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Give a token a new secret, shown once; the old one is dead at once, or after --overlap.

    Example: [bold]zonegate token roll 0123456789abcdef0123456789abcdef --overlap 1h[/bold]
    """
    with answered():
        seconds = _overlap(overlap)
        caller = caller_of(context, config)
        secret = caller.talk(lambda api: api.roll(token_id, seconds))
    if json:
        print_json({"id": token_id, "value": secret.reveal()})
        return
    old = f"goes on for {printable(overlap or '')}, or to the token's end" if seconds else "is dead"
    typer.echo(f"Token {token_id} has a new secret, and the old one {old}:")
    typer.echo("\n".join(secret_lines(caller.url, secret, caller.account)))


def _overlap(text: str | None) -> int | None:
    if text is None:
        return None
    seconds = parse_span(text)
    if seconds is None or seconds > LONGEST_OVERLAP:
        raise WrongUse(f"--overlap '{printable(text)}': a span of time, such as {SPANS}, and at most 30d")
    return seconds


def _set_status(context: typer.Context, token_id: str, status: str, config: Config) -> Answer:
    with answered():
        return caller_of(context, config).talk(
            lambda api: change_token(api, token_id, lambda shown: with_status(shown, status))
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
def delete(
    context: typer.Context,
    token_id: TokenId,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="And all tokens that were made with it, and with those.")
    ] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """End a token for good, without a question.

    Example: [bold]zonegate token delete 0123456789abcdef0123456789abcdef[/bold]
    """
    with answered():
        result: dict[str, Any] = caller_of(context, config).talk(lambda api: api.delete(token_id, cascade=cascade))
    if json:
        print_json(result)
        return
    made = result.get("revoked")
    others = f", and {len(made)} that were made with it" if isinstance(made, list) and made else ""
    typer.echo(f"Token {token_id} is deleted{others}.")
