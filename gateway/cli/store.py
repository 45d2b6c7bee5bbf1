"""`zonegate store`: the store itself, past the token API."""

import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Final

import msgspec
import typer

from gateway.access.ports import StoreUnavailable
from gateway.cli.caller import settings_of
from gateway.cli.commands import Commands
from gateway.cli.failure import INTERRUPTED, REFUSED, fail, help_without_command, told
from gateway.cli.printable import printable
from gateway.cli.progress import Told, bar
from gateway.cli.table import accept_any_text, print_json
from gateway.cli.token_flag import Config, Json
from gateway.settings import Settings
from gateway.store import backup, consistency
from gateway.store.backup import BackupError, Checked, Exported, Loaded
from gateway.store.consistency import Report
from gateway.store_access import ask_store
from gateway.telemetry.logs import configure_logs
from gateway.tokens.digest import Peppers
from gateway.tokens.timestamp import format_timestamp

store = Commands()

_STANDARD: Final = Path("-")
_File = Annotated[Path, typer.Argument(metavar="FILE|-", dir_okay=False)]


@store.callback()
def root(context: typer.Context) -> None:
    """Check the store, copy it to a file, or fill it from one; gateways may go on using it.

    These commands open the store of the settings themselves: whoever can do that needs no token.

    Example: [bold]zonegate store check[/bold]
    """
    help_without_command(context)
    accept_any_text()


