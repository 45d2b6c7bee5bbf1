"""`zonegate completion`: what a shell has to read so that Tab completes commands and flags."""

from enum import StrEnum
from typing import Annotated, Final

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

PROGRAM: Final = "zonegate"
_VARIABLE: Final = "_ZONEGATE_COMPLETE"


class Shell(StrEnum):
    """Those whose completion is known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """Print the script that completes commands and flags at Tab; put it where your shell looks.

    Example: [bold]source <(zonegate completion bash)[/bold]
    """
    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=_VARIABLE, shell=shell))
