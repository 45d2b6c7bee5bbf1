"""`zonegate token leaked`: secrets that were found where they should not be end their tokens."""

import sys
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import typer

from gateway.cli.address import parse_token, parse_url, url_of
from gateway.cli.caller import settings_of
from gateway.cli.client import Refused, TokenApiClient, talk
from gateway.cli.failure import REFUSED, fail
from gateway.cli.printable import printable
from gateway.cli.refusal import answered
from gateway.cli.table import print_json
from gateway.cli.token_flag import Config, Json
from gateway.settings import environment
from gateway.tokens.leaked import MOST_SECRETS
from gateway.tokens.secret import SCANNED, Sensitive, parse_secret

_LARGEST_INPUT: Final = 16 * 1024 * 1024
"""Bytes: a scanner's report, not a disk."""
IN_WORDS: Final = {
    "disabled": "is disabled",
    "already_disabled": "was disabled already",
    "overlap_ended": "goes on with its new secret; this old one is dead",
    "unknown": "is unknown, or has another secret by now",
    "malformed": "is none of ours",
    "not_looked_up": "was not looked up, because too many were unknown: report it again",
}
"""What the gateway says of each secret (`Outcome`), for people."""
_NO_PROOF: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS})
_DEAD: Final = frozenset({"disabled", "already_disabled", "overlap_ended"})


def leaked(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Disable the tokens whose secrets stand in the text on standard input, whatever else it holds.

    ZONEGATE_TOKEN may be any token that works; where it is not set, a secret that was found proves that you have it.
    Exit code 1 if a secret that was found may still work, or never did.

    Example: [bold]zonegate token leaked < findings.txt[/bold]
    """
    found = _found()
    if not found:
        fail("standard input: there is no secret in it: they look like zgt_<32 hex>_<49 letters and digits>")
    with answered():
        variables = environment()
        own = variables.get("ZONEGATE_TOKEN", "").strip()
        url = variables.get("ZONEGATE_URL")
        url = parse_url(url) if url else url_of(settings_of(context, config))
        results: list[dict[str, Any]] = []
        for start in range(0, len(found), MOST_SECRETS):
            some = found[start : start + MOST_SECRETS]
            results += _reported(url, parse_token(own), some) if own else _proved_by_one(url, some)
    if json:
        print_json(results)
    else:
        _print(results)
    if any(result.get("outcome") not in _DEAD for result in results):
        raise typer.Exit(REFUSED)


def _reported(url: str, bearer: Sensitive, secrets: Sequence[Sensitive]) -> list[dict[str, Any]]:
    return talk(url, bearer, partial(TokenApiClient.report_leaked, secrets=secrets))


def _proved_by_one(url: str, secrets: Sequence[Sensitive]) -> list[dict[str, Any]]:
    """The same, with the first for a bearer that is one: a dead one before it must not save the others."""
    results: list[dict[str, Any]] = []
    for at, bearer in enumerate(secrets):
        try:
            return results + _reported(url, bearer, secrets[at:])
        except Refused as refused:
            if refused.status not in _NO_PROOF:
                raise
            if refused.status == HTTPStatus.TOO_MANY_REQUESTS:
                return results + [_outcome(each, "not_looked_up") for each in secrets[at:]]
        results.append(_outcome(bearer, "unknown"))
    return results


def _outcome(secret: Sensitive, outcome: str) -> dict[str, Any]:
    credential = parse_secret(secret.reveal())
    return {"id": credential.token_id if credential else None, "outcome": outcome}


def _found() -> Sequence[Sensitive]:
    """The secrets in standard input, each once, those whose check is right."""
    if sys.stdin is None:  # `zonegate ... <&-`
        fail("standard input is closed: it takes the text that holds the secrets")
    raw = sys.stdin.buffer.read(_LARGEST_INPUT + 1)
    if len(raw) > _LARGEST_INPUT:
        fail(f"standard input: over {_LARGEST_INPUT // 1024 // 1024} MiB: report what a scanner has found")
    texts = dict.fromkeys(SCANNED.findall(raw.decode("latin-1")))
    return [Sensitive(text) for text in texts if parse_secret(text) is not None]


def _print(results: Sequence[dict[str, Any]]) -> None:
    for result in results:
        outcome = str(result.get("outcome"))
        typer.echo(f"Token {printable(str(result.get('id')))} {IN_WORDS.get(outcome, printable(outcome))}.")
