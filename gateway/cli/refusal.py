"""What stops a command for tokens, in lines on standard error, and its exit code."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, TypeVar

import typer

from gateway.cli.address import BadAddress
from gateway.cli.answer import Note
from gateway.cli.client import NoAnswer, Refused
from gateway.cli.failure import REFUSED, WRONG_USE, fail, told
from gateway.cli.printable import printable
from gateway.cli.token_flag import WrongUse

_PRECONDITION_FAILED: Final = 412

Done = TypeVar("Done")


def _in_words(note: Note) -> str:
    at = f", at {note.source.pointer}" if note.source and note.source.pointer else ""
    chain = "".join(f": {_in_words(cause)}" for cause in note.error_chain or ())
    return f"{note.message} (code {note.code}{at}){chain}"


def refusal_in_words(refused: Refused) -> list[str]:
    """A line for each error, then for each message."""
    errors = [printable(_in_words(note)) for note in refused.errors] or [f"refused with status {refused.status}"]
    return errors + [printable(_in_words(note)) for note in refused.messages]


def fail_all(lines: Iterable[str], code: int = WRONG_USE) -> NoReturn:
    """Say each of `lines`, and end with `code`."""
    for line in lines:
        typer.echo(f"zonegate: {line}", err=True)
    raise typer.Exit(code)


async def unless_changed(what: str, etag: str | None, put: Callable[[str], Awaitable[Done]]) -> Done:
    """What `put` answers, which puts back what was shown with `etag`; the end, if somebody else was faster."""
    if etag is None:
        fail("the answer has no ETag (a proxy took it away?), so a change could undo another: nothing is done", REFUSED)
    try:
        return await put(etag)
    except Refused as refused:
        if refused.status != _PRECONDITION_FAILED:
            raise
        fail(f"somebody else changed {what} meanwhile, so nothing was done: look at it, then try again", REFUSED)


@contextmanager
def answered() -> Iterator[None]:
    """Turn what flags, settings and the token API raise into lines."""
    try:
        with told():
            yield
    except (WrongUse, BadAddress) as error:
        fail(str(error))
    except UnicodeEncodeError as error:
        # Python hands on bytes of the command line that are not UTF-8 as lone surrogates, which no request can carry.
        fail(f"'{printable(error.object)}': not UTF-8")
    except NoAnswer as error:
        fail(str(error), REFUSED)
    except Refused as refused:
        fail_all(refusal_in_words(refused), REFUSED)
