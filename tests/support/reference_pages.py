"""Writes the pages of the documentation that are made from the code: settings and errors.

`python tests/support/reference_pages.py` puts them in their place; a test says when they are not what it would write.
"""

import ast
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from gateway.app import _FIXED
from gateway.reason import REFUSALS
from gateway.settings import Settings, Upstream
from gateway.tokens.secret import Sensitive

DOCS = Path(__file__).parent.parent.parent / "docs"
_MADE = "<!-- Made by tests/support/reference_pages.py: change the code, then run `make docs`. -->\n\n"


def _bounds(metas: tuple[Any, ...]) -> str:
    for meta in metas:
        if meta.ge is not None and meta.le is not None:
            return f", {meta.ge} to {meta.le}"
        if meta.gt is not None and meta.le is not None:
            return f", more than {meta.gt}, at most {meta.le}"
        if meta.ge is not None:
            return f", at least {meta.ge}"
    return ""


_WORDS = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text"}


def _in_words(type_: Any) -> str:
    """What a key takes."""
    if get_origin(type_) is Annotated:
        inner, *metas = get_args(type_)
        return _in_words(inner) + _bounds(tuple(metas))
    if get_origin(type_) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(type_))
    if get_origin(type_) is tuple:
        return f"list of {_in_words(get_args(type_)[0])}"
    if isinstance(type_, types.UnionType):
        return " or ".join(_in_words(each) for each in get_args(type_))
    return "text, never shown" if type_ is Sensitive else _WORDS[type_]


def _default(value: Any) -> str:
    match value:
        case Sensitive():
            return _default(value.reveal())
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return f"`[{', '.join(_default(each).strip('`') for each in value)}]`"
        case str():
            return f'`"{value}"`'
        case _:
            return f"`{value}`"


def _said(type_: type[msgspec.Struct]) -> dict[str, str]:
    """What the code says of each key: the text below it."""
    (section,) = ast.parse(dedent(inspect.getsource(type_))).body
    assert isinstance(section, ast.ClassDef)
    said = {}
    for key, below in zip(section.body, section.body[1:], strict=False):
        match key, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(text))):
                said[name] = " ".join(text.split())
            case _:
                pass
    return said


def _rows(type_: type[msgspec.Struct], *at: str) -> Iterator[str]:
    hints, said = get_type_hints(type_, include_extras=True), _said(type_)
    for field in msgspec.structs.fields(type_):
        hint = hints[field.encode_name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _rows(hint, *at, field.encode_name)
            continue
        default = "(has to be set)" if field.default is msgspec.NODEFAULT else _default(field.default)
        yield f"| `{'.'.join((*at, field.encode_name))}` | {said[field.name]} | {_in_words(hint)} | {default} |"


def _section(name: str, type_: type[msgspec.Struct]) -> str:
    rows = "\n".join(_rows(type_))
    about = " ".join((type_.__doc__ or "").split())
    return f"## `[{name}]`\n\n{about}\n\n| key | what | takes | default |\n| --- | --- | --- | --- |\n{rows}\n"


def settings_page() -> str:
    """`docs/settings.md`."""
    sections = [
        _section(field.encode_name, type_)
        for field in msgspec.structs.fields(Settings)
        if isinstance(type_ := get_type_hints(Settings)[field.encode_name], type) and issubclass(type_, msgspec.Struct)
    ]
    return (
        "# Settings\n\n"
        + _MADE
        + "`zonegate.toml` is what `--config FILE` says, else `./zonegate.toml`, else `/etc/zonegate/zonegate.toml`,\n"
        "else the defaults. An unknown key, a wrong type or an unreadable file stops the start with one line that\n"
        "names key and file. `zonegate doctor` says what else is wrong.\n\n"
        "`ZONEGATE_SECTION__KEY` in the environment overrides `section.key`. In a text, `${NAME}` is the variable of\n"
        "that name, and a text that is `file:PATH` is what stands in that file.\n\n"
        f"SIGHUP reads all of it anew. A restart is what these take: {', '.join(f'`{key}`' for key in _FIXED)}.\n\n"
        + "\n".join([*sections, _section("upstreams.NAME", Upstream)])
    )


def errors_page() -> str:
    """`docs/errors.md`."""
    rows = "\n".join(
        f"| {row.status} | {row.code} | `{reason}` | {row.message} |"
        for reason, row in sorted(REFUSALS.items(), key=lambda item: (item[1].status, item[1].code))
    )
    return (
        "# Errors\n\n"
        + _MADE
        + "Every refusal of the gateway is Cloudflare's envelope, with status and code out of this table; the reason\n"
        "is its label in logs and metrics. `X-Request-Id` finds its line in the log. An error in a body has\n"
        "`source.pointer`, a JSON pointer to its place. What the upstream says is passed on as it came.\n\n"
        f"| status | code | reason | message |\n| --- | --- | --- | --- |\n{rows}\n\n"
        "- 401 carries `WWW-Authenticate: Bearer`. Without a valid token every path gives the same answer.\n"
        "- 403 of code 10000 says in `messages` and `X-Accepted-Permissions` what the route needs; `zonegate policy\n"
        "  explain` says why a token has not got it.\n"
        "- 429 carries `Retry-After`, `Ratelimit` and `Ratelimit-Policy`.\n"
        "- 503 with `X-Should-Retry: false`: a change was sent, and nobody knows whether it was made. Look before you\n"
        "  repeat it.\n"
    )


PAGES = {"settings.md": settings_page, "errors.md": errors_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
