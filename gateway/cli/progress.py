"""A bar for what takes long: on a terminal's standard error, and nowhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Told = Callable[[int, int], None]
"""Is told how much is done, and of how much."""


@contextmanager
def bar(text: str) -> Iterator[Told]:
    """A bar that is gone at the end; as long as it is told nothing, it only shows that something goes on."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield lambda _, __: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
