"""`zonegate policy test`: whether the policies say what was written down beside them."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.catalog.catalog import GROUP_FILES, Catalog
from gateway.catalog.document import CatalogError
from gateway.cli.caller import settings_of
from gateway.cli.failure import REFUSED, fail, told
from gateway.cli.policy_case import CaseFile, as_fault, read_cases
from gateway.cli.policy_set import TESTS, compile_set, read_set
from gateway.cli.printable import counted, printable
from gateway.cli.progress import Told, bar
from gateway.cli.table import print_json
from gateway.cli.token_flag import Config, Json
from gateway.settings import Settings


def try_cases(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Files of cases; else all under tests/ of the policies."),
    ] = None,
    *,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="The policies; else those around FILE, else the settings' own."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Say which cases do not come out as they are written down; exit code 1 if any does not.

    Example: [bold]zonegate policy test policies/tests/dns.toml[/bold]
    """
    with told(), bar("Judging cases") as progress:
        settings = settings_of(context, config)
        found = _judged(settings, files or [], directory, progress)
    failed = [(cases.file, case) for cases in found for case in cases.cases if not case.holds]
    count = sum(len(cases.cases) for cases in found)
    if json:
        shown = [
            {
                "file": file,
                "line": case.line,
                "name": case.name,
                "expected": case.expect,
                "outcome": case.outcome,
            }
            for file, case in failed
        ]
        print_json({"cases": count, "failed": shown})
    else:
        for file, case in failed:
            fault = as_fault(file, case)
            typer.echo(printable(f"{file}:{fault.line}: {fault.message}"))
        typer.echo(f"{counted(count, 'case')}, {len(failed) or 'none'} failed")
    if failed:
        raise typer.Exit(REFUSED)


def _judged(settings: Settings, files: list[Path], directory: Path | None, progress: Told) -> list[CaseFile]:
    """The cases of all files, each judged by its policies. Raises CatalogError, SettingsError."""
    catalogs: dict[str, Catalog] = {}
    found = []
    paths = files or _all_of(str(directory or settings.policies.dir))
    for count, path in enumerate(paths):
        progress(count, len(paths))
        if not path.is_file():
            what = "not a file of cases; --dir names a directory of policies" if path.exists() else "no such file"
            fail(f"'{printable(str(path))}': {what}")
        root = str(directory) if directory else _around(path) or settings.policies.dir
        if root not in catalogs:
            catalogs[root] = compile_set(read_set(root), settings.listen.prefix)
        found.append(read_cases(str(path), path, catalogs[root]))
    return found


def _all_of(directory: str) -> list[Path]:
    root = read_set(directory).root
    paths = sorted((root / TESTS).glob("*.toml"))
    if not paths:
        raise CatalogError(str(root / TESTS), "there is no file of cases")
    return paths


def _around(path: Path) -> str:
    """The policies that `path` lies beside: those of `policies/tests/x.toml` are `policies`. "": it is nobody's."""
    root = path.absolute().parent.parent
    return str(root) if (root / GROUP_FILES[0]).is_file() else ""
