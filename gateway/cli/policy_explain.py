"""`zonegate policy explain`: why a request with a token would pass or not, as the running gateway sees it."""

import time
from typing import Annotated, Any

import typer
from rich.text import Text

from gateway.cli.answer import Explained
from gateway.cli.caller import caller_of
from gateway.cli.failure import fail
from gateway.cli.moment import FORMS, parse_moment
from gateway.cli.printable import printable
from gateway.cli.refusal import answered
from gateway.cli.table import console, print_json
from gateway.cli.token_flag import Config, Json, token_id
from gateway.tokens.timestamp import format_timestamp


def explain(  # noqa: PLR0913 - a flag each
    context: typer.Context,
    *,
    token: Annotated[
        str, typer.Option("--token", metavar="ID", help="The token's id: 32 hex digits.", callback=token_id)
    ],
    method: Annotated[str, typer.Option("--method", "-X", metavar="M", help="The request's method.")],
    path: Annotated[
        str, typer.Option("--path", metavar="P", help="Its path with the prefix: /client/v4/zones; a query may follow.")
    ],
    ip: Annotated[str | None, typer.Option("--ip", metavar="A", help="Where it comes from; else from here.")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="T", help=f"When it comes: {FORMS}; else now.")] = None,
    body: Annotated[str | None, typer.Option("--body", metavar="TEXT", help="Its body.")] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="The account that owns the token; else you do.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Say whether a request with one of your tokens would pass, what each policy has to do with it, and what would
    have to change.

    Example: [bold]zonegate policy explain --token ID --method GET --path /client/v4/zones[/bold]
    """
    asked: dict[str, Any] = {"method": method.upper(), "path": path}
    if ip is not None:
        asked["ip"] = ip
    if at is not None:
        moment = parse_moment(at, time.time())
        if moment is None:
            fail(f"--at '{printable(at)}': not a moment, such as {FORMS}")
        asked["at"] = format_timestamp(moment)
    if body is not None:
        asked["body"] = body
    with answered():
        explained = caller_of(context, config).talk(lambda api: api.explain(token, asked, account))
    if json:
        print_json(explained.raw)
        return
    screen = console()
    for line in lines_of(explained.result):
        screen.print(line)


def _of(limits: Explained.Limits) -> str:
    whose = "token" if limits.side == "token" else "settings"
    left = f", {limits.left} left" if limits.left is not None else ""
    rest = "" if limits.counted else "; not counted here"
    return f"      limits of the {whose}: {limits.requests} in {limits.period} s{left}{rest}"


def lines_of(result: Explained.Result) -> list[Text]:
    """The decision, a line for each policy, and the least change."""
    allowed = result.decision == "allow"
    request = result.request
    head = Text.assemble(
        ("allowed" if allowed else f"denied: {result.reason}", "green" if allowed else "red"),
        printable(f"  {request.method} {request.path}, from {request.ip or 'nowhere'}, at {request.at}"),
    )
    found = [head, Text(printable(result.message))] if result.message else [head]
    count = {"token": 0, "owner": 0}
    for policy in result.policies:
        count[policy.side] += 1
        mark = "x" if policy.covers else " "
        whose = f"{policy.side}'s policy {count[policy.side]}"
        found.append(Text(printable(f"  [{mark}] {whose} ({policy.effect}): {policy.why}")))
    if result.limits is not None:
        found.append(Text(_of(result.limits)))
    if result.remedy:
        found.append(Text(printable(f"To allow it: {result.remedy}")))
    return found
