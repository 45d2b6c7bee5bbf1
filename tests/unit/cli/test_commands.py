from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.commands import Commands

app = Commands()


@app.callback()
def root() -> None:
    """All of it."""


@app.command()
def one(
    *,
    flag: Annotated[bool, typer.Option("--flag", help="Yes.")] = False,
    number: Annotated[int, typer.Option(help="How many.")] = 1,
) -> None:
    """Do one thing.

    A paragraph that
    goes on.

    Another.
    """
    typer.echo(f"{flag} {number}")


@pytest.mark.parametrize(
    ("arguments", "printed"), [([], "False 1\n"), (["--flag"], "True 1\n"), (["--number", "2"], "False 2\n")]
)
def test_a_command_takes_what_typer_takes(arguments: list[str], printed: str) -> None:
    assert CliRunner().invoke(app, ["one", *arguments]).output == printed


def test_its_help_names_a_type_where_there_is_a_value_and_keeps_paragraphs_whole() -> None:
    printed = CliRunner().invoke(app, ["one", "--help"], env={"COLUMNS": "90"}).output
    assert "--number" in printed
    assert "<int>" in printed
    assert "<bool>" not in printed
    assert " A paragraph that goes on. " in printed
    assert "goes on. Another." not in printed


def test_a_group_may_be_called_without_a_command() -> None:
    assert CliRunner().invoke(app, []).exit_code == 0
