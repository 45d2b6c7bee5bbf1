"""What people see of tokens: a list, one token, a new secret."""

import io
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.answer import Answer, OwnerAnswer, ShownOwner, ShownPolicy, ShownToken
from gateway.cli.client import tokens_of
from gateway.cli.printable import printable
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import parse_resource
from gateway.tokens.secret import Sensitive
from gateway.tokens.summary import group_in_words, policies_in_words, resource_in_words, summarise
from gateway.tokens.timestamp import parse_timestamp
from gateway.tokens.token import Draft

_STYLES: Final = {"active": "green", "disabled": "yellow", "expired": "red"}
_MOST: Final = 4
"""Permissions or resources of a policy that the list names; the rest it counts."""
WIDE: Final = 130
"""Columns from which on a table is read more easily than blocks."""
_UNBOUNDED: Final = 100_000
"""Columns of what is no terminal: a line there is a row, whatever its length."""


def accept_any_text() -> None:
    """Standard output and error take every character: names may hold what the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _group(group_id: str, name: str) -> PermissionGroup:
    return PermissionGroup(group_id, name or f"the unknown permission {group_id}", ())


def _first(words: Sequence[str]) -> str:
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return printable(", ".join(words[:_MOST]) + more)


def _permissions(policy: ShownPolicy) -> str:
    words = [group_in_words(_group(group.id, group.name)) for group in policy.permission_groups]
    return ("not " if policy.effect == "deny" else "") + _first(words)


def _resources(policy: ShownPolicy) -> str:
    found = ((key, parse_resource(key, value)) for key, value in policy.resources.items())
    return _first([key if isinstance(resource, str) else resource_in_words(resource) for key, resource in found])


def _last_day(token: ShownToken) -> str:
    """The day of its last use, "-" when none is known: a list has no room for more."""
    return printable((token.last_used_on or "-").partition("T")[0])


def token_table(tokens: Iterable[ShownToken]) -> Table:
    """A row for each policy of each token; what is the token's own stands in the first of them."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("id", no_wrap=True, overflow="fold", min_width=32)
    for header in ("name", "status", "permissions", "resources", "expires", "last used"):
        table.add_column(header, overflow="fold")
    for token in tokens:
        own = (
            Text(printable(token.id)),
            Text(printable(token.name)),
            Text(printable(token.status), style=_STYLES.get(token.status, "")),
        )
        ends = (Text(printable(token.expires_on or "never")), Text(_last_day(token)))
        first, *rest = [(Text(_permissions(policy)), Text(_resources(policy))) for policy in token.policies] or [
            (Text("none"), Text("none"))
        ]
        table.add_row(*own, *first, *ends)
        for permissions, resources in rest:
            table.add_row("", "", "", permissions, resources, "", "")
    return table


def token_blocks(tokens: Iterable[ShownToken]) -> Table:
    """What `token_table` has, one thing below the other: for a terminal in which the table would be a thread."""
    blocks = Table.grid()
    blocks.add_column(overflow="fold")
    for token in tokens:
        head = Text.assemble(
            printable(token.id),
            "  ",
            (printable(token.status), _STYLES.get(token.status, "")),
            f"  expires: {printable(token.expires_on or 'never')}",
        )
        blocks.add_row(head)
        blocks.add_row(Text(f"  {printable(token.name)}"))
        for policy in token.policies:
            blocks.add_row(Text(f"    {_permissions(policy)} on {_resources(policy)}"))
        if token.last_used_on:
            blocks.add_row(Text(f"    last used: {_last_day(token)}"))
    return blocks


def _policies(shown: Sequence[ShownPolicy]) -> tuple[tuple[Policy, ...], PermissionGroups]:
    """Policies as they are read, with their groups as far as the API named them."""
    groups = {group.id: _group(group.id, group.name) for policy in shown for group in policy.permission_groups}
    policies = tuple(
        Policy(
            id="",
            effect=Effect(policy.effect),
            permission_groups=tuple(group.id for group in policy.permission_groups),
            resources=policy.resources,
            apis=policy.apis,
        )
        for policy in shown
    )
    return policies, PermissionGroups(groups.values())


def rights_in_words(token: ShownToken) -> list[str]:
    """What the token may do, from where and when: as its maker was told."""
    policies, groups = _policies(token.policies)
    draft = Draft(
        name=token.name,
        policies=policies,
        condition=token.condition,
        not_before=parse_timestamp(token.not_before or ""),
        expires_on=parse_timestamp(token.expires_on or ""),
        status=None,
        limits=token.limits,
    )
    return summarise(draft, groups)


