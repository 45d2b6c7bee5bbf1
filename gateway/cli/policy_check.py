"""`zonegate policy check`: everything that is wrong with a set of policies, and what is doubtful."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from gateway.catalog.api import Route
from gateway.catalog.catalog import TOKEN_API, Catalog
from gateway.catalog.document import CatalogError, CatalogFault
from gateway.catalog.line import TableLines
from gateway.cli.caller import settings_of
from gateway.cli.failure import REFUSED, told
from gateway.cli.policy_case import CaseFile, read_cases
from gateway.cli.policy_set import TESTS, PolicySet, compile_set, read_set, unknown_files
from gateway.cli.printable import counted, printable
from gateway.cli.table import print_json
from gateway.cli.token_flag import Config, Json
from gateway.settings import SettingsError


def check(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The policies; else those that the settings name.")
    ] = None,
    *,
    json: Json = False,
    config: Config = None,
) -> None:
    """Print all that is wrong with a set of policies, each with its file and line; exit code 1 if anything is.

    Warnings are about what is allowed and may be a mistake; they leave the exit code 0.

    Example: [bold]zonegate policy check policies[/bold]
    """
    with told():
        settings = settings_of(context, config)
        policies = read_set(str(directory) if directory is not None else settings.policies.dir)
    errors, warnings = judge(policies, settings.listen.prefix)
    if json:
        print_json(
            {
                "directory": str(policies.root),
                "errors": [_shown(fault) for fault in errors],
                "warnings": [_shown(fault) for fault in warnings],
            }
        )
    else:
        _print(policies, errors, warnings)
    if errors:
        raise typer.Exit(REFUSED)


def _shown(fault: CatalogFault) -> dict[str, str | int]:
    return {"file": fault.file, "line": fault.line, "message": fault.message}


def _print(policies: PolicySet, errors: list[CatalogFault], warnings: list[CatalogFault]) -> None:
    for fault in errors:
        typer.echo(printable(f"{policies.at(fault)}: {fault.message}"))
    for fault in warnings:
        typer.echo(printable(f"{policies.at(fault)}: warning: {fault.message}"))
    counts = f"{counted(len(errors), 'error', none='no')}, {counted(len(warnings), 'warning', none='no')}"
    typer.echo(printable(f"{policies.root}: {counts}"), err=bool(errors))


def judge(policies: PolicySet, prefix: str) -> tuple[list[CatalogFault], list[CatalogFault]]:
    """All errors of the set, its cases among them, and what is doubtful in it (only once it has no errors)."""
    warnings = [CatalogFault(file, "nobody reads a file of this name") for file in unknown_files(policies)]
    try:
        catalog = compile_set(policies, prefix)
    except CatalogError as error:
        return list(error.faults), warnings
    errors: list[CatalogFault] = []
    for path in sorted((policies.root / TESTS).glob("*.toml")):
        file = path.relative_to(policies.root).as_posix()
        try:
            warnings += _left_readable(read_cases(file, path, catalog))
        except SettingsError as error:
            errors.append(CatalogFault(file, str(error)))
        except CatalogError as error:
            errors += error.faults
    return errors, [*warnings, *narrow_writes(policies, catalog)]


def narrow_writes(policies: PolicySet, catalog: Catalog) -> Iterator[CatalogFault]:
    """Where `X Read` opens a route that `X Write` does not: Edit is full create, read, update and delete (DESIGN 4)."""
    lines: dict[str, TableLines] = {}
    for route in catalog.public.routes:
        if route.api.name == TOKEN_API:
            continue
        for missing in _missing_writes(route, catalog):
            file = f"apis/{route.api.name}.toml"
            if file not in lines:
                lines[file] = TableLines(policies.texts[file])
            read = missing.removesuffix(" Write") + " Read"
            yield CatalogFault(
                file,
                f"route {'/'.join(route.methods)} {route.text!r}: {read} opens it, and {missing} does not",
                route.key,
                lines[file].of(f"{route.key}.permission"),
            )


def _missing_writes(route: Route, catalog: Catalog) -> Iterator[str]:
    for group in route.groups:
        write = group.name.removesuffix(" Read") + " Write"
        if group.reads and route.scope and catalog.groups.named(write, route.scope) and write not in route.permissions:
            yield write


def _left_readable(cases: CaseFile) -> Iterator[CatalogFault]:
    """Where a deny of a case's token takes `X Read` away and leaves `X Write`, which reads too (DESIGN 5).

    A case that is about just that says so with `leaves_write = true`.
    """
    for case in cases.cases:
        for note in case.notes:
            yield CatalogFault(cases.file, f"case {case.name!r}: {note}", case.key, case.line)
