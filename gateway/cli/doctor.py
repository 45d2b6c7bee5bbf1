"""`zonegate doctor`: what is wrong with settings, store, upstreams and machine, and what mends it."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import typer

from gateway.cli.caller import settings_of
from gateway.cli.checkup import Finding, Status, examine
from gateway.cli.failure import REFUSED
from gateway.cli.printable import counted, printable
from gateway.cli.table import accept_any_text, print_json
from gateway.cli.token_flag import Config, Json
from gateway.settings import PLACES, SettingsError, environment, value_files
from gateway.telemetry.logs import configure_logs

_MEND_SETTINGS: Final = "mend what is named, or name another file by --config; docs/settings.md has all keys"
_WIDEST: Final = max(len(status) for status in Status)


def doctor(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Look at all that a gateway needs, and say what mends what is wrong. It changes nothing.

    Each line is ok, warning or error; exit code 1 if there is an error. With --json: {"healthy", "checks"}, each check
    with "check", "status", "message" and "remedy".

    Example: [bold]zonegate doctor --config zonegate.toml[/bold]
    """
    accept_any_text()
    found = []
    for finding in _examined(context, config):
        found.append(finding)
        if not json:
            _print(finding)
    healthy = all(finding.status is not Status.ERROR for finding in found)
    if json:
        print_json({"healthy": healthy, "checks": msgspec.to_builtins(found)})
    else:
        of_each = Counter(finding.status for finding in found)
        typer.echo(f"{counted(of_each[Status.ERROR], 'error')}, {counted(of_each[Status.WARNING], 'warning')}.")
    if not healthy:
        raise typer.Exit(REFUSED)


def _examined(context: typer.Context, config: Path | None) -> Iterator[Finding]:
    named = config or context.find_root().obj
    file = named or next((place for place in PLACES if place.is_file()), None)
    try:
        settings = settings_of(context, config)
    except SettingsError as error:
        yield Finding("settings", Status.ERROR, str(error), _MEND_SETTINGS)
        return
    configure_logs(settings.log.format, "error")
    yield Finding("settings", Status.OK, f"{file or 'the defaults'}")
    yield from examine(settings, file, value_files(named, environment()), time.time)


def _print(finding: Finding) -> None:
    typer.echo(printable(f"{finding.status:<{_WIDEST}}  {finding.check}: {finding.message}"))
    if finding.remedy:
        typer.echo(printable(f"{'':<{_WIDEST}}    mend it: {finding.remedy}"))