def token_sheet(token: ShownToken) -> Table:
    """All of one token."""
    sheet = Table.grid(padding=(0, 2))
    sheet.add_column(no_wrap=True)
    sheet.add_column(overflow="fold")
    rows = (
        ("id", token.id),
        ("name", token.name),
        ("status", token.status),
        ("owner", f"{token.owner.kind} {token.owner.id}" if token.owner else None),
        ("issued on", token.issued_on),
        ("modified on", token.modified_on),
        ("last used on", token.last_used_on),
        ("last used from", token.usage.last_address if token.usage else None),
    )
    for key, value in rows:
        if value is not None:
            style = _STYLES.get(value, "") if key == "status" else ""
            sheet.add_row(Text(key), Text(printable(value), style=style))
    for index, line in enumerate(rights_in_words(token)):
        sheet.add_row(Text("" if index else "rights"), Text(printable(line)))
    for index, used in enumerate(token.usage.requests if token.usage else ()):
        line = f"{used.count} {used.result}: {used.route or 'no route'}"
        sheet.add_row(Text("" if index else "requests"), Text(printable(line)))
    return sheet


def owner_table(owners: Iterable[ShownOwner]) -> Table:
    """A row for each owner."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("kind", "id", "name", "status"):
        table.add_column(header, no_wrap=header == "id", overflow="fold")
    for owner in owners:
        style = _STYLES.get(owner.status, "")
        texts = [Text(printable(text)) for text in (owner.kind, owner.id, owner.name)]
        table.add_row(*texts, Text(printable(owner.status), style=style))
    return table


def owner_blocks(owners: Iterable[ShownOwner]) -> Table:
    """What `owner_table` has, one thing below the other: for a terminal that is too narrow for a row."""
    blocks = Table.grid()
    blocks.add_column(overflow="fold")
    for owner in owners:
        status = (printable(owner.status), _STYLES.get(owner.status, ""))
        blocks.add_row(Text.assemble(f"{printable(owner.kind)} {printable(owner.id)}  ", status))
        blocks.add_row(Text(f"  {printable(owner.name)}"))
    return blocks


def owner_list(owners: Sequence[ShownOwner], screen: Console) -> Table:
    """The table, if each of its rows has room in one line of `screen`; else the blocks."""
    table = owner_table(owners)
    wanted = screen.measure(table, options=screen.options.update(width=_UNBOUNDED)).maximum
    return table if wanted <= screen.width else owner_blocks(owners)


def owner_sheet(owner: ShownOwner) -> Table:
    """All of one owner: what its tokens may do at most."""
    sheet = Table.grid(padding=(0, 2))
    sheet.add_column(no_wrap=True)
    sheet.add_column(overflow="fold")
    rows = (
        ("id", owner.id),
        ("kind", owner.kind),
        ("name", owner.name),
        ("status", owner.status),
        ("issued on", owner.issued_on),
        ("modified on", owner.modified_on),
    )
    for key, value in rows:
        if value is not None:
            style = _STYLES.get(value, "") if key == "status" else ""
            sheet.add_row(Text(key), Text(printable(value), style=style))
    for index, line in enumerate(policies_in_words(*_policies(owner.policies))):
        sheet.add_row(Text("" if index else "rights"), Text(printable(line)))
    return sheet


def secret_lines(url: str, secret: Sensitive, account: str | None = None) -> list[str]:
    """The secret, in its one showing, and how to try it; `account` owns the token, else a user does."""
    shown = printable(secret.reveal())
    return [
        "",
        f"    {shown}",
        "",
        "The secret is not shown again. Test it:",
        "",
        f'    curl {shlex.quote(f"{url}{tokens_of(account)}/verify")} -H "Authorization: Bearer {shown}"',
    ]


def console() -> Console:
    """Standard output: as wide as the terminal; a file or a pipe, as wide as what is printed."""
    return Console(width=None if sys.stdout.isatty() else _UNBOUNDED, highlight=False)


def print_json(value: object) -> None:
    """`value` on standard output, in ASCII: every terminal and every program reads the same."""
    typer.echo(json.dumps(value, indent=2))


def print_json_line(value: object) -> None:
    """As `print_json`, in one line."""
    typer.echo(json.dumps(value, separators=(",", ":")))


def print_tokens(answers: Iterable[Answer], *, as_json: bool) -> None:
    """A table, or the tokens as the API gives them."""
    if as_json:
        print_json([answer.raw for answer in answers])
    else:
        screen = console()
        tokens = [answer.token for answer in answers]
        screen.print(token_table(tokens) if screen.width >= WIDE else token_blocks(tokens))


def print_owners(answers: Iterable[OwnerAnswer], *, as_json: bool) -> None:
    """A table, or the owners as the API gives them."""
    if as_json:
        print_json([answer.raw for answer in answers])
    else:
        screen = console()
        screen.print(owner_list([answer.owner for answer in answers], screen))


def print_owner(answer: OwnerAnswer, *, as_json: bool) -> None:
    """All of one owner, or the owner as the API gives it."""
    if as_json:
        print_json(answer.raw)
    else:
        console().print(owner_sheet(answer.owner))


def print_token(answer: Answer, *, as_json: bool) -> None:
    """All of one token, or the token as the API gives it."""
    if as_json:
        print_json(answer.raw)
    else:
        console().print(token_sheet(answer.token))
