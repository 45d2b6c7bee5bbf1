"""What stops a command for tokens, in lines on standard error, and its exit code."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, TypeVar

import typer

from gateway.cli.address import BadAddress
from gateway.cli.answer import Note
from gateway.cli.client import NoAnswer, Refused
from gateway.cli.failure import INTERRUPTED, REFUSED, WRONG_USE, fail, told
from gateway.cli.printable import printable
from gateway.cli.token_flag import WrongUse

_PRECONDITION_FAILED: Final = 412
_OTHER_TOKEN: Final = "set ZONEGATE_TOKEN to a token that may, or have its holder make you one"
_REMEDIES: Final = {
    (400, 6111): "ZONEGATE_TOKEN: set it to a secret as it was shown: zgt_<32 hex>_<49 letters and digits>",
    (401, 1000): "ZONEGATE_TOKEN: rolled, ended, disabled, or another gateway's: `zonegate token list` with another "
    "token tells; `zonegate init --recover` makes one where there is none",
    (403, 9109): "ask from an address that the token allows; `zonegate token edit ID --ip CIDR` there allows another",
    (403, 10000): _OTHER_TOKEN,
    (404, 7003): "ZONEGATE_URL: the gateway's base URL ends with its prefix, as in http://127.0.0.1:8080/client/v4",
}
"""What mends a refusal of the gateway, by its status and its innermost code: what the caller of an API has no business
to know, a person at this command does.
"""

Done = TypeVar("Done")


def _in_words(note: Note) -> str:
    at = f", at {note.source.pointer}" if note.source and note.source.pointer else ""
    chain = "".join(f": {_in_words(cause)}" for cause in note.error_chain or ())
    return f"{note.message} (code {note.code}{at}){chain}"


def refusal_in_words(refused: Refused) -> list[str]:
    """A line for each error, then for each message; the last says what mends it, too."""
    errors = [printable(_in_words(note)) for note in refused.errors] or [f"refused with status {refused.status}"]
    messages = [printable(_in_words(note)) for note in refused.messages]
    *lines, last = errors + messages
    remedies = dict.fromkeys(_REMEDIES.get((refused.status, _innermost(note))) for note in refused.errors)
    return [*lines, ": ".join([last, *filter(None, remedies)])]


def _innermost(note: Note) -> int:
    return _innermost(note.error_chain[-1]) if note.error_chain else note.code


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
    except KeyboardInterrupt:
        fail("interrupted: a change may have been made or not; look before you repeat it", INTERRUPTED)
