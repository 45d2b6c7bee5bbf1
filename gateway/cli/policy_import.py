"""`zonegate policy import-openapi`: the routes of an API out of its OpenAPI document."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from gateway.catalog.api import ApiName, Route, Variable
from gateway.catalog.catalog import TOKEN_API, Catalog, reserved_paths
from gateway.cli.caller import settings_of
from gateway.cli.failure import REFUSED, fail, say, told
from gateway.cli.policy_openapi import (
    Imported,
    NotOpenApi,
    Shape,
    fault_in_prefix,
    import_openapi,
    is_json,
    parse_openapi,
    prefix_of,
    write_api,
)
from gateway.cli.policy_set import compile_set, read_set
from gateway.cli.printable import counted, printable
from gateway.cli.progress import bar
from gateway.cli.table import print_json
from gateway.cli.token_flag import Config
from gateway.policy_files import LARGEST_POLICY_FILE

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a document."""
LARGEST_YAML: Final = 6 * 1024 * 1024
"""Bytes of one that is YAML, to read which takes a hundred times as long as JSON."""


def import_openapi_(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An OpenAPI 3 document, JSON or YAML.")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the API is to be called.")],
    prefix: Annotated[
        str | None, typer.Option(metavar="PATH", help="What all its paths begin with; else the first server's path.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="Write here; else on standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over OUT if it is there.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print as JSON what was found, and what was left out; needs --output.")
    ] = False,
    config: Config = None,
) -> None:
    """Make routes of an OpenAPI document; what cannot be decided is listed, and left out: it stays closed.

    Example: [bold]zonegate policy import-openapi openapi.json --name things -o policies/apis/things.toml[/bold]
    """
    _check_name(name)
    if json and output is None:
        fail("--json: standard output has the routes themselves: --output names a file for them")
    with told():
        settings = settings_of(context, config)
        catalog = compile_set(read_set(settings.policies.dir), settings.listen.prefix)
    document = _document(file)
    if prefix is None:
        prefix = prefix_of(document)
    elif fault := fault_in_prefix(prefix):
        fail(f"--prefix '{printable(prefix)}': {fault}")
    own = settings.listen.prefix.encode().split(b"/")[1:]
    reserved = [
        tuple(None if segment is None else segment.decode() for segment in path) for path in reserved_paths(tuple(own))
    ]
    with bar("Making routes") as progress:
        found = import_openapi(document, catalog.groups, prefix, _taken(catalog, name), reserved, progress=progress)
    text = write_api(name, found)
    if len(text) > LARGEST_POLICY_FILE:
        fail(f"'{printable(str(file))}': its routes take more than {LARGEST_POLICY_FILE // 1024 // 1024} MiB", REFUSED)
    _write(text, output, force=force)
    if json:
        left_out = msgspec.to_builtins(found.left_out)
        print_json({"operations": found.operations, "routes": len(found.routes), "left_out": left_out})
    else:
        _tell(found)


def _check_name(name: str) -> None:
    try:
        msgspec.convert(name, ApiName)
    except msgspec.ValidationError:
        fail(f"--name '{printable(name)}': a to z, 0 to 9 and - between them, at most 64 characters")
    if name == TOKEN_API:
        fail(f"--name {name}: that is the token API's")


def _document(file: Path) -> dict[str, Any]:
    with bar("Reading") as _:
        try:
            return parse_openapi(_text(file))
        except NotOpenApi as error:
            fail(f"'{printable(str(file))}': {printable(str(error))}")


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except OSError as error:
        fail(f"'{printable(str(file))}': {error.strerror}")
    if len(content) > LARGEST:
        fail(f"'{printable(str(file))}': over {LARGEST // 1024 // 1024} MiB")
    if not is_json(content) and len(content) > LARGEST_YAML:
        fail(f"'{printable(str(file))}': over {LARGEST_YAML // 1024 // 1024} MiB of YAML: give it as JSON")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        fail(f"'{printable(str(file))}': not UTF-8")


def _taken(catalog: Catalog, name: str) -> Mapping[tuple[Shape, str], str]:
    """Shapes and methods of the routes that there are, but for those of the API of that name: it is to be replaced."""
    return {
        (_shape(route), method): f"the API {route.api.name}"
        for route in catalog.public.routes
        if route.api.name != name
        for method in route.methods
    }


def _shape(route: Route) -> Shape:
    return tuple(None if isinstance(segment, Variable) else segment.decode() for segment in route.template)


def _write(text: str, output: Path | None, *, force: bool) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        fail(f"'{printable(str(output))}': it is there already; --force writes over it")
    except OSError as error:
        fail(f"'{printable(str(output))}': {error.strerror}")


def _tell(found: Imported) -> None:
    for each in found.left_out:
        say(printable(f"left out: {each.method} {each.path}: {each.why}"))
    operations, routes = counted(found.operations, "operation"), counted(len(found.routes), "route")
    say(f"{operations}: {routes}; {len(found.left_out) or 'none'} left out")
