"""Errors of commands: one line on standard error, and the exit code."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

from gateway.access.ports import Conflict, NotReplicated, StoreUnavailable
from gateway.catalog.document import CatalogError
from gateway.cli.printable import printable
from gateway.settings import SettingsError
from gateway.start_error import StartError, WorkersFailed

REFUSED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130
"""Ctrl-C ended it: 128 + SIGINT, as a shell has it."""


def say(message: str) -> None:
    """One line on standard error."""
    typer.echo(f"zonegate: {' '.join(message.split())}", err=True)


def why_not(error: OSError) -> str:
    """Why a connection could not be had."""
    if reason := getattr(error, "verify_message", None) or getattr(error, "reason", None):  # of TLS
        return printable(str(reason))
    # asyncio's own text has the address in it as Python writes it; a resolver's numbers are negative.
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return printable(error.strerror or "the name was not found")


def fail(message: str, code: int = WRONG_USE) -> NoReturn:
    """Say `message`, and end with `code`."""
    say(message)
    raise typer.Exit(code)


def help_without_command(context: typer.Context) -> None:
    """Print the help of a group that was called without a command: wrong use, and no error to explain."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(WRONG_USE)


@contextmanager
def told() -> Iterator[None]:
    """Turn what settings, policies and store raise into one line."""
    try:
        yield
    except (SettingsError, CatalogError, StartError) as error:
        fail(str(error))
    except WorkersFailed as error:
        fail(str(error), REFUSED)
    except StoreUnavailable as error:
        fail(f"store.url: {error}", REFUSED)
    except Conflict:
        fail("there is an owner already: use its token; `zonegate init --recover` makes another one for it", REFUSED)
    except NotReplicated:
        fail("store.write_replicas: done on the primary, but too few replicas have it: a failover may undo it", REFUSED)
