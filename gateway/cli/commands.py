"""A group of commands whose help reads well: nothing stands behind a flag that takes no value, paragraphs are whole."""

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

_LINE_END: Final = re.compile(r"(?<=\S)\n(?=\S)")


def _flowing(text: str | None) -> str | None:
    """`text` with each paragraph in one line: the terminal breaks it, not the source."""
    return None if text is None else _LINE_END.sub(" ", inspect.cleandoc(text))


def _without_type(parameters: list[Any]) -> list[Any]:
    """The parameters; typer would write `<bool>` behind a flag, as if it took one."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class Command(TyperCommand):
    """A command."""

    def __init__(self, *words: Any, **options: Any) -> None:  # noqa: ANN401 - typer's
        super().__init__(*words, **options)
        self.help = _flowing(self.help)

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's
        """See typer; `--help` is among them."""
        return _without_type(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands."""

    def __init__(self, *words: Any, **options: Any) -> None:  # noqa: ANN401 - typer's
        super().__init__(*words, **options)
        self.help = _flowing(self.help)

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's
        """See typer; `--help` is among them."""
        return _without_type(super().get_params(ctx))


class Commands(typer.Typer):
    """A group, which may be called without a command; all in it is of these classes."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - typer's
        super().__init__(cls=Group, invoke_without_command=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - typer's
        """See typer."""
        return super().command(name, cls=Command, **options)
