"""The root of the command, and the commands that run something."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from typer.completion import completion_init  # type: ignore[attr-defined]

from gateway import __version__
from gateway.cli.address import BadAddress, url_of
from gateway.cli.audit import audit
from gateway.cli.caller import settings_of
from gateway.cli.commands import Commands
from gateway.cli.completion import completion
from gateway.cli.demo import demo
from gateway.cli.doctor import doctor
from gateway.cli.failure import INTERRUPTED, REFUSED, WRONG_USE, fail, help_without_command, say, told
from gateway.cli.freeze import freeze, thaw
from gateway.cli.owner import owner as owner_commands
from gateway.cli.policy import policy as policy_commands
from gateway.cli.store import store as store_commands
from gateway.cli.table import secret_lines
from gateway.cli.token import token as token_commands
from gateway.cli.token_flag import Config, Json
from gateway.cli.zone import zone as zone_commands
from gateway.store_access import initialise
from gateway.telemetry.logs import configure_logs
from gateway.tokens.representation import show_token

# A pipe that nobody reads, a full disk, a terminal that is gone.
_OUTPUT_FAILED = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)

app = Commands(
    name="zonegate",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        typer.echo(f"zonegate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Config = None,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Scoped API tokens in front of an API that has one all-powerful key.

    Try it: [bold]zonegate demo[/bold]
    """
    context.obj = config
    help_without_command(context)


@app.command()
def serve(context: typer.Context, config: Config = None) -> None:
    """Run the gateway until SIGINT or SIGTERM; SIGHUP reads settings, policies and certificates anew.

    Example: [bold]zonegate serve --config zonegate.toml[/bold]
    """
    from gateway.app import serve as run_gateway  # noqa: PLC0415 - no other command has to wait for all of it

    with told():
        settings = settings_of(context, config)
        configure_logs(settings.log.format, settings.log.level)
        run_gateway(settings, lambda: settings_of(context, config))


@app.command()
def init(
    context: typer.Context,
    *,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="Make another token for the first owner, who can do everything again."),
    ] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make the first owner and its token; the secret is shown once.

    Example: [bold]zonegate init --json > first-token.json[/bold]
    """
    with told():
        settings = settings_of(context, config)
        configure_logs(settings.log.format, "warning")
        try:
            token, secret, catalog = initialise(settings, recover=recover)
        except KeyboardInterrupt:
            fail(
                "interrupted: it may have been done, and its secret is lost: `zonegate init --recover` makes another",
                INTERRUPTED,
            )
    shown = show_token(token, catalog.groups, token.issued_on) | {"value": secret.reveal()}
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(shown)).decode())
        return
    which = "Another token of it" if recover else "Its token"
    typer.echo(f"The first owner is user {token.owner.id}. {which} may do everything; keep it safe:")
    try:
        typer.echo("\n".join(secret_lines(url_of(settings), secret)))
    except BadAddress:  # no listener has the token API: there is nothing to test it on
        typer.echo(f"\n    {secret.reveal()}\n\nThe secret is not shown again.")


app.command()(demo)
app.command()(audit)
app.command()(freeze)
app.command()(thaw)
app.command()(doctor)
app.command()(completion)
app.add_typer(token_commands, name="token")
app.add_typer(owner_commands, name="owner")
app.add_typer(zone_commands, name="zone")
app.add_typer(policy_commands, name="policy")
app.add_typer(store_commands, name="store")


def fail_with(message: str, code: int = REFUSED) -> NoReturn:
    """Say `message` in one line, and end the process."""
    say(message)
    sys.exit(code)


def main() -> None:
    """Run the command, and end the process with its code. Wrong use is one line, as every error is."""
    if sys.stderr is None:  # `zonegate ... 2>&-`: all that writes there would have to ask
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    if sys.stdout is None:  # `zonegate ... >&-`
        fail_with("standard output is closed")
    completion_init()  # a shell may be asking
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _OUTPUT_FAILED:
            fail_with(f"{error.filename or 'the system'}: {error.strerror or error}")
        sys.stdout = None  # or the interpreter tries to flush it once more
        fail_with(f"standard output: {error.strerror}; what was asked for may have been done")
    except typer.TyperException as wrong:
        context = getattr(wrong, "ctx", None)
        message = wrong.format_message()
        stop = "" if message.endswith((".", "?")) else "."
        hint = f"{stop} See `{context.command_path} --help`." if context else ""
        fail_with(f"{message}{hint}", WRONG_USE)
    except typer.Abort:
        fail_with("interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
