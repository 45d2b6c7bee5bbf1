"""`zonegate policy`: the commands for policies: what is wrong with them, what they say, and why."""

import typer

from gateway.cli.commands import Commands
from gateway.cli.failure import help_without_command
from gateway.cli.policy_check import check
from gateway.cli.policy_explain import explain
from gateway.cli.policy_import import import_openapi_
from gateway.cli.policy_trial import try_cases
from gateway.cli.table import accept_any_text

policy = Commands()


@policy.callback()
def root(context: typer.Context) -> None:
    """Check, test, explain and import policies: the files that say what a permission opens.

    Example: [bold]zonegate policy check policies[/bold]
    """
    help_without_command(context)
    accept_any_text()


policy.command()(check)
policy.command("test")(try_cases)
policy.command()(explain)
policy.command("import-openapi")(import_openapi_)