@store.command()
def check(
    context: typer.Context,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Mend lists; documents are never changed.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Find lists that disagree with the documents; exit code 1 if some do, and were not mended.

    Example: [bold]zonegate store check --repair[/bold]
    """
    with told(), _about(""), bar("Looking at all keys") as progress:
        settings = _settings(context, config)
        report = ask_store(
            settings, lambda opened: consistency.check(opened, repair=repair, clock=time.time, progress=progress)
        )
    if json:
        print_json({"consistent": report.consistent} | msgspec.to_builtins(report))
    else:
        _print_report(report, repair=repair)
    if not report.consistent:
        raise typer.Exit(REFUSED)


def _print_report(report: Report, *, repair: bool) -> None:
    for finding in report.findings:
        end = "" if not repair else ": mended" if finding.mended else ": not mended"
        typer.echo(printable(f"{finding.key}: {finding.fault}{end}"))
    if report.found > len(report.findings):
        typer.echo(f"and {report.found - len(report.findings)} more")
    looked_at = f"{_count(report.tokens, 'token')} and {_count(report.owners, 'owner')}"
    disagreements = _count(report.found, "disagreement")
    if not report.found:
        typer.echo(f"The store is consistent: {looked_at}.")
    elif report.consistent:
        typer.echo(f"Mended {disagreements} in {looked_at}: the store is consistent.")
    elif repair:
        typer.echo(
            f"Mended {report.mended} of {disagreements} in {looked_at}. The rest is not for a program to decide: "
            "put back a document from a backup (`zonegate store import --overwrite`), or delete the key."
        )
    else:
        typer.echo(f"Found {disagreements} in {looked_at}; --repair mends the lists among them.")


@store.command("export")
def export(
    context: typer.Context,
    file: _File,
    *,
    force: Annotated[bool, typer.Option("--force", help="Put it in the place of a file that is there.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Copy all tokens and owners to a file of JSON lines, or to standard output; it holds digests, never secrets.

    An export to a file that was interrupted goes on where it was, in FILE.part. What changes meanwhile may be in the
    copy or not: it is each document at its own moment, more so after an interruption.

    Example: [bold]zonegate store export tokens.jsonl[/bold]
    """
    if json and file == _STANDARD:
        fail("--json: standard output has the copy itself")
    with told(), _about("" if file == _STANDARD else f"{file}.part"), bar("Copying") as progress:
        exported = _export(_settings(context, config), file, progress, force=force)
    if json:
        print_json(msgspec.to_builtins(exported))
    else:
        _print_exported(exported, file)
    if exported.left_out:
        raise typer.Exit(REFUSED)


def _export(settings: Settings, file: Path, progress: Told, *, force: bool) -> Exported:
    created = format_timestamp(int(time.time()))
    if file == _STANDARD:
        copy = sys.stdout.buffer
        return ask_store(settings, lambda opened: backup.export(opened, copy, created=created, progress=progress))
    with backup.writing(file, force=force) as opened_file:
        return ask_store(
            settings,
            lambda opened: backup.export(opened, opened_file, created=created, resume=True, progress=progress),
        )


def _print_exported(exported: Exported, file: Path) -> None:
    """What was copied; on standard error, where standard output has the copy."""
    err = file == _STANDARD
    for fault in exported.left_out:
        typer.echo(printable(f"Left out {fault}"), err=True)
    resumed = f", {exported.resumed} of them by an earlier run" if exported.resumed else ""
    copied = _all_counts(exported.owners, exported.tokens, exported.zones)
    typer.echo(f"Copied {copied}{resumed}.", err=err)
    missing = exported.seen - exported.tokens - len(exported.left_out)
    if missing > 0:
        typer.echo(
            f"The store has {missing} more: made meanwhile, or in no list (`zonegate store check` tells).", err=True
        )


@store.command("import")
def import_(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    file: _File,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Put the file's document in the place of one that differs.")
    ] = False,
    unknown_peppers: Annotated[
        bool,
        typer.Option(
            "--unknown-peppers", help="Import tokens too whose pepper is not set; they do not work till then."
        ),
    ] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Put all tokens and owners of an exported file into the store; the file is checked whole before.

    What the store has already is left alone, so that after an interruption the same command goes on. Each change is
    obeyed and audited as any other.

    Example: [bold]zonegate store import tokens.jsonl[/bold]
    """
    name = "standard input" if file == _STANDARD else str(file)
    with told(), _about(name), _opened(file) as opened_file:
        settings = _settings(context, config)
        with bar("Checking the file") as progress:
            checked = _verify(opened_file, name, settings, progress)
        if checked.useless and not unknown_peppers:
            fail(
                f"store.pepper: {_count(checked.useless, 'token')} of the file cannot work without "
                f"{printable(' '.join(checked.peppers))}: set it, or say --unknown-peppers. Nothing was written",
                REFUSED,
            )
        with bar("Importing") as progress:
            loaded = _import(settings, opened_file, progress, overwrite=overwrite)
    if json:
        counts = {"owners": checked.owners, "tokens": checked.tokens, "zones": checked.zones}
        print_json(counts | msgspec.to_builtins(loaded))
    else:
        _print_loaded(checked, loaded)
    if loaded.wrong:
        raise typer.Exit(REFUSED)


def _verify(file: IO[bytes], name: str, settings: Settings, progress: Told) -> Checked:
    try:
        return backup.verify(file, Peppers(settings.store.pepper).keys, progress)
    except BackupError as error:
        raise BackupError(f"{name}: {error}") from None


def _import(settings: Settings, file: IO[bytes], progress: Told, *, overwrite: bool) -> Loaded:
    try:
        return ask_store(
            settings,
            lambda opened: backup.load(opened, file, overwrite=overwrite, clock=time.time, progress=progress),
        )
    except StoreUnavailable as error:
        fail(f"store.url: {error}; what was written stays, and the same command goes on", REFUSED)


def _print_loaded(checked: Checked, loaded: Loaded) -> None:
    for refused in loaded.refused:
        typer.echo(printable(refused), err=True)
    if loaded.refused_count > len(loaded.refused):
        typer.echo(f"and {loaded.refused_count - len(loaded.refused)} more", err=True)
    done = f"Wrote {_count(loaded.written, 'document')}, {loaded.same} were there already"
    if loaded.wrong:
        typer.echo(f"{done}; not in the store as in the file: {_count(loaded.wrong, 'document')}.")
    else:
        whole = _all_counts(checked.owners, checked.tokens, checked.zones)
        typer.echo(f"{done}: all of the file, {whole}, is in the store.")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The file, or standard input in a file that has no name: it is read three times."""
    if file != _STANDARD:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe can be read once, and may never be opened at its other end
            raise BackupError(f"{file}: not a regular file; use - and standard input")
        with file.open("rb") as opened:
            yield opened
        return
    if sys.stdin is None:  # `zonegate ... <&-`
        fail("standard input is closed")
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        yield copy


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Turn what is wrong with the file `name`, and Ctrl-C, into one line. "": it is standard output."""
    try:
        yield
    except BackupError as error:
        fail(printable(str(error)), REFUSED)
    except OSError as error:
        if not error.filename and not name:
            raise  # the root of the command tells of standard output
        fail(printable(f"{error.filename or name}: {error.strerror or error}"), REFUSED)
    except KeyboardInterrupt:
        fail("interrupted: the same command goes on", INTERRUPTED)


def _settings(context: typer.Context, config: Path | None) -> Settings:
    settings = settings_of(context, config)
    configure_logs(settings.log.format, "warning")
    return settings


def _all_counts(owners: int, tokens: int, zones: int) -> str:
    """How many documents of each kind; zones only where there are some."""
    pinned = f" and {_count(zones, 'zone')}" if zones else ""
    return f"{_count(owners, 'owner')} and {_count(tokens, 'token')}{pinned}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
